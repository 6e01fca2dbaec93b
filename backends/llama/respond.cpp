// Answers to requests: log-likelihoods over shared contexts, and generation.
#include "backends/llama/answers.h"
#include "backends/llama/llama.h"
#include "harness/base/error.h"
#include <algorithm>

namespace dorabench {
namespace {

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

} // namespace

void LlamaBackend::respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) {
    at::NoGradGuard no_grad;
    for (const Request& request : requests)
        if (!request.media.empty())
            throw Error::data(
                label(request),
                ": expected text alone, got images, video or features, which this backbone does not read");
    const RequestKinds kinds = by_kind(requests);
    if (!kinds.scores.empty()) respond_scores(requests, kinds.scores, batch_size, done);
    if (!kinds.texts.empty()) respond_texts(requests, kinds.texts, batch_size, done);
}

void LlamaBackend::respond_scores(std::span<const Request> requests, std::span<const size_t> which,
                                  int64_t batch_size, const OnResponse& done) {
    std::vector<Response> responses(which.size());
    std::vector<ScoreJob> jobs;
    for (size_t i = 0; i < which.size(); ++i)
        jobs.push_back(score_job(requests[which[i]], vocabulary(), model_->config().positions, responses[i]));
    for (const ScoreBatch& batch : plan_scoring(jobs, scoring_limits(*model_, batch_size))) {
        score_batch(*model_, batch, embed_tokens(*model_), responses);
        for (size_t job : batch.jobs) done(which[job], responses[job]);
    }
}

void LlamaBackend::respond_texts(std::span<const Request> requests, std::span<const size_t> which,
                                 int64_t batch_size, const OnResponse& done) {
    const CausalVocabulary words = vocabulary();
    const int64_t positions = model_->config().positions;
    std::vector<Response> responses(which.size());
    std::vector<Ids> prompts(which.size());
    std::vector<GenerationJob> jobs(which.size());
    for (size_t i = 0; i < which.size(); ++i) {
        const Request& request = requests[which[i]];
        Ids& ids = prompts[i];
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
    generate_all(decoder, jobs, generation_limits(*model_, batch_size), [&](size_t i, Outcome outcome) {
        fill_response(std::move(outcome), tokenizer_.get(), requests[which[i]].generate.stop, responses[i]);
        done(which[i], responses[i]);
    });
}

} // namespace dorabench
