#include "backends/vision/clip_resnet.h"
#include "backends/ops/product.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/scaled_dot_product_attention.h>

namespace dorabench {
namespace {

// Batch norm is frozen, so it is folded into the convolution before it: w' = w g / sqrt(v + eps), b' = b - m
// g / sqrt(v + eps).
struct Conv {
    at::Tensor weight, bias;
};

struct Block {
    Conv conv1, conv2, conv3, down;
    int64_t stride = 1;
};

class ModifiedResNet final : public ClipVision {
public:
    ModifiedResNet(const Checkpoint& checkpoint, const std::string& prefix, at::ScalarType dtype)
        : checkpoint_(checkpoint), prefix_(prefix), dtype_(dtype) {
        for (int i = 1; i <= 3; ++i) stem_.push_back(folded(cat("conv", i), cat("bn", i)));
        for (int stage = 1; stage <= 4; ++stage)
            for (int i = 0; checkpoint.find(cat(prefix, "layer", stage, ".", i, ".conv1.weight")); ++i) {
                std::string at = cat("layer", stage, ".", i, ".");
                Block block{folded(at + "conv1", at + "bn1"),
                            folded(at + "conv2", at + "bn2"),
                            folded(at + "conv3", at + "bn3"),
                            {},
                            stage > 1 && i == 0 ? 2 : 1};
                if (checkpoint.find(prefix + at + "downsample.0.weight"))
                    block.down = folded(at + "downsample.0", at + "downsample.1");
                blocks_.push_back(std::move(block));
            }
        if (blocks_.empty()) throw Error::data("the ResNet has no blocks under \"", prefix, "layer1.0\"");
        width_ = blocks_.back().conv3.weight.size(0);
        if (checkpoint.find(prefix + "attnpool.positional_embedding")) {
            positions_ = take("attnpool.positional_embedding");
            for (auto [name, to] :
                 {std::pair{"q_proj", &q_}, {"k_proj", &k_}, {"v_proj", &v_}, {"c_proj", &c_}})
                *to = {take(cat("attnpool.", name, ".weight")), take(cat("attnpool.", name, ".bias"))};
            int64_t grid = 1;
            while (grid * grid < positions_.size(0) - 1) ++grid;
            image_size_ = grid * 32;
        }
    }
    int64_t image_size() const override { return image_size_; }
    int64_t feature_size() const override { return width_; }
    std::vector<std::pair<std::string, at::Tensor>> parameters() const override { return all_; }
    at::Tensor features(const at::Tensor& pixels, int64_t) const override {
        return grid(pixels).flatten(2).transpose(1, 2);
    }
    at::Tensor embedding(const at::Tensor& pixels) const override {
        at::NoGradGuard frozen;
        if (!positions_.defined()) throw Error::data("the ResNet has no attention pool");
        at::Tensor x = grid(pixels).flatten(2).transpose(1, 2); // [N, P, C]
        int64_t n = x.size(0), c = x.size(2), heads = c / 64;
        x = at::cat({x.mean(1, true), x}, 1) + positions_;
        auto split = [&](const at::Tensor& y) {
            return y.view({n, y.size(1), heads, c / heads}).transpose(1, 2);
        };
        at::Tensor q = split(linear_product(x.narrow(1, 0, 1), q_.weight, q_.bias));
        at::Tensor y = at::scaled_dot_product_attention(q, split(linear_product(x, k_.weight, k_.bias)),
                                                        split(linear_product(x, v_.weight, v_.bias)));
        return linear_product(y.transpose(1, 2).reshape({n, c}), c_.weight, c_.bias);
    }

private:
    at::Tensor take(const std::string& name) {
        const Checkpoint::Place* place = checkpoint_.find(prefix_ + name);
        if (!place) throw Error::data("the vision tower lacks the tensor \"", prefix_, name, "\"");
        at::Tensor tensor = map_tensor(place->file, place->entry).to(dtype_);
        all_.emplace_back(prefix_ + name, tensor);
        return tensor;
    }
    Conv folded(const std::string& conv, const std::string& bn) {
        at::Tensor weight = take(conv + ".weight").to(at::kFloat), gain = take(bn + ".weight").to(at::kFloat),
                   shift = take(bn + ".bias").to(at::kFloat);
        at::Tensor mean = take(bn + ".running_mean").to(at::kFloat),
                   variance = take(bn + ".running_var").to(at::kFloat);
        if (weight.dim() != 4 || gain.numel() != weight.size(0) || mean.numel() != gain.numel() ||
            variance.numel() != gain.numel() || shift.numel() != gain.numel())
            throw Error::data("the vision tower's ", prefix_, conv, " and ", bn, " disagree in shape");
        at::Tensor scale = gain / (variance + 1e-5).sqrt();
        return {(weight * scale.view({-1, 1, 1, 1})).to(dtype_), (shift - mean * scale).to(dtype_)};
    }
    static at::Tensor conv(const at::Tensor& x, const Conv& c, int64_t stride, int64_t padding) {
        return at::conv2d(x, c.weight, c.bias, stride, padding);
    }
    at::Tensor grid(const at::Tensor& pixels) const {
        at::NoGradGuard frozen;
        at::Tensor x = pixels.to(dtype_);
        for (size_t i = 0; i < 3; ++i) x = at::relu(conv(x, stem_[i], i == 0 ? 2 : 1, 1));
        x = at::avg_pool2d(x, 2);
        for (const Block& block : blocks_) {
            at::Tensor y = at::relu(conv(x, block.conv1, 1, 0));
            y = at::relu(conv(y, block.conv2, 1, 1));
            if (block.stride > 1) y = at::avg_pool2d(y, block.stride);
            y = conv(y, block.conv3, 1, 0);
            at::Tensor skip = x;
            if (block.down.weight.defined())
                skip = conv(block.stride > 1 ? at::avg_pool2d(x, block.stride) : x, block.down, 1, 0);
            x = at::relu(y + skip);
        }
        return x;
    }

    const Checkpoint& checkpoint_; // only while constructing
    std::string prefix_;
    at::ScalarType dtype_;
    int64_t width_ = 0, image_size_ = 224;
    std::vector<std::pair<std::string, at::Tensor>> all_;
    std::vector<Conv> stem_;
    std::vector<Block> blocks_;
    at::Tensor positions_;
    Conv q_, k_, v_, c_;
};

} // namespace

std::unique_ptr<ClipVision> make_clip_resnet(const Checkpoint& checkpoint, const std::string& prefix,
                                             at::ScalarType dtype) {
    return std::make_unique<ModifiedResNet>(checkpoint, prefix, dtype);
}

} // namespace dorabench
