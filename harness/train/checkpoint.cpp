#include "harness/train/checkpoint.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "harness/train/train.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <unistd.h>

namespace dorabench {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr size_t kKept = 2;
const char* const kTensors = "state.safetensors";
const char* const kState = "state.json";
const char* const kManifest = "manifest.json";

// A rename is on the disk only once its folder is.
void sync_folder(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
    if (fd < 0 || ::fsync(fd) != 0) {
        const std::string reason = std::strerror(errno);
        if (fd >= 0) ::close(fd);
        throw Error::resources(path, ": expected a folder that can be synced, got: ", reason);
    }
    ::close(fd);
}

void remove_tree(const std::string& path) {
    std::error_code ignored; // what stays behind is removed next time
    fs::remove_all(path, ignored);
}

json state_json(const TrainState& s, const std::string& fingerprint) {
    return {{"schema_version", 1},
            {"fingerprint", fingerprint},
            {"step", s.step},
            {"tokens", s.tokens},
            {"peak_bytes", s.peak_bytes},
            {"seconds", s.seconds},
            {"loss", s.loss},
            {"has_validation", s.has_validation},
            {"best_loss", s.best_loss},
            {"best_step", s.best_step},
            {"best_sha256", s.best_sha256},
            {"max_norms", s.max_norms},
            {"steps_bytes", s.steps_bytes},
            {"validation_bytes", s.validation_bytes}};
}

TrainState state_from_json(const json& j) {
    TrainState s;
    j.at("step").get_to(s.step), j.at("tokens").get_to(s.tokens), j.at("peak_bytes").get_to(s.peak_bytes);
    j.at("seconds").get_to(s.seconds), j.at("loss").get_to(s.loss);
    j.at("has_validation").get_to(s.has_validation), j.at("best_loss").get_to(s.best_loss);
    j.at("best_step").get_to(s.best_step), j.at("best_sha256").get_to(s.best_sha256);
    j.at("max_norms").get_to(s.max_norms);
    j.at("steps_bytes").get_to(s.steps_bytes), j.at("validation_bytes").get_to(s.validation_bytes);
    return s;
}

json parse(const std::string& path) {
    try {
        return json::parse(read_file(path, 64u << 20));
    } catch (const json::exception& e) {
        throw Error::data(path, ": expected JSON, got: ", e.what());
    }
}

void verify_file(const std::string& path, const std::string& sha256) {
    const std::string got = sha256_file(path);
    if (got != sha256) throw Error::data(path, ": expected sha256 ", sha256, ", got ", got);
}

std::vector<NamedTensor> on_cpu(const std::vector<NamedTensor>& tensors) {
    std::vector<NamedTensor> out;
    for (const NamedTensor& t : tensors) out.push_back({t.name, t.tensor.detach().to(at::kCPU).contiguous()});
    return out;
}

} // namespace

CheckpointStore::CheckpointStore(const std::string& run_folder, std::string fingerprint)
    : root_(run_folder + "/checkpoint"), fingerprint_(std::move(fingerprint)) {
    make_folder(root_);
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(root_, ignored)) // left by a process that was killed
        if (starts_with(entry.path().filename().string(), ".")) remove_tree(entry.path());
}

std::string CheckpointStore::best_path(int64_t step) const {
    return cat(root_, "/best-", step, ".safetensors");
}

std::vector<std::pair<int64_t, std::string>> CheckpointStore::steps() const {
    std::vector<std::pair<int64_t, std::string>> out;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(root_, ignored)) {
        const std::string name = entry.path().filename().string();
        if (!starts_with(name, "step-") || name.size() == 5 || name.size() > 20 ||
            name.find_first_not_of("0123456789", 5) != std::string::npos)
            continue;
        out.emplace_back(std::stoll(name.substr(5)), entry.path().string());
    }
    std::sort(out.rbegin(), out.rend());
    return out;
}

