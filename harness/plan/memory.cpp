// The estimate, in bytes; e is the size of the backbone's dtype, N = micro_batch_size · max_length tokens.
//   weights      e per parameter; NF4: linear weights but the head take 1/2 byte and one scale per 64 values
//   (float32, or 1 byte
//                and 4/256 with double_quant)
//   adapter      4 per added parameter; VeRA, DVoRA: also the shared projections, 4 · rank · (largest in +
//   largest out) gradients    4 per adapter parameter, e per trained base parameter optimizer    two float32
//   moments per trainable parameter activations  what autograd keeps, per token and layer, for hidden d,
//   intermediate f, key/value width k:
//                2 norm inputs d, their outputs 2d, q and the attention's output 2d, k and v 2k, gate, up,
//                their product 3f, low-rank outputs (rank per adapted site), dropout's copy of each adapted
//                site's input; plus attention scores h · T with `math`; with gradient checkpointing d per
//                layer and one whole layer; plus logits: 3 · vocabulary · 4 for the loss's chunk of at most
//                1,024 tokens. Backbones that state no layers: the outputs of all linear layers.
#include "harness/plan/plan.h"
#include <algorithm>

namespace dorabench {
namespace {

constexpr double kAdapterBytes = 4, kMomentBytes = 8, kLossChunk = 1024;

double dtype_bytes(const std::string& dtype) { return dtype == "float32" ? 4 : 2; }

double elements(const ParameterShape& parameter) {
    double count = 1;
    for (int64_t side : parameter.shape) count *= static_cast<double>(side);
    return count;
}

double weight_bytes(const ModelShapes& shapes, const BackendSettings& backend) {
    double bytes = 0, scale = backend.double_quant ? 1.0 / 64 + 4.0 / (64 * 256) : 4.0 / 64;
    for (const ParameterShape& parameter : shapes.parameters) {
        bool packed = backend.quantization == "nf4" && parameter.linear && !parameter.head;
        bytes += elements(parameter) * (packed ? 0.5 + scale : dtype_bytes(backend.dtype));
    }
    return bytes;
}

struct Sites {                                               // the adapted linear layers
    double count = 0, in = 0, widest_in = 0, widest_out = 0; // in: the sum of their input widths
};

Sites adapted_sites(const AdapterCount& count) {
    Sites sites;
    for (const ModuleCount& module : count.modules) {
        if (module.shape.size() != 2 || module.trainable == 0 || module.kind == "base") continue;
        double out = static_cast<double>(module.shape[0]), in = static_cast<double>(module.shape[1]);
        sites.count += 1;
        sites.in += in;
        sites.widest_in = std::max(sites.widest_in, in);
        sites.widest_out = std::max(sites.widest_out, out);
    }
    return sites;
}

double activation_bytes(const ModelShapes& shapes, const Sites& sites, const RunSettings& run) {
    const TrainSettings& train = run.train;
    double e = dtype_bytes(run.backend.dtype), length = static_cast<double>(train.max_length);
    double tokens = static_cast<double>(train.micro_batch_size) * length;
    double layers = static_cast<double>(shapes.layers), vocab = static_cast<double>(shapes.vocab);
    double logits = 3 * 4 * vocab * std::min(tokens, kLossChunk);
    double adapters = sites.count * static_cast<double>(run.adapter.rank) * 4;
    if (run.adapter.dropout > 0) adapters += sites.in * e;
    if (shapes.layers == 0) {
        double outputs = 0;
        for (const ParameterShape& parameter : shapes.parameters)
            if (parameter.linear && !parameter.shape.empty())
                outputs += static_cast<double>(parameter.shape[0]);
        return tokens * (outputs * e + adapters) + logits;
    }
    double d = static_cast<double>(shapes.hidden), f = static_cast<double>(shapes.intermediate);
    double k = static_cast<double>(shapes.kv_heads * shapes.head_dim);
    double layer = e * (6 * d + 2 * k + 3 * f) + adapters / layers;
    if (run.backend.attention == "math") layer += 4 * static_cast<double>(shapes.heads) * length;
    return tokens * (train.gradient_checkpointing ? layers * d * e + layer : layers * layer) + logits;
}

} // namespace

MemoryEstimate estimate_memory(const ModelShapes& shapes, const AdapterCount& count,
                               const RunSettings& settings) {
    const std::string& method = settings.adapter.method;
    Sites sites = adapted_sites(count);
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
    if (count.trainable > 0)
        out.activations = static_cast<int64_t>(activation_bytes(shapes, sites, settings));
    return out;
}

} // namespace dorabench
