// The estimate, in bytes; e is the size of the backbone's dtype, T = micro_batch_size · max_length tokens.
//   weights      e per parameter; NF4: linear weights but the head take 1/2 byte and one scale per 64 values
//                (float32, or 1 byte and 4/256 with double_quant)
//   adapter      4 per added parameter; VeRA, DVoRA: also the shared projections, 4 · rank · (largest in +
//                largest out)
//   gradients    4 per adapter parameter, e per trained base parameter
//   optimizer    two float32 moments per trainable parameter
//   buffers      the liveness check's copy of what is trained (at most 2^20 values a tensor); 16 bit: the
//                pairs as they are multiplied; magnitudes: w2, norm and gain, 16 per row, and with the full
//                norm gradient 4 · rank per row; DVoRA: W A^T in e; NF4: one dequantised weight, the norms of
//                the original rows
//   activations  what autograd keeps, per token and layer, for hidden d, intermediate f, query width q and
//                key/value width k (q where fewer key heads are repeated):
//                  e (4 d + 2 q + 2 k + 3 f)   two norm inputs and outputs, q and k behind the rotation, v,
//                  the
//                                              attention's output; gate, up and their product
//                  e (8 d + 2 f)               BART's layers (fc1, fc2; no rotation); 4 d more in those with
//                                              cross-attention, and 2 d for each token of the encoder
//                  e · out of a site with a magnitude, whose output backward reads; nothing more where it is
//                          kept anyway (gate, up; v unless repeated; BART's q, k, v and fc1); out once more
//                          where dropout before the base product costs a second one
//                  e · rank of a site; 16 bit on a CPU, whose norms and SwiGLU are LibTorch's operators: 8 d
//                  + e f; 4 · heads · length with `attention: math`
//                with gradient checkpointing e d per layer and one whole layer; behind the layers 4 d e, and
//                the greater of the loss's chunk of logits and one layer's backward (3 f + 3 d;
//                6 f + 4 d with a second base product). Tokens: max_length, with the tokens of one picture
//                where the backbone sees pictures. On a CPU a part of all this on top (16 %; with an
//                adapter's dropout 40 %; with gradient checkpointing 90 %), for what the C library's heap
//                holds back: memory between tensors that stay, as measured (results/LOG.md). Backbones that
//                state no layers: the outputs of all linear layers.
//   program      CPU: code and libraries, as measured (results/LOG.md)
// At the peak of a single micro-batch no gradient of an adapter is there yet; of several, all are.
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/plan/plan.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

