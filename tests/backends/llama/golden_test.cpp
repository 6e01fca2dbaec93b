// Every LLaMA fixture against what the reference implementation computed: states, logits, loss, gradients,
// generation, likelihoods.
#include "backends/llama/backend.h"
#include "backends/llama/llama.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

class LlamaGolden : public testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder = test::shared_dir() + "/golden/llama/" + GetParam();
        BackendSettings settings;
        settings.checkpoint = folder + "/checkpoint";
        settings.device = "cpu";
        backend = std::make_unique<LlamaBackend>(settings, 0);
        for (NamedTensor& t : read_tensors(folder + "/expected.safetensors"))
            expected[t.name] = t.tensor.clone();
    }
    // The rows of a right-padded batch, packed.
    std::vector<Ids> rows(const std::string& ids, const std::string& mask) {
        std::vector<Ids> out;
        for (int64_t b = 0; b < expected[ids].size(0); ++b) {
            out.emplace_back();
            for (int64_t t = 0; t < expected[ids].size(1); ++t)
                if (expected[mask][b][t].item<int64_t>())
                    out.back().push_back(expected[ids][b][t].item<int64_t>());
        }
        return out;
    }
    static double worst(const at::Tensor& a, const at::Tensor& b) {
        return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
    }

    std::string folder;
    std::unique_ptr<LlamaBackend> backend;
    std::map<std::string, at::Tensor> expected;
};

TEST_P(LlamaGolden, LogitsAndStatesAreTheReferences) {
    at::NoGradGuard no_grad;
    const auto all = rows("right.input_ids", "right.attention_mask");
    LlamaModel& model = backend->model();
    for (size_t b = 0; b < all.size(); ++b) {
        const int64_t n = static_cast<int64_t>(all[b].size());
        EXPECT_LT(worst(backend->probe_logits(all[b]), expected["right.logits"][b].narrow(0, 0, n)), 1e-4);
        at::Tensor ids = at::from_blob(const_cast<int64_t*>(all[b].data()), {n}, at::kLong);
        std::vector<at::Tensor> states;
        at::Tensor last = model.forward_rows(model.embed(ids), at::arange(n, at::kLong), {{0, n}}, &states);
        states.push_back(model.final_norm(last));
        for (size_t i = 0; i < states.size(); ++i)
            EXPECT_LT(worst(states[i], expected[cat("right.hidden_states.", i)][b].narrow(0, 0, n)), 1e-4)
                << "state " << i;
    }
}

TEST_P(LlamaGolden, FarPositionsTurnByTheScaledFrequencies) {
    at::NoGradGuard no_grad;
    LlamaModel& model = backend->model();
    EXPECT_LT(worst(model.inv_freq(), expected["rotary.inv_freq"]), 1e-7);
    at::Tensor positions = expected["far.position_ids"][0].contiguous(), ids = expected["far.input_ids"][0];
    const int64_t n = ids.size(0);
    std::vector<PackedRow> row{{0, n}};
    at::Tensor h = model.forward(model.embed(ids), positions, positions.max().item<int64_t>() + 1,
                                 [&](int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
                                     return causal_attention(q, k, v, row, false);
                                 });
    EXPECT_LT(worst(model.logits(h), expected["far.logits"][0]), 1e-4);
}

TEST_P(LlamaGolden, LossAndGradientsAreTheReferences) {
    std::map<std::string, at::Tensor> parameters;
    for (NamedTensor& p : backend->parameters()) parameters[p.name] = p.tensor.requires_grad_(true);
    const auto all = rows("right.input_ids", "right.attention_mask");
    std::vector<EncodedExample> batch;
    double weight = 0;
    for (size_t b = 0; b < all.size(); ++b) {
        EncodedExample example;
        example.input_ids = all[b];
        for (size_t t = 0; t < all[b].size(); ++t)
            example.labels.push_back(expected["loss.labels"][b][t].item<int64_t>());
        weight += backend->loss_weight(example);
        batch.push_back(example);
    }
    at::Tensor loss = backend->loss_sum(batch) / weight;
    EXPECT_NEAR(loss.item<double>(), expected["loss.value"].item<double>(), 1e-5);
    loss.backward();
    int compared = 0;
    for (const auto& [name, want] : expected) {
        if (name.rfind("grad.", 0) != 0) continue;
        const at::Tensor got = parameters.at(name.substr(5)).grad();
        EXPECT_LT(worst(got, want), 1e-4 * want.abs().max().item<double>()) << name;
        ++compared;
    }
    EXPECT_EQ(compared, 5);
}

