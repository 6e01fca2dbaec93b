// What concerns several keys at once, and paths that the file names.
#include "harness/base/env.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/config/impl.h"
#include <algorithm>

namespace dorabench {

namespace {

bool given(const YamlNode& root, const std::string& key) {
    const YamlEntry* entry = find_entry(root, key);
    return entry && !entry->value.is_null();
}

// Folders that hold the snapshots of hub ids, as huggingface_hub looks for them.
std::vector<std::string> hub_caches() {
    std::vector<std::string> out;
    if (auto folder = environment("HF_HUB_CACHE")) out.push_back(*folder);
    if (auto folder = environment("HF_HOME")) out.push_back(*folder + "/hub");
    if (auto folder = environment("HOME")) out.push_back(*folder + "/.cache/huggingface/hub");
    return out;
}

bool looks_like_hub_id(const std::string& text) {
    return std::count(text.begin(), text.end(), '/') == 1 && text.find_first_of("/.~") != 0 &&
           !ends_with(text, "/");
}

bool in_hub_cache(const std::string& id) {
    for (const auto& cache : hub_caches())
        if (is_folder(cache + "/models--" + replace_all(id, "/", "--"))) return true;
    return false;
}

class Checker {
public:
    Checker(const YamlNode& root, const RunSettings& settings, const KnownNames& names, const Report& report)
        : root_(root), s_(settings), names_(names), report_(report) {}

    void backend() const {
        if (!given(root_, "backend")) {
            report_(root_.place, "backend", "missing",
                    "give a backend with its type and a checkpoint or a shape");
            return;
        }
        if (!given(root_, "backend.checkpoint") && !given(root_, "backend.shape"))
            report_(place_of(root_, "backend"), "backend.checkpoint",
                    "missing: expected a checkpoint or a shape", "shape: a named shape with random weights");
        path("backend.checkpoint", s_.backend.checkpoint, true);
        // a synthetic world's task brings its own tokenizer along
        if (std::find(names_.tasks.begin(), names_.tasks.end(), s_.backend.tokenizer) == names_.tasks.end())
            path("backend.tokenizer", s_.backend.tokenizer, true);
        path("backend.vision_tower", s_.backend.vision_tower, true);
    }

    void adapter() const {
        const std::string& method = s_.adapter.method;
        bool built_in = method == "lora" || method == "dora" || method == "vera" || method == "dvora";
        if (!built_in) return;
        if ((method == "lora" || method == "dora") && !given(root_, "adapter.alpha") &&
            !given(root_, "adapter.scaling"))
            report_(place_of(root_, "adapter"), "adapter.alpha",
                    cat("missing: ", method, " needs exactly one of alpha and scaling"),
                    "alpha = scaling * rank");
        bool alone = !s_.adapter.magnitude_modules.empty() || !s_.adapter.train_also.empty();
        if (!given(root_, "adapter.target_modules"))
            report_(place_of(root_, "adapter"), "adapter.target_modules",
                    cat("missing: ", method, " needs the modules to adapt"),
                    "all-linear, or a list: [q_proj, v_proj]");
        else if (const YamlNode& list = find_entry(root_, "adapter.target_modules")->value;
                 list.is_list() && list.items.empty() && !alone)
            report_(list.place, "adapter.target_modules", "expected at least one module, got an empty list",
                    "all-linear, or a list: [q_proj, v_proj]");
        if (s_.adapter.init != "kaiming" && s_.adapter.init != "gaussian" && s_.adapter.init != "pissa" &&
            !exists(s_.adapter.init))
            report_(place_of(root_, "adapter.init"), "adapter.init",
                    cat("expected kaiming, gaussian, pissa or a PEFT adapter folder, got \"", s_.adapter.init,
                        "\""),
                    suggest(s_.adapter.init, {"kaiming", "gaussian", "pissa"}));
    }

    void train() const {
        if (!given(root_, "train")) return;
        if (!given(root_, "train.epochs") && !given(root_, "train.max_steps"))
            report_(place_of(root_, "train"), "train.epochs", "missing: expected epochs or max_steps", "");
        for (size_t i = 0; i < s_.train.groups.size(); ++i) {
            const ParameterGroup& group = s_.train.groups[i];
            const YamlNode& list = find_entry(root_, "train.groups")->value;
            const YamlPlace& place = i < list.items.size() ? list.items[i].place : list.place;
            if (group.learning_rate && group.learning_rate_ratio)
                report_(place, "train.groups",
                        "expected one of learning_rate and learning_rate_ratio, got both",
                        "keep one of the two");
        }
    }

private:
    void path(const std::string& key, const std::string& value, bool hub) const {
        if (value.empty() || exists(value)) return;
        if (hub && looks_like_hub_id(value)) {
            if (in_hub_cache(value)) return;
            report_(place_of(root_, key), key,
                    cat("no such folder, nor a hub id in the local HF cache: ", value),
                    "looked in " + join(hub_caches(), ", "));
            return;
        }
        if (hub && value.find('/') == std::string::npos && in_hub_cache(value))
            return; // "gpt2": a hub id of old
        report_(place_of(root_, key), key, cat("no such file or folder: ", value), "");
    }

    const YamlNode& root_;
    const RunSettings& s_;
    const KnownNames& names_;
    const Report& report_;
};

} // namespace

void finish_settings(RunSettings& s) {
    if (s.adapter.has_scaling) s.adapter.alpha = s.adapter.scaling * static_cast<double>(s.adapter.rank);
    s.train.micro_batch_size = std::min(s.train.micro_batch_size, s.train.batch_size);
}

void check_settings(const YamlNode& root, RunSettings& settings, const KnownNames& names, const Report& report) {
    Checker checker(root, settings, names, report);
    checker.backend();
    checker.adapter();
    checker.train();
}

} // namespace dorabench