namespace dorabench {
namespace {

constexpr double kAdapterBytes = 4, kMomentBytes = 8;
constexpr double kLivenessSample = 1 << 20;
// heap held back, of the activations (results/LOG.md, `scripts/bench_memory`)
constexpr double kHeapSlack = 0.16, kHeapSlackDropout = 0.40, kHeapSlackCheckpointing = 0.90;
// boxes or frames that a VL-BART of the recipes sees (36 of a picture, 64 of a video, whose features are 512
// wide)
constexpr double kPictureBoxes = 36, kVideoFrames = 64, kVideoWidth = 512;
constexpr int64_t kProgramBytes = int64_t(165) << 20;
// backends/ops/linear_cross_entropy.cpp
constexpr double kChunkElements = 8 << 20, kCudaChunkElements = 64 << 20, kLeastChunk = 64, kMostChunk = 4096;

bool on_cpu(const RunSettings& run) { return !starts_with(run.backend.device, "cuda"); }
bool wide(const std::string& dtype) { return dtype == "float32"; }
double dtype_bytes(const std::string& dtype) { return wide(dtype) ? 4 : 2; }

double elements(const ParameterShape& parameter) {
    double count = 1;
    for (int64_t side : parameter.shape) count *= static_cast<double>(side);
    return count;
}

bool packed(const ParameterShape& parameter, const BackendSettings& backend) {
    return backend.quantization == "nf4" && parameter.linear && !parameter.head;
}

double weight_bytes(const ModelShapes& shapes, const BackendSettings& backend) {
    double bytes = 0, scale = backend.double_quant ? 1.0 / 64 + 4.0 / (64 * 256) : 4.0 / 64;
    for (const ParameterShape& parameter : shapes.parameters)
        bytes +=
            elements(parameter) * (packed(parameter, backend) ? 0.5 + scale : dtype_bytes(backend.dtype));
    return bytes;
}

// Tokens of a micro-batch: what an encoder or a lone decoder reads, pictures included, and what the decoder
// behind an encoder does.
struct Tokens {
    double read = 0, written = 0;
};

struct Form { // of the layers, from the parameters' names
    bool gated = true, crossed = false;
    double encoder_layers = 0, picture_tokens = 0;
};

Form form_of(const ModelShapes& shapes) {
    Form form;
    for (const ParameterShape& p : shapes.parameters) {
        const bool decoder = p.name.find("decoder.") != std::string::npos;
        if (ends_with(p.name, ".fc1.weight") && p.part != "vision") {
            form.gated = false;
            form.encoder_layers += !decoder;
        }
        form.crossed = form.crossed || p.name.find(".encoder_attn.") != std::string::npos;
        if (p.part == "vision" && ends_with(p.name, "position_embedding.weight"))
            form.picture_tokens = static_cast<double>(p.shape.at(0) - 1); // one is the picture's class
        if (p.name.find("visual_embedding.feat_embedding.") != std::string::npos && p.shape.size() == 2)
            form.picture_tokens =
                static_cast<double>(p.shape[1]) == kVideoWidth ? kVideoFrames : kPictureBoxes;
    }
    return form;
}

Tokens tokens_of(const Form& form, const TrainSettings& train) {
    const double rows = static_cast<double>(train.micro_batch_size),
                 text = rows * static_cast<double>(train.max_length);
    return {text + rows * form.picture_tokens, text};
}

struct Sites { // the adapted linear layers, together
    double out = 0, widest_in = 0, widest_out = 0;
    double kept = 0;     // values of a micro-batch that backward keeps and nobody else does
    bool second = false; // dropout before the base product: two of them each way
};

bool kept_anyway(const std::string& name, const Form& form, bool repeated) {
    if (!form.gated)
        return ends_with(name, "fc1") || ends_with(name, "q_proj") || ends_with(name, "k_proj") ||
               ends_with(name, "v_proj");
    return ends_with(name, "gate_proj") || ends_with(name, "up_proj") ||
           (ends_with(name, "v_proj") && !repeated);
}

// A site that is adapted stands in the count once for each of its tensors; "base" entries are trained
// weights.
Sites adapted_sites(const ModelShapes& shapes, const AdapterCount& count, const RunSettings& run) {
    const AdapterSettings& adapter = run.adapter;
    const bool magnitude = adapter.method == "dora" || adapter.method == "dvora";
    const bool second = magnitude && adapter.dropout > 0 && adapter.dropout_placement == "input";
    const bool repeated = shapes.kv_heads > 0 && shapes.heads > shapes.kv_heads;
    const Form form = form_of(shapes);
    const Tokens tokens = tokens_of(form, run.train);
    std::map<std::string, std::pair<double, double>> sites; // out, in of each
    for (const ModuleCount& module : count.modules)
        if (module.shape.size() == 2 && module.trainable > 0 && module.kind != "base")
            sites[module.name] = {static_cast<double>(module.shape[0]), static_cast<double>(module.shape[1])};
    Sites all;
    all.second = second;
    for (const auto& [name, sides] : sites) {
        const auto& [out, in] = sides;
        const bool of_encoder =
            ends_with(name, "encoder_attn.k_proj") || ends_with(name, "encoder_attn.v_proj");
        const bool written = form.crossed && name.find("decoder.") != std::string::npos && !of_encoder;
        const double here = written ? tokens.written : tokens.read;
        all.out += out;
        all.kept += here * static_cast<double>(adapter.rank);
        all.widest_in = std::max(all.widest_in, in);
        all.widest_out = std::max(all.widest_out, out);
        if (magnitude)
            all.kept += here * out * ((second ? 2 : 1) - (kept_anyway(name, form, repeated) ? 1 : 0));
    }
    return all;
}

double loss_bytes(const ModelShapes& shapes, double tokens, const RunSettings& run) {
    const double vocab = std::max(1.0, static_cast<double>(shapes.vocab)), e = dtype_bytes(run.backend.dtype);
    const double chunk =
        std::clamp((on_cpu(run) ? kChunkElements : kCudaChunkElements) / vocab, kLeastChunk, kMostChunk);
    // 16 bit on a CPU: the product, its float32 copy, and the gradient again in 16 bit
    const double each = wide(run.backend.dtype) ? 4 : on_cpu(run) ? 2 + 4 + 2 : e;
    return std::min(tokens, chunk) * vocab * each;
}

// Dropout of the model itself, which only the originals' checkpoints state where the options don't.
bool model_drops(const BackendSettings& backend) {
    const auto at = backend.options.find("dropout");
    return at != backend.options.end() ? std::strtod(at->second.c_str(), nullptr) > 0
                                       : !backend.checkpoint.empty();
}

double activation_bytes(const ModelShapes& shapes, const Sites& sites, const RunSettings& run) {
    const TrainSettings& train = run.train;
    const Form form = form_of(shapes);
    const Tokens tokens = tokens_of(form, train);
    const double e = dtype_bytes(run.backend.dtype),
                 length = tokens.read / static_cast<double>(train.micro_batch_size);
    const double layers = static_cast<double>(shapes.layers), d = static_cast<double>(shapes.hidden),
                 f = static_cast<double>(shapes.intermediate);
    const double loss = loss_bytes(shapes, form.crossed ? tokens.written : tokens.read, run),
                 adapters = e * sites.kept;
    if (shapes.layers == 0) {
        double outputs = 0;
        for (const ParameterShape& parameter : shapes.parameters)
            if (parameter.linear && !parameter.shape.empty())
                outputs += static_cast<double>(parameter.shape[0]);
        return tokens.read * outputs * e + adapters + loss;
    }
    const double q = static_cast<double>(shapes.heads * shapes.head_dim);
    const double k =
        shapes.heads > shapes.kv_heads ? q : static_cast<double>(shapes.kv_heads * shapes.head_dim);
    double token = e * (form.gated ? 4 * d + 2 * q + 2 * k + 3 * f : 8 * d + 2 * f); // of one layer
    const bool drops = !form.gated && model_drops(run.backend);
    if (drops) token += e * (2 * d + f);
    if (on_cpu(run) && !wide(run.backend.dtype)) token += 8 * d + e * f;
    if (run.backend.attention == "math") token += 4 * static_cast<double>(shapes.heads) * length;
    const double first = form.crossed ? form.encoder_layers : layers, second = layers - first;
    const double crossing = second * e * d * ((drops ? 5 : 4) * tokens.written + 2 * tokens.read);
    const double all = token * (first * tokens.read + second * tokens.written) + crossing + adapters;
    const double backward = tokens.read * e * (sites.second ? 6 * f + 4 * d : 3 * f + 3 * d),
                 behind = (form.crossed ? tokens.written : tokens.read) * 4 * d * e;
    if (!train.gradient_checkpointing) return all + behind + std::max(loss, backward);
    const double inputs = e * d * (first * tokens.read + second * tokens.written);
    return inputs + behind + std::max(loss, all / layers + backward);
}

double heap_slack(const RunSettings& run) {
    if (!on_cpu(run)) return 0;
    if (run.train.gradient_checkpointing) return kHeapSlackCheckpointing;
    return run.adapter.dropout > 0 && run.adapter.method != "ft" ? kHeapSlackDropout : kHeapSlack;
}

double buffer_bytes(const ModelShapes& shapes, const AdapterCount& count, const Sites& sites,
                    const RunSettings& run) {
    const std::string& method = run.adapter.method;
    const double e = dtype_bytes(run.backend.dtype), rank = static_cast<double>(run.adapter.rank);
    double bytes = 0, largest = 0;
    for (const ModuleCount& module : count.modules)
        bytes += 4 * std::min(kLivenessSample, static_cast<double>(module.trainable));
    for (const ParameterShape& parameter : shapes.parameters) {
        if (packed(parameter, run.backend)) largest = std::max(largest, elements(parameter));
        if (packed(parameter, run.backend)) bytes += 4 * static_cast<double>(parameter.shape[0]);
    }
    bytes += largest * e;
    const bool vectors = method == "vera" || method == "dvora";
    if (!wide(run.backend.dtype))
        bytes +=
            vectors ? e * rank * (sites.widest_in + sites.widest_out) : e * static_cast<double>(count.added);
    if (method == "dora" || method == "dvora") {
        bytes += 16 * sites.out;
        if (run.adapter.norm_grad == "full") bytes += 4 * rank * sites.out;
    }
    if (method == "dvora") bytes += e * rank * sites.out;
    // 16-bit products on a CPU pack the weight anew: of the output layer it is the most
    if (on_cpu(run) && !wide(run.backend.dtype))
        bytes += e * static_cast<double>(shapes.vocab * shapes.hidden);
    return bytes;
}

} // namespace

int64_t MemoryEstimate::total() const {
    return weights + adapter + optimizer + buffers + program +
           (accumulates ? activations + gradients : std::max(activations, gradients));
}

MemoryEstimate estimate_memory(const ModelShapes& shapes, const AdapterCount& count,
                               const RunSettings& settings) {
    const std::string& method = settings.adapter.method;
    Sites sites = adapted_sites(shapes, count, settings);
    double added = static_cast<double>(count.added), trainable = static_cast<double>(count.trainable);
    double from_base = std::max(0.0, trainable - added);
    MemoryEstimate out;
    out.weights = static_cast<int64_t>(weight_bytes(shapes, settings.backend));
    double adapter = added * kAdapterBytes;
    if (method == "vera" || method == "dvora")
        adapter +=
            kAdapterBytes * static_cast<double>(settings.adapter.rank) * (sites.widest_in + sites.widest_out);
    out.adapter = static_cast<int64_t>(adapter);
    out.gradients = static_cast<int64_t>((trainable - from_base) * kAdapterBytes +
                                         from_base * dtype_bytes(settings.backend.dtype));
    out.optimizer = static_cast<int64_t>(trainable * kMomentBytes);
    if (count.trainable > 0) {
        out.activations =
            static_cast<int64_t>((1 + heap_slack(settings)) * activation_bytes(shapes, sites, settings));
        out.buffers = static_cast<int64_t>(buffer_bytes(shapes, count, sites, settings));
    }
    if (on_cpu(settings)) out.program = kProgramBytes;
    // a trained base has its gradients beside what the rest of the backward pass still keeps
    out.accumulates = settings.train.batch_size > settings.train.micro_batch_size || from_base > 0;
    return out;
}

void require_memory(const PlannedRun& run, int64_t available) {
    const int64_t needed = run.memory.total();
    if (needed <= available) return;
    struct Option {
        std::string says;
        RunSettings settings;
    };
    std::vector<Option> options;
    auto add = [&](const std::string& says, auto change) {
        RunSettings settings = run.settings;
        change(settings);
        options.push_back({says, std::move(settings)});
    };
    auto checkpointing = [](RunSettings& s) { s.train.gradient_checkpointing = true; };
    auto smaller = [](RunSettings& s) { s.train.micro_batch_size = 1; };
    auto nf4 = [](RunSettings& s) { s.backend.quantization = "nf4"; };
    const bool can_check = !run.settings.train.gradient_checkpointing,
               can_shrink = run.settings.train.micro_batch_size > 1,
               can_pack = run.settings.backend.quantization == "none" && run.settings.adapter.method != "ft";
    if (can_check) add("train.gradient_checkpointing=true", checkpointing);
    if (can_shrink) add("train.micro_batch_size=1", smaller);
    if (can_pack) add("backend.quantization=nf4", nf4);
    if (can_check + can_shrink + can_pack > 1)
        add("all of these", [&](RunSettings& s) {
            if (can_check) checkpointing(s);
            if (can_shrink) smaller(s);
            if (can_pack) nf4(s);
        });
    std::vector<std::string> lines;
    bool any = false;
    for (const Option& option : options) {
        const int64_t bytes = estimate_memory(run.shapes, run.count, option.settings).total();
        any = any || bytes <= available;
        lines.push_back(cat(option.says, ": ", human_bytes(static_cast<double>(bytes)),
                            bytes <= available ? " (fits)" : ""));
    }
    throw Error::resources(
        "run ", run.id, ": a training step needs about ", human_bytes(static_cast<double>(needed)), ", ",
        human_bytes(static_cast<double>(available)), " are available; nothing was started. ",
        lines.empty() ? "A smaller backbone or rank needs less" : cat("What needs less: ", join(lines, "; ")),
        any || lines.empty() ? "" : "; not enough here: a machine with more memory is needed");
}

} // namespace dorabench
