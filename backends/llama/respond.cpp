// Answers to requests: log-likelihoods over shared contexts, and generation.
#include "backends/llama/decoder.h"
#include "backends/llama/llama.h"
#include "backends/nn/scoring.h"
#include "harness/base/error.h"
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

std::string label(const Request& request) { return cat("request ", request.id); }

// Tokens of a request; the context is cut on the left so that everything but the last token has a position.
ScoreJob score_job(const Request& request, const CausalVocabulary& vocabulary, int64_t positions,
                   Response& response) {
    ScoreJob job;
    if (request.has_ids) {
        job = {request.context_ids, request.continuation_ids};
        const int64_t start = vocabulary.bos >= 0 ? vocabulary.bos : vocabulary.eos;
        if (job.context.empty() && start < 0)
            throw Error::data(
                label(request),
                ": an empty context needs a BOS or end token to start from, and the checkpoint states none");
        if (job.context.empty()) job.context = {start};
    } else {
        Seam seam = encode_seam(request.context, request.continuation, vocabulary);
        job = {std::move(seam.context), std::move(seam.continuation)};
    }
    check_ids(job.context, vocabulary.size, label(request) + ": context_ids");
    check_ids(job.continuation, vocabulary.size, label(request) + ": continuation_ids");
    response.cut_tokens =
        cut_left(job.context, positions - static_cast<int64_t>(job.continuation.size()) + 1, vocabulary.bos);
    response.prompt_tokens = static_cast<int64_t>(job.context.size());
    response.tokens = static_cast<int64_t>(job.continuation.size());
    response.is_greedy = true;
    return job;
}

void score_batch(LlamaModel& model, const ScoreBatch& batch, std::vector<Response>& responses) {
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
        model.embed(longs(batch.ids, device)), longs(batch.positions, device), longest,
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

} // namespace

void LlamaBackend::respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) {
    at::NoGradGuard no_grad;
    std::vector<size_t> scores, texts;
    for (size_t i = 0; i < requests.size(); ++i) {
        if (!requests[i].media.empty())
            throw Error::data(
                label(requests[i]),
                ": expected text alone, got images, video or features, which this backbone does not read");
        (requests[i].kind == Request::Kind::score ? scores : texts).push_back(i);
    }
    if (!scores.empty()) respond_scores(requests, scores, batch_size, done);
    if (!texts.empty()) respond_texts(requests, texts, batch_size, done);
}

void LlamaBackend::respond_scores(std::span<const Request> requests, std::span<const size_t> which,
                                  int64_t batch_size, const OnResponse& done) {
    std::vector<Response> responses(which.size());
    std::vector<ScoreJob> jobs;
    for (size_t i = 0; i < which.size(); ++i)
        jobs.push_back(score_job(requests[which[i]], vocabulary(), model_->config().positions, responses[i]));
    ScoringLimits limits;
    if (!model_->device().is_cpu()) limits.tokens = 16384;
    if (batch_size > 0) limits.jobs = batch_size;
    for (const ScoreBatch& batch : plan_scoring(jobs, limits)) {
        score_batch(*model_, batch, responses);
        for (size_t job : batch.jobs) done(which[job], responses[job]);
    }
}

void LlamaBackend::respond_texts(std::span<const Request> requests, std::span<const size_t> which,
                                 int64_t batch_size, const OnResponse& done) {
    const CausalVocabulary words = vocabulary();
    const int64_t positions = model_->config().positions;
    std::vector<Response> responses(which.size());
    std::vector<LlamaPrompt> prompts(which.size());
    std::vector<GenerationJob> jobs(which.size());
    for (size_t i = 0; i < which.size(); ++i) {
        const Request& request = requests[which[i]];
        Ids& ids = prompts[i].ids;
        ids = request.has_ids ? request.context_ids
                              : need_tokenizer(words, label(request)).encode(request.context, true);
        check_ids(ids, words.size, label(request) + ": prompt_ids");
        if (ids.empty() && words.bos < 0)
            throw Error::data(
                label(request),
                ": an empty prompt needs a BOS token to start from, and the checkpoint states none");
        if (ids.empty()) ids = {words.bos};
        GenerationJob& job = jobs[i];
        job.request.options = resolve_generation(request.generate, defaults_);
        job.request.max_new =
            std::min(job.request.options.max_new_tokens, std::max<int64_t>(1, positions - 1));
        responses[i].cut_tokens = cut_left(ids, positions - job.request.max_new, words.bos);
        responses[i].prompt_tokens = static_cast<int64_t>(ids.size());
        job.request.history = ids;
        job.request.id = request.id;
        job.request.tokenizer = tokenizer_.get();
        job.prompt = static_cast<int64_t>(i);
        job.prompt_length = static_cast<int64_t>(ids.size());
    }
    LlamaDecoder decoder(*model_, std::move(prompts));
    GenerationLimits limits;
    if (model_->device().is_cpu()) {
        const LlamaConfig& c = model_->config();
        limits.rows = kCpuRows;
        limits.cached_tokens =
            kCpuCacheBytes / (2 * c.layers * c.kv_heads * c.head_dim * int64_t(sizeof(float)));
    } else {
        limits = {256, int64_t(1) << 30, 16384};
    }
    if (batch_size > 0) limits.rows = int64_t(1) << 30, limits.requests = batch_size;
    generate_all(decoder, jobs, limits, [&](size_t i, Outcome outcome) {
        fill_response(std::move(outcome), tokenizer_.get(), requests[which[i]].generate.stop, responses[i]);
        done(which[i], responses[i]);
    });
}

} // namespace dorabench
