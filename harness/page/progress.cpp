#include "harness/page/progress.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/store/store.h"
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/file.h>
#include <unistd.h>

namespace dorabench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// Another process holds the run folder's lock: it is being worked on.
bool locked(const std::string& folder) {
    int fd = ::open((folder + "/.lock").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool held = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
    ::close(fd);
    return held;
}

json last_step(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) return nullptr;
    auto size = static_cast<std::streamoff>(file.tellg());
    file.seekg(std::max<std::streamoff>(0, size - 4096));
    std::string tail(std::istreambuf_iterator<char>(file), {});
    std::vector<std::string> lines = split(tail, '\n');
    for (size_t i = lines.size(); i-- > 0;) {
        json line = json::parse(lines[i], nullptr, false);
        if (line.is_object() && line.contains("step")) return line;
    }
    return nullptr;
}

json answers_of(const std::string& folder) {
    json out = json::object();
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder + "/samples", ignored)) {
        if (entry.path().extension() != ".jsonl") continue;
        std::ifstream file(entry.path(), std::ios::binary);
        out[entry.path().stem().string()] =
            std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n');
    }
    return out;
}

} // namespace

std::string store_stamp(const std::string& results) {
    std::set<std::string> parts; // sorted: a folder is listed in any order
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(results + "/runs", ignored)) {
        fs::path metrics = entry.path() / "metrics.json";
        std::error_code missing;
        auto size = fs::file_size(metrics, missing);
        if (missing) continue;
        parts.insert(cat(entry.path().filename().string(), ' ', size, ' ',
                         fs::last_write_time(metrics, missing).time_since_epoch().count(), '\n'));
    }
    return sha256_hex(join({parts.begin(), parts.end()}, "")).substr(0, 16);
}

json progress_of(const std::string& results) {
    json runs = json::array();
    int64_t done = 0;
    for (const RunRecord& record : read_runs(results)) {
        if (record.status == "done" || record.status == "not selected") {
            ++done;
            continue;
        }
        json step = last_step(record.path + "/steps.jsonl");
        auto planned = record.settings.find("train.max_steps");
        int64_t steps =
            planned == record.settings.end() ? 0 : std::strtoll(planned->second.c_str(), nullptr, 10);
        bool working = locked(record.path);
        auto of_step = [&](const char* key) {
            return step.is_object() && step.contains(key) ? step[key] : json();
        };
        runs.push_back(
            {{"id", record.id},
             {"name", record.name},
             {"method", record.method},
             {"rank", record.rank > 0 ? json(record.rank) : json()},
             {"seed", record.seed},
             {"status", record.status},
             {"error", record.error.substr(0, record.error.find('\n'))},
             {"working", working},
             {"step",
              of_step("step").is_number_integer() ? json(of_step("step").get<int64_t>() + 1) : json()},
             {"steps", steps > 0 ? json(steps) : json()},
             {"loss", of_step("loss")},
             {"answers", answers_of(record.path)}});
    }
    return {{"stamp", store_stamp(results)}, {"done", done}, {"runs", runs}};
}

} // namespace dorabench
