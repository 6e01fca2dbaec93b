#include "backends/ops/nf4_product.h"
#include <ATen/ops/matmul.h>

namespace dorabench::ref {

at::Tensor nf4_dequantise(const Nf4Weight& weight) {
    const at::Tensor table = nf4_table(), y = at::empty({weight.out, weight.in}, at::kFloat);
    const int64_t n = weight.out * weight.in;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t block = i / weight.block;
        const uint8_t byte = weight.codes.const_data_ptr<uint8_t>()[i / 2];
        float scale = 0;
        if (weight.nested()) {
            const uint8_t code = weight.absmax.const_data_ptr<uint8_t>()[block];
            scale = weight.nested_map.const_data_ptr<float>()[code] *
                    weight.nested_absmax.const_data_ptr<float>()[block / weight.nested_block];
            scale += float(weight.offset);
        } else {
            scale = weight.absmax.const_data_ptr<float>()[block];
        }
        y.mutable_data_ptr<float>()[i] = table.const_data_ptr<float>()[i % 2 ? byte & 15 : byte >> 4] * scale;
    }
    return y;
}

at::Tensor nf4_product(const Nf4Weight& weight, const at::Tensor& x) {
    const at::Tensor w = nf4_dequantise(weight).to(weight.dtype).to(at::kDouble);
    return at::matmul(x.to(at::kDouble), w.t());
}

} // namespace dorabench::ref
