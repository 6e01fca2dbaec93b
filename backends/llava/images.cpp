#include "backends/llava/images.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <filesystem>
#include <map>

namespace dorabench {
namespace {

constexpr size_t kEncodedTogether = 8;

} // namespace

at::Tensor FeatureCache::find(const std::string& key) {
    const auto at = places_.find(key);
    if (at == places_.end()) return {};
    entries_.splice(entries_.begin(), entries_, at->second);
    return at->second->features;
}

void FeatureCache::put(const std::string& key, const at::Tensor& features) {
    const int64_t size = static_cast<int64_t>(features.nbytes());
    if (size > limit_ || places_.count(key)) return;
    entries_.push_front({key, features});
    places_[key] = entries_.begin();
    bytes_ += size;
    while (bytes_ > limit_) {
        bytes_ -= static_cast<int64_t>(entries_.back().features.nbytes());
        places_.erase(entries_.back().key);
        entries_.pop_back();
    }
}

at::Tensor ImageFeatures::pixels(const std::string& file) const { return pixels(PictureReader().read(file)); }

at::Tensor ImageFeatures::pixels(const Image& image) const {
    const int side = static_cast<int>(tower_->image_size());
    const std::vector<float> values = normalise(
        options_.processing == "pad" ? clip_pad(image, side) : clip_crop(image, side), kClipMean, kClipStd);
    at::Tensor out = at::empty({3, side, side}, at::kFloat);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<float>());
    return out;
}

std::string ImageFeatures::hash_of(const std::string& name) {
    const PictureName picture = parse_picture(name);
    if (picture.kind == PictureName::Kind::data) return sha256_hex(name);
    const std::string& file = picture.path;
    std::error_code missing;
    const auto size = std::filesystem::file_size(file, missing);
    if (missing) throw Error::data(file, ": the image cannot be read: ", missing.message());
    const auto changed = std::filesystem::last_write_time(file, missing).time_since_epoch().count();
    Stamp& stamp = stamps_[file];
    if (stamp.hash.empty() || stamp.size != static_cast<int64_t>(size) || stamp.changed != changed)
        stamp = {static_cast<int64_t>(size), static_cast<int64_t>(changed), sha256_file(file)};
    return picture.kind == PictureName::Kind::frame ? stamp.hash + name.substr(file.size()) : stamp.hash;
}

at::Tensor ImageFeatures::encode(const std::vector<std::string>& files) {
    std::vector<at::Tensor> each(files.size());
    for (size_t i = 0; i < files.size(); ++i) // frames of one video in one pass
        if (parse_picture(files[i]).kind == PictureName::Kind::frame)
            each[i] = pixels(reader_.read(files[i]));
    at::parallel_for(0, static_cast<int64_t>(files.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
            if (!each[i].defined()) each[i] = pixels(files[i]);
    });
    encoded_ += static_cast<int64_t>(files.size());
    const at::Tensor batch = at::stack(each);
    return options_.with_class ? tower_->states(batch, options_.layer)
                               : tower_->features(batch, options_.layer);
}

std::vector<at::Tensor> ImageFeatures::get(std::span<const std::string> files, const std::string& variant,
                                           const Transform& after) {
    at::NoGradGuard frozen;
    std::vector<at::Tensor> out(files.size());
    std::map<std::string, std::vector<size_t>> wanted; // by key, in a fixed order
    std::vector<std::string> keys;
    for (size_t i = 0; i < files.size(); ++i) {
        const std::string key = hash_of(files[i]) + variant;
        if ((out[i] = cache_.find(key)).defined()) continue;
        auto& places = wanted[key];
        if (places.empty()) keys.push_back(key);
        places.push_back(i);
    }
    for (size_t at = 0; at < keys.size(); at += kEncodedTogether) {
        const size_t end = std::min(keys.size(), at + kEncodedTogether);
        std::vector<std::string> batch;
        for (size_t k = at; k < end; ++k) batch.push_back(files[wanted[keys[k]].front()]);
        at::Tensor features = encode(batch);
        if (after) features = after(features);
        for (size_t k = at; k < end; ++k) {
            const at::Tensor one = features[static_cast<int64_t>(k - at)].clone(); // not the batch's memory
            cache_.put(keys[k], one);
            for (size_t place : wanted[keys[k]]) out[place] = one;
        }
    }
    return out;
}

} // namespace dorabench
