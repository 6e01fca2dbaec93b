#include "backends/vlbart/visual.h"
#include "backends/ops/product.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <ATen/ops/adaptive_max_pool1d.h>
#include <ATen/ops/adaptive_max_pool2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/layer_norm.h>
#include <cmath>

namespace dorabench {
namespace {

constexpr double kNormEps = 1e-5;

int64_t root_of(int64_t n) { return std::llround(std::sqrt(static_cast<double>(n))); }

// [L, D] of one image -> [n, D]
at::Tensor pool_image(const at::Tensor& x, const VisualConfig& config, const std::string& what) {
    const int64_t rows = x.size(0), n = config.n_boxes;
    if (rows == n || config.pool == VisualConfig::Pool::none) return x;
    if (config.pool == VisualConfig::Pool::sequence &&
        rows < n) // a short video: zeros behind it, as VALUE's loader
        return at::cat({x, at::zeros({n - rows, x.size(1)}, x.options())}, 0);
    const at::Tensor columns = x.t().unsqueeze(0).contiguous(); // [1, D, L]
    if (config.pool == VisualConfig::Pool::sequence)
        return std::get<0>(at::adaptive_max_pool1d(columns, {n})).squeeze(0).t();
    const int64_t side = root_of(rows), to = root_of(n);
    if (side * side != rows)
        throw Error::data(what, ": expected features of a square grid for each image (downsample), got ",
                          rows, " rows for one");
    return std::get<0>(at::adaptive_max_pool2d(columns.view({1, -1, side, side}), {to, to}))
        .reshape({x.size(1), n})
        .t();
}

at::Tensor read_floats(const std::shared_ptr<const SafetensorsFile>& file, const std::string& name,
                       int64_t width, const char* width_name) {
    const TensorEntry& entry = file->tensors().at(name);
    if (entry.shape.size() != 2 || entry.shape[1] != width || entry.shape[0] < 1) {
        std::string shape;
        for (int64_t size : entry.shape) shape += cat(shape.empty() ? "" : ", ", size);
        throw Error::data(file->path(), ": ", name, " must be [N, ", width_name, width,
                          "] with N at least 1, is [", shape, "]");
    }
    const at::ScalarType type = scalar_type(entry.dtype);
    if (type != at::kFloat && type != at::kHalf && type != at::kBFloat16 && type != at::kDouble)
        throw Error::data(file->path(), ": ", name, " must be F32, F16, BF16 or F64, is ",
                          dtype_name(entry.dtype));
    return map_tensor(file, entry).to(at::kFloat, false, true);
}

// Images that have a file each: read and pooled one by one, then put behind each other.
VisualInput read_apart(const Media& media, const VisualConfig& config, const std::string& what) {
    const std::vector<std::string> files = split(media.features, '\n');
    if (static_cast<int64_t>(files.size()) != media.n_images || media.n_images > config.n_images)
        throw Error::data(what, ": expected one features file, or n_images=", media.n_images, " (at most ",
                          config.n_images, ", config.json), got ", files.size());
    std::vector<at::Tensor> feats, boxes;
    for (const std::string& file : files) {
        Media one;
        one.features = file;
        const VisualInput input = read_visual(one, config, what);
        if (!feats.empty() && input.rows() != feats[0].size(0))
            throw Error::data(file, ": expected as many rows as the other image has (", feats[0].size(0),
                              "), got ", input.rows());
        feats.push_back(input.feats);
        boxes.push_back(input.boxes);
    }
    return {at::cat(feats, 0), at::cat(boxes, 0), media.n_images};
}

} // namespace

VisualInput pool_visual(const VisualInput& input, const VisualConfig& config, const std::string& what) {
    if (config.pool == VisualConfig::Pool::none || input.rows() == input.images * config.n_boxes)
        return input;
    const int64_t each = input.rows() / input.images, kept = std::min(each, config.n_boxes);
    std::vector<at::Tensor> feats, boxes;
    for (int64_t i = 0; i < input.images; ++i) {
        feats.push_back(pool_image(input.feats.narrow(0, i * each, each), config, what));
        at::Tensor own = input.boxes.narrow(0, i * each, kept);
        if (kept < config.n_boxes)
            own = at::cat({own, at::zeros({config.n_boxes - kept, 4}, own.options())}, 0);
        boxes.push_back(own);
    }
    return {at::cat(feats, 0).contiguous(), at::cat(boxes, 0).contiguous(), input.images};
}

VisualInput read_visual(const Media& media, const VisualConfig& config, const std::string& what) {
    if (!media.images.empty() || !media.video.empty())
        throw Error::data(what,
                          ": expected text and features, got images or video; `features` turns them into the "
                          "features that this backbone reads");
    if (media.features.empty()) return {};
    if (!config.present())
        throw Error::data(what, ": expected text alone, got features (", media.features,
                          "); this BART has no visual embedding (config.json: feat_dim)");
    if (media.features.find('\n') != std::string::npos) return read_apart(media, config, what);
    const auto file = SafetensorsFile::open(media.features);
    if (!file->tensors().count("feats"))
        throw Error::data(media.features, ": expected a tensor feats [N, ", config.feat_dim, "], got none");
    VisualInput out;
    out.feats = read_floats(file, "feats", config.feat_dim, "feat_dim=");
    out.images = media.n_images;
    const int64_t rows = out.feats.size(0);
    if (out.images < 1 || out.images > config.n_images)
        throw Error::data(what, ": n_images must be in [1, ", config.n_images, "] (config.json), got ",
                          out.images);
    if (rows % out.images != 0)
        throw Error::data(media.features, ": feats must have a multiple of n_images=", out.images,
                          " rows, has ", rows);
    out.boxes =
        file->tensors().count("boxes") ? read_floats(file, "boxes", 4, "") : at::zeros({rows, 4}, at::kFloat);
    if (out.boxes.size(0) != rows)
        throw Error::data(media.features, ": boxes must be as many as feats (", rows, "), got ",
                          out.boxes.size(0));
    if (config.pool == VisualConfig::Pool::none && rows / out.images > config.n_boxes)
        throw Error::data(media.features, ": feats must have at most n_boxes=", config.n_boxes,
                          " rows for an image (config.json), has ", rows / out.images);
    if (!out.feats.isfinite().all().item<bool>() || !out.boxes.isfinite().all().item<bool>())
        throw Error::data(media.features, ": feats and boxes must be finite, got NaN or infinity");
    return pool_visual(out, config, media.features);
}

VisualEmbedding::VisualEmbedding(const BartConfig& config, const Weights& weights) : config_(config.visual) {
    const std::string at = "model.encoder.visual_embedding.";
    auto tensor = [&](const std::string& name) -> const at::Tensor& {
        auto found = weights.find(name);
        if (found == weights.end()) throw Error::internal("vlbart: weight ", name, " was not loaded");
        return found->second;
    };
    shared_ = tensor("model.shared.weight");
    feat_weight_ = tensor(at + "feat_embedding.0.weight"), feat_bias_ = tensor(at + "feat_embedding.0.bias");
    box_weight_ = tensor(at + "absolute_vis_pos_embedding.0.weight");
    box_bias_ = tensor(at + "absolute_vis_pos_embedding.0.bias");
    if (config_.layer_norm && config_.individual_norm) {
        feat_norm_ = tensor(at + "feat_embedding.1.weight"),
        feat_norm_bias_ = tensor(at + "feat_embedding.1.bias");
        box_norm_ = tensor(at + "absolute_vis_pos_embedding.1.weight");
        box_norm_bias_ = tensor(at + "absolute_vis_pos_embedding.1.bias");
    } else if (config_.layer_norm) {
        norm_ = tensor(at + "layer_norm.weight"), norm_bias_ = tensor(at + "layer_norm.bias");
    }
    if (config_.order_embedding) image_order_ = tensor(at + "img_order_embedding.weight");
}

at::Tensor VisualEmbedding::normed(const at::Tensor& x, const at::Tensor& weight,
                                   const at::Tensor& bias) const {
    return weight.defined() ? at::layer_norm(x, {x.size(-1)}, weight, bias, kNormEps) : x;
}

at::Tensor VisualEmbedding::forward(std::span<const VisualInput* const> inputs) const {
    std::vector<at::Tensor> feats, boxes;
    std::vector<int64_t> image, object; // row of each table
    for (const VisualInput* input : inputs) {
        feats.push_back(input->feats);
        boxes.push_back(input->boxes);
        const int64_t each = input->rows() / input->images;
        for (int64_t i = 0; i < input->rows(); ++i) {
            image.push_back(i / each);
            object.push_back(shared_.size(0) - 1 - i % each);
        }
    }
    const auto to = shared_.options();
    const at::Tensor p = at::cat(boxes, 0);
    const at::Tensor area = (p.select(1, 3) - p.select(1, 2)) * (p.select(1, 1) - p.select(1, 0));
    const at::Tensor position = at::cat({p, area.unsqueeze(1)}, 1);
    at::Tensor v = normed(linear_product(at::cat(feats, 0).to(to), feat_weight_, feat_bias_), feat_norm_,
                          feat_norm_bias_);
    v = v + normed(linear_product(position.to(to), box_weight_, box_bias_), box_norm_, box_norm_bias_);
    if (config_.order_embedding) {
        auto ids = [&](std::vector<int64_t>& values) {
            return at::from_blob(values.data(), {static_cast<int64_t>(values.size())}, at::kLong)
                .to(shared_.device(), at::kLong, false, true);
        };
        v = v + at::embedding(image_order_, ids(image)) + at::embedding(shared_, ids(object));
    }
    return normed(v, norm_, norm_bias_);
}

} // namespace dorabench
