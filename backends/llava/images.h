#pragma once
// Images to features: decoded, preprocessed as CLIP expects (padded to a square or cropped), encoded by the
// frozen image encoder. What was computed is kept by the file's content, so that a picture is encoded once
// however many requests, epochs and paths ask for it; the least recently used go when the bound is reached.
#include "backends/llava/pictures.h"
#include "backends/vision/clip.h"
#include <functional>
#include <list>
#include <span>
#include <unordered_map>

namespace dorabench {

class FeatureCache {
public:
    explicit FeatureCache(int64_t limit_bytes) : limit_(limit_bytes) {}
    at::Tensor find(const std::string& key); // undefined: not there
    void put(const std::string& key, const at::Tensor& features);
    int64_t bytes() const { return bytes_; }
    size_t size() const { return entries_.size(); }

private:
    struct Entry {
        std::string key;
        at::Tensor features;
    };
    int64_t limit_, bytes_ = 0;
    std::list<Entry> entries_; // the last used first
    std::unordered_map<std::string, std::list<Entry>::iterator> places_;
};

struct ImageOptions {
    std::string processing = "pad"; // pad: to a square with CLIP's mean colour | crop: the middle
    int64_t layer = -2;             // hidden state that is taken
    bool with_class = false;        // with the class token in front
    int64_t cache_bytes = int64_t(1) << 30;
};

class ImageFeatures {
public:
    ImageFeatures(std::unique_ptr<ClipVision> tower, ImageOptions options)
        : tower_(std::move(tower)), options_(std::move(options)), cache_(options_.cache_bytes) {}
    using Transform = std::function<at::Tensor(const at::Tensor&)>;
    // Features of each file (or what else pictures.h reads), [P, width] each. after (may be empty): applied
    // to [n, P, feature_size], and what it gives is what is kept, under `variant`. No gradients. Error::data
    // names a file that is missing, damaged or no image.
    std::vector<at::Tensor> get(std::span<const std::string> files, const std::string& variant,
                                const Transform& after);
    // Preprocessed pixels [3, S, S], float32.
    at::Tensor pixels(const std::string& file) const;
    at::Tensor pixels(const Image& image) const;
    const ClipVision& tower() const { return *tower_; }
    const FeatureCache& cache() const { return cache_; }
    int64_t encoded() const { return encoded_; } // images that went through the encoder

private:
    struct Stamp {
        int64_t size = 0, changed = 0;
        std::string hash;
    };
    std::string hash_of(const std::string& name);
    at::Tensor encode(const std::vector<std::string>& files);

    std::unique_ptr<ClipVision> tower_;
    ImageOptions options_;
    FeatureCache cache_;
    PictureReader reader_;
    std::unordered_map<std::string, Stamp> stamps_; // a file that has not changed is not hashed again
    int64_t encoded_ = 0;
};

} // namespace dorabench
