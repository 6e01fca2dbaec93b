// Answers to requests: log-likelihoods and generation, each image's keys and values computed once for all the
// questions on it.
#include "backends/llava/backend.h"
#include "backends/nn/generation_defaults.h"
#include "harness/base/error.h"
#include <algorithm>
#include <numeric>

namespace dorabench {
namespace {

constexpr int64_t kLogitElements = int64_t(16) << 20; // of one chunk of scores

std::string label(const Request& request) { return cat("request ", request.id); }

} // namespace

// new_tokens: positions that generation takes; for scores the continuation's own length counts.
LlavaBackend::Prompt LlavaBackend::prepare(const Request& request, int64_t new_tokens, ImageBook& book,
                                           Response& response) const {
    const LlavaVocabulary words = vocabulary();
    const std::string what = label(request);
    const bool scored = request.kind == Request::Kind::score;
    Prompt prompt;
    Ids marked;
    if (request.has_ids) {
        marked = marked_ids(request.context_ids, nullptr, request.media.images.size(), words, what);
        prompt.continuation = request.continuation_ids;
    } else if (scored && request.media.images.empty()) {
        Seam seam = encode_seam(request.context, request.continuation, words.words);
        marked = std::move(seam.context), prompt.continuation = std::move(seam.continuation);
    } else if (scored) { // encoded together and split by the length of the context's own encoding
        const size_t end = request.context.find_last_not_of(" \t\n\r\f\v") + 1;
        const Ids whole = marked_text(request.context + request.continuation, true, words, what);
        marked = marked_text(request.context.substr(0, end), true, words, what);
        prompt.continuation.assign(whole.begin() + std::min(marked.size(), whole.size()), whole.end());
    } else {
        marked = marked_text(request.context, true, words, what);
    }
    check_images(marked, request.media, what);
    check_ids(prompt.continuation, words.words.size, what + ": continuation");
    for (const std::string& file : request.media.images)
        if (!picture_exists(file)) throw Error::data(what, ": image ", file, " does not exist");
    const int64_t start = words.words.bos >= 0 || !scored ? words.words.bos : words.words.eos;
    if (marked.empty() && start < 0)
        throw Error::data(
            what, ": an empty prompt needs a BOS token to start from, and the checkpoint states none");
    if (marked.empty()) marked = {start};
    const int64_t most =
        config_.text.positions - (scored ? static_cast<int64_t>(prompt.continuation.size()) - 1 : new_tokens);
    response.cut_tokens = cut_text(marked, nullptr, marked.size(), most, words);
    response.prompt_tokens = expanded_length(marked, words.patches);
    if (response.prompt_tokens > std::max<int64_t>(1, most))
        throw Error::data(what, ": its images alone need ", response.prompt_tokens,
                          " positions, the model has ", most, " for the prompt (max_position_embeddings ",
                          config_.text.positions, ")");
    response.tokens = static_cast<int64_t>(prompt.continuation.size());
    size_t next = 0;
    append_codes(marked, 0, marked.size(), request.media.images, next, words.patches, book, prompt.codes);
    for (int64_t id : marked)
        if (id != kImageMark) prompt.history.push_back(id);
    return prompt;
}

void LlavaBackend::respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) {
    at::NoGradGuard no_grad;
    std::vector<size_t> scores, texts;
    for (size_t i = 0; i < requests.size(); ++i)
        (requests[i].kind == Request::Kind::score ? scores : texts).push_back(i);
    if (!scores.empty()) respond_scores(requests, scores, batch_size, done);
    if (!texts.empty()) respond_texts(requests, texts, batch_size, done);
}

void LlavaBackend::respond_scores(std::span<const Request> requests, std::span<const size_t> which,
                                  int64_t batch_size, const OnResponse& done) {
    ImageBook book;
    std::vector<Response> responses(which.size());
    std::vector<ScoreJob> jobs;
    for (size_t i = 0; i < which.size(); ++i) {
        responses[i].is_greedy = true;
        Prompt prompt = prepare(requests[which[i]], 0, book, responses[i]);
        jobs.push_back({std::move(prompt.codes), std::move(prompt.continuation)});
    }
    ScoringLimits limits;
    if (!model_->device().is_cpu()) limits.tokens = 16384;
    if (batch_size > 0) limits.jobs = batch_size;
    for (const ScoreBatch& batch : plan_prefix_scoring(jobs, limits)) {
        score(batch, book, responses);
        for (size_t job : batch.jobs) done(which[job], responses[job]);
    }
}

