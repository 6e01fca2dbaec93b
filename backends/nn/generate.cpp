#include "backends/nn/generate.h"
#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>

namespace dorabench {
namespace {

struct Active {
    size_t job = 0;
    std::unique_ptr<Search> search;
    int64_t first_row = 0;     // in the decoder
    std::vector<NextRow> next; // rows within first_row …
    int64_t beams = 1;
    int64_t tokens = 0; // cached at its longest
};

class Engine {
public:
    Engine(Decoder& decoder, std::span<const GenerationJob> jobs, const GenerationLimits& limits,
           const std::function<void(size_t, Outcome)>& done)
        : decoder_(decoder), jobs_(jobs), limits_(limits), done_(done) {
        std::vector<size_t> order(jobs.size());
        std::iota(order.begin(), order.end(), size_t(0));
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return jobs[a].prompt_length > jobs[b].prompt_length; });
        waiting_.assign(order.begin(), order.end());
    }

    void run() {
        while (!waiting_.empty() || !active_.empty()) {
            while (admit()) {
            }
            if (!active_.empty()) step();
        }
    }

private:
    int64_t reserved(int64_t Active::*what) const {
        int64_t sum = 0;
        for (const Active& a : active_) sum += a.*what;
        return sum;
    }

    // Starts waiting requests where there is room for a worthwhile number of them; true when it started some.
    bool admit() {
        const int64_t used = reserved(&Active::beams);
        if (waiting_.empty() ||
            (!active_.empty() && (!decoder_.can_join() || 4 * (limits_.rows - used) < limits_.rows)))
            return false;
        std::vector<Active> fresh;
        std::vector<int64_t> prompts;
        int64_t rows = used, tokens = 0, cached = reserved(&Active::tokens);
        while (!waiting_.empty()) {
            const GenerationJob& job = jobs_[waiting_.front()];
            const int64_t beams = job.request.options.num_beams, length = job.prompt_length,
                          longest = length + beams * job.request.max_new;
            const bool fits = rows + beams <= limits_.rows && tokens + length <= limits_.prompt_tokens &&
                              cached + longest <= limits_.cached_tokens &&
                              static_cast<int64_t>(active_.size() + fresh.size()) < limits_.requests;
            if (!fits && !(active_.empty() && fresh.empty())) break;
            fresh.push_back({waiting_.front(),
                             std::make_unique<Search>(job.request),
                             rows_ + static_cast<int64_t>(prompts.size()),
                             {},
                             beams,
                             longest});
            prompts.push_back(job.prompt);
            rows += beams, tokens += length, cached += longest;
            waiting_.pop_front();
        }
        if (fresh.empty()) return false;
        at::Tensor scores = decoder_.start(prompts);
        rows_ += static_cast<int64_t>(prompts.size());
        const size_t before = active_.size();
        for (Active& a : fresh) active_.push_back(std::move(a));
        advance(before, scores, rows_ - static_cast<int64_t>(prompts.size()),
                std::vector<int64_t>(prompts.size(), 1));
        return true;
    }

    void step() {
        std::vector<int64_t> parents, tokens, counts;
        for (Active& a : active_) {
            const int64_t first = static_cast<int64_t>(parents.size());
            for (const NextRow& next : a.next) {
                parents.push_back(a.first_row + next.row);
                tokens.push_back(next.token);
            }
            a.first_row = first;
            counts.push_back(static_cast<int64_t>(a.next.size()));
        }
        at::Tensor scores = decoder_.step(parents, tokens);
        rows_ = static_cast<int64_t>(parents.size());
        advance(0, scores, 0, counts);
    }

    // Lets the searches from `from` on read their rows (scores' row 0 is decoder row `base`), reports and
    // removes those that are done.
    void advance(size_t from, at::Tensor& scores, int64_t base, const std::vector<int64_t>& counts) {
        const int64_t vocab = decoder_.vocab_size();
        float* data = scores.mutable_data_ptr<float>();
        at::parallel_for(0, static_cast<int64_t>(counts.size()), 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                Active& a = active_[from + i];
                a.next = a.search->advance(
                    {data + (a.first_row - base) * vocab, static_cast<size_t>(counts[i] * vocab)}, vocab);
            }
        });
        for (size_t i = from; i < active_.size(); ++i)
            if (active_[i].next.empty()) done_(active_[i].job, active_[i].search->outcome());
        std::erase_if(active_, [](const Active& a) { return a.next.empty(); });
    }

    Decoder& decoder_;
    std::span<const GenerationJob> jobs_;
    GenerationLimits limits_;
    const std::function<void(size_t, Outcome)>& done_;
    std::deque<size_t> waiting_;
    std::vector<Active> active_;
    int64_t rows_ = 0; // present rows of the decoder
};

} // namespace

void generate_all(Decoder& decoder, std::span<const GenerationJob> jobs, const GenerationLimits& limits,
                  const std::function<void(size_t, Outcome)>& done) {
    at::NoGradGuard no_grad;
    Engine(decoder, jobs, limits, done).run();
}

} // namespace dorabench
