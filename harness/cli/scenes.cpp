// scenes: the data of the media quickstart (tasks/scenes.h), and an image encoder to turn it into features: a
// small CLIP vision transformer with random weights, so that nothing has to be downloaded. What it says of a
// patch is little more than a random projection of its pixels; what is learnt is learnt behind it.
#include "tasks/scenes.h"
#include "backends/io/safetensors.h"
#include "backends/vision/clip.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include "harness/cli/commands.h"
#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

namespace dorabench {
namespace {

ClipVisionConfig encoder_config() { // a patch is a cell of a picture
    ClipVisionConfig c;
    c.image_size = 96, c.patch_size = 32, c.hidden = 96, c.layers = 1, c.heads = 4, c.intermediate = 192;
    c.projection = 96;
    return c;
}

// Norms are the identity; the projections keep the length of what they read; places, class token and the
// transformer's layer are small beside the patches, so that a picture's embedding is about the mean of what
// is on it.
float scale_of(const std::string& name, const std::vector<int64_t>& shape) {
    if (shape.size() == 4) return 1.0f / std::sqrt(static_cast<float>(shape[1] * shape[2] * shape[3]));
    if (shape.size() == 2 &&
        (name.find("visual_projection") != std::string::npos || name.find("v_proj") != std::string::npos ||
         name.find("out_proj") != std::string::npos))
        return 1.0f / std::sqrt(static_cast<float>(shape[1]));
    return shape.size() == 2 ? 0.02f : 0.0f;
}

void write_encoder(const std::string& folder, uint64_t seed) {
    const ClipVisionConfig c = encoder_config();
    Rng rng(seed, "scenes.encoder");
    auto shapes = clip_vision_shapes(c);
    shapes.emplace_back("visual_projection.weight", std::vector<int64_t>{c.projection, c.hidden});
    std::vector<std::vector<float>> values;
    std::vector<TensorBytes> tensors;
    for (auto& [name, shape] : shapes) {
        int64_t elements = 1;
        for (int64_t size : shape) elements *= size;
        std::vector<float> own(static_cast<size_t>(elements));
        const bool norm_weight =
            ends_with(name, ".weight") && name.find("norm") != std::string::npos && shape.size() == 1;
        const float scale = scale_of(name, shape);
        for (float& value : own) value = norm_weight ? 1.0f : scale * static_cast<float>(rng.normal());
        if (name == "embeddings.position_embedding.weight") // the class token begins at zero
            std::fill_n(own.begin(), c.hidden, 0.0f);
        values.push_back(std::move(own));
    }
    for (size_t i = 0; i < shapes.size(); ++i) {
        const std::string prefix = starts_with(shapes[i].first, "visual_projection") ? "" : "vision_model.";
        tensors.push_back(
            {prefix + shapes[i].first, Dtype::f32, shapes[i].second, std::as_bytes(std::span(values[i]))});
    }
    make_folder(folder);
    write_safetensors(folder + "/model.safetensors", tensors);
    const nlohmann::json config = {{"model_type", "clip_vision_model"},   {"image_size", c.image_size},
                                   {"patch_size", c.patch_size},          {"hidden_size", c.hidden},
                                   {"num_hidden_layers", c.layers},       {"num_attention_heads", c.heads},
                                   {"intermediate_size", c.intermediate}, {"projection_dim", c.projection},
                                   {"hidden_act", "quick_gelu"},          {"layer_norm_eps", c.eps}};
    write_file_atomic(folder + "/config.json", config.dump(2) + "\n");
}

} // namespace

int scenes_command(const ScenesOptions& options, const Globals&) {
    ScenesSpec spec;
    spec.seed = options.seed;
    spec.train_scenes = options.scenes, spec.train_clips = options.clips;
    spec.test_scenes = std::min(spec.test_scenes, options.scenes);
    spec.test_clips = std::min(spec.test_clips, options.clips);
    write_scenes(options.to, spec);
    write_encoder(options.to + "/encoder", options.seed);
    std::cout << options.to << ": " << spec.train_scenes + spec.test_scenes << " scenes, "
              << spec.train_clips + spec.test_clips
              << " clips, questions, statements and captions, a tokenizer and an encoder\n";
    return 0;
}

} // namespace dorabench
