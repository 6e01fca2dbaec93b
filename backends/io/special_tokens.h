#pragma once
// What the small files beside a tokenizer say: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json and config.json, in this order.
#include "backends/io/added_tokens.h"
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dorabench {

struct SpecialTokens {
    struct Role {
        bool stated = false; // a file speaks of it, if only to say that there is none
        std::string token;   // or, where empty, its id
        int64_t id = -1;
    };
    Role bos, eos, pad;
    std::vector<AddedToken> added; // id -1: behind the vocabulary
    std::optional<bool> add_bos, add_eos, add_prefix_space;
    std::string tokenizer_class; // "LlamaTokenizer"; may be empty
};

struct SpecialIds {
    int64_t bos = -1, eos = -1, pad = -1;
};

SpecialTokens read_special_tokens(const std::string& folder); // Error::data names a damaged file
// Where the files are silent, names that everybody uses (<s>, </s>, <|begin_of_text|>, …) are tried.
SpecialIds special_ids(const SpecialTokens& special, const std::function<int64_t(std::string_view)>& id_of);

// One entry of `added_tokens` or of `added_tokens_decoder`.
AddedToken parse_added_token(const Json& node, const JsonPlace& place);

} // namespace dorabench
