// --launcher slurm: one job array for the runs of a plan that are not done. No scheduler of our own: sbatch
// queues, squeue says what is at work, and each task is `run --entry N`.
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/cli/launch.h"
#include "harness/store/store.h"
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

namespace dorabench {
namespace {

using nlohmann::json;
constexpr size_t kBlock = 1000; // array indices 0 … 999: MaxArraySize is 1001 unless a site says otherwise

std::string quoted(const std::string& word) { return "'" + replace_all(word, "'", "'\\''") + "'"; }

struct Answer {
    int code = 0;
    std::string text; // stdout and stderr
};

Answer ask(const std::vector<std::string>& words) {
    std::string line;
    for (const std::string& word : words) line += quoted(word) + " ";
    FILE* pipe = popen((line + "2>&1").c_str(), "r");
    if (!pipe) throw Error::resources("cannot start ", words.front());
    Answer answer;
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;) answer.text.append(part, n);
    const int status = pclose(pipe);
    answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    answer.text = trim(answer.text);
    return answer;
}

// Plan entries that are not done, and why a failed one failed (to stderr).
std::vector<size_t> missing_entries(const RunPlan& plan) {
    std::vector<size_t> out;
    for (size_t i = 0; i < plan.runs.size(); ++i) {
        const RunSettings& settings = plan.runs[i].settings;
        const RunRecord record =
            read_run((std::filesystem::path(settings.results) / "runs" / plan.runs[i].id).string());
        const bool trained =
            plan.sweep.select && (record.status == "trained" || record.status == "not selected");
        if (record.status == "done" || trained) continue;
        if (record.status == "failed")
            std::cerr << "failed: run " << record.id << ": " << record.error << "\n";
        out.push_back(i);
    }
    return out;
}

// Jobs of an earlier submission that are still queued or running.
std::vector<std::string> at_work(const std::string& record) {
    std::vector<std::string> out;
    if (!exists(record)) return out;
    const json jobs = json::parse(read_file(record, 1 << 20), nullptr, false);
    if (!jobs.is_array()) return out;
    for (const json& job : jobs) {
        if (!job.is_string()) continue;
        const Answer answer =
            ask({"squeue", "--noheader", "--format=%i", "--jobs=" + job.get<std::string>()});
        // a job that Slurm has forgotten is an error to squeue, and over
        if (answer.code == 0 && !answer.text.empty()) out.push_back(job.get<std::string>());
    }
    return out;
}

} // namespace

std::string slurm_ranges(const std::vector<size_t>& entries, size_t offset) {
    std::string out;
    for (size_t i = 0; i < entries.size();) {
        size_t last = i;
        while (last + 1 < entries.size() && entries[last + 1] == entries[last] + 1) ++last;
        out += cat(out.empty() ? "" : ",", entries[i] - offset);
        if (last > i) out += cat("-", entries[last] - offset);
        i = last + 1;
    }
    return out;
}

std::string slurm_script(const RunPlan& plan, const RunOptions& options, const Globals& globals,
                         const std::string& logs) {
    std::string command;
    for (const std::string& word : helper_words(options, globals, globals.threads))
        command += quoted(word) + " ";
    // a task has the processors that Slurm gave it, one where nothing was asked for
    if (globals.threads == 0) command += "--threads \"${SLURM_CPUS_PER_TASK:-1}\" ";
    return cat(
        "#!/bin/sh\n"
        "# One task: the plan's run SLURM_ARRAY_TASK_ID + $1 (written by dora-bench --launcher slurm).\n",
        "#SBATCH --job-name=", replace_all("dora-bench-" + plan.name, " ", "_"),
        "\n#SBATCH --output=", replace_all(logs, " ", "\\ "), "/%A_%a.log\nexec ", command,
        "--entry \"$((SLURM_ARRAY_TASK_ID + $1))\"\n");
}

bool submit_to_slurm(const RunPlan& plan, const RunOptions& options, const Globals& globals, int& code) {
    const std::string folder =
        (std::filesystem::absolute(plan.runs.front().settings.results) / "slurm").lexically_normal().string();
    std::string ids;
    for (const PlannedRun& run : plan.runs) ids += run.id;
    const std::string base = folder + "/" + sha256_hex(ids).substr(0, 12), record = base + ".json";
    const std::vector<std::string> working = at_work(record);
    const std::vector<size_t> missing = missing_entries(plan);
    if (missing.empty()) return false;
    if (!working.empty()) {
        std::cout << plan.runs.size() - missing.size() << " of " << plan.runs.size() << " runs are done; job "
                  << join(working, ", ") << " is at work on the others\n";
        code = 5;
        return true;
    }
    make_folder(folder);
    write_file_atomic(base + ".sh", slurm_script(plan, options, globals, folder));
    json jobs = json::array();
    for (size_t at = 0; at < missing.size();) {
        const size_t offset = missing[at] / kBlock * kBlock;
        std::vector<size_t> block;
        while (at < missing.size() && missing[at] < offset + kBlock) block.push_back(missing[at++]);
        std::vector<std::string> words = {
            "sbatch", "--parsable",
            cat("--array=", slurm_ranges(block, offset), options.jobs > 1 ? cat("%", options.jobs) : "")};
        words.insert(words.end(), options.sbatch.begin(), options.sbatch.end());
        words.insert(words.end(), {base + ".sh", cat(offset)});
        const Answer answer = ask(words);
        if (answer.code == 127)
            throw Error::config(
                "--launcher slurm: there is no sbatch here; run this where jobs are submitted");
        if (answer.code != 0) throw Error::failed("sbatch refused the job array: ", answer.text);
        const std::string last = answer.text.substr(answer.text.rfind('\n') + 1); // warnings come before
        jobs.push_back(last.substr(0, last.find(';')));                           // "id" or "id;cluster"
        write_file_atomic(record, jobs.dump() + "\n"); // after each: a refusal later forgets none
        std::cout << "submitted job " << jobs.back().get<std::string>() << ": " << block.size() << " runs\n";
    }
    std::cout << "the same command shows what is done, and submits again what failed; logs: " << folder
              << "\n";
    code = 0;
    return true;
}

} // namespace dorabench
