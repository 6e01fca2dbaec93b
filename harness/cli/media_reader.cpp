#include "harness/cli/media_reader.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/metrics/records.h"
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostFrames = 1024; // of one video: 25 minutes at one frame every 1.5 s

std::vector<MediaFile> listed(const std::string& folder, const std::string& list) {
    const nlohmann::json json = read_json(list);
    const Record whole(json, list);
    const bool coco = json.is_object() && whole.has("images");
    std::vector<MediaFile> out;
    const auto records = coco              ? whole.list("images")
                         : json.is_array() ? whole.items()
                                           : std::vector<Record>{whole}; // one line
    for (const Record& record : records) {
        const std::string name = record.text_of({"file_name", "file"});
        if (name.empty()) throw Error::data(record.place(), ": expected a file's name, got an empty one");
        out.push_back({record.id("id"), (fs::path(folder) / name).string()});
    }
    return out;
}

} // namespace

std::vector<MediaFile> list_media(const std::string& folder, const std::string& list) {
    if (!is_folder(folder))
        throw Error::data("expected a folder with images or videos at ", folder, ", found none");
    std::vector<MediaFile> out;
    if (!list.empty()) {
        out = listed(folder, list);
    } else {
        for (const auto& entry : fs::recursive_directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            if (entry.is_regular_file() && !name.empty() && name[0] != '.')
                out.push_back({entry.path().stem().string(), entry.path().string()});
        }
        std::sort(out.begin(), out.end(),
                  [](const MediaFile& a, const MediaFile& b) { return a.path < b.path; });
    }
    std::map<std::string, std::string> seen;
    for (const MediaFile& file : out) {
        if (file.id.empty() || file.id.find_first_of(std::string("/\\\n\0", 4)) != std::string::npos ||
            file.id == "..")
            throw Error::data(file.path, ": expected an id that can be a file's name, got \"", file.id, "\"");
        if (const auto [at, added] = seen.emplace(file.id, file.path); !added)
            throw Error::data("expected one file an id, ", at->second, " and ", file.path, " are both ",
                              file.id, "; give a list with ids of their own");
    }
    if (out.empty()) throw Error::data("expected files in ", folder, ", found none");
    return out;
}

MediaReader::MediaReader(const std::vector<MediaFile>& files, const DecodeOptions& options)
    : files_(files), options_(options) {
    media_library(); // loaded here, where a missing library can be said
    const auto processors = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
    const int64_t workers = std::min<int64_t>(options.workers > 0 ? options.workers : processors,
                                              std::max<int64_t>(1, static_cast<int64_t>(files.size())));
    ahead_ = static_cast<size_t>(2 * workers) + (options.video ? 0 : 32);
    options_.workers = workers;
    for (int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

MediaReader::~MediaReader() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

DecodedMedia MediaReader::decode(size_t index) const {
    DecodedMedia out;
    out.index = index;
    const std::string& path = files_[index].path;
    MediaLimits limits;
    limits.max_frames = kMostFrames;
    if (options_.workers > 1) limits.threads = 1; // a file a thread
    auto fitted = [&](const Image& image) {
        return options_.stretch ? resize_bicubic(image, options_.side, options_.side)
                                : clip_crop(image, options_.side);
    };
    try {
        if (!options_.video) {
            out.pictures.push_back(fitted(media_library().read_image(path, limits)));
        } else {
            for (const VideoFrame& frame : media_library().frames_every(path, options_.every, limits))
                out.pictures.push_back(fitted(frame.image));
            if (out.pictures.empty()) out.why = path + ": expected pictures, the video has none";
        }
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::data) throw;
        out.pictures.clear();
        out.why = error.what();
    }
    return out;
}

void MediaReader::work() {
    for (;;) {
        size_t index = 0;
        {
            std::unique_lock<std::mutex> lock(mutex_);
            changed_.wait(lock, [&] {
                return stop_ || failed_ || taken_ < given_ + ahead_ || taken_ >= files_.size();
            });
            if (stop_ || failed_ || taken_ >= files_.size()) return;
            index = taken_++;
        }
        try {
            DecodedMedia decoded = decode(index);
            std::lock_guard<std::mutex> lock(mutex_);
            done_.emplace(index, std::move(decoded));
        } catch (...) {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!failed_) failed_ = std::current_exception();
        }
        changed_.notify_all();
    }
}

bool MediaReader::next(DecodedMedia& out) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (given_ >= files_.size()) return false;
    changed_.wait(lock, [&] { return failed_ || done_.count(given_); });
    const auto found = done_.find(given_);
    if (found == done_.end()) std::rethrow_exception(failed_);
    out = std::move(found->second);
    done_.erase(found);
    ++given_;
    lock.unlock();
    changed_.notify_all();
    return true;
}

} // namespace dorabench