void LlavaBackend::score(const ScoreBatch& batch, const ImageBook& book, std::vector<Response>& responses) {
    const int64_t n = static_cast<int64_t>(batch.ids.size()), split = batch.branches_begin;
    const int64_t longest = *std::max_element(batch.positions.begin(), batch.positions.end()) + 1;
    at::Tensor h = model_->forward(
        embed(batch.ids, book), to_device(batch.positions), longest,
        [&](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
            at::Tensor rows = causal_attention(q, k, v, batch.rows, model_->math_attention());
            if (split == n) return rows;
            return at::cat({rows, listed_attention(q.narrow(0, split, n - split), k, v, batch.seen)}, 0);
        });
    prefilled_ += n;
    const int64_t chunk = std::clamp<int64_t>(kLogitElements / config_.text.vocab, 16, 1024),
                  total = static_cast<int64_t>(batch.targets.size());
    for (int64_t at = 0; at < total; at += chunk) {
        std::vector<int64_t> places, tokens;
        for (int64_t i = at; i < std::min(total, at + chunk); ++i) {
            places.push_back(batch.targets[i].hidden);
            tokens.push_back(batch.targets[i].token);
        }
        const auto scores =
            token_scores(model_->logits(h.index_select(0, to_device(places))).cpu().contiguous(), tokens);
        for (size_t i = 0; i < scores.size(); ++i) {
            Response& response = responses[batch.targets[at + i].job];
            response.loglikelihood += scores[i].logprob;
            response.is_greedy &= scores[i].greedy;
        }
    }
}

void LlavaBackend::respond_texts(std::span<const Request> requests, std::span<const size_t> which,
                                 int64_t batch_size, const OnResponse& done) {
    ImageBook book;
    std::vector<Response> responses(which.size());
    std::vector<Codes> prompts(which.size());
    std::vector<GenerationJob> all(which.size());
    for (size_t i = 0; i < which.size(); ++i) {
        const Request& request = requests[which[i]];
        GenerationJob& job = all[i];
        job.request.options = resolve_generation(request.generate, defaults_);
        job.request.max_new =
            std::min(job.request.options.max_new_tokens, std::max<int64_t>(1, config_.text.positions - 1));
        Prompt prompt = prepare(request, job.request.max_new, book, responses[i]);
        job.request.history = std::move(prompt.history);
        job.request.id = request.id;
        job.request.tokenizer = tokenizer_.get();
        job.prompt = static_cast<int64_t>(i);
        prompts[i] = std::move(prompt.codes);
    }
    std::vector<PrefixGroup> groups = group_by_prefix(prompts);
    // A group's rows stay together, so that few prefixes are held at a time: equal lengths keep the order
    // given.
    std::vector<GenerationJob> jobs;
    for (PrefixGroup& group : groups) {
        int64_t total = 0;
        for (size_t row : group.rows) {
            const int64_t length = static_cast<int64_t>(prompts[row].size());
            if (group.rows.size() > 1) group.length = std::min(group.length, length - 1);
            total += length;
        }
        const int64_t rows = static_cast<int64_t>(group.rows.size());
        const int64_t each = (total - (rows - 1) * group.length + rows - 1) / rows; // what one of them costs
        for (size_t row : group.rows) all[row].prompt_length = each, jobs.push_back(all[row]);
    }
    SharedPrefixDecoder decoder(*model_, std::move(prompts), groups,
                                [&](std::span<const int64_t> codes) { return embed(codes, book); });
    GenerationLimits limits;
    if (!model_->device().is_cpu()) limits = {256, int64_t(1) << 30, 16384};
    if (batch_size > 0) limits.rows = int64_t(1) << 30, limits.requests = batch_size;
    generate_all(decoder, jobs, limits, [&](size_t j, Outcome outcome) {
        const size_t i = static_cast<size_t>(jobs[j].prompt);
        fill_response(std::move(outcome), tokenizer_.get(), requests[which[i]].generate.stop, responses[i]);
        done(which[i], responses[i]);
    });
    prefilled_ += decoder.prefilled();
}

} // namespace dorabench
