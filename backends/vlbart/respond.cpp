// Answers to requests: log-likelihoods of targets, and generation.
#include "backends/nn/causal_text.h"
#include "backends/nn/scoring.h"
#include "backends/vlbart/vlbart.h"
#include "harness/base/error.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr int64_t kLogitElements = int64_t(16) << 20; // of one chunk of scores

at::Tensor longs(const std::vector<int64_t>& values, at::Device device) {
    at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
    std::copy(values.begin(), values.end(), out.mutable_data_ptr<int64_t>());
    return out.to(device);
}

struct TargetJob {
    size_t request = 0;
    Ids source;
    ScoredTarget target;
    int64_t tokens() const { return static_cast<int64_t>(target.given.size() + target.scored.size()); }
};

bool same_source(const Request& a, const Request& b) {
    return a.media.features == b.media.features && a.media.n_images == b.media.n_images;
}

// Jobs [first, last) in one pass; neighbours with one source share its encoding.
void score_targets(BartModel& model, std::span<const TargetJob> jobs, std::span<const Request> requests,
                   std::span<Response> responses) {
    const BartConfig& c = model.config();
    std::vector<BartSource> sources;
    std::vector<size_t> source_of_job;
    std::vector<int64_t> ids, positions, hidden, tokens;
    std::vector<size_t> owner;
    std::vector<PackedRow> rows, source_rows, memory_rows;
    for (size_t j = 0; j < jobs.size(); ++j) {
        const TargetJob& job = jobs[j];
        const Request& request = requests[job.request];
        if (j == 0 || jobs[j - 1].source != job.source ||
            !same_source(requests[jobs[j - 1].request], request))
            sources.push_back(
                {job.source, read_visual(request.media, c.visual, cat("request ", request.id))});
        if (job.target.scored.empty()) continue;
        source_of_job.push_back(sources.size() - 1);
        const int64_t begin = static_cast<int64_t>(ids.size()),
                      given = static_cast<int64_t>(job.target.given.size());
        Ids labels = job.target.given;
        labels.insert(labels.end(), job.target.scored.begin(), job.target.scored.end());
        const Ids inputs = shifted_right(labels, c);
        for (int64_t i = 0; i < job.tokens(); ++i) {
            ids.push_back(inputs[i]);
            positions.push_back(i);
            if (i >= given) hidden.push_back(begin + i), tokens.push_back(labels[i]), owner.push_back(j);
        }
        rows.push_back({begin, static_cast<int64_t>(ids.size())});
    }
    if (ids.empty()) return;
    std::vector<const BartSource*> pointers;
    for (const BartSource& source : sources) pointers.push_back(&source);
    const at::Tensor memory = model.encode(pointers, source_rows);
    for (size_t source : source_of_job) memory_rows.push_back(source_rows[source]);
    const at::Device device = model.device();
    const at::Tensor h = model.decode_rows(model.decoder_input(longs(ids, device), longs(positions, device)),
                                           rows, memory, memory_rows);
    const size_t chunk = static_cast<size_t>(std::clamp<int64_t>(kLogitElements / c.vocab, 16, 1024));
    for (size_t at = 0; at < hidden.size(); at += chunk) {
        const size_t end = std::min(hidden.size(), at + chunk);
        const std::vector<int64_t> places(hidden.begin() + at, hidden.begin() + end),
            wanted(tokens.begin() + at, tokens.begin() + end);
        const auto scores =
            token_scores(model.logits(h.index_select(0, longs(places, device))).cpu().contiguous(), wanted);
        for (size_t i = 0; i < scores.size(); ++i) {
            responses[owner[at + i]].loglikelihood += scores[i].logprob;
            responses[owner[at + i]].is_greedy &= scores[i].greedy;
        }
    }
}

} // namespace

