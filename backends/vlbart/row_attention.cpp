#include "backends/vlbart/row_attention.h"
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <cmath>

namespace dorabench {
namespace {

int64_t length(const PackedRow& row) { return row.end - row.begin; }

// [n, H, length, D] out of n neighbouring rows
at::Tensor batch_of(const at::Tensor& x, const PackedRow& first, int64_t n) {
    return x.narrow(0, first.begin, n * length(first))
        .reshape({n, length(first), x.size(1), x.size(2)})
        .transpose(1, 2);
}

at::Tensor as_written(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    const at::Tensor scores =
        at::matmul(q, k.transpose(2, 3)) * (1.0 / std::sqrt(static_cast<double>(q.size(3))));
    const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return at::matmul(scores.softmax(-1, wide).to(q.scalar_type()), v);
}

bool follows(const PackedRow& next, const PackedRow& row) {
    return next.begin == row.end && length(next) == length(row);
}

} // namespace

at::Tensor row_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                         bool math) {
    TORCH_CHECK(query_rows.size() == key_rows.size(),
                "[row_attention] expected as many key rows as query rows (", query_rows.size(), "), got ",
                key_rows.size());
    const int64_t width = q.size(1) * q.size(2);
    std::vector<at::Tensor> parts;
    for (size_t i = 0; i < query_rows.size();) { // neighbours of one shape go together
        size_t next = i + 1;
        while (next < query_rows.size() && follows(query_rows[next], query_rows[next - 1]) &&
               follows(key_rows[next], key_rows[next - 1]))
            ++next;
        const int64_t n = static_cast<int64_t>(next - i);
        const at::Tensor qs = batch_of(q, query_rows[i], n), ks = batch_of(k, key_rows[i], n),
                         vs = batch_of(v, key_rows[i], n);
        const at::Tensor out = math ? as_written(qs, ks, vs) : at::scaled_dot_product_attention(qs, ks, vs);
        parts.push_back(out.transpose(1, 2).reshape({-1, width}));
        i = next;
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

} // namespace dorabench
