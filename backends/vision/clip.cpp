#include "backends/vision/clip.h"
#include "backends/ops/product.h"
#include "backends/ops/tensor_io.h"
#include "backends/vision/clip_resnet.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

namespace dorabench {
namespace {

using nlohmann::json;

struct Linear {
    at::Tensor weight, bias;
};

struct Layer {
    Linear norm1, q, k, v, out, norm2, fc1, fc2;
};

// Tensor names of one layout. HF: "encoder.layers.{i}.self_attn.q_proj.weight"; open_clip: one in_proj for q,
// k and v.
class Reader {
public:
    struct Found {
        at::Tensor tensor; // undefined: there is none of this name
        std::string file;
    };
    using Find = std::function<Found(const std::string& name)>;
    Reader(Find find, std::string prefix) : find_(std::move(find)), prefix_(std::move(prefix)) {}
    Reader(const Checkpoint& checkpoint, std::string prefix, at::ScalarType dtype)
        : prefix_(std::move(prefix)), dtype_(dtype) {
        find_ = [&checkpoint](const std::string& name) {
            const Checkpoint::Place* place = checkpoint.find(name);
            return place ? Found{map_tensor(place->file, place->entry), place->file->path()} : Found{};
        };
    }
    at::Tensor take(const std::string& name, std::vector<int64_t> shape,
                    std::vector<std::pair<std::string, at::Tensor>>& all) const {
        const Found found = find_(prefix_ + name);
        if (!found.tensor.defined())
            throw Error::data("the vision tower lacks the tensor \"", prefix_, name, "\"");
        if (found.tensor.sizes() != at::IntArrayRef(shape))
            throw Error::data(found.file, ": ", prefix_, name, ": expected shape ", c10::IntArrayRef(shape),
                              ", got ", found.tensor.sizes());
        at::Tensor tensor = dtype_ ? found.tensor.to(*dtype_) : found.tensor;
        all.emplace_back(prefix_ + name, tensor);
        return tensor;
    }
    bool has(const std::string& name) const { return find_(prefix_ + name).tensor.defined(); }

private:
    Find find_;
    std::string prefix_;
    std::optional<at::ScalarType> dtype_; // none: as they are
};

class Transformer final : public ClipVision {
public:
    Transformer(const Reader& read, const ClipVisionConfig& config, bool open_clip) : config_(config) {
        int64_t d = config.hidden, f = config.intermediate, p = config.patch_size;
        auto linear = [&](const std::string& name, int64_t out, int64_t in) {
            return Linear{read.take(name + ".weight", {out, in}, all_),
                          read.take(name + ".bias", {out}, all_)};
        };
        auto norm = [&](const std::string& name) {
            return Linear{read.take(name + ".weight", {d}, all_), read.take(name + ".bias", {d}, all_)};
        };
        if (open_clip) {
            class_ = read.take("class_embedding", {d}, all_);
            positions_ = read.take("positional_embedding", {config.tokens() + 1, d}, all_);
            patch_ = read.take("conv1.weight", {d, 3, p, p}, all_);
            before_ = norm("ln_pre");
            after_ = norm("ln_post");
            if (config.projection) projection_ = read.take("proj", {d, config.projection}, all_).t();
        } else {
            class_ = read.take("embeddings.class_embedding", {d}, all_);
            positions_ = read.take("embeddings.position_embedding.weight", {config.tokens() + 1, d}, all_);
            patch_ = read.take("embeddings.patch_embedding.weight", {d, 3, p, p}, all_);
            before_ = norm("pre_layrnorm"); // so spelt in every published checkpoint
            if (read.has("post_layernorm.weight")) after_ = norm("post_layernorm");
        }
        for (int64_t i = 0; i < config.layers; ++i) {
            Layer layer;
            if (open_clip) {
                std::string at = cat("transformer.resblocks.", i, ".");
                layer.norm1 = norm(at + "ln_1");
                Linear in{read.take(at + "attn.in_proj_weight", {3 * d, d}, all_),
                          read.take(at + "attn.in_proj_bias", {3 * d}, all_)};
                auto third = [&](int64_t n) {
                    return Linear{in.weight.narrow(0, n * d, d), in.bias.narrow(0, n * d, d)};
                };
                layer.q = third(0);
                layer.k = third(1);
                layer.v = third(2);
                layer.out = linear(at + "attn.out_proj", d, d);
                layer.norm2 = norm(at + "ln_2");
                layer.fc1 = linear(at + "mlp.c_fc", f, d);
                layer.fc2 = linear(at + "mlp.c_proj", d, f);
            } else {
                std::string at = cat("encoder.layers.", i, ".");
                layer.norm1 = norm(at + "layer_norm1");
                layer.q = linear(at + "self_attn.q_proj", d, d);
                layer.k = linear(at + "self_attn.k_proj", d, d);
                layer.v = linear(at + "self_attn.v_proj", d, d);
                layer.out = linear(at + "self_attn.out_proj", d, d);
                layer.norm2 = norm(at + "layer_norm2");
                layer.fc1 = linear(at + "mlp.fc1", f, d);
                layer.fc2 = linear(at + "mlp.fc2", d, f);
            }
            layers_.push_back(std::move(layer));
        }
    }
    void set_projection(at::Tensor projection) { projection_ = std::move(projection); }
    int64_t image_size() const override { return config_.image_size; }
    int64_t feature_size() const override { return config_.hidden; }
    std::vector<std::pair<std::string, at::Tensor>> parameters() const override { return all_; }

