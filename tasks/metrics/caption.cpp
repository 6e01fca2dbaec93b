#include "tasks/metrics/caption.h"

#include "harness/base/error.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "tasks/metrics/bleu.h"
#include "tasks/metrics/cider.h"
#include "tasks/metrics/meteor.h"
#include "tasks/metrics/ptb_tokenizer.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/resampling.h"
#include "tasks/metrics/rouge_l.h"
#include "tasks/metrics/spice.h"
#include "tasks/metrics/statistics.h"

namespace dorabench {

namespace {

void add_bleu(const CaptionCorpus& tokens, MetricValues& out) {
    std::vector<BleuStatistics> items;
    for (size_t i = 0; i < tokens.candidates.size(); ++i)
        items.push_back(bleu_statistics(tokens.candidates[i], tokens.references[i]));
    auto measured = bootstrap_measurements(items.size(), [&](const std::vector<uint32_t>& times) {
        BleuStatistics sum;
        for (size_t i = 0; i < items.size(); ++i)
            if (times[i]) sum.add(items[i], times[i]);
        auto values = bleu(sum);
        return std::vector<double>(values.begin(), values.end());
    });
    for (size_t n = 0; n < measured.size(); ++n) out[cat("bleu_", n + 1)] = measured[n];
}

void add_meteor(const CaptionCorpus& tokens, const MeteorData& data, int modules, const std::string& name,
                MetricValues& out) {
    Meteor meteor(data, modules);
    std::vector<std::string> texts = tokens.candidates;
    for (const auto& references : tokens.references)
        texts.insert(texts.end(), references.begin(), references.end());
    meteor.prepare(texts);
    std::vector<MeteorStatistics> items;
    for (size_t i = 0; i < tokens.candidates.size(); ++i)
        items.push_back(meteor.statistics(tokens.candidates[i], tokens.references[i]));
    out[name] = bootstrap_measurements(items.size(), [&](const std::vector<uint32_t>& times) {
        MeteorStatistics sum;
        for (size_t i = 0; i < items.size(); ++i)
            if (times[i]) sum.add(items[i], times[i]);
        return std::vector<double>{meteor_score(sum)};
    })[0];
}

} // namespace

CaptionCorpus tokenize_captions(const CaptionCorpus& raw) {
    PtbTokenizer tokenizer;
    CaptionCorpus out;
    out.ids = raw.ids;
    out.candidates = tokenizer.captions(raw.candidates);
    std::vector<std::string> all; // all references as one text, as the original tokenises them
    for (const auto& references : raw.references) all.insert(all.end(), references.begin(), references.end());
    all = tokenizer.captions(all);
    size_t next = 0;
    for (const auto& references : raw.references) {
        auto begin = all.begin() + static_cast<std::ptrdiff_t>(next);
        out.references.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(references.size()));
        next += references.size();
    }
    return out;
}

MetricValues caption_values(const CaptionCorpus& tokens, const MeteorData* meteor) {
    MetricValues out;
    add_bleu(tokens, out);
    std::vector<double> rouge;
    for (size_t i = 0; i < tokens.candidates.size(); ++i)
        rouge.push_back(rouge_l(tokens.candidates[i], tokens.references[i]));
    out["rouge_l"] = mean_measurement(rouge);
    out["cider"] = out["cider_d"] = mean_measurement(cider_d(tokens.candidates, tokens.references));
    if (meteor) {
        add_meteor(tokens, *meteor, 3, "meteor_exact_stem_synonym", out);
        if (!meteor->paraphrase_file.empty()) add_meteor(tokens, *meteor, 4, "meteor", out);
    }
    return out;
}

CaptionCorpus read_captions(const std::string& references, const std::string& predictions) {
    const nlohmann::json reference_json = read_json(references), prediction_json = read_json(predictions);
    const Record root(reference_json, references);
    const Texts captions = texts_by_id({prediction_json, predictions}, {"image_id"}, {"caption"});
    CaptionCorpus out;
    std::unordered_map<std::string, size_t> place;
    auto place_of = [&](const std::string& id) {
        auto [found, added] = place.emplace(id, out.ids.size());
        if (added) {
            out.ids.push_back(id);
            out.references.emplace_back();
        }
        return found->second;
    };
    if (root.has("images")) // their order decides, as in the original
        for (const Record& image : root.list("images")) place_of(image.id("id"));
    for (const Record& annotation : root.list("annotations"))
        out.references[place_of(annotation.id("image_id"))].push_back(annotation.text("caption"));
    for (size_t i = 0; i < out.ids.size(); ++i)
        if (out.references[i].empty())
            throw Error::data(references, ": a caption for every image expected, image ", out.ids[i],
                              " has none");
    if (out.ids.empty()) throw Error::data(references, ": annotations expected, there are none");
    expect_same_ids(out.ids, references, captions, predictions);
    for (const std::string& id : out.ids) out.candidates.push_back(captions.at(id));
    return out;
}

MetricValues caption_values(const CaptionCorpus& tokens, const CaptionTools& tools, bool with_meteor,
                            bool with_spice) {
    std::optional<MeteorData> data;
    if (with_meteor)
        if (const auto place =
                tools.meteor_data.empty() ? find_meteor_data() : std::optional(tools.meteor_data))
            data = load_meteor_data(*place);
    MetricValues out = caption_values(tokens, data ? &*data : nullptr);
    if (with_meteor && !data) {
        log::warning(
            "METEOR is not computed: its language data was not found; name METEOR's jar, or a folder with "
            "english.synsets and the like, in --meteor-data or DORA_BENCH_METEOR");
        out["meteor_exact_stem_synonym"].missing = true;
    }
    if (!with_spice) return out;
    const SpiceScores scores = spice(tokens, tools.spice_jar);
    out["spice"] = mean_measurement(scores.f); // missing when there are none
    if (!scores.absent.empty()) log::warning("SPICE is not computed: ", scores.absent);
    return out;
}

MetricValues caption_metric(const std::string& references, const std::string& predictions,
                            const CaptionTools& tools) {
    return caption_values(tokenize_captions(read_captions(references, predictions)), tools, true, true);
}

} // namespace dorabench
