#include "harness/train/rows.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include <iomanip>
#include <map>

namespace dorabench {

namespace {

bool packable(const EncodedExample& example) {
    return example.media.empty() && example.weight == 1 && example.segments.empty() &&
           example.soft_targets.empty();
}

void append(EncodedExample& pack, const EncodedExample& next) {
    pack.segments.push_back(int64_t(pack.input_ids.size()));
    pack.input_ids.insert(pack.input_ids.end(), next.input_ids.begin(), next.input_ids.end());
    pack.labels.insert(pack.labels.end(), next.labels.begin(), next.labels.end());
    pack.labels[size_t(pack.segments.back())] = kIgnoreLabel;
    pack.cut_tokens += next.cut_tokens;
}

// FNV-1a, 64 bit
struct Hash {
    uint64_t state = 14695981039346656037ull;
    void bytes(const void* data, size_t size) {
        const auto* at = static_cast<const unsigned char*>(data);
        for (size_t i = 0; i < size; ++i) state = (state ^ at[i]) * 1099511628211ull;
    }
    void number(int64_t value) { // a whole word at a time: data sets have tens of millions of ids
        state = (state ^ uint64_t(value)) * 1099511628211ull;
        state ^= state >> 29;
    }
    void text(const std::string& text) { number(int64_t(text.size())), bytes(text.data(), text.size()); }
    void ids(const Ids& ids) {
        number(int64_t(ids.size()));
        for (int64_t id : ids) number(id);
    }
};

void pack_rows(TrainingRows& rows, const TrainSettings& settings) {
    std::map<int, std::vector<const EncodedExample*>> by_source; // a batch is of one source, so a pack is too
    for (size_t i = 0; i < rows.rows.size(); ++i) {
        if (rows.rows[i]->labels.size() != rows.rows[i]->input_ids.size())
            throw Error::config(
                "train.packing: expected a causal language model, whose labels are aligned with its "
                "input, got ",
                rows.rows[i]->labels.size(), " labels for ", rows.rows[i]->input_ids.size(), " ids in row ",
                rows.rows[i]->index, "; set packing: false");
        by_source[rows.source_of[i]].push_back(rows.rows[i]);
    }
    rows.rows.clear(), rows.source_of.clear();
    for (const auto& [source, examples] : by_source) {
        for (auto& pack : pack_examples(examples, settings.max_length)) {
            rows.rows.push_back(pack.get());
            rows.source_of.push_back(source);
            rows.packed.push_back(std::move(pack));
        }
    }
}

} // namespace

std::vector<std::unique_ptr<EncodedExample>> pack_examples(std::span<const EncodedExample* const> examples,
                                                           int64_t max_length) {
    std::vector<std::unique_ptr<EncodedExample>> packs;
    bool open = false; // whether the last pack may grow
    for (const EncodedExample* example : examples) {
        const auto length = int64_t(example->input_ids.size());
        if (open && packable(*example) && int64_t(packs.back()->input_ids.size()) + length <= max_length) {
            if (packs.back()->segments.empty()) packs.back()->segments.push_back(0);
            append(*packs.back(), *example);
            continue;
        }
        packs.push_back(std::make_unique<EncodedExample>(*example));
        open = packable(*example);
    }
    return packs;
}

EncodedExample visit(const TrainingRows& rows, int64_t row, uint64_t seed, int64_t epoch) {
    EncodedExample out = *rows.rows[size_t(row)];
    if (out.soft_targets.empty()) return out;
    const std::vector<SoftTarget> targets = std::move(out.soft_targets);
    out.soft_targets.clear();
    double sum = 0;
    for (const SoftTarget& target : targets) sum += target.weight;
    double left = Rng(seed, cat("soft-target ", epoch, " ", row)).uniform() * sum;
    const SoftTarget* drawn = nullptr;
    for (const SoftTarget& target : targets) {
        if (!(target.weight > 0)) continue;
        drawn = &target; // the last one, should rounding leave a crumb
        if ((left -= target.weight) < 0) break;
    }
    if (drawn) out.labels = drawn->labels, out.weight = drawn->weight;
    return out;
}

TrainingRows prepare_rows(const Backend& backend, const std::vector<EncodedExample>& examples,
                          const std::vector<int>& source_of, const TrainSettings& settings) {
    if (!source_of.empty() && source_of.size() != examples.size())
        throw Error::internal("[train] source_of must name one source for each of ", examples.size(),
                              " examples, got ", source_of.size());
    TrainingRows rows;
    for (size_t i = 0; i < examples.size(); ++i) {
        const EncodedExample& example = examples[i];
        if (example.lost_target || example.input_ids.empty() || !(backend.loss_weight(example) > 0)) {
            ++rows.dropped;
            continue;
        }
        if (example.cut_tokens > 0) ++rows.cut;
        rows.rows.push_back(&example);
        rows.source_of.push_back(source_of.empty() ? 0 : source_of[i]);
    }
    if (rows.rows.empty())
        throw Error::data("expected at least one example with a target within train.max_length (",
                          settings.max_length, " tokens), got none of ", examples.size(),
                          "; raise max_length or look at the data");
    if (settings.packing) pack_rows(rows, settings);
    for (const EncodedExample* row : rows.rows) rows.weights.push_back(backend.loss_weight(*row));
    return rows;
}

std::string data_fingerprint(const TrainingRows& rows) {
    Hash hash;
    for (size_t i = 0; i < rows.rows.size(); ++i) {
        const EncodedExample& row = *rows.rows[i];
        hash.ids(row.input_ids), hash.ids(row.labels), hash.ids(row.segments);
        for (const std::string& image : row.media.images) hash.text(image);
        hash.text(row.media.video), hash.text(row.media.features);
        hash.bytes(&row.weight, sizeof row.weight);
        for (const SoftTarget& target : row.soft_targets) {
            hash.ids(target.labels);
            hash.bytes(&target.weight, sizeof target.weight);
        }
        hash.number(rows.source_of[i]);
    }
    std::ostringstream out;
    out << std::hex << std::setw(16) << std::setfill('0') << hash.state;
    return out.str();
}

} // namespace dorabench
