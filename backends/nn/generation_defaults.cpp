#include "backends/nn/generation_defaults.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include <algorithm>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

struct Source {
    const json& object;
    std::string where;
    const json* find(const char* key) const {
        auto at = object.find(key);
        return at == object.end() || at->is_null() ? nullptr : &*at;
    }
    [[noreturn]] void refuse(const char* key, const char* expected, const json& got) const {
        throw Error::data(where, ": ", key, " must be ", expected, ", got ", got.dump());
    }
    void read(const char* key, int64_t& into, int64_t low) const {
        const json* value = find(key);
        if (!value) return;
        if (!value->is_number_integer() || value->get<double>() < double(low) || value->get<double>() > 1e15)
            refuse(key, cat("an integer of at least ", low).c_str(), *value);
        into = value->get<int64_t>();
    }
    void read(const char* key, double& into, bool positive) const {
        const json* value = find(key);
        if (!value) return;
        if (!value->is_number() || (positive && !(value->get<double>() > 0)))
            refuse(key, positive ? "a positive number" : "a number", *value);
        into = value->get<double>();
    }
    // An id or, as some BART configurations have it, a list of one.
    void read_id(const char* key, int64_t& into) const {
        const json* value = find(key);
        if (!value) return;
        const json& id = value->is_array() && value->size() == 1 ? value->front() : *value;
        if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > 1e15)
            refuse(key, "a token id", *value);
        into = id.get<int64_t>();
    }
};

void read_into(const Source& source, GenerateOptions& o) {
    source.read("num_beams", o.num_beams, 1);
    source.read("max_new_tokens", o.max_new_tokens, 1);
    source.read("min_new_tokens", o.min_new_tokens, 0);
    source.read("length_penalty", o.length_penalty, false);
    source.read("repetition_penalty", o.repetition_penalty, true);
    source.read("no_repeat_ngram_size", o.no_repeat_ngram_size, 0);
    source.read("top_p", o.top_p, true);
    source.read("top_k", o.top_k, 0);
    source.read_id("forced_bos_token_id", o.forced_bos_token_id);
    source.read_id("forced_eos_token_id", o.forced_eos_token_id);
    if (const json* value = source.find("early_stopping")) {
        if (value->is_boolean())
            o.early_stopping = value->get<bool>() ? "true" : "false";
        else if (*value == "never")
            o.early_stopping = "never";
        else
            source.refuse("early_stopping", "true, false or \"never\"", *value);
    }
    if (const json* value = source.find("eos_token_id")) {
        o.eos_set = true;
        o.eos_token_ids.clear();
        for (const json& id : value->is_array() ? *value : json::array({*value})) {
            if (!id.is_number_integer())
                source.refuse("eos_token_id", "an integer or a list of integers", *value);
            o.eos_token_ids.push_back(id.get<int64_t>());
        }
    }
}

} // namespace

GenerateOptions read_generation_defaults(const std::string& folder) {
    GenerateOptions options;
    for (const char* name : {"config.json", "generation_config.json"}) { // the latter has the last word
        const std::string path = folder + "/" + name;
        if (!exists(path)) continue;
        json object;
        try {
            object = json::parse(read_file(path, size_t(16) << 20));
        } catch (const json::exception& e) {
            throw Error::data(path, ": expected JSON: ", e.what());
        }
        if (!object.is_object()) throw Error::data(path, ": expected a JSON object");
        read_into({object, path}, options);
    }
    return options;
}

GenerateOptions resolve_generation(GenerateOptions options, const GenerateOptions& defaults) {
    if (!options.eos_set) {
        options.eos_token_ids = defaults.eos_token_ids;
        options.eos_set = true;
    }
    if (options.forced_bos_token_id == -1) options.forced_bos_token_id = defaults.forced_bos_token_id;
    if (options.forced_eos_token_id == -1) options.forced_eos_token_id = defaults.forced_eos_token_id;
    return options;
}

GenerateOptions merge_generation(const GenerateOptions& options, const std::vector<std::string>& given,
                                 const GenerateOptions& defaults) {
    GenerateOptions out = options;
    auto open = [&](const char* name) { return std::find(given.begin(), given.end(), name) == given.end(); };
    if (open("num_beams")) out.num_beams = defaults.num_beams;
    if (open("max_new_tokens")) out.max_new_tokens = defaults.max_new_tokens;
    if (open("min_new_tokens")) out.min_new_tokens = defaults.min_new_tokens;
    if (open("length_penalty")) out.length_penalty = defaults.length_penalty;
    if (open("early_stopping")) out.early_stopping = defaults.early_stopping;
    if (open("repetition_penalty")) out.repetition_penalty = defaults.repetition_penalty;
    if (open("no_repeat_ngram_size")) out.no_repeat_ngram_size = defaults.no_repeat_ngram_size;
    if (open("top_p")) out.top_p = defaults.top_p;
    if (open("top_k")) out.top_k = defaults.top_k;
    // `none` on the command line: -1, and listed
    if (!open("forced_bos_token_id") && out.forced_bos_token_id == -1) out.forced_bos_token_id = -2;
    if (!open("forced_eos_token_id") && out.forced_eos_token_id == -1) out.forced_eos_token_id = -2;
    return resolve_generation(out, defaults);
}

} // namespace dorabench