void CheckpointStore::save(const TrainState& state, const std::vector<NamedTensor>& tensors) {
    const std::string place = cat(root_, "/step-", state.step), partial = cat(root_, "/.step-", state.step);
    remove_tree(partial);
    try {
        make_folder(partial);
        write_tensors(partial + "/" + kTensors, on_cpu(tensors));
        write_file_atomic(partial + "/" + kState, state_json(state, fingerprint_).dump(1) + "\n");
        json files;
        for (const char* name : {kTensors, kState}) {
            const std::string path = partial + "/" + name;
            files[name] = {{"bytes", fs::file_size(path)}, {"sha256", sha256_file(path)}};
        }
        write_file_atomic(partial + "/" + kManifest, json{{"files", files}}.dump(1) + "\n");
        sync_folder(partial);
        if (exists(place)) { // a damaged one of the same step, skipped on resuming
            fs::rename(place, cat(root_, "/.old-", state.step));
            remove_tree(cat(root_, "/.old-", state.step));
        }
        fs::rename(partial, place);
        sync_folder(root_);
    } catch (const fs::filesystem_error& e) {
        remove_tree(partial);
        throw Error::resources(place, ": expected to write a checkpoint, got: ", e.what());
    } catch (...) {
        remove_tree(partial);
        throw;
    }
    prune(state);
}

TrainState CheckpointStore::read_state(const std::string& folder) const {
    try {
        const json files = parse(folder + "/" + kManifest).at("files");
        for (const char* name : {kState, kTensors}) {
            const std::string path = folder + "/" + name;
            std::error_code error;
            const auto want = files.at(name).at("bytes").get<uintmax_t>(), got = fs::file_size(path, error);
            if (error || got != want)
                throw Error::data(path, ": expected ", want, " bytes, got ",
                                  error ? error.message() : std::to_string(got));
            verify_file(path, files.at(name).at("sha256").get<std::string>());
        }
        const json state = parse(folder + "/" + kState);
        if (const auto of = state.at("fingerprint").get<std::string>(); of != fingerprint_)
            throw Error::data(folder, ": expected a checkpoint of the same data, tensors and settings (",
                              fingerprint_, "), got another's (", of, ")");
        TrainState out = state_from_json(state);
        if (out.best_step >= 0) verify_file(best_path(out.best_step), out.best_sha256);
        return out;
    } catch (const json::exception& e) {
        throw Error::data(folder, ": expected a checkpoint's manifest and state, got: ", e.what());
    }
}

std::optional<TrainState> CheckpointStore::load_newest(const Accept& accept) const {
    for (const auto& [step, folder] : steps()) {
        try {
            const TrainState state = read_state(folder);
            accept(state, read_tensors(folder + "/" + kTensors));
            return state;
        } catch (const Error& e) {
            log::warning("checkpoint ", folder, " is skipped: ", e.what());
        }
    }
    return std::nullopt;
}

void CheckpointStore::save_best(TrainState& state, const std::vector<NamedTensor>& tensors) {
    const std::string path = best_path(state.step);
    write_tensors(path, on_cpu(tensors));
    state.best_sha256 = sha256_file(path);
    state.best_step = state.step;
    prune(state);
}

std::vector<NamedTensor> CheckpointStore::load_best(const TrainState& state) const {
    verify_file(best_path(state.best_step), state.best_sha256);
    return read_tensors(best_path(state.best_step));
}

void CheckpointStore::prune(const TrainState& current) const {
    std::set<std::string> needed{best_path(current.best_step)};
    size_t kept = 0;
    for (const auto& [step, folder] : steps()) {
        // one ahead of the present step was skipped on resuming; it must not push out what is being made now
        if (step > current.step || kept == kKept) {
            remove_tree(folder);
            continue;
        }
        ++kept;
        try {
            needed.insert(best_path(parse(folder + "/" + kState).at("best_step").get<int64_t>()));
        } catch (const std::exception&) { // a damaged checkpoint needs nothing
        }
    }
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(root_, ignored)) {
        const std::string name = entry.path().filename().string();
        if (starts_with(name, "best-") && !needed.count(root_ + "/" + name)) remove_tree(entry.path());
    }
}

void remove_checkpoints(const std::string& folder) { remove_tree(folder + "/checkpoint"); }

} // namespace dorabench
