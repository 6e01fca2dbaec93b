#include "tasks/metrics/spice.h"

#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/metrics/records.h"
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dorabench {

namespace {

class Folder { // for the files that go to Java and back
public:
    Folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "dora-bench-spice-XXXXXX").string();
        if (!mkdtemp(pattern.data()))
            throw Error::resources("cannot make the folder ", pattern, ": ", std::strerror(errno));
        path_ = pattern;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

// The exit code; nothing when no such program is on PATH. What it prints goes to stderr: stdout is the
// metric's.
std::optional<int> run_program(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    pid_t child = 0;
    const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == ENOENT) return std::nullopt;
    if (error != 0) throw Error::resources("cannot start ", words[0], ": ", std::strerror(error));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

// [{"image_id", "scores": {"All": {"f", …}, …}}, …] in any order; image_id is the place in the corpus.
std::vector<double> read_scores(const std::string& file, const std::string& jar, size_t images) {
    const nlohmann::json root = read_json(file);
    std::vector<double> out(images, -1);
    const nlohmann::json::json_pointer place("/scores/All/f");
    if (root.is_array())
        for (const auto& item : root) {
            if (!item.is_object() || !item.contains("image_id") || !item["image_id"].is_number_unsigned() ||
                !item.contains(place) || !item[place].is_number())
                continue;
            const auto image = item["image_id"].get<uint64_t>();
            const double f = item[place].get<double>();
            if (image < images && f >= 0 && f <= 1) out[image] = f;
        }
    for (size_t i = 0; i < images; ++i)
        if (out[i] < 0)
            throw Error::data(jar, ": SPICE's output with scores.All.f from 0 to 1 for all ", images,
                              " images expected, that of image number ", i, " is missing");
    return out;
}

} // namespace

SpiceScores spice(const CaptionCorpus& tokens, const std::string& given) {
    const std::string jar = given.empty() ? environment("DORA_BENCH_SPICE").value_or("") : given;
    if (jar.empty())
        return {{}, "it needs its authors' Java program; name the jar in --spice-jar or DORA_BENCH_SPICE"};
    if (!exists(jar) || is_folder(jar))
        throw Error::data(jar,
                          ": SPICE's jar expected (--spice-jar or DORA_BENCH_SPICE), there is no such file");
    nlohmann::json items = nlohmann::json::array();
    for (size_t i = 0; i < tokens.candidates.size(); ++i)
        items.push_back({{"image_id", i}, {"test", tokens.candidates[i]}, {"refs", tokens.references[i]}});
    const Folder folder;
    const std::string in = folder / "in.json", out = folder / "out.json";
    write_file_atomic(in, items.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    const auto code = run_program({"java", "-Xmx8G", "-jar", jar, in, "-out", out, "-silent"});
    // some systems report a missing program through the child's code 127 instead
    if (!code || (*code == 127 && !exists(out))) return {{}, "no `java` was found on PATH"};
    if (*code != 0)
        throw Error::data(jar, ": SPICE's Java program expected to end with code 0, it ended with ", *code,
                          "; its own messages stand above");
    if (!exists(out)) throw Error::data(jar, ": SPICE's output file expected, Java wrote none");
    return {read_scores(out, jar, tokens.candidates.size()), ""};
}

} // namespace dorabench
