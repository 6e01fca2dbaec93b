#include "adapters/site_set.h"
#include "adapters/lora.h"
#include "adapters/vera.h"
#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/rng.h"
#include <algorithm>
#include <map>
#include <set>

namespace dorabench {
namespace {

bool is_vera(const AdapterSettings& settings) {
    return settings.method == "vera" || settings.method == "dvora";
}

bool from_folder(const AdapterSettings& settings) {
    return settings.init != "kaiming" && settings.init != "gaussian" && settings.init != "pissa" &&
           !settings.init.empty();
}

// A folder to start from decides what its vectors mean: VeRA's random pair and its initial d.
AdapterSettings with_folder_values(AdapterSettings settings) {
    if (!is_vera(settings) || !from_folder(settings)) return settings;
    const AdapterSettings there = read_adapter_settings(settings.init);
    settings.projection_prng_key = there.projection_prng_key;
    settings.d_initial = there.d_initial;
    return settings;
}

std::map<std::string, LinearSite*> sites_by_path(Backend& backend) {
    std::map<std::string, LinearSite*> by_path;
    for (LinearSite* site : backend.sites()) by_path[site->path()] = site;
    return by_path;
}

} // namespace

SiteAdapterSet::SiteAdapterSet(Backend& backend, const AdapterSettings& settings, uint64_t seed)
    : settings_(with_folder_values(settings)), choice_(choose_sites(backend.shapes(), settings_)),
      backend_(backend.shapes().backend) {
    try {
        attach(backend, seed);
    } catch (...) {
        release();
        throw;
    }
}

void SiteAdapterSet::attach(Backend& backend, uint64_t seed) {
    const auto by_path = sites_by_path(backend);
    int64_t max_in = 0, max_out = 0;
    for (const SiteChoice& site : choice_.sites) {
        const auto at = by_path.find(site.path);
        if (at == by_path.end())
            throw Error::config("adapter.target_modules: ", site.path, " of ", backend.shapes().name,
                                " cannot be adapted (the backend gives no site for it)");
        if (at->second->layer())
            throw Error::internal("adapters: ", site.path,
                                  " has an adapter already; the earlier set must go first");
        max_in = std::max(max_in, site.in);
        max_out = std::max(max_out, site.out);
    }
    if (is_vera(settings_) && !choice_.sites.empty()) {
        projections_ = std::make_shared<Projections>(
            draw_projections(settings_.rank, max_in, max_out, settings_.projection_prng_key));
        set_projections(*projections_, projections_->A, projections_->B,
                        by_path.at(choice_.sites[0].path)->base());
    }
    for (const SiteChoice& site : choice_.sites) add_layer(site, *by_path.at(site.path), seed);
    train_base(backend);
    start_magnitudes();
    if (from_folder(settings_)) start_from(settings_.init);
}

SiteAdapterSet::~SiteAdapterSet() { release(); }

void SiteAdapterSet::release() {
    for (Entry& entry : entries_) {
        entry.site->detach();
        if (entry.original.defined()) at::Tensor(entry.site->base().weight()).set_data(entry.original);
    }
    for (NamedTensor& parameter : trained_) {
        parameter.tensor.set_requires_grad(false);
        parameter.tensor.mutable_grad() = at::Tensor();
    }
}

bool SiteAdapterSet::pissa() const {
    return settings_.init == "pissa" && (settings_.method == "lora" || settings_.method == "dora");
}

void SiteAdapterSet::add_layer(const SiteChoice& choice, LinearSite& site, uint64_t seed) {
    const FrozenLinear& base = site.base();
    if (pissa() && base.packed())
        throw Error::config("adapter.init pissa takes its start out of the weight, and ", choice.path,
                            " is quantised (nf4) and cannot be changed; use kaiming or gaussian, or "
                            "backend.quantization none");
    Entry entry{choice, &site, nullptr, {}, {}, {}, {}};
    AdaptedSite parts;
    parts.scaling = choice.scaling;
    parts.form = settings_.dropout_placement == "adapter" ? DropoutForm::adapter : DropoutForm::input;
    parts.full_norm_grad = choice.magnitude && settings_.norm_grad == "full";
    parts.key.site = uint32_t(entries_.size());
    if (choice.low_rank && is_vera(settings_)) {
        init_vera(parts, choice, settings_.d_initial, base.device());
    } else if (choice.low_rank) {
        const std::string init =
            from_folder(settings_) || settings_.init.empty() ? "kaiming" : settings_.init;
        init_low_rank(parts, choice, init, base, stream_seed(seed, "adapter:" + choice.path));
    }
    if (pissa() && choice.low_rank) {
        at::Tensor weight = base.weight();
        entry.start_A = parts.lora_A.detach().clone();
        entry.start_B = parts.lora_B.detach().clone();
        entry.original = weight.detach().alias();
        entry.residual = pissa_residual(weight, entry.start_A, entry.start_B, choice.scaling);
        weight.set_data(entry.residual);
    }
    if (choice.magnitude)
        parts.magnitude = at::zeros({choice.out}, at::TensorOptions(at::kFloat).device(base.device()))
                              .set_requires_grad(true);
    entry.layer = std::make_shared<SiteLayer>(clock_, parts, settings_.dropout,
                                              choice.low_rank ? projections_ : nullptr);
    site.attach(entry.layer);
    entries_.push_back(std::move(entry));
}

// A magnitude starts at the norm of the row as adapted (HF PEFT's choice; equal to the base's where B is
// zero); on an NF4 base of the dequantised weight, as PEFT's QDoRA, or of the original one, as fsdp_qlora,
// whose gain then corrects a part of the quantisation's error from the first step on.
void SiteAdapterSet::start_magnitudes() {
    at::NoGradGuard no_grad;
    for (Entry& entry : entries_) {
        if (!entry.choice.magnitude) continue;
        at::Tensor start = entry.layer->norm(entry.site->base());
        const auto& packed = entry.site->base().packed();
        if (packed && settings_.magnitude_from == "original") {
            if (!packed->original_norms.defined())
                throw Error::config(
                    "adapter.magnitude_from original: ", entry.choice.path,
                    " comes from a checkpoint that is quantised already, its original norms are "
                    "not to be had; give the 16-bit checkpoint, or use dequantized");
            start = packed->original_norms;
        }
        at::Tensor(entry.layer->parts().magnitude).copy_(start);
    }
    changed();
}

void SiteAdapterSet::train_base(Backend& backend) {
    const std::set<std::string> names(choice_.trained.begin(), choice_.trained.end());
    if (names.empty()) return;
    for (LinearSite* site : backend.sites())
        if (site->base().packed() && names.count(site->path() + ".weight"))
            throw Error::config("adapter: ", site->path(),
                                ".weight is quantised (nf4) and cannot be trained; leave "
                                "it out of train_also, or use backend.quantization none");
    for (NamedTensor& parameter : backend.parameters()) {
        if (!names.count(parameter.name)) continue;
        // Weights may lie in a read-only mapping of their file: what is trained gets memory of its own.
        parameter.tensor.set_data(parameter.tensor.detach().clone());
        parameter.tensor.set_requires_grad(true);
        trained_.push_back(parameter);
    }
    if (trained_.size() != names.size())
        throw Error::internal("adapters: ", names.size(), " parameters are to be trained, the backend gave ",
                              trained_.size(), " of them");
}

std::vector<TrainableTensor> SiteAdapterSet::trainable() {
    std::vector<TrainableTensor> all;
    for (const Entry& entry : entries_)
        for (const LayerTensor& part : entry.layer->tensors())
            all.push_back(
                {"base_model.model." + entry.choice.path + "." + part.name, part.group, part.tensor});
    for (const NamedTensor& parameter : trained_) all.push_back({parameter.name, "weight", parameter.tensor});
    return all;
}

void SiteAdapterSet::begin_micro_batch(uint64_t seed, int64_t step, int64_t micro_batch) {
    clock_->seed = seed;
    clock_->step = step;
    clock_->micro_batch = micro_batch;
}

void SiteAdapterSet::set_enabled(bool enabled) {
    if (settings_.method == "ft")
        throw Error::internal(
            "adapters: full fine-tuning changes the base itself and cannot be switched off");
    if (clock_->enabled == enabled) return;
    clock_->enabled = enabled;
    for (Entry& entry : entries_)
        if (entry.original.defined())
            at::Tensor(entry.site->base().weight()).set_data(enabled ? entry.residual : entry.original);
    changed();
}

void SiteAdapterSet::for_each_merged(
    const std::function<void(const std::string&, const at::Tensor&)>& f) const {
    for (const Entry& entry : entries_) {
        if (!clock_->enabled &&
            entry.residual.defined()) { // the base in place is the original: merge into the residual
            f(entry.choice.path + ".weight",
              entry.layer->merged_weight(FrozenLinear(entry.residual, entry.site->base().bias())));
            continue;
        }
        f(entry.choice.path + ".weight", entry.layer->merged_weight(entry.site->base()));
    }
}

void SiteAdapterSet::reset_to_identity() {
    for (Entry& entry : entries_)
        entry.layer->reset_to_identity(entry.site->base(), entry.start_A, entry.start_B);
    changed();
}

std::vector<std::string> SiteAdapterSet::dead_rows() const {
    std::vector<std::string> lines;
    for (const Entry& entry : entries_) {
        const int64_t rows = entry.layer->dead_rows(entry.site->base());
        if (rows > 0)
            lines.push_back(
                cat(entry.choice.path, ": ", rows, " of ", entry.choice.out, " rows have norm 0"));
    }
    return lines;
}

std::unique_ptr<AdapterSet> attach_adapter(Backend& backend, const AdapterSettings& settings, uint64_t seed) {
    return std::make_unique<SiteAdapterSet>(backend, settings, seed);
}

} // namespace dorabench
