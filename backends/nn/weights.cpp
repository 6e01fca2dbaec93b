#include "backends/nn/weights.h"
#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include <cmath>
#include <numbers>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

namespace dorabench {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
    std::vector<std::string> parts;
    for (int64_t size : shape) parts.push_back(std::to_string(size));
    return "[" + join(parts, ", ") + "]";
}

std::string some(const std::vector<std::string>& names) {
    std::vector<std::string> shown(names.begin(), names.begin() + std::min<size_t>(names.size(), 5));
    return cat(join(shown, ", "), names.size() > shown.size()
                                      ? cat(" and ", names.size() - shown.size(), " more")
                                      : std::string());
}

// The pages of one tensor in its file's mapping: from the first whole one to the last, or (outward) all that
// it touches.
std::pair<void*, size_t> pages_of(const Checkpoint::Place& place, bool outward) {
    const auto bytes = place.file->bytes(place.entry);
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto down = [page](uintptr_t at) { return at / page * page; };
    const auto first = reinterpret_cast<uintptr_t>(bytes.data()), last = first + bytes.size();
    const auto begin = outward ? down(first) : down(first + page - 1);
    const auto end = outward ? down(last + page - 1) : down(last);
    return {reinterpret_cast<void*>(begin), end > begin ? end - begin : 0};
}

// Now, so that no training step waits for the disk; a kernel that cannot (before 5.14) reads on first use.
void fetch_pages(const Checkpoint::Place& place) {
#ifdef MADV_POPULATE_READ
    const auto [begin, size] = pages_of(place, true);
    if (size > 0) madvise(begin, size, MADV_POPULATE_READ);
#endif
}

at::Tensor parameter_in(const Checkpoint::Place& place, const std::string& name, const ParameterShape& want,
                        const WeightOptions& options) {
    if (place.entry.shape != want.shape)
        throw Error::data(place.file->path(), ": ", name, " must have shape ", shape_text(want.shape),
                          " by config.json, has ", shape_text(place.entry.shape));
    const at::ScalarType stored = scalar_type(place.entry.dtype);
    if (stored != at::kFloat && stored != at::kHalf && stored != at::kBFloat16 && stored != at::kDouble)
        throw Error::data(place.file->path(), ": ", name, " must be F32, F16, BF16 or F64, is ",
                          dtype_name(place.entry.dtype));
    at::Tensor mapped = map_tensor(place.file, place.entry);
    if (options.device.is_cpu() && stored == options.dtype) {
        fetch_pages(place);
        return mapped;
    }
    return mapped.to(at::TensorOptions().dtype(options.dtype).device(options.device), false, true);
}

// The file's pages of one tensor may go: they are read once, and a large model's would fill the memory.
void forget_pages(const Checkpoint::Place& place) {
    const auto [begin, size] = pages_of(place, false);
    if (size > 0) madvise(begin, size, MADV_DONTNEED); // read-only use: no loss
}

bool packs(const ParameterShape& parameter, const PackOptions& pack) {
    return pack.into && parameter.linear && !parameter.head;
}

std::shared_ptr<const Nf4Weight> packed_on(std::shared_ptr<Nf4Weight> weight, at::Device device) {
    for (at::Tensor* part : {&weight->codes, &weight->absmax, &weight->nested_absmax, &weight->nested_map,
                             &weight->original_norms})
        if (part->defined()) *part = part->to(device);
    return weight;
}

void check_shape(const Nf4Weight& weight, const ParameterShape& want, const Checkpoint::Place& place) {
    if (std::vector<int64_t>{weight.out, weight.in} != want.shape)
        throw Error::data(place.file->path(), ": ", want.name, " must have shape ", shape_text(want.shape),
                          " by config.json, has ", shape_text({weight.out, weight.in}));
}

// splitmix64's finaliser: a good hash of the counter
uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

} // namespace

PackOptions pack_options(const BackendSettings& settings, PackedWeights& into) {
    if (settings.quantization != "none" && settings.quantization != "nf4")
        throw Error::config("backend.quantization must be none or nf4, got \"", settings.quantization, "\"");
    return {&into, settings.quantization == "nf4", settings.double_quant};
}

