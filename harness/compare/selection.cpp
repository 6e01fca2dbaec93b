#include "harness/compare/selection.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "harness/compare/samples.h"
#include "harness/store/settings_keys.h"
#include <algorithm>
#include <set>

namespace dorabench {
namespace {

constexpr const char* kBy = "validation.loss";

std::string whole_key(const std::vector<RunRecord>& runs, const std::string& word) {
    std::set<std::string> known, fits;
    for (const RunRecord& run : runs)
        for (const auto& [key, value] : run.settings) known.insert(key);
    for (const std::string& key : known)
        if (key == word || (key.size() > word.size() && key.ends_with("." + word))) fits.insert(key);
    if (fits.count(word)) return word;
    if (fits.size() > 1)
        throw Error::config("--select: expected one setting, \"", word, "\" fits ",
                            join({fits.begin(), fits.end()}, ", "));
    if (fits.empty()) {
        std::vector<std::string> names(known.begin(), known.end());
        for (const std::string& key : known) names.push_back(key.substr(key.find_last_of('.') + 1));
        throw Error::config("--select: expected a setting of the runs, got \"", word, "\"",
                            did_you_mean(word, names));
    }
    return *fits.begin();
}

// What candidates share: all settings that shape a result, without the seed and the key.
std::string place_of(const RunRecord& run, const std::string& key) {
    std::string out;
    for (const auto& [name, value] : run.settings)
        if (name != key && !shapes_no_result(name)) out += cat(name, '=', value, '\n');
    return out;
}

bool trained(const RunRecord& run) {
    return run.status == "done" || run.status == "trained" || run.status == "not selected";
}

using Candidates = std::map<std::string, std::vector<RunRecord*>>; // by value

double mean_loss(const std::vector<RunRecord*>& runs) {
    double sum = 0;
    for (const RunRecord* run : runs) {
        if (!run->validation_loss)
            throw Error::config("--select: expected a validation loss of every candidate, run ", run->id,
                                " (", method_label(*run), ") has none; train with train.validation above 0");
        sum += *run->validation_loss / static_cast<double>(runs.size());
    }
    return sum;
}

void settle(const Candidates& candidates, const std::string& key) {
    std::string winner;
    double best = 0;
    for (const auto& [value, runs] : candidates) {
        const double loss = mean_loss(runs);
        if (!winner.empty() && loss >= best) continue;
        winner = value;
        best = loss;
    }
    const std::string chosen = key + "=" + winner;
    for (const auto& [value, runs] : candidates)
        for (RunRecord* run : runs) {
            if (value != winner)
                withhold(*run, chosen, kBy);
            else if (run->status == "done")
                run->chosen_by = cat(chosen, ", chosen of ", candidates.size(), " by ", kBy);
        }
}

} // namespace

void select_by_validation(std::vector<RunRecord>& runs, const std::string& word) {
    const std::string key = whole_key(runs, word);
    std::map<std::string, Candidates> places;
    for (RunRecord& run : runs)
        if (const std::string value = setting(run, key); !value.empty() && trained(run))
            places[place_of(run, key)][value].push_back(&run);
    for (const auto& [place, candidates] : places)
        if (candidates.size() > 1) settle(candidates, key);
}

} // namespace dorabench
