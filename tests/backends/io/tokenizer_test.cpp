#include "backends/io/regex.h"
#include "backends/io/tokenizer.h"
#include "backends/io/utf8.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tests/support/paths.h"
#include <chrono>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
using test::TempDir;
using testing::HasSubstr;
using Ids = std::vector<int64_t>;

void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

// A byte-level tokenizer small enough to follow by hand: every byte, then "ab" and "abc".
json tiny() {
    json vocabulary = json::object();
    for (int b = 0; b < 256; ++b) {
        std::string c;
        static int unprinted;
        if (b == 0) unprinted = 256;
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        append_code_point(c, char32_t(prints ? b : unprinted++));
        vocabulary[c] = b;
    }
    vocabulary["ab"] = 256;
    vocabulary["abc"] = 257;
    return {{"added_tokens", json::array({{{"id", 258}, {"content", "<s>"}, {"special", true}}})},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
            {"post_processor", nullptr},
            {"decoder", {{"type", "ByteLevel"}}},
            {"model",
             {{"type", "BPE"},
              {"vocab", vocabulary},
              {"merges", json::array({"a b", json::array({"ab", "c"})})}}}};
}
std::unique_ptr<Tokenizer> load(const json& document, const TempDir& dir) {
    put(dir / "tokenizer.json", document.dump());
    return load_tokenizer(dir.path());
}
std::string message_of(const std::string& path) {
    try {
        load_tokenizer(path);
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data) << e.what();
        return e.what();
    }
    return "";
}

TEST(Tokenizer, MergesByRankFromTheLeft) {
    TempDir dir;
    auto t = load(tiny(), dir);
    EXPECT_EQ(t->encode("abcab abc", false), (Ids{257, 256, ' ', 257}));
    EXPECT_EQ(t->encode("x<s>ab", false), (Ids{'x', 258, 256}));
    EXPECT_EQ(t->decode({'x', 258, 256, 999}, false), "x<s>ab");
    EXPECT_EQ(t->decode({'x', 258, 256}, true), "xab");
    EXPECT_EQ(t->vocab_size(), 259);
    EXPECT_EQ(t->bos_id(), 258) << "by its usual name";
    EXPECT_EQ(t->fingerprint().size(), 64u);
}