Weights load_weights(const std::string& checkpoint, const std::vector<ParameterShape>& parameters,
                     const WeightOptions& options) {
    const Checkpoint file = Checkpoint::open(checkpoint);
    Weights weights;
    std::set<std::string> taken;
    std::vector<std::string> missing, unexpected;
    struct Found {
        const ParameterShape* parameter;
        const Checkpoint::Place* place;
        std::string packed; // its name in the file where it is in NF4 there
    };
    std::vector<Found> found;
    for (const ParameterShape& parameter : parameters) {
        const Checkpoint::Place* place = nullptr;
        std::string packed;
        for (const std::string& name :
             options.names ? options.names(parameter.name) : std::vector{parameter.name})
            if ((place = file.find(name))) {
                taken.insert(name);
                if (options.pack.into && place->entry.dtype == Dtype::u8 && holds_nf4(file, name)) {
                    packed = name;
                    for (const std::string& key : nf4_keys(file, name)) taken.insert(key);
                }
                break;
            }
        if (place)
            found.push_back({&parameter, place, packed});
        else
            missing.push_back(parameter.name);
    }
    for (const auto& [name, place] : file.tensors())
        if (!taken.count(name) && !(options.ignorable && options.ignorable(name))) unexpected.push_back(name);
    if (!missing.empty())
        throw Error::data(checkpoint, ": ", missing.size(), " of ", parameters.size(),
                          " parameters are missing: ", some(missing),
                          unexpected.empty() ? std::string() : cat("; not expected: ", some(unexpected)));
    if (!unexpected.empty())
        throw Error::data(checkpoint, ": ", unexpected.size(),
                          " tensors belong to no parameter of this architecture: ", some(unexpected));
    const auto buffer = std::make_shared<Nf4Buffer>();
    for (const auto& [parameter, place, packed] : found) {
        const std::string& name = parameter->name;
        if (!packed.empty()) {
            auto weight = read_nf4(file, packed, options.dtype, buffer);
            check_shape(*weight, *parameter, *place);
            if (packs(*parameter, options.pack))
                (*options.pack.into)[name] = packed_on(weight, options.device);
            else
                weights[name] = nf4_dequantise(*weight, options.dtype).to(options.device);
            continue;
        }
        at::Tensor tensor = parameter_in(*place, name, *parameter, options);
        if (options.pack.quantise && packs(*parameter, options.pack)) {
            try {
                (*options.pack.into)[name] = nf4_quantise(tensor, options.pack.double_quant, buffer);
            } catch (const Error& error) {
                throw Error::data(place->file->path(), ": ", name, ": ", error.what());
            }
        } else {
            weights[name] = tensor;
        }
        if (options.pack.quantise) forget_pages(*place);
    }
    return weights;
}

void fill_normal(at::Tensor& tensor, uint64_t seed, double std) {
    float* data = tensor.mutable_data_ptr<float>();
    const int64_t n = tensor.numel();
    const float width = static_cast<float>(std);
    at::parallel_for(0, (n + 1) / 2, 1 << 15, [&](int64_t begin, int64_t end) {
        for (int64_t pair = begin; pair < end; ++pair) { // Box-Muller
            const uint64_t bits = mix(seed + 0x9E3779B97F4A7C15ull * static_cast<uint64_t>(pair + 1));
            const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f,
                        v = static_cast<float>((bits >> 8) & 0xFFFFFF) * 0x1p-24f;
            const float radius = width * std::sqrt(-2.0f * std::log(u)),
                        angle = 2.0f * std::numbers::pi_v<float> * v;
            data[2 * pair] = radius * std::cos(angle);
            if (2 * pair + 1 < n) data[2 * pair + 1] = radius * std::sin(angle);
        }
    });
}

Weights random_weights(uint64_t seed, const std::vector<ParameterShape>& parameters,
                       const WeightOptions& options, double std) {
    Weights weights;
    const auto buffer = std::make_shared<Nf4Buffer>();
    for (const ParameterShape& parameter : parameters) {
        at::Tensor tensor = at::empty(parameter.shape, at::kFloat);
        if (parameter.shape.size() > 1)
            fill_normal(tensor, stream_seed(seed, "weights/" + parameter.name), std);
        else
            tensor.fill_(ends_with(parameter.name, ".bias") ? 0.0 : 1.0);
        tensor = tensor.to(at::TensorOptions().dtype(options.dtype).device(options.device));
        if (options.pack.quantise && packs(parameter, options.pack))
            (*options.pack.into)[parameter.name] = nf4_quantise(tensor, options.pack.double_quant, buffer);
        else
            weights[parameter.name] = tensor;
    }
    return weights;
}

} // namespace dorabench
