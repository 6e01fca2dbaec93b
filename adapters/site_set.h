#pragma once
// The AdapterSet of every method: SiteLayers on the chosen sites, and base parameters that are trained beside
// them (train_also) or instead of them (ft). When it goes, the backbone is as it was: layers detached,
// frozen, PiSSA's residual taken back; trained base parameters keep their trained values.
#include "adapters/adapter_set.h"
#include "adapters/choose_sites.h"
#include "adapters/site_layer.h"

namespace dorabench {

class SiteAdapterSet final : public AdapterSet {
public:
    SiteAdapterSet(Backend& backend, const AdapterSettings& settings, uint64_t seed);
    ~SiteAdapterSet() override;
    SiteAdapterSet(const SiteAdapterSet&) = delete;

    const AdapterSettings& settings() const override { return settings_; }
    std::vector<TrainableTensor> trainable() override;
    void changed() override { ++clock_->version; }
    void begin_micro_batch(uint64_t seed, int64_t step, int64_t micro_batch) override;
    void set_training(bool training) override { clock_->training = training; }
    void set_enabled(bool enabled) override;
    void save(const std::string& folder, const std::string& base_name) const override;
    void load(const std::string& folder) override;
    void for_each_merged(const std::function<void(const std::string&, const at::Tensor&)>& f) const override;
    void reset_to_identity() override;
    std::vector<std::string> dead_rows() const override;

private:
    struct Entry {
        SiteChoice choice;
        LinearSite* site;
        std::shared_ptr<SiteLayer> layer;
        at::Tensor start_A, start_B;   // PiSSA: the pair that was taken out of the base
        at::Tensor original, residual; // PiSSA: the base's weight before and after
    };
    bool pissa() const;
    void attach(Backend& backend, uint64_t seed);
    void release(); // the backbone as it was
    void add_layer(const SiteChoice& choice, LinearSite& site, uint64_t seed);
    void train_base(Backend& backend);
    void start_magnitudes();
    void start_from(const std::string& folder);
    std::vector<NamedTensor> stored() const; // what save writes
    class Loader;

    AdapterSettings settings_;
    AdapterChoice choice_;
    std::string backend_;
    std::shared_ptr<AdapterClock> clock_ = std::make_shared<AdapterClock>();
    std::shared_ptr<Projections> projections_;
    std::vector<Entry> entries_;
    std::vector<NamedTensor> trained_;
};

} // namespace dorabench
