// features: images and videos to the features that VL-BART trains on, one file an item, written when it is
// done, so that the same command goes on where it was stopped. The field's own feature files are brought into
// the same store.
#include "backends/media/feature_files.h"
#include "backends/ops/tensor_io.h"
#include "backends/vision/clip.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include "harness/cli/execute.h"
#include "harness/cli/media_reader.h"
#include "harness/config/config.h"
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Tally {
    int64_t items = 0, kept = 0, written = 0, skipped = 0, pictures = 0;
    double seconds = 0;
};

std::string resolved(const std::string& path, const std::string& data_dir) {
    const std::string below = (fs::path(data_dir) / path).string();
    return exists(below) ? below : path;
}

// One section: what is there already, what is damaged, what is written.
class Job {
public:
    Job(const FeatureSettings& settings, const std::string& data_dir)
        : s_(settings), data_dir_(data_dir), to_((fs::path(data_dir) / settings.to).string()) {}

    Tally run() {
        const auto start = std::chrono::steady_clock::now();
        make_folder(to_);
        if (s_.import.empty())
            encode_all();
        else
            import_all();
        report_skipped();
        tally_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return tally_;
    }
    const std::string& folder() const { return to_; }

private:
    std::string path_of(const std::string& id) const { return to_ + "/" + id + ".safetensors"; }

    bool is_done(const std::string& id) const {
        if (!exists(path_of(id))) return false;
        try {
            check_stored_features(path_of(id));
            return true;
        } catch (const Error&) {
            return false; // damaged: made again
        }
    }

    // A folder holds features of one making; another encoder's would be mixed in unseen.
    void claim_folder(const Json& making) {
        const std::string path = to_ + "/features.json";
        if (exists(path)) {
            const Json there = Json::parse(read_file(path), nullptr, false);
            if (there != making)
                throw Error::config("features.to: expected a folder whose features were made the same way, ",
                                    path, " says ", there.is_discarded() ? "nothing readable" : there.dump(),
                                    ", now it is ", making.dump(),
                                    "; choose another folder, or delete this one");
        } else {
            write_file_atomic(path, making.dump(2) + "\n");
        }
    }

    std::vector<MediaFile> remaining(std::vector<MediaFile> files) {
        tally_.items = static_cast<int64_t>(files.size());
        std::erase_if(files, [&](const MediaFile& file) { return is_done(file.id); });
        tally_.kept = tally_.items - static_cast<int64_t>(files.size());
        if (tally_.kept > 0)
            log::info(to_, ": ", tally_.kept, " of ", tally_.items, " stand from an earlier run");
        return files;
    }

    void skip(const MediaFile& file, const std::string& why) {
        if (s_.on_error == "refuse")
            throw Error::data(why, starts_with(why, file.path) ? "" : " (" + file.path + ")",
                              "; on_error: skip leaves such files out");
        ++tally_.skipped;
        skipped_ += Json{{"id", file.id}, {"file", file.path}, {"reason", why}}.dump(
                        -1, ' ', false, Json::error_handler_t::replace) +
                    "\n";
        log::warning("skipped ", starts_with(why, file.path) ? why : file.path + ": " + why);
    }

    void report_skipped() const {
        const std::string path = to_ + "/skipped.jsonl";
        if (!skipped_.empty())
            write_file_atomic(path, skipped_);
        else if (exists(path))
            fs::remove(path);
        if (tally_.written + tally_.kept == 0)
            throw Error::data(to_, ": none of ", tally_.items, " files gave features; ", path, " says why");
    }

    void stop_if_asked() const {
        if (stop_requests().load() > 0)
            throw Error(ErrorKind::interrupted,
                        cat("interrupted: ", tally_.written + tally_.kept, " of ", tally_.items,
                            " features are in ", to_, "; the same command goes on"));
    }

    void write(const MediaFile& file, const FeatureTable& table) {
        write_features(path_of(file.id), fit_rows(table, s_.rows), file.path);
        ++tally_.written;
    }

