#include "adapters/adapter_set.h"
#include "adapters/choose_sites.h"
#include "harness/base/error.h"
#include <algorithm>
#include <map>

namespace dorabench {
namespace {

int64_t elements(const std::vector<int64_t>& shape) {
    int64_t n = 1;
    for (int64_t size : shape) n *= size;
    return n;
}

// LoRA r (in + out), DoRA r (in + out) + out, VeRA r + out, DVoRA r + 2 out, a magnitude alone out.
int64_t trainable_of(const SiteChoice& site, bool vera) {
    int64_t n = site.magnitude ? site.out : 0;
    if (site.low_rank) n += vera ? site.rank + site.out : site.rank * (site.in + site.out);
    return n;
}

} // namespace

AdapterCount count_adapter(const ModelShapes& shapes, const AdapterSettings& settings) {
    const AdapterChoice choice = choose_sites(shapes, settings);
    const bool vera = settings.method == "vera" || settings.method == "dvora";
    const bool doubled = settings.init == "pissa" && (settings.method == "lora" || settings.method == "dora");
    AdapterCount count;
    count.base = shapes.total();
    int64_t max_in = 0, max_out = 0;
    for (const SiteChoice& site : choice.sites) {
        const int64_t n = trainable_of(site, vera);
        count.added += n;
        count.stored_bytes += 4 * n;
        if (site.low_rank && doubled) count.stored_bytes += 4 * site.rank * (site.in + site.out);
        if (!site.low_rank) count.stored_bytes += 4 * (site.in + site.out); // the zero pair written for PEFT
        max_in = std::max(max_in, site.in);
        max_out = std::max(max_out, site.out);
        count.modules.push_back(
            {site.path, site.low_rank ? settings.method : "magnitude", {site.out, site.in}, n});
    }
    if (vera && settings.save_projection) count.stored_bytes += 4 * settings.rank * (max_in + max_out);
    std::map<std::string, const ParameterShape*> by_name;
    for (const ParameterShape& parameter : shapes.parameters) by_name[parameter.name] = &parameter;
    count.trainable = count.added;
    for (const std::string& name : choice.trained) {
        const int64_t n = elements(by_name.at(name)->shape);
        count.trainable += n;
        count.stored_bytes += 4 * n;
        count.modules.push_back({name, "base", by_name.at(name)->shape, n});
    }
    return count;
}

std::vector<std::string> adapter_methods() { return {"none", "ft", "lora", "dora", "vera", "dvora"}; }

std::string adapter_help(const std::string& method) {
    if (method == "none") return "the base as it is (with train_also: those parameters alone)";
    if (method == "ft") return "full fine-tuning: every base parameter is trained";
    if (method == "lora") return "W + alpha/r B A, A and B trained (arXiv:2106.09685)";
    if (method == "dora") return "m (W + alpha/r B A) / ||W + alpha/r B A|| by output row (arXiv:2402.09353)";
    if (method == "vera")
        return "W + diag(b) B diag(d) A, one frozen random pair, b and d trained (arXiv:2310.11454)";
    if (method == "dvora") return "VeRA's direction under DoRA's magnitude (arXiv:2402.09353, section 5.4)";
    throw Error::config("no adapter method is called \"", method, "\"");
}

} // namespace dorabench
