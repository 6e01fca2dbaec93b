#include "backends/llama/answers.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kLogitElements = int64_t(16) << 20; // of one chunk of scores
constexpr int64_t kCpuRows = 128; // beams at a time: of 8 x 768, products of 32 rows reach 0.8 of the speed
constexpr int64_t kCpuCacheBytes = int64_t(2) << 30; // keys and values

at::Tensor longs(const std::vector<int64_t>& values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

} // namespace

RequestKinds by_kind(std::span<const Request> requests) {
    RequestKinds out;
    for (size_t i = 0; i < requests.size(); ++i)
        (requests[i].kind == Request::Kind::score ? out.scores : out.texts).push_back(i);
    return out;
}

ScoringLimits scoring_limits(const LlamaModel& model, int64_t batch_size) {
    ScoringLimits limits;
    if (!model.device().is_cpu()) limits.tokens = 16384;
    if (batch_size > 0) limits.jobs = batch_size;
    return limits;
}

GenerationLimits generation_limits(const LlamaModel& model, int64_t batch_size) {
    GenerationLimits limits;
    if (model.device().is_cpu()) {
        const LlamaConfig& c = model.config();
        limits.rows = kCpuRows;
        limits.cached_tokens =
            kCpuCacheBytes / (2 * c.layers * c.kv_heads * c.head_dim * int64_t(sizeof(float)));
    } else {
        limits = {256, int64_t(1) << 30, 16384};
    }
    if (batch_size > 0) limits.rows = int64_t(1) << 30, limits.requests = batch_size;
    return limits;
}

void score_batch(LlamaModel& model, const ScoreBatch& batch, const EmbedCodes& embed,
                 std::vector<Response>& responses) {
    const at::Device device = model.device();
    const int64_t n = static_cast<int64_t>(batch.ids.size()), split = batch.branches_begin;
    const int64_t longest = *std::max_element(batch.positions.begin(), batch.positions.end()) + 1;
    const KeptStates kept = kept_states(batch); // the last layer is needed for them alone
    const LastRows last{longs(kept.states, device),
                        [&](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                            return listed_attention(q, k, v, kept.seen);
                        }};
    const bool trimmed = model.trims_last_layer() && !kept.states.empty();
    at::Tensor h = model.forward(
        embed(batch.ids), longs(batch.positions, device), longest,
        [&](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            at::Tensor rows = causal_attention(q, k, v, batch.rows, model.math_attention());
            return split == n
                       ? rows
                       : at::cat({rows, listed_attention(q.narrow(0, split, n - split), k, v, batch.seen)},
                                 0);
        },
        nullptr, trimmed ? &last : nullptr);
    const int64_t chunk = std::clamp<int64_t>(kLogitElements / model.config().vocab, 16, 1024),
                  total = static_cast<int64_t>(batch.targets.size());
    for (int64_t at = 0; at < total; at += chunk) {
        std::vector<int64_t> places, tokens;
        for (int64_t i = at; i < std::min(total, at + chunk); ++i) {
            places.push_back(trimmed ? kept.row_of_target[i] : batch.targets[i].hidden);
            tokens.push_back(batch.targets[i].token);
        }
        const auto scores =
            token_scores(model.logits(h.index_select(0, longs(places, device))).cpu().contiguous(), tokens);
        for (size_t i = 0; i < scores.size(); ++i) {
            Response& response = responses[batch.targets[at + i].job];
            response.loglikelihood += scores[i].logprob;
            response.is_greedy &= scores[i].greedy;
        }
    }
}

} // namespace dorabench
