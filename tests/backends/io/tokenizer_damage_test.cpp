// Damaged tokenizer files give a tokenizer or Error::data, whatever the damage.
#include "backends/io/tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <random>

namespace dorabench {
namespace {

using nlohmann::json;
using test::TempDir;

void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

// 1: it loaded (and then it must encode and decode), 0: it was refused.
int try_load(const std::string& path) {
    try {
        auto t = load_tokenizer(path);
        for (const char* text : {"the cat <s> lowest 123 \xC3\xA9\xE4\xBD\xA0\xFF", ""}) {
            auto ids = t->encode(text, true);
            ids.push_back(-5);
            ids.push_back(int64_t(1) << 40);
            t->decode(ids, false);
            t->decode(ids, true);
        }
        return 1;
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
        return 0;
    }
}

std::string damaged(std::string text, std::mt19937& random) {
    static const char* const kBits[] = {
        "1e999",   "-1",    "99999999999999999999",  "null", "[]", "{}", "\"\"", "true", "0.5", "[[[[",
        "\\u0000", "\",\"", "\"type\":\"Sequence\"", "\xFF"};
    for (size_t i = 0, n = 1 + random() % 3; i < n && !text.empty(); ++i) {
        size_t at = random() % text.size();
        switch (random() % 5) {
        case 0:
            text[at] = char(random());
            break;
        case 1:
            text.resize(at);
            break;
        case 2:
            text.insert(at, kBits[random() % std::size(kBits)]);
            break;
        case 3:
            text.erase(at, 1 + random() % 8);
            break;
        case 4:
            std::swap(text[at], text[random() % text.size()]);
            break;
        }
    }
    return text;
}

// Replaces one value somewhere in the document by another of any kind.
void mutate(json& document, std::mt19937& random) {
    static const json kValues = {nullptr,
                                 true,
                                 -1,
                                 0,
                                 1e300,
                                 4294967296,
                                 "",
                                 "x",
                                 "\\s+(",
                                 json::array(),
                                 json::object(),
                                 {{"type", "Sequence"}},
                                 {{"String", ""}},
                                 json::array({"a", 0})};
    json* at = &document;
    while ((at->is_object() || at->is_array()) && !at->empty() && (at == &document || random() % 4)) {
        size_t skip = random() % at->size();
        auto item = at->begin();
        std::advance(item, skip);
        at = &*item;
    }
    *at = kValues[random() % kValues.size()];
}

TEST(DamagedTokenizer, JsonIsReadOrRefused) {
    json golden = json::parse(read_file(test::golden("tokenizers/components.json")));
    std::mt19937 random(11);
    TempDir dir;
    int loaded = 0, rounds = 0;
    for (const json& variant : golden["variants"]) {
        json document = variant["parts"];
        document["model"] = golden["models"][variant["model"].get<std::string>()];
        document["model"].update(variant["model_override"]);
        std::string text = document.dump();
        for (int i = 0; i < 30; ++i, ++rounds) {
            if (i % 2) {
                put(dir / "tokenizer.json", damaged(text, random));
            } else {
                json changed = document;
                mutate(i % 4 ? changed : changed[i % 8 ? "model" : "pre_tokenizer"], random);
                put(dir / "tokenizer.json", changed.dump());
            }
            loaded += try_load(dir / "tokenizer.json");
        }
    }
    EXPECT_GT(loaded, 50);
    EXPECT_LT(loaded, rounds - 50);
}

TEST(DamagedTokenizer, DeepNestingAndHugeNumbersAreRefused) {
    TempDir dir;
    std::string deep(100000, '['), sequences, close;
    for (int i = 0; i < 100000; ++i) sequences += R"({"type":"Sequence","normalizers":[)", close += "]}";
    for (const std::string& text :
         {deep, deep + std::string(100000, ']'), R"({"model":)" + deep + std::string(100000, ']') + "}",
          R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":)" + sequences + close + "}",
          std::string(R"({"model":{"type":"BPE","vocab":{"a":1e400},"merges":[]}})"),
          std::string(R"({"model":{"type":"BPE","vocab":{"a":18446744073709551615},"merges":[]}})"),
          std::string(), std::string("null"), std::string("7"), std::string("{}")}) {
        put(dir / "tokenizer.json", text);
        EXPECT_EQ(try_load(dir / "tokenizer.json"), 0) << text.substr(0, 60);
    }
}

TEST(DamagedTokenizer, VocabularyAndMergesAreReadOrRefused) {
    std::string vocabulary = R"({"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6,"<mask>":7})",
                merges = "#version: 0.2\na b\n";
    std::string config =
        R"({"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false},"added_tokens_decoder":{"9":{"content":"<x>","special":true}},"additional_special_tokens":["<y>"]})";
    std::mt19937 random(5);
    TempDir dir;
    int loaded = 0;
    for (int i = 0; i < 600; ++i) {
        put(dir / "vocab.json", i % 3 == 0 ? damaged(vocabulary, random) : vocabulary);
        put(dir / "merges.txt", i % 3 == 1 ? damaged(merges, random) : merges);
        put(dir / "tokenizer_config.json", i % 3 == 2 ? damaged(config, random) : config);
        loaded += try_load(dir.path());
    }
    EXPECT_GT(loaded, 50);
    EXPECT_LT(loaded, 550);
}

TEST(DamagedTokenizer, SentencePieceModelIsReadOrRefused) {
    DORABENCH_NEEDS_SHARED();
    const std::string good =
        read_file(test::shared_dir() + "/golden/tokenizers/sentencepiece/tokenizer.model");
    std::mt19937 random(7);
    TempDir dir;
    int loaded = 0;
    for (int i = 0; i < 300; ++i) {
        put(dir / "tokenizer.model", damaged(good, random));
        loaded += try_load(dir / "tokenizer.model");
    }
    EXPECT_LT(loaded, 300);
}

} // namespace
} // namespace dorabench