void VlbartBackend::respond(std::span<const Request> requests, int64_t batch_size, const OnResponse& done) {
    at::NoGradGuard no_grad;
    std::vector<size_t> scores, texts;
    for (size_t i = 0; i < requests.size(); ++i)
        (requests[i].kind == Request::Kind::score ? scores : texts).push_back(i);
    if (!scores.empty()) respond_scores(requests, scores, batch_size, done);
    if (!texts.empty()) respond_texts(requests, texts, batch_size, done);
}

void VlbartBackend::respond_scores(std::span<const Request> requests, std::span<const size_t> which,
                                   int64_t batch_size, const OnResponse& done) {
    const BartVocabulary words = vocabulary();
    std::vector<TargetJob> jobs(which.size());
    std::vector<Response> responses(which.size());
    for (size_t i = 0; i < which.size(); ++i) {
        const Request& request = requests[which[i]];
        jobs[i] = {which[i], source_of(request, words, responses[i].cut_tokens),
                   scored_target(request, words)};
        responses[i].prompt_tokens = static_cast<int64_t>(jobs[i].source.size());
        responses[i].tokens = static_cast<int64_t>(jobs[i].target.scored.size());
        responses[i].is_greedy = true;
    }
    const VisualConfig& visual = model_->config().visual;
    const int64_t budget = model_->device().is_cpu() ? 2048 : 16384;
    for (size_t first = 0; first < jobs.size();) { // in the given order: a source's targets stand together
        size_t last = first;
        int64_t tokens = 0;
        while (last < jobs.size() && (batch_size == 0 || static_cast<int64_t>(last - first) < batch_size)) {
            const Request& request = requests[jobs[last].request];
            tokens += static_cast<int64_t>(jobs[last].source.size()) + jobs[last].tokens();
            if (!request.media.features.empty()) tokens += visual.n_boxes * request.media.n_images;
            if (last > first && tokens > budget) break;
            ++last;
        }
        score_targets(*model_, std::span(jobs).subspan(first, last - first), requests,
                      std::span(responses).subspan(first, last - first));
        for (size_t i = first; i < last; ++i) done(which[i], responses[i]);
        first = last;
    }
}

void VlbartBackend::respond_texts(std::span<const Request> requests, std::span<const size_t> which,
                                  int64_t batch_size, const OnResponse& done) {
    const BartVocabulary words = vocabulary();
    const BartConfig& c = model_->config();
    std::vector<Response> responses(which.size());
    std::vector<BartPrompt> prompts(which.size());
    std::vector<GenerationJob> jobs(which.size());
    for (size_t i = 0; i < which.size(); ++i) {
        const Request& request = requests[which[i]];
        prompts[i] = {source_of(request, words, responses[i].cut_tokens), request.media,
                      cat("request ", request.id)};
        responses[i].prompt_tokens = static_cast<int64_t>(prompts[i].ids.size());
        GenerationJob& job = jobs[i];
        job.prompt = static_cast<int64_t>(i);
        job.prompt_length = responses[i].prompt_tokens;
        if (!request.media.features.empty()) job.prompt_length += c.visual.n_boxes * request.media.n_images;
        job.request.options = resolve_generation(request.generate, defaults_);
        job.request.max_new =
            std::min(job.request.options.max_new_tokens, c.positions); // the start has position 0
        job.request.history = {c.start};
        job.request.id = request.id;
        job.request.tokenizer = tokenizer_.get();
    }
    BartDecoder decoder(*model_, std::move(prompts));
    GenerationLimits limits;
    if (!model_->device().is_cpu()) limits = {256, int64_t(1) << 30, 16384};
    if (batch_size > 0) limits.rows = int64_t(1) << 30, limits.requests = batch_size;
    generate_all(decoder, jobs, limits, [&](size_t i, Outcome outcome) {
        fill_response(std::move(outcome), tokenizer_.get(), requests[which[i]].generate.stop, responses[i]);
        done(which[i], responses[i]);
    });
}

} // namespace dorabench
