#pragma once
// Processes that work on one plan: the words of a command that goes on with it, workers on this machine, and
// one job array of Slurm.
#include "harness/cli/commands.h"
#include "harness/plan/plan.h"

namespace dorabench {

// `dora-bench … run CONFIG …` as this command was given, for a process that helps: quiet, without a report.
std::vector<std::string> helper_words(const RunOptions& options, const Globals& globals, int threads);

// --jobs N: N processes work through the same plan; the locks on the run folders share it out, and each maps
// the same frozen weights. Threads are divided among them. Waits for all; Error{interrupted} when this
// process was asked to stop.
void run_workers(const RunOptions& options, const Globals& globals);

// --launcher torchrun without a launcher's environment: the processes are started here, as torchrun would
// (--jobs N). Returns the exit code of process 0, or of the first that failed.
bool launched_by_another(); // RANK, or Slurm's SLURM_PROCID inside srun, is set
int run_together(const RunOptions& options, const Globals& globals);

// The array's script: a task is the plan's run SLURM_ARRAY_TASK_ID + $1; logs: the folder of the tasks'
// outputs.
std::string slurm_script(const RunPlan& plan, const RunOptions& options, const Globals& globals,
                         const std::string& logs);
// {10, 11, 12, 15} less 10 as sbatch writes it: "0-2,5".
std::string slurm_ranges(const std::vector<size_t>& entries, size_t offset);

// --launcher slurm: writes <results>/slurm/<plan>.sh and submits it as a job array over the runs that are not
// done; in blocks of 1,000, which is what Slurm's MaxArraySize allows by default. Nothing is submitted while
// an earlier array of the same plan is still queued. Returns false when every run is done (the caller
// collects), else sets the exit code: 0 after submitting, 5 while the array is at work. Error::config where
// there is no sbatch, Error::failed with its message.
bool submit_to_slurm(const RunPlan& plan, const RunOptions& options, const Globals& globals, int& code);

} // namespace dorabench