TEST(Tokenizer, DecodesIllFormedBytesToReplacementCharacters) {
    TempDir dir;
    auto t = load(tiny(), dir);
    EXPECT_EQ(t->decode({0xE4, 0xBD, 0xA0}, false), "你");
    EXPECT_EQ(t->decode({0xE4, 0xBD}, false), "\uFFFD")
        << "one for the longest part that could begin a character";
    EXPECT_EQ(t->decode({0xBD, 0xA0, 'a'}, false), "\uFFFD\uFFFDa");
    EXPECT_EQ(t->decode({0xED, 0xA0, 0x80}, false), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
    EXPECT_EQ(t->encode("a\xFF", false), t->encode("a\uFFFD", false));
    std::string nul("a\0b", 3);
    EXPECT_EQ(t->encode(nul, false), (Ids{'a', 0, 'b'}));
    EXPECT_EQ(t->decode(t->encode(nul, false), false), nul);
}

TEST(Tokenizer, AgreesWithTheOriginalOnEveryComponent) {
    json golden = json::parse(read_file(test::golden("tokenizers/components.json")));
    ASSERT_GE(golden["variants"].size(), 30u);
    for (const json& variant : golden["variants"]) {
        json document = variant["parts"];
        document["model"] = golden["models"][variant["model"].get<std::string>()];
        document["model"].update(variant["model_override"]);
        TempDir dir;
        auto t = load(document, dir);
        for (const json& c : variant["cases"]) {
            std::string text = c["text"], where = variant["name"].get<std::string>() + " " + c["text"].dump();
            Ids ids = t->encode(text, false), special = t->encode(text, true);
            EXPECT_EQ(ids, c["ids"].get<Ids>()) << where;
            EXPECT_EQ(special, c.value("ids_special", c["ids"]).get<Ids>()) << where;
            EXPECT_EQ(t->decode(ids, false), c["decoded"].get<std::string>()) << where;
            EXPECT_EQ(t->decode(special, true),
                      c.value("decoded_skip_special", c["decoded"]).get<std::string>())
                << where;
        }
    }
}

TEST(Tokenizer, RefusesUnsupportedPartsByName) {
    TempDir dir;
    auto refused = [&](const char* part, const json& value) {
        json document = tiny();
        document[json::json_pointer(part)] = value;
        put(dir / "tokenizer.json", document.dump());
        return message_of(dir.path());
    };
    EXPECT_THAT(refused("/model/type", "Unigram"), HasSubstr("\"Unigram\" is not supported"));
    EXPECT_THAT(refused("/model/dropout", 0.1), HasSubstr("dropout"));
    EXPECT_THAT(refused("/normalizer", {{"type", "Precompiled"}}),
                HasSubstr("\"Precompiled\" is not supported"));
    EXPECT_THAT(
        refused("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "UnicodeScripts"}}}}}),
        HasSubstr("pre_tokenizer.pretokenizers[0]: "));
    EXPECT_THAT(refused("/post_processor", {{"type", "Odd"}}), HasSubstr("post_processor: "));
    EXPECT_THAT(refused("/decoder", {{"type", "WordPiece"}}), HasSubstr("\"WordPiece\" is not supported"));
    EXPECT_THAT(refused("/model/merges/0", "a z!"), HasSubstr("merges[0]: the vocabulary lacks"));
    EXPECT_THAT(refused("/model/merges/1", "abc"), HasSubstr("model.merges[1]"));
    EXPECT_THAT(refused("/model/vocab/ab", -1), HasSubstr("token id"));
    EXPECT_THAT(refused("/model/vocab/ab", 257), HasSubstr("expected every id once, 257"));
    EXPECT_THAT(refused("/added_tokens/0/id", 3), HasSubstr("id 3 of \"<s>\" belongs to"));
    for (const char* expression : {"[a[b]]", "(", "a\\K", "[a&&b]", "\\p{Nonsense}", "\\"})
        EXPECT_THAT(
            refused("/pre_tokenizer",
                    {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}}),
            HasSubstr("the regular expression"))
            << expression;
    json deep = {{"type", "NFC"}};
    for (int i = 0; i < 100; ++i) deep = {{"type", "Sequence"}, {"normalizers", json::array({deep})}};
    EXPECT_THAT(refused("/normalizer", deep), HasSubstr("nested too deeply"));
}

TEST(Tokenizer, SaysWhereItLookedAndWhatAFileIsInstead) {
    TempDir dir;
    EXPECT_FALSE(has_tokenizer(dir.path()));
    EXPECT_THAT(message_of(dir.path()), HasSubstr("found none of them"));
    put(dir / "tokenizer.model", "IQ== 0\nIg== 1\n");
    EXPECT_TRUE(has_tokenizer(dir.path()));
    EXPECT_THAT(message_of(dir.path()), HasSubstr("tiktoken"));
    put(dir / "tokenizer.json", "{\"model\": ");
    EXPECT_THAT(message_of(dir.path()), HasSubstr("tokenizer.json: expected JSON"));
    put(dir / "tokenizer.json", tiny().dump());
    put(dir / "tokenizer_config.json", "[]");
    EXPECT_THAT(message_of(dir.path()), HasSubstr("tokenizer_config.json"));
}

TEST(Tokenizer, TakesSpecialTokensFromTheFilesBeside) {
    TempDir dir;
    put(dir / "tokenizer_config.json",
        R"({"bos_token":null,"eos_token":{"content":"abc"},"added_tokens_decoder":{"300":{"content":"<image>","special":true}}})");
    put(dir / "config.json", R"({"bos_token_id":1,"pad_token_id":7,"eos_token_id":[5,6]})");
    auto t = load(tiny(), dir);
    EXPECT_EQ(t->bos_id(), -1) << "said to have none";
    EXPECT_EQ(t->eos_id(), 257);
    EXPECT_EQ(t->pad_id(), 7);
    EXPECT_EQ(t->encode("a<image>", false), (Ids{'a', 300}));
    EXPECT_EQ(t->vocab_size(), 301);
}

TEST(Tokenizer, EncodesOneLongWordInAlmostLinearTime) {
    TempDir dir;
    json document = tiny();
    document["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
    document["model"]["merges"] = json::array({"a a", "aa aa"});
    document["model"]["vocab"]["aa"] = 500;
    document["model"]["vocab"]["aaaa"] = 501;
    auto t = load(document, dir);
    auto seconds = [&](size_t n) {
        auto start = std::chrono::steady_clock::now();
        EXPECT_EQ(t->encode(std::string(n, 'a'), false), Ids(n / 4, 501));
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    double quarter = seconds(1 << 17), whole = seconds(1 << 19);
    EXPECT_LT(whole, 16 * quarter + 0.2); // a quadratic one takes 16 times as long and tens of seconds
    EXPECT_LT(whole, 30);
}

TEST(Pattern, ReadsSpacesAsTheOriginalEngineDoes) {
    // Unicode White_Space over all code points; U+180E is none although PCRE2's own \s takes it
    std::set<char32_t> spaces = {0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
    for (char32_t c = 9; c <= 13; ++c) spaces.insert(c);
    for (char32_t c = 0x2000; c <= 0x200A; ++c) spaces.insert(c);
    JsonPlace place("test");
    Pattern space = Pattern::regex("\\s", place), not_space = Pattern::regex("\\S", place),
            in_class = Pattern::regex("[^\\s]", place), other_class = Pattern::regex("[\\S]", place);
    std::string all;
    std::vector<char32_t> at(1);
    for (char32_t c = 0; c < 0x110000; ++c) {
        if (c >= 0xD800 && c < 0xE000) continue;
        size_t begin = all.size();
        append_code_point(all, c);
        at.resize(all.size() + 1);
        at[begin] = c;
    }
    std::set<char32_t> found;
    space.for_each(all, [&](size_t begin, size_t) { found.insert(at[begin]); });
    EXPECT_EQ(found, spaces);
    for (const Pattern* p : {&not_space, &in_class, &other_class}) {
        size_t count = 0, of_spaces = 0;
        p->for_each(all, [&](size_t begin, size_t) { ++count, of_spaces += spaces.count(at[begin]); });
        EXPECT_EQ(count, 0x110000 - 0x800 - spaces.size());
        EXPECT_EQ(of_spaces, 0u);
    }
}

TEST(Utf8, RepairsAsTheStandardRecommends) {
    EXPECT_EQ(repair_utf8("abc 你"), "abc 你");
    EXPECT_EQ(repair_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
              "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"
              "A"); // table 3-8
    EXPECT_EQ(repair_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD"
                                                                   "A"); // table 3-11
    std::mt19937 random(3);
    for (int round = 0; round < 2000; ++round) {
        std::string text(random() % 12, '\0');
        for (char& c : text) c = char(random() % 3 ? 0x80 + random() % 128 : random() % 256);
        EXPECT_EQ(invalid_utf8(repair_utf8(text)), std::string::npos);
        if (invalid_utf8(text) == std::string::npos) EXPECT_EQ(repair_utf8(text), text);
    }
}

} // namespace
} // namespace dorabench
