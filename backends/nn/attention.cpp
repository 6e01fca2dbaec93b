#include "backends/nn/attention.h"
#include "backends/ops/cpu_math.h"
#include "backends/ops/row_math.h"
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <algorithm>
#include <cmath>

namespace dorabench {
namespace {

// [n, len, heads, D] out of packed rows
at::Tensor batch_of(const at::Tensor& x, const PackedRow& first, int64_t n) {
    const int64_t length = first.end - first.begin;
    return x.narrow(0, first.begin, n * length).view({n, length, x.size(1), x.size(2)}).transpose(1, 2);
}

at::Tensor repeat_heads(const at::Tensor& x, int64_t times) { // [n, Hkv, T, D] -> [n, H, T, D]
    if (times == 1) return x;
    return x.unsqueeze(2)
        .expand({x.size(0), x.size(1), times, x.size(2), x.size(3)})
        .reshape({x.size(0), x.size(1) * times, x.size(2), x.size(3)});
}

at::Tensor attention_as_written(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    const int64_t length = q.size(2);
    at::Tensor scores = at::matmul(q, k.transpose(2, 3)) * (1.0 / std::sqrt(static_cast<double>(q.size(3))));
    at::Tensor future = at::ones({length, length}, q.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(future, -INFINITY);
    const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return at::matmul(scores.softmax(-1, wide).to(q.scalar_type()), v);
}

constexpr int64_t kLanes = 16;
constexpr int64_t kBlock = 16; // queries that share a prefix and are worked on together

// scores[q][t] = scale * (query q . key t), keys `index[t]` (or t) of a buffer with `stride` floats between
// rows
DORABENCH_CPU_CLONES void score_keys(const float* const* queries, int64_t n_queries, const float* keys,
                                     int64_t stride, const int64_t* index, int64_t n_keys, int64_t d,
                                     float scale, float* scores, int64_t score_stride) {
    for (int64_t t = 0; t < n_keys; ++t) {
        const float* key = keys + (index ? index[t] : t) * stride;
        for (int64_t q = 0; q < n_queries; ++q) {
            const float* query = queries[q];
            float lanes[kLanes] = {};
            int64_t i = 0;
            for (; i + kLanes <= d; i += kLanes)
                for (int64_t j = 0; j < kLanes; ++j) lanes[j] += query[i + j] * key[i + j];
            float sum = 0;
            for (int64_t j = 0; j < kLanes; ++j) sum += lanes[j];
            for (; i < d; ++i) sum += query[i] * key[i];
            scores[q * score_stride + t] = sum * scale;
        }
    }
}

// out[q] += sum over t of weights[q][t] value[t]
DORABENCH_CPU_CLONES void weigh_values(const float* weights, int64_t weight_stride, int64_t n_queries,
                                       const float* values, int64_t stride, const int64_t* index,
                                       int64_t n_keys, int64_t d, float* const* out) {
    for (int64_t t = 0; t < n_keys; ++t) {
        const float* value = values + (index ? index[t] : t) * stride;
        for (int64_t q = 0; q < n_queries; ++q) {
            const float weight = weights[q * weight_stride + t];
            float* to = out[q];
            for (int64_t i = 0; i < d; ++i) to[i] += weight * value[i];
        }
    }
}

struct ListedProblem {
    const float *q, *k, *v;
    float* out;
    int64_t heads, kv_heads, d, key_stride, value_stride;
    float scale;
    const KeyLists& lists;
};

// Queries [first, last) of one prefix and one key head (all the query heads that share it).
void attend_block(const ListedProblem& p, int64_t first, int64_t last, int64_t kv_head) {
    const int64_t shared = p.heads / p.kv_heads, n = (last - first) * shared;
    const int64_t begin = p.lists.prefix_begin[first], prefix = p.lists.prefix_end[first] - begin;
    int64_t longest = 0;
    for (int64_t r = first; r < last; ++r)
        longest = std::max(longest, p.lists.tail_offset[r + 1] - p.lists.tail_offset[r]);
    const int64_t width = prefix + longest;
    std::vector<const float*> queries(n);
    std::vector<float*> out(n);
    std::vector<float> scores(static_cast<size_t>(n * width));
    for (int64_t r = first; r < last; ++r)
        for (int64_t h = 0; h < shared; ++h) {
            const int64_t at = (r * p.heads + kv_head * shared + h) * p.d;
            queries[(r - first) * shared + h] = p.q + at;
            out[(r - first) * shared + h] = p.out + at;
            std::fill_n(p.out + at, p.d, 0.0f);
        }
    const float *keys = p.k + kv_head * p.d, *values = p.v + kv_head * p.d;
    score_keys(queries.data(), n, keys + begin * p.key_stride, p.key_stride, nullptr, prefix, p.d, p.scale,
               scores.data(), width);
    for (int64_t r = first; r < last; ++r) { // what each query sees for itself, then its softmax
        const int64_t* index = p.lists.tail.data() + p.lists.tail_offset[r];
        const int64_t tail = p.lists.tail_offset[r + 1] - p.lists.tail_offset[r], q = (r - first) * shared;
        score_keys(queries.data() + q, shared, keys, p.key_stride, index, tail, p.d, p.scale,
                   scores.data() + q * width + prefix, width);
        for (int64_t h = q; h < q + shared; ++h) {
            float* row = scores.data() + h * width;
            const float sum = row_exponentials(row, row_maximum(row, prefix + tail), prefix + tail);
            row_multiply(row, 1.0f / sum, prefix + tail);
        }
        weigh_values(scores.data() + q * width + prefix, width, shared, values, p.value_stride, index, tail,
                     p.d, out.data() + q);
    }
    weigh_values(scores.data(), width, n, values + begin * p.value_stride, p.value_stride, nullptr, prefix,
                 p.d, out.data());
}

} // namespace

void KeyLists::add(int64_t begin, int64_t end, std::span<const int64_t> rows) {
    prefix_begin.push_back(begin);
    prefix_end.push_back(end);
    tail.insert(tail.end(), rows.begin(), rows.end());
    tail_offset.push_back(static_cast<int64_t>(tail.size()));
}

void KeyLists::add_range(int64_t begin, int64_t end, int64_t tail_begin, int64_t tail_end) {
    prefix_begin.push_back(begin);
    prefix_end.push_back(end);
    for (int64_t row = tail_begin; row < tail_end; ++row) tail.push_back(row);
    tail_offset.push_back(static_cast<int64_t>(tail.size()));
}

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const PackedRow> rows, bool math) {
    const int64_t times = q.size(1) / k.size(1), width = q.size(1) * q.size(2);
    const at::Tensor dense_v = v.is_contiguous() ? v : v.contiguous();
    std::vector<at::Tensor> parts;
    for (size_t i = 0; i < rows.size();) { // neighbours of one length go together
        size_t next = i + 1;
        while (next < rows.size() && rows[next].end - rows[next].begin == rows[i].end - rows[i].begin &&
               rows[next].begin == rows[next - 1].end)
            ++next;
        const int64_t n = static_cast<int64_t>(next - i);
        at::Tensor qs = batch_of(q, rows[i], n), ks = repeat_heads(batch_of(k, rows[i], n), times),
                   vs = repeat_heads(batch_of(dense_v, rows[i], n), times);
        at::Tensor out = math ? attention_as_written(qs, ks, vs)
                              : at::scaled_dot_product_attention(qs, ks, vs, {}, 0.0, true);
        parts.push_back(out.transpose(1, 2).reshape({-1, width}));
        i = next;
    }
    return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

at::Tensor listed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const KeyLists& lists) {
    if (!q.is_cpu()) return listed_attention_ref(q, k, v, lists);
    const int64_t rows = q.size(0), heads = q.size(1), kv_heads = k.size(1), d = q.size(2);
    const at::Tensor qs = q.to(at::kFloat).contiguous(), ks = k.to(at::kFloat).contiguous(),
                     vs = v.to(at::kFloat).contiguous();
    at::Tensor out = at::empty({rows, heads * d}, qs.options());
    const ListedProblem problem{qs.const_data_ptr<float>(),
                                ks.const_data_ptr<float>(),
                                vs.const_data_ptr<float>(),
                                out.mutable_data_ptr<float>(),
                                heads,
                                kv_heads,
                                d,
                                kv_heads * d,
                                kv_heads * d,
                                1.0f / std::sqrt(static_cast<float>(d)),
                                lists};
    std::vector<std::pair<int64_t, int64_t>> blocks;
    for (int64_t r = 0; r < rows;) {
        int64_t next = r + 1;
        while (next < rows && next - r < kBlock && lists.prefix_begin[next] == lists.prefix_begin[r] &&
               lists.prefix_end[next] == lists.prefix_end[r])
            ++next;
        blocks.emplace_back(r, next);
        r = next;
    }
    at::parallel_for(0, static_cast<int64_t>(blocks.size()) * kv_heads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task)
            attend_block(problem, blocks[task / kv_heads].first, blocks[task / kv_heads].second,
                         task % kv_heads);
    });
    return out.to(q.scalar_type());
}

