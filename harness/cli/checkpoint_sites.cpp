#include "harness/cli/checkpoint_sites.h"
#include "backends/ops/linear_site.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/cli/model_requests.h"

namespace dorabench {
namespace {

bool ends_in_weight(const std::string& name) { return ends_with(name, ".weight"); }

[[noreturn]] void no_computation() {
    throw Error::internal("checkpoint_sites: weights alone, without a forward pass");
}

ModelShapes guessed_shapes(const Checkpoint& checkpoint, const std::string& folder) {
    ModelShapes shapes;
    shapes.name = folder;
    for (const auto& [name, place] : checkpoint.tensors()) {
        ParameterShape parameter;
        parameter.name = name;
        parameter.shape = place.entry.shape;
        parameter.linear = parameter.shape.size() == 2 && ends_in_weight(name) &&
                           name.find("embed") == std::string::npos &&
                           name.find("shared.") == std::string::npos;
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

CheckpointSites::CheckpointSites(const std::string& folder, const Registry<BackendFactory>& backends)
    : checkpoint_(Checkpoint::open(folder)) {
    shapes_ = guessed_shapes(checkpoint_, folder);
    if (const std::string family = known_family(folder, backends); !family.empty()) {
        BackendSettings settings;
        settings.type = family;
        settings.checkpoint = folder;
        ModelShapes known = backends.get(family).shapes(settings);
        if (holds_all(checkpoint_, known)) shapes_ = std::move(known);
    }
    for (const auto& [name, place] : checkpoint_.tensors())
        parameters_.push_back({name, map_tensor(place.file, place.entry)});
    for (const ParameterShape& parameter : shapes_.parameters) {
        if (!parameter.linear) continue;
        const auto at =
            std::lower_bound(parameters_.begin(), parameters_.end(), parameter.name,
                             [](const NamedTensor& a, const std::string& b) { return a.name < b; });
        if (!at->tensor.is_floating_point() || at->tensor.sizes() != at::IntArrayRef(parameter.shape))
            throw Error::data(checkpoint_.find(parameter.name)->file->path(), ": ", parameter.name,
                              " must be a floating-point matrix as config.json has it, got ",
                              at->tensor.sizes(), " of ", c10::toString(at->tensor.scalar_type()),
                              "; a quantised checkpoint cannot be used here");
        sites_.push_back(std::make_unique<LinearSite>(parameter.name.substr(0, parameter.name.size() - 7),
                                                      FrozenLinear(at->tensor, {})));
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
