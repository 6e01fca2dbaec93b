#include "harness/compare/evidence.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cmath>

namespace dorabench {
namespace {

using nlohmann::json;

json at_or_null(const json& object, const std::string& key) {
    if (!object.is_object()) return nullptr;
    auto at = object.find(key);
    return at == object.end() ? json() : *at;
}

json text_or_null(const std::string& text) { return text.empty() ? json() : json(text); }

// Settings that change what is asked or how it is decoded; the batch size does not, by promise.
json evaluation_settings(const RunRecord& run) {
    json out = json::object();
    for (const auto& [key, value] : run.settings)
        if (starts_with(key, "evaluate.") && key != "evaluate.tasks" && key != "evaluate.batch_size" &&
            key != "evaluate.template")
            out[key] = value;
    return out;
}

// Hash of the training files' hashes, wherever the files lie.
json training_data_hash(const json& provenance) {
    json data = at_or_null(provenance, "data");
    std::vector<std::string> hashes;
    if (data.is_object())
        for (const auto& [name, hash] : data.items())
            if (hash.is_string()) hashes.push_back(hash.get<std::string>());
    std::sort(hashes.begin(), hashes.end());
    return hashes.empty() ? json() : json(sha256_hex(join(hashes, "\n")));
}

json scores_text(const SampleSet& samples) {
    if (!samples.binary()) {
        json out = json::array();
        for (const auto& [id, item] : samples.items) out.push_back(item.score);
        return out;
    }
    std::string bits;
    for (const auto& [id, item] : samples.items) bits += item.score == 1 ? '1' : '0';
    return bits;
}

json parsed_text(const SampleSet& samples) { // null: every answer was parsed
    if (samples.unparsed() == 0) return nullptr;
    std::string bits;
    for (const auto& [id, item] : samples.items) bits += item.parsed ? '1' : '0';
    return bits;
}

std::vector<double> bits_of(const json& text) {
    std::vector<double> out;
    for (char c : text.get_ref<const std::string&>()) out.push_back(c == '1' ? 1 : 0);
    return out;
}

bool only_bits(const json& text) {
    return text.get_ref<const std::string&>().find_first_not_of("01") == std::string::npos;
}

} // namespace

json evidence_of(const RunRecord& run, const std::string& task) {
    auto result = run.tasks.find(task);
    if (result == run.tasks.end())
        throw Error::internal("evidence_of: run ", run.id, " did not evaluate ", task);
    auto measured = result->second.metrics.find(result->second.primary);
    bool present = measured != result->second.metrics.end() && !measured->second.missing;
    json entry = at_or_null(at_or_null(run_json(run, "metrics.json"), "tasks"), task);
    json provenance = run_json(run, "provenance.json");
    json out = {
        {"run", run.id},
        {"seed", run.seed},
        {"metric", result->second.primary},
        {"value", present ? json(measured->second.value) : json()},
        {"stderr", present ? json(measured->second.stderr_) : json()},
        {"n", result->second.n},
        {"unparsed", result->second.unparsed},
        {"fingerprint", at_or_null(entry, "fingerprint")},
        {"tokenizer", at_or_null(provenance, "tokenizer")},
        {"train_data", training_data_hash(provenance)},
        {"template",
         {{"train", setting(run, "train.template")}, {"evaluate", setting(run, "evaluate.template")}}},
        {"evaluate", evaluation_settings(run)}};
    for (const char* key : {"scores", "parsed", "prompt_hash", "data_hash", "items", "token_ids"})
        out[key] = nullptr;
    if (auto samples = read_samples(run.path, task); samples && !samples->items.empty()) {
        out["scores"] = scores_text(*samples);
        out["parsed"] = parsed_text(*samples);
        out["n"] = samples->items.size();
        out["unparsed"] = samples->unparsed();
        out["items"] = samples->ids_hash;
        out["prompt_hash"] = samples->prompt_hash;
        out["data_hash"] = samples->target_hash;
        out["token_ids"] = text_or_null(samples->lengths_hash);
    }
    return out;
}

std::vector<std::string> differing_fields(const json& before, const json& now) {
    std::vector<std::string> out;
    auto differ = [](const json& a, const json& b) { return !a.is_null() && !b.is_null() && a != b; };
    for (const char* key : {"prompt_hash", "data_hash", "items", "n", "metric", "train_data", "token_ids"})
        if (differ(at_or_null(before, key), at_or_null(now, key))) out.push_back(key);
    bool tokenizer = differ(at_or_null(before, "tokenizer"), at_or_null(now, "tokenizer"));
    if (tokenizer && std::find(out.begin(), out.end(), "token_ids") == out.end()) out.push_back("token_ids");
    for (const char* side : {"train", "evaluate"})
        if (differ(at_or_null(at_or_null(before, "template"), side),
                   at_or_null(at_or_null(now, "template"), side)))
            out.push_back(cat("template (", side, ".template)"));
    json old_settings = at_or_null(before, "evaluate"), new_settings = at_or_null(now, "evaluate");
    for (const auto& [key, value] : old_settings.items())
        if (at_or_null(new_settings, key) != value) out.push_back(key);
    for (const auto& [key, value] : new_settings.items())
        if (!old_settings.contains(key)) out.push_back(key);
    // the fingerprint covers template, data and scoring; it alone: the task's scoring or version
    if (differ(at_or_null(before, "fingerprint"), at_or_null(now, "fingerprint")))
        out.push_back(out.empty() ? "scoring (task fingerprint)" : "fingerprint");
    return out;
}

void require_evidence(const json& e, const std::string& place) {
    auto bad = [&](const std::string& key, const char* expected) {
        throw Error::data("baseline: ", place, ".", key, ": expected ", expected, ", got ",
                          at_or_null(e, key).dump().substr(0, 60),
                          "; write the file anew with check --update");
    };
    if (!e.is_object())
        throw Error::data("baseline: ", place, ": expected an object, got ", e.dump().substr(0, 60));
    if (!at_or_null(e, "seed").is_number_unsigned()) bad("seed", "an integer of at least 0");
    for (const char* key : {"n", "unparsed"})
        if (!at_or_null(e, key).is_number_integer()) bad(key, "an integer");
    for (const char* key : {"value", "stderr"})
        if (json v = at_or_null(e, key); !v.is_null() && !(v.is_number() && std::isfinite(v.get<double>())))
            bad(key, "a number or null");
    for (const char* key : {"template", "evaluate"})
        if (!at_or_null(e, key).is_object()) bad(key, "an object");
    json scores = at_or_null(e, "scores"), parsed = at_or_null(e, "parsed");
    auto number = [](const json& v) { return v.is_number() && std::isfinite(v.get<double>()); };
    bool sound = scores.is_null() || (scores.is_string() && only_bits(scores)) ||
                 (scores.is_array() && std::all_of(scores.begin(), scores.end(), number));
    if (!sound) bad("scores", "a string of 0 and 1, a list of numbers, or null");
    if (!parsed.is_null() && !(parsed.is_string() && only_bits(parsed)))
        bad("parsed", "a string of 0 and 1 or null");
    auto length = [](const json& v) {
        return v.is_string() ? v.get_ref<const std::string&>().size() : v.size();
    };
    if (!scores.is_null() && static_cast<int64_t>(length(scores)) != e["n"].get<int64_t>())
        bad("n", "as many as there are scores");
    if (parsed.is_string() && (scores.is_null() || length(parsed) != length(scores)))
        bad("parsed", "one character for each score");
}

std::vector<double> scores_of(const json& evidence) {
    json scores = at_or_null(evidence, "scores");
    if (scores.is_string()) return bits_of(scores);
    return scores.is_array() ? scores.get<std::vector<double>>() : std::vector<double>();
}

std::vector<double> parsed_of(const json& evidence) {
    json parsed = at_or_null(evidence, "parsed");
    return parsed.is_string() ? bits_of(parsed) : std::vector<double>(scores_of(evidence).size(), 1.0);
}

} // namespace dorabench
