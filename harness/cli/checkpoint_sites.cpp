#include "harness/cli/checkpoint_sites.h"
#include "backends/ops/linear_site.h"
#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/cli/model_requests.h"

namespace dorabench {
namespace {

bool ends_in_weight(const std::string& name) { return ends_with(name, ".weight"); }

// Embeddings by their names: "…embed_tokens.weight", "wte" has none of its own, "time_embedding.linear_1" is none.
bool is_table(const std::string& name) {
    const std::string path = name.substr(0, name.rfind('.')), last = path.substr(path.rfind('.') + 1);
    return last.find("embed") != std::string::npos || last == "shared";
}

[[noreturn]] void no_computation() {
    throw Error::internal("checkpoint_sites: weights alone, without a forward pass");
}

using Packed = std::map<std::string, std::shared_ptr<const Nf4Weight>>;

ModelShapes guessed_shapes(const Checkpoint& checkpoint, const std::string& folder, const Packed& packed) {
    ModelShapes shapes;
    shapes.name = folder;
    for (const auto& [name, place] : checkpoint.tensors()) {
        if (belongs_to_nf4(name)) continue;
        ParameterShape parameter;
        parameter.name = name;
        parameter.shape = place.entry.shape;
        if (const auto at = packed.find(name); at != packed.end()) parameter.shape = {at->second->out, at->second->in};
        parameter.linear = parameter.shape.size() >= 2 && ends_in_weight(name) && !is_table(name);
        if (parameter.linear && parameter.shape.size() > 2) { // a kernel as the matrix [out, in h w]
            const int64_t out = parameter.shape[0];
            parameter.shape = {out, out > 0 ? place.entry.elements() / out : 0};
        }
        parameter.head = name == "lm_head.weight";
        shapes.parameters.push_back(parameter);
    }
    return shapes;
}

bool holds_all(const Checkpoint& checkpoint, const ModelShapes& shapes) {
    for (const ParameterShape& parameter : shapes.parameters)
        if (parameter.linear && !checkpoint.find(parameter.name)) return false;
    return true;
}

} // namespace

std::string known_family(const std::string& folder, const Registry<BackendFactory>& backends) {
    try {
        return backend_of(folder, backends);
    } catch (const Error&) {
        return {}; // the caller goes on without one
    }
}

CheckpointSites::CheckpointSites(const std::string& folder, const Registry<BackendFactory>& backends, bool quantise)
    : checkpoint_(Checkpoint::open(folder)) {
    const auto buffer = std::make_shared<Nf4Buffer>();
    for (const auto& [name, place] : checkpoint_.tensors())
        if (holds_nf4(checkpoint_, name)) packed_[name] = read_nf4(checkpoint_, name, {}, buffer);
    shapes_ = guessed_shapes(checkpoint_, folder, packed_);
    if (const std::string family = known_family(folder, backends); !family.empty()) {
        BackendSettings settings;
        settings.type = family;
        settings.checkpoint = folder;
        ModelShapes known = backends.get(family).shapes(settings);
        if (holds_all(checkpoint_, known)) shapes_ = std::move(known);
    }
    for (const auto& [name, place] : checkpoint_.tensors())
        if (!packed_.count(name) && !belongs_to_nf4(name))
            parameters_.push_back({name, map_tensor(place.file, place.entry)});
    for (const ParameterShape& parameter : shapes_.parameters) {
        if (!parameter.linear) continue;
        const std::string path = parameter.name.substr(0, parameter.name.size() - 7);
        if (const auto packed = packed_.find(parameter.name); packed != packed_.end()) {
            sites_.push_back(std::make_unique<LinearSite>(path, FrozenLinear(packed->second, {})));
            continue;
        }
        const auto at =
            std::lower_bound(parameters_.begin(), parameters_.end(), parameter.name,
                             [](const NamedTensor& a, const std::string& b) { return a.name < b; });
        const at::Tensor weight = at->tensor.dim() > 2 ? at->tensor.flatten(1) : at->tensor;
        if (!weight.is_floating_point() || weight.sizes() != at::IntArrayRef(parameter.shape))
            throw Error::data(checkpoint_.find(parameter.name)->file->path(), ": ", parameter.name,
                              " must be a floating-point matrix as config.json has it, got ",
                              at->tensor.sizes(), " of ", c10::toString(at->tensor.scalar_type()),
                              "; of quantised checkpoints only bitsandbytes' NF4 can be used here");
        if (at->tensor.dim() > 2) convolutions_.insert(path);
        if (quantise && !parameter.head && at->tensor.dim() == 2) {
            packed_[parameter.name] = nf4_quantise(weight, true, buffer);
            sites_.push_back(std::make_unique<LinearSite>(path, FrozenLinear(packed_[parameter.name], {})));
        } else {
            sites_.push_back(std::make_unique<LinearSite>(path, FrozenLinear(weight, {})));
        }
    }
}

std::vector<LinearSite*> CheckpointSites::sites() {
    std::vector<LinearSite*> all;
    for (const auto& site : sites_) all.push_back(site.get());
    return all;
}

EncodedExample CheckpointSites::encode(const TrainingPair&, const EncodeOptions&) const { no_computation(); }
double CheckpointSites::loss_weight(const EncodedExample&) const { no_computation(); }
at::Tensor CheckpointSites::loss_sum(std::span<const EncodedExample>) { no_computation(); }
void CheckpointSites::respond(std::span<const Request>, int64_t, const OnResponse&) { no_computation(); }
at::Tensor CheckpointSites::probe_logits(const Ids&) { no_computation(); }

} // namespace dorabench
