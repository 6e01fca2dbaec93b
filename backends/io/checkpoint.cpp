#include "backends/io/safetensors.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
constexpr const char* kIndex = "model.safetensors.index.json";
// transformers' name, and that of Diffusers, whose folders may hold fp16 copies beside
constexpr const char* kStems[] = {"model", "diffusion_pytorch_model"};

// The index's weight_map, read event by event so that a repeated weight is seen. Other parts are passed over.
class IndexReader : public nlohmann::json_sax<nlohmann::json> {
public:
    IndexReader(const std::string& path, std::map<std::string, std::string>& places)
        : path_(path), places_(places) {}
    bool seen() const { return seen_; }

    bool start_object(size_t) override {
        if (depth_ == 1 && key_ == "weight_map") {
            if (std::exchange(seen_, true)) throw Error::data(path_, ": weight_map stands twice");
            inside_ = true;
        } else if (inside_) {
            return other();
        }
        ++depth_;
        return true;
    }
    bool end_object() override {
        if (--depth_ == 1) inside_ = false;
        return true;
    }
    bool start_array(size_t) override {
        ++depth_;
        return inside_ ? other() : depth_ > 1 || not_an_index();
    }
    bool end_array() override { return --depth_, true; }
    bool key(std::string& key) override {
        key_ = key;
        if (inside_ && places_.count(key))
            throw Error::data(path_, ": weight_map: \"", key, "\" stands twice");
        return true;
    }
    bool string(std::string& value) override {
        if (inside_) places_[key_] = value;
        return true;
    }
    bool null() override { return other(); }
    bool boolean(bool) override { return other(); }
    bool number_integer(int64_t) override { return other(); }
    bool number_unsigned(uint64_t) override { return other(); }
    bool number_float(double, const std::string&) override { return other(); }
    bool binary(nlohmann::json::binary_t&) override { return other(); }
    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
        throw Error::data(path_, ": expected JSON, it goes wrong at byte ", position);
    }

private:
    bool other() const {
        if (inside_) throw Error::data(path_, ": weight_map: \"", key_, "\": expected the name of a file");
        return true;
    }
    bool not_an_index() const { throw Error::data(path_, ": expected an object with weight_map"); }
    const std::string& path_;
    std::map<std::string, std::string>& places_;
    std::string key_;
    size_t depth_ = 0;
    bool inside_ = false, seen_ = false;
};

std::map<std::string, std::string> read_index(const std::string& path) {
    std::string text = read_file(path, size_t(1) << 30);
    std::map<std::string, std::string> places;
    IndexReader reader(path, places);
    nlohmann::json::sax_parse(text, &reader);
    if (!reader.seen() || places.empty())
        throw Error::data(path, ": expected a weight_map that names files, it has none");
    for (const auto& [weight, file] : places)
        if (file.empty() || file == "." || file == ".." ||
            file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
            throw Error::data(path, ": weight_map: \"", weight,
                              "\": expected the name of a file beside the index, got \"", file, "\"");
    return places;
}

std::vector<std::string> loose_files(const fs::path& folder) {
    std::vector<std::string> out;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        std::string name = entry.path().filename().string();
        if (ends_with(name, ".safetensors") && !starts_with(name, "adapter_"))
            out.push_back(entry.path().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::string no_weights(const fs::path& folder) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        std::string name = entry.path().filename().string();
        if (ends_with(name, ".bin") || ends_with(name, ".pt") || ends_with(name, ".pth"))
            return cat("; ", name, " is a pickle, which is never read: save the model as safetensors");
    }
    return "";
}

} // namespace

