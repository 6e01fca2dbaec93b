#include "harness/cli/launch.h"
#include "harness/base/env.h"
#include "harness/base/text.h"
#include "harness/cli/execute.h"
#include <csignal>
#include <cstring>
#include <filesystem>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace dorabench {
namespace {

int threads_for(const Globals& globals, int processes) {
    const int cores = globals.threads > 0
                          ? globals.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    return std::max(1, cores / processes);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> out;
    for (std::string& word : words) out.push_back(word.data());
    out.push_back(nullptr);
    return out;
}

pid_t start(std::vector<std::string> words, const std::vector<std::string>& variables) {
    std::vector<std::string> environment = variables; // NAME=value; before ours, so that they win
    for (char** at = environ; *at; ++at) {
        const std::string_view own = *at;
        const std::string name(own.substr(0, own.find('=') + 1));
        auto given = [&](const std::string& variable) { return starts_with(variable, name); };
        if (std::none_of(variables.begin(), variables.end(), given)) environment.emplace_back(own);
    }
    pid_t child = 0;
    const int error = posix_spawn(&child, words.front().c_str(), nullptr, nullptr, pointers(words).data(),
                                  pointers(environment).data());
    if (error != 0) throw Error::resources("cannot start ", words.front(), ": ", std::strerror(error));
    return child;
}

int exit_code_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

// Waits for all; a stop signal is passed on once it is here. Exit codes in the children's order.
std::vector<int> wait_for(const std::vector<pid_t>& children) {
    std::vector<int> codes;
    bool passed_on = false;
    for (pid_t child : children) {
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            if (stop_requests() > 0 && !passed_on) {
                for (pid_t other : children) kill(other, SIGINT);
                passed_on = true;
            }
        codes.push_back(exit_code_of(status));
    }
    return codes;
}

void end_if_interrupted() {
    if (stop_requests() > 0) throw Error(ErrorKind::interrupted, "interrupted; the same command goes on");
}

} // namespace

std::vector<std::string> helper_words(const RunOptions& options, const Globals& globals, int threads) {
    std::vector<std::string> words = {executable_folder() + "/dora-bench", "--quiet", "--no-progress"};
    if (threads > 0) words.insert(words.end(), {"--threads", cat(threads)});
    for (const LoadedPlugin& plugin : globals.registries->plugins) // the file's too, each once
        words.insert(words.end(), {"--plugin", plugin.path});
    words.insert(words.end(), {"run", options.config, "--no-report"});
    for (const std::string& axis : options.axes) words.insert(words.end(), {"--axis", axis});
    if (options.allow_peek) words.push_back("--allow-peek");
    words.insert(words.end(), options.overrides.begin(), options.overrides.end());
    return words;
}

void run_workers(const RunOptions& options, const Globals& globals) {
    std::vector<std::string> words = helper_words(options, globals, threads_for(globals, options.jobs));
    words.insert(words.end(), {"--started", fixed(options.started, 6)});
    std::vector<pid_t> children;
    for (int job = 0; job < options.jobs; ++job) children.push_back(start(words, {}));
    wait_for(children);
    end_if_interrupted();
}

bool launched_by_another() {
    return environment("RANK").has_value() ||
           (environment("SLURM_PROCID").has_value() && environment("SLURM_STEP_ID").has_value());
}

int run_together(const RunOptions& options, const Globals& globals) {
    std::string folder = (std::filesystem::temp_directory_path() / "dora-bench-XXXXXX").string();
    if (!mkdtemp(folder.data())) throw Error::resources(folder, ": cannot be made: ", std::strerror(errno));
    struct Removed {
        std::string folder;
        ~Removed() {
            std::error_code ignored;
            std::filesystem::remove_all(folder, ignored);
        }
    } removed{folder};
    std::vector<std::string> helper = helper_words(options, globals, threads_for(globals, options.jobs));
    helper.insert(helper.end(), {"--launcher", "torchrun"});
    std::vector<std::string> first;
    for (const std::string& word : helper) // process 0 prints what this command would
        if (!((word == "--quiet" && !globals.quiet) || (word == "--no-progress" && globals.progress) ||
              (word == "--no-report" && !options.no_report)))
            first.push_back(word);
    if (globals.verbose) first.push_back("--verbose");
    first.insert(first.end(), {"--format", globals.format});
    std::vector<pid_t> children;
    for (int rank = 0; rank < options.jobs; ++rank)
        children.push_back(start(rank == 0 ? first : helper, {cat("RANK=", rank), cat("LOCAL_RANK=", rank),
                                                              cat("WORLD_SIZE=", options.jobs),
                                                              "DORA_BENCH_RENDEZVOUS=" + folder + "/meet"}));
    const std::vector<int> codes = wait_for(children);
    end_if_interrupted();
    for (int code : codes)
        if (code != 0) return code;
    return 0;
}

} // namespace dorabench
