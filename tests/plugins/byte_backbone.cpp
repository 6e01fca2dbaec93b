// A backbone family in code: bytes in, the mean of the document's embeddings and the last byte's through two
// linear sites, the embedding as output layer. Small enough to be read at once; every method trains on it, as
// on the built-in ones.
#include "backends/io/tokenizer.h"
#include "backends/nn/search.h"
#include "backends/nn/weights.h"
#include "backends/ops/aten.h"
#include "backends/ops/linear_site.h"
#include "harness/api/plugin.h"
#include "harness/api/registries.h"
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

namespace {
using namespace dorabench;

constexpr int64_t kEnd = 256, kVocab = 257, kWidth = 32, kHidden = 64;

class Bytes final : public Tokenizer {
public:
    Ids encode(std::string_view text, bool) const override {
        Ids out;
        for (unsigned char c : text) out.push_back(c);
        return out;
    }
    std::string decode(const Ids& ids, bool) const override {
        std::string out;
        for (int64_t id : ids)
            if (id < kEnd) out.push_back(static_cast<char>(id));
        return out;
    }
    int64_t vocab_size() const override { return kVocab; }
    int64_t bos_id() const override { return -1; }
    int64_t eos_id() const override { return kEnd; }
    int64_t pad_id() const override { return -1; }
    int64_t token_id(std::string_view token) const override {
        return token.size() == 1 ? static_cast<unsigned char>(token[0]) : -1;
    }
    std::string fingerprint() const override { return "bytes"; }
};

ModelShapes shapes(const BackendSettings& settings) {
    if (settings.shape != "bytes") throw Error::config("backend.shape: expected bytes, got ", settings.shape);
    ModelShapes out;
    out.backend = "bytes", out.name = "bytes";
    out.parameters = {{"embed.weight", {kVocab, kWidth}},
                      {"layers.0.up_proj.weight", {kHidden, kWidth}, true},
                      {"layers.0.down_proj.weight", {kWidth, kHidden}, true}};
    out.layers = 1, out.hidden = kWidth, out.intermediate = kHidden, out.vocab = kVocab;
    return out;
}

class ByteBackbone final : public Backend {
public:
    ByteBackbone(const BackendSettings& settings, uint64_t seed)
        : shapes_(::shapes(settings)), weights_(random_weights(seed, shapes_.parameters, {}, 0.3)),
          up_("layers.0.up_proj", FrozenLinear(weights_.at("layers.0.up_proj.weight"), {})),
          down_("layers.0.down_proj", FrozenLinear(weights_.at("layers.0.down_proj.weight"), {})) {}

