#pragma once
// Figures that papers printed (results/baselines/*.yaml): always shown with the word "published", never mixed
// into what was measured.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dorabench {

struct PublishedRow {
    std::string source, table;          // "arXiv:2402.09353", "Table 1"
    std::string backbone, method, note; // "llama-7b", "dora"
    std::optional<int64_t> rank;
    std::vector<std::string> targets;    // modules with a low-rank pair; empty: not stated
    std::vector<std::string> magnitudes; // modules with a magnitude alone
    std::vector<std::string> train_also; // patterns of further trained parameters: '*projector*'
    std::optional<int64_t> base; // parameters of the backbone, where only it has so many: a checkpoint's
                                 // folder need not say which model it holds
    std::optional<double> params_percent; // as printed, 2 decimals
    std::optional<double> learning_rate;
    std::map<std::string, double> scores; // as printed: percent for accuracies
    std::optional<double> average;
};

// Every row of every *.yaml of the folder, in the files' order; none where the folder is absent. Error::data
// for a file that cannot be read.
std::vector<PublishedRow> read_published(const std::string& folder);
// "meta-llama/Llama-2-7b-hf" → "llama2-7b": one name for a backbone's shape names, hub ids and folders.
std::string canonical_backbone(const std::string& name);
// The rows for a backbone, method and rank; an empty `targets` fits every target set.
std::vector<PublishedRow> published(const std::vector<PublishedRow>& rows, const std::string& backbone,
                                    const std::string& method, int64_t rank,
                                    const std::vector<std::string>& targets = {},
                                    const std::vector<std::string>& magnitudes = {});

// The convention of this program: 100 · trainable / (base + adapter), rounded half up to 2 decimals.
double printed_percent(int64_t trainable, int64_t total);
// "matches", or "differs: …" with the convention that would reproduce the published figure, if one does.
std::string percent_verdict(int64_t trainable, int64_t total, int64_t base, double published_percent);

} // namespace dorabench
