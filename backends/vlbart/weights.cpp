#include "backends/vlbart/weights.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"

namespace dorabench {
namespace {

constexpr const char* kShared = "model.shared.weight";

std::vector<std::string> names_in_file(const std::string& name) {
    std::vector<std::string> names{name,
                                   name.substr(6)}; // as BartForConditionalGeneration's and as BartModel's
    if (name != kShared) return names;
    for (const char* copy : {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                             "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"})
        names.push_back(copy);
    return names;
}

bool ignorable(const std::string& name) { // tied copies, and what is read by other means
    return ends_with(name, "embed_tokens.weight") || ends_with(name, "obj_order_embedding.weight") ||
           ends_with(name, "shared.weight") || name == "lm_head.weight" || name == "final_logits_bias";
}

bool in_file(const Checkpoint& file, const std::string& name) {
    for (const std::string& known : names_in_file(name))
        if (file.find(known)) return true;
    return false;
}

at::TensorOptions placed(const WeightOptions& options) {
    return at::TensorOptions().dtype(options.dtype).device(options.device);
}

// [V] of the larger config; the file's may be missing (BartModel saves none).
at::Tensor read_logits_bias(const Checkpoint& file, int64_t rows, int64_t vocab,
                            const WeightOptions& options) {
    at::Tensor bias = at::zeros({vocab}, placed(options));
    const Checkpoint::Place* place = file.find("final_logits_bias");
    if (!place) return bias;
    const auto& entry = place->entry;
    if (entry.elements() != rows || entry.shape.back() != rows)
        throw Error::data(place->file->path(), ": final_logits_bias must have shape [1, ", rows,
                          "] by config.json, has ", entry.elements(), " elements");
    const at::ScalarType type = scalar_type(entry.dtype);
    if (type != at::kFloat && type != at::kHalf && type != at::kBFloat16 && type != at::kDouble)
        throw Error::data(place->file->path(), ": final_logits_bias must be F32, F16, BF16 or F64, is ",
                          dtype_name(entry.dtype));
    bias.narrow(0, 0, rows).copy_(map_tensor(place->file, entry).view({-1}));
    return bias;
}

int64_t embedding_rows(const Checkpoint& file, int64_t otherwise) {
    for (const std::string& name : names_in_file(kShared))
        if (const Checkpoint::Place* place = file.find(name))
            return place->entry.shape.empty() ? otherwise : place->entry.shape[0];
    return otherwise;
}

} // namespace

BartWeights random_bart_weights(uint64_t seed, const BartConfig& config, const WeightOptions& options) {
    BartWeights out;
    out.tensors = random_weights(seed, bart_shapes(config, "").parameters, options, config.init_std);
    out.logits_bias = at::zeros({config.vocab}, placed(options));
    return out;
}

BartWeights load_bart_weights(const std::string& folder, const BartConfig& stated, const BartConfig& config,
                              uint64_t seed, const WeightOptions& given) {
    const Checkpoint file = Checkpoint::open(folder);
    WeightOptions options = given;
    options.names = names_in_file;
    options.ignorable = ignorable;
    const bool grown = config.vocab > stated.vocab;
    // a checkpoint that was saved after the tokens were added has their rows already
    const int64_t rows =
        grown && embedding_rows(file, stated.vocab) == config.vocab ? config.vocab : stated.vocab;
    std::vector<ParameterShape> present, missing;
    for (ParameterShape parameter : bart_shapes(config, "").parameters) {
        if (parameter.name == kShared) parameter.shape[0] = rows;
        const bool optional = parameter.part == "vision" && !stated.visual.present();
        (optional && !in_file(file, parameter.name) ? missing : present).push_back(parameter);
    }
    BartWeights out;
    out.tensors = load_weights(folder, present, options);
    out.logits_bias = read_logits_bias(file, rows, config.vocab, options);
    out.tensors.merge(random_weights(seed, missing, options));
    for (const ParameterShape& parameter : missing) out.drawn.push_back(parameter.name);
    if (rows < config.vocab) {
        at::Tensor added = at::empty({config.vocab - rows, config.d_model}, at::kFloat);
        fill_normal(added, stream_seed(seed, cat("weights/", kShared, "/added")), 0.02);
        at::Tensor& shared = out.tensors.at(kShared);
        shared = at::cat({shared, added.to(placed(options))}, 0);
        out.drawn.push_back(cat("rows ", rows, " to ", config.vocab - 1, " of ", kShared));
    }
    return out;
}

} // namespace dorabench
