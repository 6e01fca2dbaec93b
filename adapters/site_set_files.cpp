// Saving and loading of a SiteAdapterSet: HF PEFT's folder.
#include "adapters/peft_config.h"
#include "adapters/site_set.h"
#include "adapters/vera.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <map>

namespace dorabench {
namespace {

constexpr const char* kProjectionA = "base_model.vera_A";
constexpr const char* kProjectionB = "base_model.vera_B";

std::string shape_text(const at::Tensor& tensor) {
    std::vector<std::string> sizes;
    for (int64_t size : tensor.sizes()) sizes.push_back(std::to_string(size));
    return "[" + join(sizes, ", ") + "]";
}

// A convolution's tensors as those of the matrix [out, in h w] that its kernel is.
at::Tensor as_matrix(const at::Tensor& tensor, at::IntArrayRef shape) {
    if (tensor.dim() > 2 && shape.size() == 2) return tensor.flatten(1);
    if (tensor.dim() > 2 && shape.size() == 1 && tensor.numel() == tensor.size(1)) return tensor.reshape(-1);
    return tensor;
}

std::string some(const std::vector<std::string>& names) {
    const std::vector<std::string> first(names.begin(), names.begin() + std::min<size_t>(names.size(), 5));
    return join(first, ", ") + (names.size() > 5 ? cat(" and ", names.size() - 5, " more") : "");
}

} // namespace

std::vector<NamedTensor> SiteAdapterSet::stored() const {
    at::NoGradGuard no_grad;
    std::vector<NamedTensor> all;
    auto add = [&](const std::string& name, const at::Tensor& tensor) {
        all.push_back({name, tensor.detach().to(at::kCPU).contiguous()});
    };
    for (const Entry& entry : entries_) {
        const std::string prefix = kKeyPrefix + entry.choice.path + ".";
        for (const LayerTensor& part : entry.layer->tensors()) {
            if (entry.start_A.defined() &&
                part.group == "lora_A") // against the original base: [A; A0], [B, -B0]
                add(prefix + part.name, at::cat({part.tensor.detach(), entry.start_A}, 0));
            else if (entry.start_B.defined() && part.group == "lora_B")
                add(prefix + part.name, at::cat({part.tensor.detach(), entry.start_B.neg()}, 1));
            else
                add(prefix + part.name, part.tensor);
        }
        if (!entry.choice.low_rank) {
            add(prefix + "lora_A.weight", at::zeros({1, entry.choice.in}));
            add(prefix + "lora_B.weight", at::zeros({entry.choice.out, 1}));
        }
    }
    if (projections_ && settings_.save_projection) {
        add(kProjectionA, projections_->A);
        add(kProjectionB, projections_->B);
    }
    for (const NamedTensor& parameter : trained_) add(parameter.name, parameter.tensor);
    return all;
}

void SiteAdapterSet::save(const std::string& folder, const std::string& base_name) const {
    make_folder(folder);
    write_tensors(folder + "/" + kTensorFile, stored());
    write_file_atomic(folder + "/" + kConfigFile,
                      adapter_config_text(settings_, choice_, backend_, base_name, pissa() ? 2 : 1));
}

// Takes tensors out of a file by name and keeps count of what was found, missing and left over.
class SiteAdapterSet::Loader {
public:
    explicit Loader(const std::string& folder) : path_(folder + "/" + kTensorFile) {
        if (!exists(path_) && exists(folder + "/adapter_model.bin"))
            throw Error::data(folder, ": expected ", kTensorFile,
                              ", found only adapter_model.bin, a pickle, which is "
                              "never executed; convert it with `dora-bench import`");
        for (NamedTensor& named : read_tensors(path_)) tensors_[named.name] = named.tensor;
    }
    // The first of the spellings that the file has; undefined (and noted as missing) when it has none.
    at::Tensor take(const std::vector<std::string>& spellings, at::IntArrayRef shape, bool optional = false) {
        for (const std::string& name : spellings) {
            const auto at = tensors_.find(name);
            if (at == tensors_.end()) continue;
            const at::Tensor stored = at->second, tensor = as_matrix(stored, shape);
            tensors_.erase(at);
            if (tensor.sizes() != shape)
                throw Error::data(path_, ": ", name, " must be ", shape_text(at::empty(shape)),
                                  " as the settings have it, got ", shape_text(stored),
                                  "; rank and target modules must be those of the adapter");
            if (!tensor.isfinite().all().item<bool>())
                throw Error::data(path_, ": ", name, " holds NaN or infinity");
            return tensor;
        }
        if (!optional) missing_.push_back(spellings.front());
        return {};
    }
    bool has(const std::string& name) const { return tensors_.count(name) > 0; }
    void copy(const at::Tensor& target, const std::vector<std::string>& spellings) {
        if (const at::Tensor found = take(spellings, target.sizes()); found.defined())
            pending_.emplace_back(target, found);
    }
    void copy_later(const at::Tensor& target, const at::Tensor& found) {
        pending_.emplace_back(target, found);
    }
    // Both ways: everything that is wanted is there and everything that is there is wanted. Copies only then.
    void finish() {
        std::vector<std::string> unknown;
        for (const auto& [name, tensor] : tensors_) unknown.push_back(name);
        if (!missing_.empty() || !unknown.empty())
            throw Error::data(path_, ": its tensors are not those of the adapter",
                              missing_.empty() ? "" : "; missing: " + some(missing_),
                              unknown.empty() ? "" : "; unknown: " + some(unknown));
        at::NoGradGuard no_grad;
        for (auto& [target, found] : pending_) at::Tensor(target).copy_(found);
    }
    const std::string& path() const { return path_; }

private:
    std::string path_;
    std::map<std::string, at::Tensor> tensors_;
    std::vector<std::string> missing_;
    std::vector<std::pair<at::Tensor, at::Tensor>> pending_;
};

void SiteAdapterSet::load(const std::string& folder) {
    Loader loader(folder);
    Projections projections;
    for (Entry& entry : entries_) {
        const std::string prefix = kKeyPrefix + entry.choice.path + ".";
        for (const LayerTensor& part : entry.layer->tensors()) {
            const std::string name = prefix + part.name;
            const at::Tensor& start = part.group == "lora_A" ? entry.start_A : entry.start_B;
            const int64_t dim = part.group == "lora_A" ? 0 : 1;
            if (start.defined() && (part.group == "lora_A" || part.group == "lora_B")) {
                std::vector<int64_t> shape = part.tensor.sizes().vec();
                shape[size_t(dim)] *= 2;
                const at::Tensor both = loader.take({name}, shape);
                if (!both.defined()) continue;
                const at::Tensor begun = both.narrow(dim, entry.choice.rank, entry.choice.rank);
                if (!(dim == 0 ? begun : begun.neg()).equal(start.to(at::kCPU)))
                    throw Error::data(loader.path(), ": ", name,
                                      " began from another PiSSA decomposition than this "
                                      "machine computes; load it as plain LoRA (init: kaiming)");
                loader.copy_later(part.tensor, both.narrow(dim, 0, entry.choice.rank));
            } else if (part.group == "magnitude") {
                loader.copy(part.tensor, {name, name + ".weight"});
            } else {
                loader.copy(part.tensor, {name});
            }
        }
        if (!entry.choice.low_rank) { // the zero pair that save adds for PEFT's sake
            const at::Tensor a = loader.take({prefix + "lora_A.weight"}, {1, entry.choice.in}, true);
            const at::Tensor b = loader.take({prefix + "lora_B.weight"}, {entry.choice.out, 1}, true);
            if (a.defined() && b.defined() &&
                a.count_nonzero().item<int64_t>() * b.count_nonzero().item<int64_t>() != 0)
                throw Error::data(loader.path(), ": ", prefix,
                                  "lora_B.weight must be zero, for the module has a magnitude alone");
        }
    }
    if (projections_ && loader.has(kProjectionA) && loader.has(kProjectionB)) {
        projections.A = loader.take({kProjectionA}, projections_->A.sizes());
        projections.B = loader.take({kProjectionB}, projections_->B.sizes());
    }
    for (const NamedTensor& parameter : trained_) {
        const std::string prefixed = kKeyPrefix + parameter.name;
        loader.copy(parameter.tensor, {parameter.name, prefixed});
    }
    loader.finish();
    if (projections.A.defined())
        set_projections(*projections_, projections.A, projections.B, entries_[0].site->base());
    changed();
}

void SiteAdapterSet::start_from(const std::string& folder) {
    const AdapterSettings there = read_adapter_settings(folder);
    if (there.method != settings_.method)
        throw Error::data(folder, "/", kConfigFile, ": expected an adapter of method ", settings_.method,
                          ", got ", there.method);
    if (!entries_.empty() && !projections_) {
        const double scale =
            there.alpha / (there.rslora ? std::sqrt(double(there.rank)) : double(there.rank));
        const double alpha =
            settings_.has_scaling ? settings_.scaling * double(settings_.rank) : settings_.alpha;
        const double own =
            alpha / (settings_.rslora ? std::sqrt(double(settings_.rank)) : double(settings_.rank));
        if (std::abs(scale - own) > 1e-9 * own)
            log::warning(folder, " was trained with scaling ", scale, ", the settings say ", own,
                         ": its update is weighted anew");
    }
    load(folder);
}

} // namespace dorabench