TEST_P(LlamaGolden, GenerationIsTheReferences) {
    int compared = 0;
    const json cases = json::parse(read_file(folder + "/generate.json"))["cases"];
    for (const json& c : cases) {
        const json& o = c["options"];
        GenerateOptions options;
        options.max_new_tokens = c["max_new_tokens"];
        options.eos_set = true;
        if (o.contains("eos_token_id") && o["eos_token_id"].is_number())
            options.eos_token_ids = {o["eos_token_id"]};
        if (o.contains("eos_token_id") && o["eos_token_id"].is_array())
            options.eos_token_ids = o["eos_token_id"].get<std::vector<int64_t>>();
        options.num_beams = o.value("num_beams", 1);
        options.length_penalty = o.value("length_penalty", 1.0);
        options.min_new_tokens = o.value("min_new_tokens", 0);
        options.repetition_penalty = o.value("repetition_penalty", 1.0);
        options.no_repeat_ngram_size = o.value("no_repeat_ngram_size", 0);
        if (o.contains("early_stopping"))
            options.early_stopping = o["early_stopping"].is_string()   ? "never"
                                     : o["early_stopping"].get<bool>() ? "true"
                                                                       : "false";
        if (o.contains("num_return_sequences")) continue;
        std::vector<Request> requests;
        std::vector<bool> whole; // with rules over the history, the reference counts padding as text
        for (size_t r = 0; r < c["input_ids"].size(); ++r) {
            Request request;
            request.has_ids = true;
            request.id = std::to_string(r);
            request.generate = options;
            for (size_t t = 0; t < c["input_ids"][r].size(); ++t)
                if (c["attention_mask"][r][t] == 1) request.context_ids.push_back(c["input_ids"][r][t]);
            const bool history = options.repetition_penalty != 1 || options.no_repeat_ngram_size > 0;
            whole.push_back(!history || request.context_ids.size() == c["input_ids"][r].size());
            requests.push_back(request);
        }
        for (int64_t batch : {0, 1, 2}) {
            std::vector<Ids> got(requests.size());
            backend->respond(requests, batch, [&](size_t i, Response response) { got[i] = response.ids; });
            for (size_t r = 0; r < requests.size(); ++r)
                if (whole[r]) {
                    EXPECT_EQ(got[r], c["new_ids"][r].get<Ids>())
                        << c["name"] << " row " << r << " batch " << batch;
                    ++compared;
                }
        }
    }
    EXPECT_GT(compared, 60);
}

TEST_P(LlamaGolden, LikelihoodsAreTheReferences) {
    const json cases = json::parse(read_file(folder + "/loglikelihood.json"));
    std::vector<Request> requests;
    for (const json& c : cases) {
        Request request;
        request.kind = Request::Kind::score;
        request.has_ids = true;
        request.context_ids = c["context"].get<Ids>();
        request.continuation_ids = c["continuation"].get<Ids>();
        requests.push_back(request);
        if (request.continuation_ids.size() >
            1) { // shares its context with the request before: the branching path
            request.continuation_ids.pop_back();
            requests.push_back(request);
        }
    }
    for (int64_t batch : {0, 1}) {
        std::vector<Response> got(requests.size());
        backend->respond(requests, batch, [&](size_t i, Response response) { got[i] = response; });
        size_t at = 0;
        for (const json& c : cases) {
            EXPECT_NEAR(got[at].loglikelihood, c["logprob"].get<double>(), 1e-4);
            EXPECT_EQ(got[at].is_greedy, c["is_greedy"].get<bool>());
            EXPECT_EQ(got[at].tokens, static_cast<int64_t>(c["continuation"].size()));
            ++at;
            if (c["continuation"].size() > 1) {
                EXPECT_NEAR(got[at].loglikelihood,
                            c["logprob"].get<double>() - c["token_logprobs"].back().get<double>(), 1e-4);
                ++at;
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(All, LlamaGolden,
                         testing::Values("llama1", "llama2", "llama3", "llama31", "llama32_tied"));

} // namespace
} // namespace dorabench