at::Tensor listed_attention_ref(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const KeyLists& lists) {
    const int64_t rows = q.size(0);
    int64_t longest = 1;
    std::vector<std::vector<int64_t>> seen(rows);
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = lists.prefix_begin[r]; i < lists.prefix_end[r]; ++i) seen[r].push_back(i);
        seen[r].insert(seen[r].end(), lists.tail.begin() + lists.tail_offset[r],
                       lists.tail.begin() + lists.tail_offset[r + 1]);
        longest = std::max<int64_t>(longest, seen[r].size());
    }
    at::Tensor index = at::zeros({rows, longest}, at::kLong), mask = at::zeros({rows, longest}, at::kBool);
    for (int64_t r = 0; r < rows; ++r) {
        std::copy(seen[r].begin(), seen[r].end(), index.mutable_data_ptr<int64_t>() + r * longest);
        std::fill_n(mask.mutable_data_ptr<bool>() + r * longest, seen[r].size(), true);
    }
    index = index.to(q.device()), mask = mask.to(q.device());
    auto gathered = [&](const at::Tensor& x) { // [R, H, L, D]
        at::Tensor picked =
            x.index_select(0, index.flatten()).view({rows, longest, x.size(1), x.size(2)}).transpose(1, 2);
        return repeat_heads(picked, q.size(1) / k.size(1));
    };
    at::Tensor out = at::scaled_dot_product_attention(q.unsqueeze(2), gathered(k), gathered(v),
                                                      mask.view({rows, 1, 1, longest}));
    return out.reshape({rows, -1});
}

} // namespace dorabench
