#include "harness/train/checks.h"
#include "backends/ops/tensor_io.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {

namespace {

constexpr double kIdentityTolerance = 1e-5; // of the largest |logit|, the contract's
constexpr double kMergeTolerance =
    1e-4; // merged weights are rounded once, activations are not: a decade more

bool has_pair(const AdapterSet& adapter) { // what can be switched off and merged
    const std::string& method = adapter.settings().method;
    return method != "ft" && method != "none";
}

bool float32(Backend& backend) {
    for (const LinearSite* site : backend.sites())
        if (site->base().dtype() != at::kFloat) return false;
    return true;
}

at::Tensor logits_of(Backend& backend, AdapterSet& adapter, const Ids& probe) {
    at::NoGradGuard no_grad;
    backend.set_training(false), adapter.set_training(false);
    return backend.probe_logits(probe).to(at::kCPU, at::kFloat).contiguous();
}

// The trainable tensors' values, put back on destruction.
class Restore {
public:
    explicit Restore(AdapterSet& adapter) : adapter_(adapter), tensors_(adapter.trainable()) {
        at::NoGradGuard no_grad;
        for (const TrainableTensor& t : tensors_) values_.push_back(t.tensor.detach().clone());
    }
    ~Restore() {
        at::NoGradGuard no_grad;
        for (size_t i = 0; i < tensors_.size(); ++i) tensors_[i].tensor.copy_(values_[i]);
        adapter_.changed();
    }
    Restore(const Restore&) = delete;
    const std::vector<TrainableTensor>& tensors() const { return tensors_; }
    const at::Tensor& value(size_t i) const { return values_[i]; }

private:
    AdapterSet& adapter_;
    std::vector<TrainableTensor> tensors_;
    std::vector<at::Tensor> values_;
};

struct Difference {
    double relative = 0; // largest |Δlogit| over the largest |logit|
    int64_t flipped = 0, positions = 0;
    std::string text() const {
        std::ostringstream out;
        out << "largest |Δlogit| is " << relative << " of the largest |logit|, " << flipped << " of "
            << positions << " answers flipped";
        return out.str();
    }
};

Difference compare(const at::Tensor& want, const at::Tensor& got) {
    Difference d;
    const double scale = want.abs().max().item<double>(), worst = (want - got).abs().max().item<double>();
    d.relative = scale > 0 ? worst / scale : worst;
    const at::Tensor flips = want.argmax(-1).ne(got.argmax(-1));
    d.flipped = flips.sum().item<int64_t>(), d.positions = flips.numel();
    return d;
}

// NaN compares as a failure.
CheckResult judge(const std::string& name, const Difference& d, double tolerance, bool judged) {
    if (!judged) return {name, "reported", d.relative, d.text()};
    if (d.relative <= tolerance) return {name, "passed", d.relative, d.text()};
    return {name, "failed", d.relative,
            cat("expected logits equal to ", tolerance, " in float32, got: ", d.text())};
}

// Stands in for a site's adapter with its merged weight, made anew in each forward pass: no second copy of
// the backbone.
class MergedLayer final : public AdapterLayer {
public:
    explicit MergedLayer(std::shared_ptr<AdapterLayer> layer) : layer_(std::move(layer)) {}
    at::Tensor forward(const at::Tensor& x, const FrozenLinear& base) override {
        at::Tensor weight = layer_->merged_weight(base);
        weight = weight.to(base.dtype()); // the one rounding
        const at::Tensor bias = base.bias();
        return at::linear(x, weight.to(x.scalar_type()), bias.defined() ? bias.to(x.scalar_type()) : bias);
    }
    at::Tensor merged_weight(const FrozenLinear& base) const override { return layer_->merged_weight(base); }

private:
    std::shared_ptr<AdapterLayer> layer_;
};

// Merged layers on all adapted sites for as long as it lives.
class MergedSites {
public:
    explicit MergedSites(Backend& backend) {
        for (LinearSite* site : backend.sites()) {
            if (!site->layer()) continue;
            layers_.emplace_back(site, site->layer());
            site->attach(std::make_shared<MergedLayer>(site->layer()));
        }
    }
    ~MergedSites() {
        for (auto& [site, layer] : layers_) site->attach(layer);
    }
    MergedSites(const MergedSites&) = delete;
    size_t size() const { return layers_.size(); }

private:
    std::vector<std::pair<LinearSite*, std::shared_ptr<AdapterLayer>>> layers_;
};

std::string base_name_in(const std::string& folder) {
    const std::string path = folder + "/adapter_config.json";
    if (!exists(path)) return {};
    const auto config = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
    const auto at = config.is_object() ? config.find("base_model_name_or_path") : config.end();
    return config.is_object() && at != config.end() && at->is_string() ? at->get<std::string>()
                                                                       : std::string();
}

} // namespace

