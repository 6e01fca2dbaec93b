// Descriptions and training curves from files, figures to files.
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/page/plots.h"
#include <cmath>
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;

namespace dorabench {
namespace {

using nlohmann::json;

constexpr int kNoLibrary = 3; // exit code of assets/draw_plots.py without vl-convert

std::string python() {
    if (auto chosen = environment("DORA_BENCH_PYTHON"); chosen && !chosen->empty()) return *chosen;
    return exists(DORABENCH_PYTHON) ? DORABENCH_PYTHON : "python3";
}

int run_and_wait(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return kNoLibrary;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

} // namespace

std::string page_asset(const std::string& name) {
    const std::string path = share_folder() + "/page/" + name;
    if (!exists(path))
        throw Error::internal(path, ": expected a part of the report page, is the program installed whole?");
    return read_file(path, size_t(64) << 20);
}

std::vector<std::string> write_plots(const std::vector<Plot>& plots, const std::string& folder) {
    make_folder(folder);
    std::vector<std::string> words = {python(), "-B", share_folder() + "/page/draw_plots.py"}, files;
    for (const Plot& plot : plots) {
        const std::string path = folder + "/" + plot.name;
        write_file_atomic(path + ".vl.json", plot.spec.dump(1) + "\n");
        words.push_back(path + ".vl.json");
        for (const char* ending : {".vl.json", ".svg", ".png", ".pdf"}) files.push_back(path + ending);
    }
    const int code = plots.empty() ? 0 : run_and_wait(words);
    if (code == kNoLibrary)
        throw Error::resources("figures need Python with vl-convert-python (scripts/setup installs it; "
                               "DORA_BENCH_PYTHON names another Python); their descriptions are in ",
                               folder, "/*.vl.json");
    if (code != 0) throw Error::failed(folder, ": drawing the figures ended with code ", code);
    return files;
}

std::vector<std::pair<int64_t, double>> training_curve(const std::string& run_folder, size_t most) {
    std::vector<std::pair<int64_t, double>> all, out;
    const std::string path = run_folder + "/steps.jsonl";
    if (!exists(path)) return out;
    for_each_line(path, [&](size_t, std::string_view text) {
        json line = json::parse(text, nullptr, false);
        if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer()) return;
        auto loss = line.find("loss");
        if (loss == line.end() || !loss->is_number() || !std::isfinite(loss->get<double>())) return;
        all.push_back({line["step"].get<int64_t>(), loss->get<double>()});
    });
    const size_t stretch = std::max<size_t>(1, (all.size() + most - 1) / std::max<size_t>(1, most));
    for (size_t at = 0; at < all.size(); at += stretch) {
        const size_t end = std::min(all.size(), at + stretch);
        double sum = 0;
        for (size_t i = at; i < end; ++i) sum += all[i].second;
        out.push_back({all[at].first, sum / static_cast<double>(end - at)});
    }
    return out;
}

} // namespace dorabench
