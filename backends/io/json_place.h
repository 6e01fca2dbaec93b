#pragma once
// Typed access to parts of a JSON file whose every complaint names the file and the place in it.
#include "harness/base/error.h"
#include <nlohmann/json.hpp>
#include <string>

namespace dorabench {

using Json = nlohmann::json;

// "tokenizer.json: pre_tokenizer.pretokenizers[1]"
class JsonPlace {
public:
    explicit JsonPlace(std::string file) : where_(std::move(file)) {}
    // One level down. Components may nest, but not without bound: they are read by recursion.
    JsonPlace in(const std::string& part) const {
        if (depth_ >= 24) throw fail("is nested too deeply");
        JsonPlace out(*this);
        out.where_ += (depth_ == 0 ? ": " : part.front() == '[' ? "" : ".") + part;
        ++out.depth_;
        return out;
    }
    template <typename... P>
    Error fail(const P&... p) const {
        return Error::data(where_, ": ", p...);
    }

    const Json& member(const Json& node, const char* key) const { // must be there
        if (!node.is_object()) throw fail("expected an object, got ", node.type_name());
        auto at = node.find(key);
        if (at == node.end()) throw fail(key, " is missing");
        return *at;
    }
    const Json* optional(const Json& node, const char* key) const { // absent or null: none
        if (!node.is_object()) throw fail("expected an object, got ", node.type_name());
        auto at = node.find(key);
        return at == node.end() || at->is_null() ? nullptr : &*at;
    }
    std::string text(const Json& node, const char* key) const {
        const Json& value = member(node, key);
        if (!value.is_string()) throw fail(key, ": expected text, got ", value.type_name());
        return value.get_ref<const std::string&>();
    }
    std::string text_or(const Json& node, const char* key, const std::string& absent) const {
        return optional(node, key) ? text(node, key) : absent;
    }
    bool flag(const Json& node, const char* key, bool absent) const {
        const Json* value = optional(node, key);
        if (!value) return absent;
        if (!value->is_boolean()) throw fail(key, ": expected true or false, got ", value->type_name());
        return value->get<bool>();
    }
    const Json& array(const Json& node, const char* key) const {
        const Json& value = member(node, key);
        if (!value.is_array()) throw fail(key, ": expected an array, got ", value.type_name());
        return value;
    }
    // A token id: a whole number below 2^31.
    int64_t id(const Json& value, const std::string& what) const {
        if (!value.is_number_unsigned() || value.get<uint64_t>() >= uint64_t(1) << 31)
            throw fail(what, ": expected a token id (a whole number below 2^31)");
        return int64_t(value.get<uint64_t>());
    }
    size_t count(const Json& node, const char* key) const {
        const Json& value = member(node, key);
        if (!value.is_number_unsigned() || value.get<uint64_t>() > 1u << 20)
            throw fail(key, ": expected a whole number from 0 to 2^20");
        return value.get<size_t>();
    }

private:
    std::string where_;
    int depth_ = 0;
};

// Error::data (file, byte) when it is not JSON.
Json read_json_file(const std::string& path);

} // namespace dorabench
