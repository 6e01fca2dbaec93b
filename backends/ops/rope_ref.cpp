#include "backends/ops/rope.h"

namespace dorabench {

at::Tensor rope_ref(const at::Tensor& x, const RopeTable& table, const at::Tensor& positions) {
    at::Tensor cos = table.cos.index_select(0, positions).to(x.scalar_type()).unsqueeze(1); // [N, 1, D/2]
    at::Tensor sin = table.sin.index_select(0, positions).to(x.scalar_type()).unsqueeze(1);
    const int64_t half = x.size(-1) / 2;
    at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
    return at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
}

} // namespace dorabench
