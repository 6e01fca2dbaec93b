#include "backends/vlbart/row_attention.h"
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <cmath>
#include <functional>
#include <limits>

namespace dorabench {
namespace {

int64_t length(const PackedRow& row) { return row.end - row.begin; }

// [n, H, length, D] out of n neighbouring rows
at::Tensor batch_of(const at::Tensor& x, const PackedRow& first, int64_t n) {
    return x.narrow(0, first.begin, n * length(first))
        .reshape({n, length(first), x.size(1), x.size(2)})
        .transpose(1, 2);
}

// drop: what becomes of the probabilities [n, H, queries, keys]; empty: nothing
using Drop = std::function<at::Tensor(const at::Tensor&)>;

at::Tensor as_written(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal,
                      const Drop& drop) {
    at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * (1.0 / std::sqrt(static_cast<double>(q.size(3))));
    if (causal)
        scores =
            scores.masked_fill(at::ones({q.size(2), k.size(2)}, scores.options().dtype(at::kBool)).triu(1),
                               -std::numeric_limits<double>::infinity());
    const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor seen = scores.softmax(-1, wide).to(q.scalar_type());
    return at::matmul(drop ? drop(seen) : seen, v);
}

bool follows(const PackedRow& next, const PackedRow& row) {
    return next.begin == row.end && length(next) == length(row);
}

// one: attention of n rows of one shape [n, H, T, D], and the group's number.
using Attend =
    std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t)>;

at::Tensor by_shape(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                    const Attend& attend) {
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
        const at::Tensor out = attend(batch_of(q, query_rows[i], n), batch_of(k, key_rows[i], n),
                                      batch_of(v, key_rows[i], n), static_cast<int64_t>(parts.size()));
        parts.push_back(out.transpose(1, 2).reshape({-1, width}));
        i = next;
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

} // namespace

at::Tensor row_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                         bool math) {
    return by_shape(q, k, v, query_rows, key_rows,
                    [&](const at::Tensor& qs, const at::Tensor& ks, const at::Tensor& vs, int64_t) {
                        return math ? as_written(qs, ks, vs, false, {})
                                    : at::scaled_dot_product_attention(qs, ks, vs);
                    });
}

at::Tensor dropped_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             std::span<const PackedRow> query_rows, std::span<const PackedRow> key_rows,
                             bool causal, double p, DropoutKey key) {
    return by_shape(q, k, v, query_rows, key_rows,
                    [&](const at::Tensor& qs, const at::Tensor& ks, const at::Tensor& vs, int64_t group) {
                        key.micro_batch = group; // masks of the groups differ
                        return as_written(qs, ks, vs, causal, [&](const at::Tensor& seen) {
                            return model_dropout(seen, p, key);
                        });
                    });
}

} // namespace dorabench
