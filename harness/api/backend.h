#pragma once
// A backend brings a backbone family to the harness: it loads weights, exposes the linear sites that adapters
// attach to, gives a loss and answers requests.
#include "harness/api/settings.h"
#include "harness/api/types.h"
#include <ATen/core/TensorBody.h>
#include <functional>
#include <memory>
#include <span>

namespace dorabench {

class LinearSite; // backends/ops/linear_site.h
class Tokenizer;  // backends/io/tokenizer.h

struct NamedTensor {
    std::string name; // as in the checkpoint file: "model.layers.0.self_attn.q_proj.weight"
    at::Tensor tensor;
};

// One parameter of a backbone, known from shapes alone (no weights read).
struct ParameterShape {
    std::string name;              // as in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
    std::vector<int64_t> shape;    // [out, in] for linear weights
    bool linear = false;           // an adaptable linear weight
    bool head = false;             // the output layer (left out by all-linear)
    std::string part = "language"; // language | vision | projector | …: `all-linear` means the language part
    bool frozen = false;           // never trained, not even by ft (a vision tower without a backward pass)
};

struct ModelShapes {
    std::string backend, name;              // "llama", "llama-7b"
    std::vector<ParameterShape> parameters; // tied tensors stand once
    int64_t layers = 0, hidden = 0, intermediate = 0, heads = 0, kv_heads = 0, head_dim = 0,
            vocab = 0;      // for memory estimates
    int64_t total() const { // number of elements
        int64_t sum = 0;
        for (const ParameterShape& parameter : parameters) {
            int64_t elements = 1;
            for (int64_t size : parameter.shape) elements *= size;
            sum += elements;
        }
        return sum;
    }
};

class Backend {
public:
    virtual ~Backend() = default;
    virtual const ModelShapes& shapes() const = 0;
    virtual std::vector<LinearSite*> sites() = 0; // every adaptable linear, in checkpoint order
    virtual std::vector<NamedTensor>
    parameters() = 0; // all base parameters (full fine-tuning, merging, train_also); tied once
    virtual EncodedExample encode(const TrainingPair& pair, const EncodeOptions& options) const = 0;
    // What one example counts in the batch's mean: causal LM: its target tokens; known before the forward
    // pass.
    virtual double loss_weight(const EncodedExample& example) const = 0;
    // Sum over the examples' losses (float32 scalar with autograd); the trainer divides by the sum of
    // loss_weight over the whole accumulated batch, so that the micro-batch size changes nothing but speed.
    virtual at::Tensor loss_sum(std::span<const EncodedExample> batch) = 0;
    // Answers in any order it likes (length-sorted batches) and reports each as soon as it is done.
    using OnResponse = std::function<void(size_t index, Response response)>;
    virtual void respond(std::span<const Request> requests, int64_t batch_size /* 0: auto */,
                         const OnResponse& done) = 0;
    // Logits [T, V] (float32) of one fixed row of ids: the self-checks' probe.
    virtual at::Tensor probe_logits(const Ids& ids) = 0;
    virtual void set_training(bool training) = 0; // dropout and gradient checkpointing
    virtual void set_gradient_checkpointing(bool on) = 0;
    // The embedding output requires a gradient, so that the first layer costs what an inner layer does
    // (bench).
    virtual void set_input_gradients(bool /*on*/) {}
    virtual const Tokenizer* tokenizer() const = 0; // null when the checkpoint has none
    // config.json of this backbone in HF's form, for checkpoints that are written out; empty: not supported.
    virtual std::string config_json() const { return {}; }
};

// What builtin.cpp or a plug-in registers for a family.
struct BackendFactory {
    std::string name, help;
    std::function<ModelShapes(const BackendSettings&)>
        shapes; // from a named shape or a checkpoint's config.json
    std::function<std::unique_ptr<Backend>(const BackendSettings&, uint64_t seed)> load;
    std::function<std::vector<std::string>()> shape_names;
    std::string origin = "built in";
};

} // namespace dorabench