    at::Tensor features(const at::Tensor& pixels, int64_t layer) const override {
        return states(pixels, layer).narrow(1, 1, config_.tokens());
    }
    at::Tensor states(const at::Tensor& pixels, int64_t layer) const override {
        int64_t count = layer < 0 ? config_.layers + 1 + layer : layer;
        if (count < 0 || count > config_.layers)
            throw Error::config("vision_feature_layer: the tower has ", config_.layers, " layers, got ",
                                layer);
        return run(pixels, count);
    }
    at::Tensor embedding(const at::Tensor& pixels) const override {
        if (!projection_.defined() || !after_.weight.defined())
            throw Error::data(
                "the vision tower has no projection: image embeddings need a whole CLIP checkpoint");
        return linear_product(apply_norm(run(pixels, config_.layers).select(1, 0), after_), projection_);
    }

private:
    at::Tensor apply_norm(const at::Tensor& x, const Linear& norm) const {
        return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, config_.eps);
    }
    at::Tensor run(const at::Tensor& pixels, int64_t count) const {
        int64_t n = pixels.size(0), d = config_.hidden, h = config_.heads;
        at::Tensor x = at::conv2d(pixels.to(patch_.options()), patch_, {}, config_.patch_size)
                           .flatten(2)
                           .transpose(1, 2);
        x = at::cat({class_.expand({n, 1, d}), x}, 1) + positions_;
        x = apply_norm(x, before_);
        int64_t t = x.size(1);
        auto split = [&](const at::Tensor& y) { return y.view({n, t, h, d / h}).transpose(1, 2); };
        for (int64_t i = 0; i < count; ++i) {
            const Layer& layer = layers_[static_cast<size_t>(i)];
            at::Tensor y = apply_norm(x, layer.norm1);
            at::Tensor attended =
                at::scaled_dot_product_attention(split(linear_product(y, layer.q.weight, layer.q.bias)),
                                                 split(linear_product(y, layer.k.weight, layer.k.bias)),
                                                 split(linear_product(y, layer.v.weight, layer.v.bias)));
            x = x +
                linear_product(attended.transpose(1, 2).reshape({n, t, d}), layer.out.weight, layer.out.bias);
            y = linear_product(apply_norm(x, layer.norm2), layer.fc1.weight, layer.fc1.bias);
            y = config_.quick_gelu ? y * at::sigmoid(y * 1.702) : at::gelu(y);
            x = x + linear_product(y, layer.fc2.weight, layer.fc2.bias);
        }
        return x;
    }

    ClipVisionConfig config_;
    std::vector<std::pair<std::string, at::Tensor>> all_;
    at::Tensor class_, positions_, patch_, projection_;
    Linear before_, after_;
    std::vector<Layer> layers_;
};

int64_t positive(const json& config, const char* key, int64_t otherwise, const std::string& where) {
    if (!config.contains(key)) return otherwise;
    if (!config[key].is_number_integer() || config[key].get<int64_t>() < 1 ||
        config[key].get<int64_t>() > (1 << 24))
        throw Error::data(where, ": ", key, ": expected a positive integer, got ", config[key].dump());
    return config[key].get<int64_t>();
}

} // namespace

ClipVisionConfig parse_clip_vision_config(const std::string& text, const std::string& where) {
    json whole = json::parse(text, nullptr, false);
    if (!whole.is_object()) throw Error::data(where, ": not a JSON object");
    const json& config = whole.contains("vision_config") && whole["vision_config"].is_object()
                             ? whole["vision_config"]
                             : whole;
    ClipVisionConfig out;
    std::string type = config.contains("model_type") && config["model_type"].is_string()
                           ? config["model_type"].get<std::string>()
                           : "clip_vision_model";
    if (type != "clip_vision_model" && type != "clip")
        throw Error::data(where, ": model_type: expected clip_vision_model, got \"", type, "\"");
    out.image_size = positive(config, "image_size", 224, where);
    out.patch_size = positive(config, "patch_size", 32, where);
    out.hidden = positive(config, "hidden_size", 768, where);
    out.layers = positive(config, "num_hidden_layers", 12, where);
    out.heads = positive(config, "num_attention_heads", 12, where);
    out.intermediate = positive(config, "intermediate_size", 4 * out.hidden, where);
    if (out.hidden % out.heads || out.image_size < out.patch_size)
        throw Error::data(
            where,
            ": hidden_size must be a multiple of num_attention_heads and image_size at least patch_size");
    std::string act = config.value("hidden_act", std::string("quick_gelu"));
    if (act != "quick_gelu" && act != "gelu")
        throw Error::data(where, ": hidden_act: expected quick_gelu or gelu, got \"", act, "\"");
    out.quick_gelu = act == "quick_gelu";
    if (config.contains("layer_norm_eps") && config["layer_norm_eps"].is_number())
        out.eps = config["layer_norm_eps"];
    const json& holder = whole.contains("projection_dim") ? whole : config;
    out.projection = positive(holder, "projection_dim", 0, where);
    return out;
}

