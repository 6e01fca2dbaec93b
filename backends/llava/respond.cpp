// Answers to requests: log-likelihoods and generation, each image's keys and values computed once for all the
// questions on it.
#include "backends/llama/answers.h"
#include "backends/llava/backend.h"
#include "backends/nn/generation_defaults.h"
#include "harness/base/error.h"
#include <algorithm>
#include <numeric>

namespace dorabench {
namespace {

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
    const RequestKinds kinds = by_kind(requests);
    if (!kinds.scores.empty()) respond_scores(requests, kinds.scores, batch_size, done);
    if (!kinds.texts.empty()) respond_texts(requests, kinds.texts, batch_size, done);
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
    const EmbedCodes embed_codes = [&](std::span<const int64_t> codes) { return embed(codes, book); };
    for (const ScoreBatch& batch : plan_prefix_scoring(jobs, scoring_limits(*model_, batch_size))) {
        score_batch(*model_, batch, embed_codes, responses);
        prefilled_ += static_cast<int64_t>(batch.ids.size());
        for (size_t job : batch.jobs) done(which[job], responses[job]);
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
    LlamaDecoder decoder(*model_, std::move(prompts), groups,
                         [&](std::span<const int64_t> codes) { return embed(codes, book); });
    generate_all(decoder, jobs, generation_limits(*model_, batch_size), [&](size_t j, Outcome outcome) {
        const size_t i = static_cast<size_t>(jobs[j].prompt);
        fill_response(std::move(outcome), tokenizer_.get(), requests[which[i]].generate.stop, responses[i]);
        done(which[i], responses[i]);
    });
    prefilled_ += decoder.prefilled();
}

} // namespace dorabench