    void import_all() {
        claim_folder({{"import", s_.import}, {"rows", s_.rows}});
        std::vector<MediaFile> files = list_media(resolved(s_.import, data_dir_), "");
        std::erase_if(files, [](const MediaFile& file) {
            return !ends_with(file.path, ".h5") && !ends_with(file.path, ".hdf5") &&
                   !ends_with(file.path, ".npz");
        });
        files = remaining(std::move(files));
        Progress progress("features", tally_.items, tally_.kept);
        for (const MediaFile& file : files) {
            stop_if_asked();
            try {
                write(file, read_features(file.path, file.id));
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::data) throw;
                skip(file, error.what());
            }
            progress.update(tally_.kept + tally_.written + tally_.skipped);
        }
    }

    std::string encoder_hash(const std::string& path) const {
        std::string all;
        const Checkpoint checkpoint = Checkpoint::open(path);
        for (const std::string& file : checkpoint.files()) all += sha256_file(file);
        return sha256_hex(all).substr(0, 16);
    }

    void encode_all() {
        const std::string encoder = exists(s_.encoder) ? s_.encoder : resolve_checkpoint(s_.encoder);
        const bool video = !s_.videos.empty();
        const bool stretch = s_.resize == "stretch" || (s_.resize == "auto" && s_.kind == "grid");
        Json making = {{"encoder", encoder_hash(encoder)},
                       {"kind", s_.kind},
                       {"resize", stretch ? "stretch" : "crop"},
                       {"rows", s_.rows},
                       {"dtype", s_.dtype}};
        if (video) making["every"] = s_.every;
        claim_folder(making);
        std::vector<MediaFile> files = list_media(resolved(video ? s_.videos : s_.images, data_dir_),
                                                  s_.list.empty() ? "" : resolved(s_.list, data_dir_));
        files = remaining(std::move(files));
        if (files.empty()) return;
        clip_ = load_clip_vision(encoder, parse_dtype(s_.dtype));
        DecodeOptions options{video, stretch, static_cast<int>(clip_->image_size()), s_.every, s_.workers};
        MediaReader reader(files, options);
        Progress progress("features", tally_.items, tally_.kept);
        DecodedMedia decoded;
        while (reader.next(decoded)) {
            stop_if_asked();
            if (!decoded.why.empty())
                skip(files[decoded.index], decoded.why);
            else
                take(files, std::move(decoded));
            progress.update(tally_.kept + tally_.written + tally_.skipped,
                            cat(tally_.pictures, video ? " frames" : " images"));
        }
        encode_pending(files);
        progress.update(tally_.kept + tally_.written + tally_.skipped);
    }

    void take(const std::vector<MediaFile>& files, DecodedMedia decoded) {
        waiting_ += static_cast<int64_t>(decoded.pictures.size());
        pending_.push_back(std::move(decoded));
        if (waiting_ >= s_.batch_size) encode_pending(files);
    }

    // All waiting pictures, batch by batch, whatever files they belong to.
    void encode_pending(const std::vector<MediaFile>& files) {
        std::vector<const Image*> pictures;
        for (const DecodedMedia& one : pending_)
            for (const Image& picture : one.pictures) pictures.push_back(&picture);
        std::vector<at::Tensor> parts;
        for (size_t begin = 0; begin < pictures.size(); begin += static_cast<size_t>(s_.batch_size)) {
            const size_t end = std::min(pictures.size(), begin + static_cast<size_t>(s_.batch_size));
            parts.push_back(encoded({pictures.begin() + static_cast<std::ptrdiff_t>(begin),
                                     pictures.begin() + static_cast<std::ptrdiff_t>(end)}));
        }
        tally_.pictures += static_cast<int64_t>(pictures.size());
        int64_t from = 0;
        const at::Tensor all = parts.empty() ? at::Tensor() : at::cat(parts, 0); // [pictures, P, D]
        for (const DecodedMedia& one : pending_) {
            const auto count = static_cast<int64_t>(one.pictures.size());
            const at::Tensor own = all.narrow(0, from, count).flatten(0, 1).contiguous();
            from += count;
            FeatureTable table{own.size(0), own.size(1), {}};
            table.values.assign(own.const_data_ptr<float>(), own.const_data_ptr<float>() + own.numel());
            try {
                write(files[one.index], table);
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::data) throw;
                skip(files[one.index], error.what());
            }
        }
        pending_.clear();
        waiting_ = 0;
    }

    at::Tensor encoded(const std::vector<const Image*>& pictures) const { // -> float32 [n, P, D]
        const int64_t side = clip_->image_size(), n = static_cast<int64_t>(pictures.size());
        std::vector<float> values;
        values.reserve(static_cast<size_t>(n * 3 * side * side));
        for (const Image* picture : pictures) {
            const std::vector<float> one = normalise(*picture, kClipMean, kClipStd);
            values.insert(values.end(), one.begin(), one.end());
        }
        const at::Tensor pixels = at::from_blob(values.data(), {n, 3, side, side}, at::kFloat);
        at::NoGradGuard frozen;
        const at::Tensor out =
            s_.kind == "embedding" ? clip_->embedding(pixels).unsqueeze(1) : clip_->features(pixels, -1);
        return out.to(at::kFloat).contiguous();
    }

    const FeatureSettings& s_;
    std::string data_dir_, to_, skipped_;
    std::unique_ptr<ClipVision> clip_;
    std::vector<DecodedMedia> pending_;
    int64_t waiting_ = 0;
    Tally tally_;
};

} // namespace

int features_command(const FeaturesOptions& options, const Globals& globals) {
    const ConfigFile config = ConfigFile::load(options.config, options.overrides);
    std::vector<Diagnostic> errors;
    std::string data_dir;
    const std::vector<FeatureSettings> sections = config.features(data_dir, errors);
    if (!errors.empty()) throw ConfigErrors(errors);
    watch_stop_signals();
    for (const FeatureSettings& section : sections) {
        Job job(section, data_dir);
        const Tally tally = job.run();
        if (globals.format == "json")
            std::cout << Json{{"to", job.folder()},       {"items", tally.items},
                              {"written", tally.written}, {"kept", tally.kept},
                              {"skipped", tally.skipped}, {"pictures", tally.pictures},
                              {"seconds", tally.seconds}}
                             .dump()
                      << "\n";
        else
            std::cout << job.folder() << ": " << tally.items << " items, " << tally.written << " written, "
                      << tally.kept << " there already, " << tally.skipped << " skipped"
                      << (tally.skipped ? " (skipped.jsonl says why)" : "") << ", " << tally.pictures
                      << " pictures in " << human_seconds(tally.seconds) << "\n";
    }
    return 0;
}

} // namespace dorabench
