#include "tasks/media_features.h"
#include "backends/media/feature_files.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "tasks/media_items.h"
#include <algorithm>
#include <filesystem>

namespace dorabench {

namespace fs = std::filesystem;

namespace {

constexpr size_t kNamed = 5; // of missing features, in a message

bool is_store_file(const std::string& path) { return ends_with(path, ".safetensors"); }

} // namespace

std::optional<std::string> fill_id(const std::string& pattern, const std::string& id) {
    if (id.empty() || id.size() > 200 || id == "." || id == ".." ||
        id.find_first_of(std::string("/\\\n\0", 4)) != std::string::npos)
        throw Error::data("expected an id that can be a file's name, got \"", id.substr(0, 60), "\"");
    std::string out = replace_all(pattern, "{id}", id);
    const size_t open = out.find("{id:");
    if (open == std::string::npos) return out;
    const size_t close = out.find('}', open);
    const std::string width = close == std::string::npos ? "" : out.substr(open + 4, close - open - 4);
    auto digits = [](const std::string& text) {
        return !text.empty() && text.size() < 20 &&
               std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    if (!digits(width) || width.size() > 3)
        throw Error::config("features.files: expected {id} or {id:012}, got \"", pattern, "\"");
    if (!digits(id)) return std::nullopt;
    const auto size = static_cast<size_t>(std::stoi(width));
    const std::string padded = id.size() < size ? std::string(size - id.size(), '0') + id : id;
    return out.substr(0, open) + padded + out.substr(close + 1);
}

FeatureFinder::FeatureFinder(const TaskSpec& spec, const std::string& data_dir)
    : spec_(spec), data_dir_(data_dir) {
    for (const std::string& candidate : spec.media->features)
        for (const std::string& root : media_roots(spec, data_dir)) {
            const std::string pattern = (fs::path(root) / candidate).string();
            if (is_folder(pattern.substr(0, pattern.rfind('/')))) patterns_.push_back(pattern);
        }
}

std::string FeatureFinder::store_path(const std::string& id) const {
    for (const std::string& candidate : spec_.media->features)
        if (is_store_file(candidate))
            if (auto path = fill_id((fs::path(data_dir_) / candidate).string(), id)) return *path;
    return "";
}

FeatureFinder::Found FeatureFinder::search(const std::vector<std::string>& ids) const {
    std::string id, path;
    for (const std::string& pattern : patterns_) {
        for (const std::string& name : ids)
            if (auto filled = fill_id(pattern, name); filled && exists(*filled)) {
                id = name;
                path = *filled;
                break;
            }
        if (!path.empty()) break;
    }
    if (path.empty()) return {"", cat("no features of ", join(ids, " or "))};
    try {
        if (is_store_file(path)) {
            check_stored_features(path);
            return {path, ""};
        }
        const std::string own = store_path(id);
        if (own.empty())
            throw Error::config(spec_.name,
                                ": features.files: expected a candidate that ends in .safetensors, into "
                                "which ",
                                path, " can be brought");
        const std::string stem = fs::path(path).stem().string(); // HDF5 names its group so
        write_features(own, fit_rows(read_features(path, stem), spec_.media->rows), path);
        return {own, ""};
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::data) throw;
        return {"", error.what()};
    }
}

const FeatureFinder::Found& FeatureFinder::look(const std::vector<std::string>& ids) {
    const auto known = seen_.find(ids.front());
    if (known != seen_.end()) return known->second;
    return seen_.emplace(ids.front(), search(ids)).first->second;
}

std::optional<std::string> FeatureFinder::find(const std::vector<std::vector<std::string>>& media,
                                               const std::string& place) {
    std::vector<std::string> paths;
    for (const auto& ids : media) {
        try {
            const Found& found = look(ids);
            if (!found.path.empty()) {
                paths.push_back(found.path);
                continue;
            }
            ++left_out_;
            if (missing_.size() < kNamed) missing_.push_back(place + ": " + found.why);
            return std::nullopt;
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::data) throw Error::data(place, ": ", error.what());
            throw;
        }
    }
    return join(paths, "\n");
}

void FeatureFinder::finish() const {
    if (left_out_ == 0) return;
    std::string named = join(missing_, "\n  ");
    if (left_out_ > static_cast<int64_t>(missing_.size()))
        named += cat("\n  and ", left_out_ - static_cast<int64_t>(missing_.size()), " more");
    if (spec_.media->skip_missing) {
        log::warning(spec_.name, ": ", left_out_, " examples are left out for want of features:\n  ", named);
        return;
    }
    std::vector<std::string> places;
    for (const std::string& candidate : spec_.media->features) places.push_back(candidate);
    throw Error::data(spec_.name, ": ", left_out_, " examples lack their features:\n  ", named,
                      "\nlooked for ", join(places, ", "), " below ", data_dir_,
                      "; `dora-bench features` makes them from images and videos, and a spec with features: "
                      "{missing: skip} leaves such examples out");
}

} // namespace dorabench