Checkpoint Checkpoint::open(const std::string& path) {
    Checkpoint out;
    std::map<std::string, std::string> places; // weight → file, where there is an index
    fs::path index;
    if (!exists(path))
        throw Error::data(path, ": expected a safetensors file or a folder with weights, there is nothing");
    if (!is_folder(path)) {
        if (ends_with(path, ".index.json"))
            index = path;
        else
            out.files_ = {path};
    } else {
        const fs::path folder(path);
        for (const char* stem : kStems) {
            const fs::path file = folder / cat(stem, ".safetensors"), parts = file.string() + ".index.json";
            if (!out.files_.empty() || !index.empty()) break;
            if (exists(file.string()))
                out.files_ = {file.string()};
            else if (exists(parts.string()))
                index = parts;
        }
        if (index.empty() && out.files_.empty()) out.files_ = loose_files(folder);
        if (index.empty() && out.files_.empty())
            throw Error::data(path, ": expected model.safetensors or ", kIndex, ", found neither",
                              no_weights(folder));
    }
    if (!index.empty()) {
        places = read_index(index.string());
        std::set<std::string> names;
        for (const auto& [weight, file] : places) names.insert(file);
        for (const auto& name : names) {
            std::string shard = (index.parent_path() / name).string();
            if (!exists(shard))
                throw Error::data(shard, ": is missing, but ", index.filename().string(), " names it");
            out.files_.push_back(shard);
        }
    }
    for (const auto& name : out.files_) {
        auto file = SafetensorsFile::open(name);
        for (const auto& [key, entry] : file->tensors())
            if (auto [at, fresh] = out.tensors_.emplace(key, Place{file, entry}); !fresh)
                throw Error::data(name, ": \"", key, "\" stands in ", at->second.file->path(), " too");
    }
    for (const auto& [weight, file] : places) {
        const Place* place = out.find(weight);
        if (!place || fs::path(place->file->path()).filename() != file)
            throw Error::data((index.parent_path() / file).string(), ": \"", weight, "\" is missing, but ",
                              index.filename().string(), " says that it is there");
    }
    return out;
}

const Checkpoint::Place* Checkpoint::find(const std::string& name) const {
    auto at = tensors_.find(name);
    return at == tensors_.end() ? nullptr : &at->second;
}

namespace {

std::vector<fs::path> cache_folders() {
    std::vector<fs::path> out;
    if (auto hub = environment("HF_HUB_CACHE")) out.emplace_back(*hub);
    if (auto home = environment("HF_HOME")) out.push_back(fs::path(*home) / "hub");
    if (auto home = environment("HOME")) out.push_back(fs::path(*home) / ".cache/huggingface/hub");
    return out;
}

// refs/main where it names a snapshot, else the newest snapshot; empty: none.
fs::path snapshot_of(const fs::path& model) {
    std::error_code error;
    if (fs::path ref = model / "refs/main"; fs::is_regular_file(ref, error)) {
        std::string revision = trim(read_file(ref.string(), 4096));
        fs::path snapshot = model / "snapshots" / revision;
        if (!revision.empty() && revision.find('/') == std::string::npos && revision.front() != '.' &&
            fs::is_directory(snapshot, error))
            return snapshot;
    }
    fs::path newest;
    fs::file_time_type time{};
    for (const auto& entry : fs::directory_iterator(model / "snapshots", error)) {
        std::error_code ignored;
        auto written = entry.last_write_time(ignored);
        if (entry.is_directory(ignored) && (newest.empty() || written > time))
            newest = entry.path(), time = written;
    }
    return newest;
}

bool is_hub_id(const std::string& text) {
    auto parts = split(text, '/');
    if (parts.empty() || parts.size() > 2) return false;
    return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
        return !part.empty() && part.front() != '.' &&
               std::all_of(part.begin(), part.end(), [](unsigned char c) {
                   return std::isalnum(c) || c == '-' || c == '_' || c == '.';
               });
    });
}

} // namespace

std::string resolve_checkpoint(const std::string& checkpoint) {
    if (checkpoint.empty()) throw Error::data("expected the path of a checkpoint or a hub id, got nothing");
    if (exists(checkpoint)) return checkpoint;
    std::string looked;
    if (is_hub_id(checkpoint)) {
        for (const auto& cache : cache_folders()) {
            fs::path model = cache / ("models--" + replace_all(checkpoint, "/", "--"));
            if (fs::path snapshot = snapshot_of(model); !snapshot.empty()) return snapshot.string();
            looked += cat(looked.empty() ? "" : ", ", model.string());
        }
    }
    throw Error::data("checkpoint ", checkpoint, ": there is no such file or folder",
                      looked.empty() ? ""
                                     : cat(", and no snapshot in the local cache (looked at ", looked,
                                           "); nothing is downloaded: fetch it first, or give a folder"));
}

} // namespace dorabench
