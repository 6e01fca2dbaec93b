#include "backends/ops/nf4.h"
#include "backends/ops/cuda_geometry.h"
#include "backends/ops/cuda_kernels.h"
#include "backends/ops/kernel_math.h"
#include "backends/ops/nf4_cpu.h"
#include "backends/ops/nf4_product.h"
#include "harness/base/error.h"
#include <ATen/ops/linspace.h>
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

namespace dorabench {
namespace {

constexpr std::array<float, 16> kTable = {DORABENCH_NF4_TABLE};
constexpr uint8_t kZeroCode = 7;
// bitsandbytes' CPU code finds an 8-bit code on a grid of this many steps over [-1, 1]; the same grid gives
// the same codes where two values of the map are nearly as close.
constexpr double kMapSteps = 65535;
constexpr int64_t kGrain = 512; // blocks a thread takes at least

std::array<float, 15> midpoints() {
    std::array<float, 15> mids;
    for (size_t i = 0; i < mids.size(); ++i) mids[i] = (kTable[i] + kTable[i + 1]) / 2;
    return mids;
}

uint64_t next_id() {
    static std::atomic<uint64_t> last{0}; // identity of weights alone; no result depends on it
    return ++last;
}

template <typename S>
bool quantise_blocks(const S* w, uint8_t* codes, float* absmax, int64_t n, int64_t first, int64_t last) {
    static const std::array<float, 15> mids = midpoints();
    bool finite = true;
    uint8_t nearest[kNf4Block + 2];
    for (int64_t b = first; b < last; ++b) {
        const int64_t begin = b * kNf4Block, count = std::min(kNf4Block, n - begin);
        float largest = 0;
        for (int64_t i = 0; i < count; ++i) {
            const float value = std::abs(static_cast<float>(w[begin + i]));
            finite = finite && std::isfinite(value);
            largest = std::max(largest, value);
        }
        absmax[b] = largest;
        const float inverse = largest > 0 ? 1.0f / largest : 0.0f;
        for (int64_t i = 0; i < count; ++i) {
            const float x = static_cast<float>(w[begin + i]) * inverse;
            uint8_t code = 0;
            for (float mid : mids) code = uint8_t(code + (x > mid));
            nearest[i] = x == x ? code : kZeroCode; // 0 times the infinite inverse of a denormal number
        }
        if (count % 2) nearest[count] = kZeroCode;
        for (int64_t i = 0; i < count; i += 2)
            codes[(begin + i) / 2] = uint8_t(nearest[i] << 4 | nearest[i + 1]);
    }
    return finite;
}

// absmax - offset in 8 bits.
void quantise_scales(Nf4Weight& weight) {
    const at::Tensor offset = weight.absmax.mean();
    weight.offset = offset.item<double>();
    const at::Tensor centred = weight.absmax - offset, map = nf4_dynamic_map();
    const int64_t n = centred.numel(), blocks = (n + weight.nested_block - 1) / weight.nested_block;
    at::Tensor codes = at::empty({n}, at::kByte), scales = at::empty({blocks}, at::kFloat);
    // the map's code for each step of the grid
    std::vector<uint8_t> code_of(size_t(kMapSteps) + 1);
    const float* values = map.const_data_ptr<float>();
    for (size_t step = 0, code = 0; step < code_of.size(); ++step) {
        const double x = double(step) / (kMapSteps / 2) - 1;
        while (code < 255 && std::abs(double(values[code + 1]) - x) < std::abs(double(values[code]) - x))
            ++code;
        code_of[step] = uint8_t(code);
    }
    const float* from = centred.const_data_ptr<float>();
    uint8_t* to = codes.mutable_data_ptr<uint8_t>();
    for (int64_t b = 0; b < blocks; ++b) {
        const int64_t begin = b * weight.nested_block, end = std::min(n, begin + weight.nested_block);
        float largest = 0;
        for (int64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(from[i]));
        scales.mutable_data_ptr<float>()[b] = largest;
        for (int64_t i = begin; i < end; ++i) {
            if (largest == 0) { // all alike: any code times 0; bitsandbytes writes 0
                to[i] = 0;
                continue;
            }
            const double x = std::clamp(double(from[i] / largest), -1.0, 1.0);
            to[i] = code_of[size_t(std::nearbyint((x + 1) * (kMapSteps / 2)))];
        }
    }
    weight.absmax = codes;
    weight.nested_absmax = scales;
    weight.nested_map = map;
}

at::Tensor row_norms(const at::Tensor& weight) {
    at::Tensor norms = at::empty({weight.size(0)}, at::kFloat);
    for (int64_t row = 0, step = std::max<int64_t>(1, (1 << 20) / std::max<int64_t>(1, weight.size(1)));
         row < weight.size(0); row += step) {
        const int64_t rows = std::min(step, weight.size(0) - row);
        const at::Tensor wide = weight.narrow(0, row, rows).to(at::kDouble);
        norms.narrow(0, row, rows).copy_((wide * wide).sum(1).sqrt());
    }
    return norms;
}

void dequantise_into(const Nf4Weight& weight, at::Tensor& y) {
    if (weight.codes.is_cpu()) return nf4_dequantise_cpu(weight, y);
    const at::Tensor absmax = nf4_absmax(weight);
    const int64_t n = weight.out * weight.in;
    if (const CudaKernels* cuda = kernels_for(y); cuda && weight.block % 8 == 0)
        return cuda->nf4_dequantise(weight.codes, absmax, weight.block, y);
    // by ATen's own operators: a gather and a product
    const at::Tensor bytes = weight.codes.to(at::kLong);
    const at::Tensor codes = at::stack({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}, 1).view(-1);
    const at::Tensor values = nf4_table().to(y.device()).index_select(0, codes.narrow(0, 0, n));
    y.view(-1).copy_(values * absmax.repeat_interleave(weight.block).narrow(0, 0, n));
}

} // namespace

at::Tensor nf4_table() {
    at::Tensor table = at::empty({16}, at::kFloat);
    std::copy(kTable.begin(), kTable.end(), table.mutable_data_ptr<float>());
    return table;
}

// Seven decades below 1: decade i has 2^i values, the centres of equal parts of [0.1, 1] times 10^(i - 6),
// with either sign; and 0 and 1. The centres are taken in float32, as the published maps have them.
at::Tensor nf4_dynamic_map() {
    std::vector<double> values = {0, 1};
    for (int decade = 0; decade < 7; ++decade) {
        const int64_t parts = int64_t(1) << decade;
        const at::Tensor edges = at::linspace(0.1, 1, parts + 1, at::kFloat);
        const at::Tensor centres = ((edges.narrow(0, 0, parts) + edges.narrow(0, 1, parts)) / 2).contiguous();
        for (int64_t i = 0; i < parts; ++i) {
            // a Python float times a float32 tensor: the factor is rounded first
            const float value = float(std::pow(10.0, decade - 6)) * centres.const_data_ptr<float>()[i];
            values.push_back(value), values.push_back(-value);
        }
    }
    std::sort(values.begin(), values.end());
    at::Tensor map = at::empty({256}, at::kFloat);
    std::copy(values.begin(), values.end(), map.mutable_data_ptr<float>());
    return map;
}

std::shared_ptr<Nf4Weight> nf4_quantise(const at::Tensor& source, bool double_quant,
                                        std::shared_ptr<Nf4Buffer> buffer) {
    TORCH_CHECK(source.dim() == 2 && source.numel() > 0 && source.is_floating_point(),
                "[nf4] weight must be a floating [out, in], got ", source.scalar_type(), " ", source.sizes());
    at::NoGradGuard no_grad;
    const at::Tensor weight = source.detach().to(at::kCPU).contiguous();
    auto packed = std::make_shared<Nf4Weight>();
    packed->out = weight.size(0), packed->in = weight.size(1), packed->dtype = weight.scalar_type();
    const int64_t n = weight.numel();
    packed->codes = at::empty({(n + 1) / 2}, at::kByte);
    packed->absmax = at::empty({packed->blocks()}, at::kFloat);
    std::atomic<bool> finite{true};
    auto run = [&](const auto* w) {
        at::parallel_for(0, packed->blocks(), kGrain, [&](int64_t first, int64_t last) {
            if (!quantise_blocks(w, packed->codes.template mutable_data_ptr<uint8_t>(),
                                 packed->absmax.template mutable_data_ptr<float>(), n, first, last))
                finite = false;
        });
    };
    if (weight.scalar_type() == at::kBFloat16)
        run(weight.const_data_ptr<c10::BFloat16>());
    else if (weight.scalar_type() == at::kHalf)
        run(weight.const_data_ptr<c10::Half>());
    else if (weight.scalar_type() == at::kDouble)
        run(weight.const_data_ptr<double>());
    else
        run(weight.const_data_ptr<float>());
    if (!finite) throw Error::data("expected finite weights, found NaN or infinity");
    if (double_quant) quantise_scales(*packed);
    packed->original_norms = row_norms(weight);
    for (at::Tensor* part : {&packed->codes, &packed->absmax, &packed->nested_absmax, &packed->nested_map,
                             &packed->original_norms})
        if (part->defined()) *part = part->to(source.device());
    packed->buffer = std::move(buffer);
    nf4_check(*packed, "nf4");
    return packed;
}

at::Tensor nf4_absmax(const Nf4Weight& weight) {
    if (!weight.nested()) return weight.absmax;
    at::NoGradGuard no_grad;
    const at::Tensor scales =
        weight.nested_absmax.repeat_interleave(weight.nested_block).narrow(0, 0, weight.absmax.numel());
    return weight.nested_map.index_select(0, weight.absmax.to(at::kLong)).mul_(scales).add_(weight.offset);
}

at::Tensor nf4_dequantise(const Nf4Weight& weight, at::ScalarType type) {
    at::NoGradGuard no_grad;
    at::Tensor y = at::empty({weight.out, weight.in}, at::TensorOptions(type).device(weight.device()));
    dequantise_into(weight, y);
    return y;
}

at::Tensor nf4_product(const Nf4Weight& weight, const at::Tensor& x) {
    at::NoGradGuard no_grad;
    if (x.scalar_type() != weight.dtype || x.device() != weight.device()) return {};
    if (nf4_few_rows(weight, x.size(0))) return nf4_product_cpu(weight, x);
    const CudaKernels* cuda = kernels_for(x);
    if (!cuda || !geometry::nf4_fused(x.size(0), weight.in, weight.block)) return {};
    return cuda->nf4_product(weight.codes, nf4_absmax(weight), weight.block, x, weight.out);
}

at::Tensor Nf4Weight::dense() const {
    at::NoGradGuard no_grad;
    const int64_t n = out * in;
    at::Tensor& memory = buffer->memory;
    if (!memory.defined() || memory.numel() < n || memory.scalar_type() != dtype ||
        memory.device() != device()) {
        memory = at::Tensor(); // first, so that the two never stand side by side
        memory = at::empty({n}, at::TensorOptions(dtype).device(device()));
        buffer->holds = 0;
    }
    at::Tensor y = memory.narrow(0, 0, n).view({out, in});
    if (buffer->holds != id) {
        buffer->holds = 0;
        dequantise_into(*this, y);
        buffer->holds = id;
    }
    return y;
}

void nf4_check(Nf4Weight& w, const std::string& place) {
    auto expect = [&](bool holds, const std::string& what) {
        if (!holds) throw Error::data(place, ": ", what);
    };
    expect(w.out > 0 && w.in > 0 && w.in <= (int64_t(1) << 40) / w.out,
           "expected a shape [out, in] of positive sizes");
    expect(w.block >= 8 && w.block <= 4096 && (w.block & (w.block - 1)) == 0 && w.nested_block > 0,
           cat("expected a blocksize of 8 to 4096 that is a power of two, got ", w.block));
    const int64_t n = w.out * w.in;
    expect(w.codes.defined() && w.codes.scalar_type() == at::kByte && w.codes.numel() == (n + 1) / 2,
           cat("expected ", (n + 1) / 2, " bytes of codes for [", w.out, ", ", w.in, "], got ",
               w.codes.defined() ? w.codes.numel() : 0));
    const at::ScalarType kind = w.nested() ? at::kByte : at::kFloat;
    expect(w.absmax.defined() && w.absmax.scalar_type() == kind && w.absmax.numel() == w.blocks(),
           cat("expected absmax of ", w.blocks(), " blocks as ", c10::toString(kind), ", got ",
               w.absmax.defined() ? w.absmax.numel() : 0));
    if (w.nested()) {
        const int64_t blocks = (w.blocks() + w.nested_block - 1) / w.nested_block;
        expect(w.nested_absmax.scalar_type() == at::kFloat && w.nested_absmax.numel() == blocks,
               cat("expected nested_absmax of ", blocks, " float32, got ", w.nested_absmax.numel()));
        expect(w.nested_map.defined() && w.nested_map.scalar_type() == at::kFloat &&
                   w.nested_map.numel() == 256,
               "expected a nested_quant_map of 256 float32");
    }
    w.codes = w.codes.reshape(-1).contiguous();
    w.absmax = w.absmax.reshape(-1).contiguous();
    w.id = next_id();
    if (!w.buffer) w.buffer = std::make_shared<Nf4Buffer>();
}

} // namespace dorabench