at::Tensor ClipVision::states(const at::Tensor&, int64_t) const {
    throw Error::config("this image encoder has no class token in its hidden states (a ResNet)");
}

std::vector<std::pair<std::string, std::vector<int64_t>>> clip_vision_shapes(const ClipVisionConfig& c) {
    std::vector<std::pair<std::string, std::vector<int64_t>>> out;
    const int64_t d = c.hidden, f = c.intermediate, p = c.patch_size;
    auto pair = [&](const std::string& name, std::vector<int64_t> weight) {
        out.emplace_back(name + ".bias", std::vector<int64_t>{weight[0]});
        out.emplace_back(name + ".weight", std::move(weight));
    };
    out.emplace_back("embeddings.class_embedding", std::vector<int64_t>{d});
    out.emplace_back("embeddings.patch_embedding.weight", std::vector<int64_t>{d, 3, p, p});
    out.emplace_back("embeddings.position_embedding.weight", std::vector<int64_t>{c.tokens() + 1, d});
    pair("pre_layrnorm", {d});
    for (int64_t i = 0; i < c.layers; ++i) {
        const std::string at = cat("encoder.layers.", i, ".");
        pair(at + "layer_norm1", {d});
        for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"})
            pair(at + "self_attn." + name, {d, d});
        pair(at + "layer_norm2", {d});
        pair(at + "mlp.fc1", {f, d});
        pair(at + "mlp.fc2", {d, f});
    }
    pair("post_layernorm", {d});
    return out;
}

std::unique_ptr<ClipVision> make_clip_vision(const std::map<std::string, at::Tensor>& tensors,
                                             const std::string& prefix, const ClipVisionConfig& config) {
    auto find = [&tensors](const std::string& name) {
        const auto at = tensors.find(name);
        return at == tensors.end() ? Reader::Found{} : Reader::Found{at->second, "the image encoder"};
    };
    return std::make_unique<Transformer>(Reader(find, prefix), config, false);
}

std::unique_ptr<ClipVision> make_clip_vision(const Checkpoint& checkpoint, const std::string& prefix,
                                             const ClipVisionConfig& config, at::ScalarType dtype) {
    // transformers up to 4 write a level "vision_model." that transformers 5 leaves out
    std::string inner = checkpoint.find(prefix + "vision_model.embeddings.class_embedding")
                            ? prefix + "vision_model."
                            : prefix;
    auto tower = std::make_unique<Transformer>(Reader(checkpoint, inner, dtype), config, false);
    if (const Checkpoint::Place* place = checkpoint.find(prefix + "visual_projection.weight"))
        tower->set_projection(map_tensor(place->file, place->entry).to(dtype));
    return tower;
}

std::unique_ptr<ClipVision> load_clip_vision(const std::string& path, at::ScalarType dtype) {
    Checkpoint checkpoint = Checkpoint::open(path);
    auto shape_of = [&](const std::string& name) {
        auto* place = checkpoint.find(name);
        return place ? place->entry.shape : std::vector<int64_t>();
    };
    std::string prefix = checkpoint.find("visual.conv1.weight") ? "visual." : "";
    if (checkpoint.find(prefix + "layer1.0.conv1.weight")) return make_clip_resnet(checkpoint, prefix, dtype);
    if (checkpoint.find(prefix + "class_embedding")) { // open_clip: everything is in the shapes
        ClipVisionConfig config;
        auto patch = shape_of(prefix + "conv1.weight"), positions = shape_of(prefix + "positional_embedding"),
             fc = shape_of(prefix + "transformer.resblocks.0.mlp.c_fc.weight");
        auto projection = shape_of(prefix + "proj");
        if (patch.size() != 4 || positions.size() != 2 || fc.size() != 2)
            throw Error::data(path, ": conv1, positional_embedding or mlp.c_fc is missing or misshapen");
        config.hidden = patch[0];
        config.patch_size = patch[2];
        config.intermediate = fc[0];
        config.heads = std::max<int64_t>(1, config.hidden / 64);
        int64_t grid = 1;
        while (grid * grid < positions[0] - 1) ++grid;
        config.image_size = grid * config.patch_size;
        config.projection = projection.size() == 2 ? projection[1] : 0;
        for (config.layers = 0;
             checkpoint.find(cat(prefix, "transformer.resblocks.", config.layers, ".ln_1.weight"));)
            ++config.layers;
        return std::make_unique<Transformer>(Reader(checkpoint, prefix, dtype), config, true);
    }
    std::string folder = is_folder(path) ? path : std::filesystem::path(path).parent_path().string();
    std::string config = folder + "/config.json";
    return make_clip_vision(checkpoint, "", parse_clip_vision_config(read_file(config), config), dtype);
}

} // namespace dorabench