    const ModelShapes& shapes() const override { return shapes_; }
    std::vector<LinearSite*> sites() override { return {&up_, &down_}; }
    std::vector<NamedTensor> parameters() override {
        std::vector<NamedTensor> out;
        for (const ParameterShape& p : shapes_.parameters) out.push_back({p.name, weights_.at(p.name)});
        return out;
    }
    EncodedExample encode(const TrainingPair& pair, const EncodeOptions& options) const override {
        EncodedExample out;
        out.input_ids = bytes_.encode(pair.prompt + pair.target, false);
        out.input_ids.push_back(kEnd);
        out.labels = out.input_ids;
        if (!options.train_on_inputs) std::fill_n(out.labels.begin(), pair.prompt.size(), kIgnoreLabel);
        out.weight = pair.weight;
        out.lost_target = static_cast<int64_t>(out.input_ids.size()) > options.max_length;
        return out;
    }
    double loss_weight(const EncodedExample& example) const override {
        double targets = 0;
        for (size_t t = 1; t < example.labels.size(); ++t) targets += example.labels[t] != kIgnoreLabel;
        return targets * example.weight;
    }
    at::Tensor loss_sum(std::span<const EncodedExample> batch) override {
        at::Tensor sum = at::zeros({}, at::kFloat);
        for (const EncodedExample& example : batch) {
            const at::Tensor log_p = at::log_softmax(probe_logits(example.input_ids), -1);
            for (size_t t = 1; t < example.labels.size(); ++t)
                if (example.labels[t] != kIgnoreLabel)
                    sum = sum - log_p[static_cast<int64_t>(t) - 1][example.labels[t]] * example.weight;
        }
        return sum;
    }
    void respond(std::span<const Request> requests, int64_t, const OnResponse& done) override {
        at::NoGradGuard no_grad;
        for (size_t i = 0; i < requests.size(); ++i) done(i, answer(requests[i]));
    }
    at::Tensor probe_logits(const Ids& ids) override { // [T, kVocab]
        const at::Tensor e = weights_.at("embed.weight").index_select(0, at::tensor(at::IntArrayRef(ids)));
        const at::Tensor seen = at::arange(1, e.size(0) + 1, e.options()).unsqueeze(1);
        const at::Tensor x = e + e.cumsum(0) / seen;
        return (x + down_.forward(up_.forward(x).tanh())).matmul(weights_.at("embed.weight").t());
    }
    void set_training(bool) override {}
    void set_gradient_checkpointing(bool) override {}
    const Tokenizer* tokenizer() const override { return &bytes_; }

private:
    Response answer(const Request& request) {
        Response out;
        const Ids prompt = request.has_ids ? request.context_ids : bytes_.encode(request.context, false);
        if (prompt.empty()) throw Error::data("request ", request.id, ": expected a prompt, got none");
        out.prompt_tokens = static_cast<int64_t>(prompt.size());
        if (request.kind == Request::Kind::score) {
            Ids all = prompt;
            const Ids more =
                request.has_ids ? request.continuation_ids : bytes_.encode(request.continuation, false);
            all.insert(all.end(), more.begin(), more.end());
            const at::Tensor log_p = at::log_softmax(probe_logits(all), -1);
            out.is_greedy = true;
            for (size_t t = prompt.size(); t < all.size(); ++t) {
                const at::Tensor row = log_p[static_cast<int64_t>(t) - 1];
                out.loglikelihood += row[all[t]].item<double>();
                out.is_greedy = out.is_greedy && row.argmax().item<int64_t>() == all[t];
                ++out.tokens;
            }
            return out;
        }
        SearchRequest wanted{prompt, request.generate, request.generate.max_new_tokens, request.id, &bytes_};
        if (!wanted.options.eos_set) wanted.options.eos_token_ids = {kEnd};
        Search search(wanted);
        std::vector<Ids> rows = {prompt};
        while (!rows.empty()) {
            std::vector<at::Tensor> last;
            for (const Ids& row : rows) last.push_back(probe_logits(row)[-1]);
            at::Tensor scores = at::stack(last).contiguous();
            std::vector<Ids> grown;
            for (const NextRow& next :
                 search.advance({scores.data_ptr<float>(), static_cast<size_t>(scores.numel())}, kVocab)) {
                grown.push_back(rows[static_cast<size_t>(next.row)]);
                grown.back().push_back(next.token);
            }
            rows = std::move(grown);
        }
        fill_response(search.outcome(), &bytes_, request.generate.stop, out);
        return out;
    }

    Bytes bytes_;
    ModelShapes shapes_;
    Weights weights_;
    LinearSite up_, down_;
};

void register_all(Registries& registries) {
    BackendFactory factory;
    factory.name = "bytes";
    factory.help = "two linear layers over the mean of a text's bytes";
    factory.shapes = shapes;
    factory.load = [](const BackendSettings& settings, uint64_t seed) {
        return std::make_unique<ByteBackbone>(settings, seed);
    };
    factory.shape_names = [] { return std::vector<std::string>{"bytes"}; };
    registries.backends.add(factory);
}
} // namespace

DORABENCH_PLUGIN("bytes", register_all)
