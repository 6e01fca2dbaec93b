// A task in code: is a number odd or even? Registers "arithmetic/parity" with a training and a test split.
#include "harness/api/plugin.h"
#include "harness/api/registries.h"
#include "harness/base/rng.h"
#include "tasks/metrics/accuracy.h"

namespace {
using namespace dorabench;

std::string answer(int number) { return number % 2 ? "odd" : "even"; }

class Parity final : public Task {
public:
    explicit Parity(const TaskOptions& options) {
        const int n = options.limit > 0 ? static_cast<int>(options.limit) : 50;
        for (int number = 0; number < n; ++number) {
            Example example;
            example.id = cat(number);
            example.prompt = cat(number, " is ");
            example.target = answer(number);
            example.choices = {"odd", "even"};
            example.gold = number % 2 ? 0 : 1;
            examples_.push_back(example);
        }
    }
    std::string name() const override { return "arithmetic/parity"; }
    std::string fingerprint() const override { return cat("parity 1, ", examples_.size(), " numbers"); }
    const std::vector<Example>& examples() override { return examples_; }
    std::vector<Request> requests(const Example& example) const override {
        Request request;
        request.id = example.id;
        request.context = example.prompt;
        request.generate.max_new_tokens = 6;
        return {request};
    }
    Score score(const Example& example, const std::vector<Response>& responses) const override {
        Score out;
        out.raw_output = responses.front().text;
        for (const std::string& choice : example.choices)
            if (out.raw_output.rfind(choice, 0) == 0) out.prediction = choice;
        out.parsed = !out.prediction.empty();
        out.score = out.prediction == example.target ? 1 : 0;
        return out;
    }
    TaskResult aggregate(const std::vector<Example>&, const std::vector<Score>& scores) const override {
        const Accuracy measured = accuracy(scores);
        TaskResult out;
        out.metrics["accuracy"] = measured.all;
        out.primary = "accuracy";
        out.n = static_cast<int64_t>(scores.size());
        out.unparsed = measured.unparsed;
        out.chance = 0.5;
        out.has_chance = true;
        return out;
    }

private:
    std::vector<Example> examples_;
};

std::vector<TrainingPair> training_pairs(const TaskOptions& options) {
    Rng rng(options.seed, "parity");
    std::vector<TrainingPair> out;
    for (int i = 0; i < 200; ++i) {
        const int number = static_cast<int>(rng.below(1000));
        TrainingPair pair;
        pair.id = cat(i);
        pair.prompt = cat(number, " is ");
        pair.target = answer(number);
        out.push_back(pair);
    }
    return out;
}

void register_all(Registries& registries) {
    TaskFactory parity{"arithmetic/parity", "parity", "exact match", "odd or even", nullptr, training_pairs};
    parity.make = [](const TaskOptions& options) { return std::make_unique<Parity>(options); };
    registries.tasks.add(parity);
}
} // namespace

DORABENCH_PLUGIN("parity", register_all)
