#pragma once
// CLIP's image encoders (Radford et al. 2021), frozen: the vision transformers (ViT-B/32, ViT-L/14, …) and
// the modified ResNets (RN50, RN101: the grid before the attention pool). Weights from HF folders
// (vision_model.…, with or without that prefix, alone or inside a larger model) and from open_clip's names
// (visual.…); no torch code is executed from files.
#include "backends/io/safetensors.h"
#include "backends/ops/aten.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dorabench {

struct ClipVisionConfig {
    int64_t image_size = 224, patch_size = 32, hidden = 768, layers = 12, heads = 12, intermediate = 3072;
    int64_t projection = 0; // 0: no projection in the file
    double eps = 1e-5;
    bool quick_gelu = true; // x * sigmoid(1.702 x); else the exact gelu
    int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size); } // without CLS
};

// From config.json's text: a vision config itself, or one with vision_config inside. Error::data names
// `where` and the key.
ClipVisionConfig parse_clip_vision_config(const std::string& json_text, const std::string& where);

class ClipVision {
public:
    virtual ~ClipVision() = default;
    virtual int64_t image_size() const = 0;
    virtual int64_t feature_size() const = 0;
    // pixels [N, 3, S, S], normalised -> patch or grid features [N, P, feature_size] (CLS dropped). layer:
    // which hidden state of a transformer (-2: before the last layer, as LLaVA; 0: the embeddings); a ResNet
    // has only its last grid.
    virtual at::Tensor features(const at::Tensor& pixels, int64_t layer) const = 0;
    // The same hidden state with the class token in front: [N, 1 + P, feature_size]. Transformers only.
    virtual at::Tensor states(const at::Tensor& pixels, int64_t layer) const;
    // the image embedding [N, projection] (post layer norm of CLS, projected): what VALUE's video features
    // are
    virtual at::Tensor embedding(const at::Tensor& pixels) const = 0;
    virtual std::vector<std::pair<std::string, at::Tensor>> parameters() const = 0; // names as in the file
};

// A transformer over tensors at hand, all on one device and of one dtype, by HF's names behind `prefix`
// (which includes "vision_model." where there is such a level).
std::unique_ptr<ClipVision> make_clip_vision(const std::map<std::string, at::Tensor>& tensors,
                                             const std::string& prefix, const ClipVisionConfig& config);
// HF's names (without a prefix) and shapes of every tensor of a transformer.
std::vector<std::pair<std::string, std::vector<int64_t>>> clip_vision_shapes(const ClipVisionConfig& config);
// A transformer out of an opened checkpoint whose vision tensors begin with `prefix` ("vision_tower.", "",
// …).
std::unique_ptr<ClipVision> make_clip_vision(const Checkpoint& checkpoint, const std::string& prefix,
                                             const ClipVisionConfig& config, at::ScalarType dtype);
// A folder or file of its own: HF (config.json beside it) or open_clip names (everything read off the
// shapes).
std::unique_ptr<ClipVision> load_clip_vision(const std::string& path, at::ScalarType dtype);

} // namespace dorabench
