#pragma once
// The values of a checkpoint's config.json, checked where they are read.
#include "harness/base/error.h"
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

namespace dorabench {

// Reads checked values of one JSON object; every error names the file and the key.
class ConfigKeys {
public:
    ConfigKeys(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {
        if (!object.is_object()) throw Error::data(where_, ": expected a JSON object");
    }
    bool has(const char* key) const {
        auto at = object_.find(key);
        return at != object_.end() && !at->is_null();
    }
    const nlohmann::json& raw(const char* key) const { return object_.at(key); }

    int64_t integer(const char* key, int64_t low, int64_t high) const {
        if (!has(key)) throw Error::data(where_, ": ", key, " is missing");
        const nlohmann::json& value = raw(key);
        if (!value.is_number_integer() || value.get<double>() < double(low) ||
            value.get<double>() > double(high))
            throw Error::data(where_, ": ", key, " must be an integer in [", low, ", ", high, "], got ",
                              value.dump());
        return value.get<int64_t>();
    }
    int64_t integer_or(const char* key, int64_t fallback, int64_t low, int64_t high) const {
        return has(key) ? integer(key, low, high) : fallback;
    }
    double number(const char* key, double above, double most) const {
        if (!has(key)) throw Error::data(where_, ": ", key, " is missing");
        const nlohmann::json& value = raw(key);
        const double number = value.is_number() ? value.get<double>() : NAN;
        if (!(number > above && number <= most))
            throw Error::data(where_, ": ", key, " must be a number above ", above, " and at most ", most,
                              ", got ", value.dump());
        return number;
    }
    double number_or(const char* key, double fallback, double above, double most) const {
        return has(key) ? number(key, above, most) : fallback;
    }
    // A token id below the vocabulary or, as some configurations have it, a list of one.
    int64_t token(const char* key, int64_t fallback, int64_t vocab) const {
        if (!has(key)) return fallback;
        const nlohmann::json& value = raw(key);
        const nlohmann::json& id = value.is_array() && value.size() == 1 ? value.front() : value;
        if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() >= double(vocab))
            throw Error::data(where_, ": ", key, " must be a token id in [0, vocab_size=", vocab, "), got ",
                              value.dump());
        return id.get<int64_t>();
    }
    bool flag(const char* key, bool fallback) const {
        if (!has(key)) return fallback;
        if (!raw(key).is_boolean())
            throw Error::data(where_, ": ", key, " must be true or false, got ", raw(key).dump());
        return raw(key).get<bool>();
    }
    std::string text(const char* key, const std::string& fallback) const {
        if (!has(key)) return fallback;
        if (!raw(key).is_string())
            throw Error::data(where_, ": ", key, " must be a string, got ", raw(key).dump());
        return raw(key).get<std::string>();
    }
    // Of quantised checkpoints bitsandbytes' NF4 is read, the others' weights are not.
    void refuse_other_quantisation() const {
        if (!has("quantization_config")) return;
        const nlohmann::json& q = raw("quantization_config");
        if (!q.is_object() || q.value("load_in_4bit", nlohmann::json()) != true ||
            q.value("bnb_4bit_quant_type", nlohmann::json()) != "nf4")
            throw Error::data(where_,
                              ": quantization_config: of quantised checkpoints only bitsandbytes' NF4 is "
                              "supported; give the full-precision one");
    }
    const std::string& where() const { return where_; }

private:
    const nlohmann::json& object_;
    std::string where_;
};

} // namespace dorabench