CheckResult check_identity(Backend& backend, AdapterSet& adapter, const Ids& probe) {
    if (!has_pair(adapter))
        return {"identity", "not applicable", 0,
                adapter.settings().method + " has no adapter beside the base"};
    static const std::set<std::string> kDrawn{"kaiming", "gaussian", "pissa"};
    std::unique_ptr<Restore> restore;
    // Started from a folder, B need not be zero; magnitudes from an original weight are not the quantised one's.
    if (!kDrawn.count(adapter.settings().init) || adapter.settings().magnitude_from == "original") {
        restore = std::make_unique<Restore>(adapter);
        at::NoGradGuard no_grad;
        adapter.reset_to_identity();
        adapter.changed();
    }
    const at::Tensor adapted = logits_of(backend, adapter, probe);
    adapter.set_enabled(false);
    const at::Tensor base = logits_of(backend, adapter, probe);
    adapter.set_enabled(true);
    return judge("identity", compare(base, adapted), kIdentityTolerance, float32(backend));
}

CheckResult check_liveness(const TrainOutcome& outcome) {
    if (outcome.steps == 0) return {"liveness", "not applicable", 0, "no step was trained"};
    std::vector<std::string> dead;
    double least = outcome.liveness.empty() ? 0 : 1e300;
    for (const auto& [group, state] : outcome.liveness) {
        least = std::min(least, state.moved);
        if (state.alive()) continue;
        dead.push_back(
            cat("group ", group,
                state.max_grad_norm > 0 ? " had a gradient but never moved" : " never had a gradient"));
    }
    if (outcome.liveness.empty()) dead.push_back("nothing was trained");
    if (!dead.empty())
        return {"liveness", "failed", 0,
                cat("expected every parameter group to have had a gradient and to have moved (steps with "
                    "learning rate 0 "
                    "not counted), got: ",
                    join(dead, "; "))};
    return {"liveness", "passed", least,
            cat(outcome.liveness.size(), " groups have had gradients and moved")};
}

CheckResult check_keys(AdapterSet& adapter, const std::string& folder) {
    std::set<std::string> expected, missing, unknown;
    for (const TrainableTensor& t : adapter.trainable()) expected.insert(t.name);
    missing = expected;
    for (const NamedTensor& t : read_tensors(folder + "/adapter_model.safetensors")) {
        missing.erase(t.name);
        const bool projection =
            ends_with(t.name, "vera_A") || ends_with(t.name, "vera_B"); // frozen, saved beside
        if (!expected.count(t.name) && !projection) unknown.insert(t.name);
    }
    if (missing.empty() && unknown.empty()) return {"keys", "passed", double(expected.size()), ""};
    const auto some = [](const std::set<std::string>& names) {
        std::vector<std::string> first;
        for (const std::string& name : names)
            if (first.size() < 5) first.push_back(name);
        return cat(names.size(), names.empty() ? "" : " (", join(first, ", "), names.empty() ? "" : ")");
    };
    return {"keys", "failed", double(missing.size() + unknown.size()),
            cat(folder, "/adapter_model.safetensors: expected exactly the trainable tensors, got ",
                some(missing), " missing and ", some(unknown), " unknown")};
}

CheckResult check_reload(Backend& backend, AdapterSet& adapter, const Ids& probe, const std::string& folder) {
    const at::Tensor before = logits_of(backend, adapter, probe);
    adapter.save(folder, base_name_in(folder));
    Restore restore(adapter);
    {
        at::NoGradGuard no_grad;
        for (const TrainableTensor& t : restore.tensors()) at::Tensor(t.tensor).mul_(-0.5).add_(0.25);
    }
    adapter.changed();
    try {
        adapter.load(folder);
    } catch (const Error& e) {
        return {"reload", "failed", 0, cat("expected the saved adapter to load, got: ", e.what())};
    }
    adapter.changed();
    for (size_t i = 0; i < restore.tensors().size(); ++i)
        if (!restore.tensors()[i].tensor.equal(restore.value(i)))
            return {"reload", "failed", 0,
                    cat("expected the same bits after saving and loading, got a difference in ",
                        restore.tensors()[i].name, " (group ", restore.tensors()[i].group, ")")};
    const at::Tensor after = logits_of(backend, adapter, probe);
    if (before.equal(after)) return {"reload", "passed", 0, ""};
    const Difference d = compare(before, after);
    return {"reload", "failed", d.relative,
            cat("expected the same logits bit for bit after saving and loading, got: ", d.text())};
}

CheckResult check_merge(Backend& backend, AdapterSet& adapter, const Ids& probe) {
    if (!has_pair(adapter))
        return {"merge", "not applicable", 0, adapter.settings().method + " has nothing to merge"};
    const at::Tensor unmerged = logits_of(backend, adapter, probe);
    at::Tensor merged;
    {
        MergedSites sites(backend);
        if (sites.size() == 0) return {"merge", "not applicable", 0, "no site has an adapter layer"};
        merged = logits_of(backend, adapter, probe);
    }
    return judge("merge", compare(unmerged, merged), kMergeTolerance, float32(backend));
}

nlohmann::json checks_json(const std::vector<CheckResult>& checks) {
    nlohmann::json out = nlohmann::json::object();
    for (const CheckResult& check : checks) {
        out[check.name] = {{"status", check.status}, {"value", nullptr}, {"message", check.message}};
        if (std::isfinite(check.value)) out[check.name]["value"] = check.value;
    }
    return out;
}

} // namespace dorabench
