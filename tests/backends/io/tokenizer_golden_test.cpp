// Every case of the shared golden tokenizers, to the last id and byte.
#include "backends/io/tokenizer.h"
#include "backends/io/utf8.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

using nlohmann::json;
using Ids = std::vector<int64_t>;

std::string golden_folder(const std::string& name) {
    return test::shared_dir() + "/golden/tokenizers/" + name;
}
json cases(const std::string& name) { return json::parse(read_file(golden_folder(name) + "/cases.json")); }

void check(const Tokenizer& tokenizer, const json& all) {
    ASSERT_GE(all.size(), 300u);
    for (const json& c : all) {
        std::string text = c["text"];
        Ids ids = tokenizer.encode(text, false), special = tokenizer.encode(text, true);
        EXPECT_EQ(ids, c["ids"].get<Ids>()) << c["text"];
        EXPECT_EQ(special, c["ids_special"].get<Ids>()) << c["text"];
        EXPECT_EQ(tokenizer.decode(ids, false), c["decoded"].get<std::string>()) << c["text"];
        if (c.contains("decoded_special")) {
            EXPECT_EQ(tokenizer.decode(special, false), c["decoded_special"].get<std::string>()) << c["text"];
            EXPECT_EQ(tokenizer.decode(special, true), c["decoded_skip_special"].get<std::string>())
                << c["text"];
        }
    }
}

TEST(TokenizerGolden, Llama3) {
    DORABENCH_NEEDS_SHARED();
    auto t = load_tokenizer(golden_folder("llama3"));
    check(*t, cases("llama3")["cases"]);
    EXPECT_EQ(t->bos_id(), 1404);
    EXPECT_EQ(t->eos_id(), 1405);
    EXPECT_EQ(t->pad_id(), -1);
    EXPECT_EQ(t->vocab_size(), 1415);
    EXPECT_EQ(t->token_id("<|eot_id|>"), 1413);
}

TEST(TokenizerGolden, BartWithVlBartsExtraTokens) {
    DORABENCH_NEEDS_SHARED();
    auto t = load_tokenizer(golden_folder("bart/hf_fast"));
    check(*t, cases("bart")["cases"]);
    EXPECT_EQ(t->bos_id(), 0);
    EXPECT_EQ(t->pad_id(), 1);
    EXPECT_EQ(t->eos_id(), 2);
    EXPECT_EQ(t->token_id("<vis_extra_id_0>"), 1424);
}

TEST(TokenizerGolden, BartFromVocabularyAndMerges) {
    DORABENCH_NEEDS_SHARED();
    auto t = load_tokenizer(golden_folder("bart")); // the extra tokens stand in hf_fast alone
    EXPECT_EQ(t->bos_id(), 0);
    EXPECT_EQ(t->eos_id(), 2);
    EXPECT_EQ(t->vocab_size(), 1405);
    size_t compared = 0;
    const json all = cases("bart")["cases"];
    for (const json& c : all) {
        std::string text = c["text"];
        if (text.find("extra_id_") != std::string::npos) continue;
        EXPECT_EQ(t->encode(text, true), c["ids_special"].get<Ids>()) << c["text"];
        EXPECT_EQ(t->decode(t->encode(text, true), false), c["decoded_special"].get<std::string>())
            << c["text"];
        ++compared;
    }
    EXPECT_GT(compared, 290u);
}

TEST(TokenizerGolden, Clip) {
    DORABENCH_NEEDS_SHARED();
    json all = cases("clip")["cases"];
    for (const char* folder : {"clip", "clip/hf_fast"}) {
        auto t = load_tokenizer(golden_folder(folder));
        for (const json& c : all) {
            EXPECT_EQ(t->encode(c["text"].get<std::string>(), false), c["ids"].get<Ids>())
                << folder << c["text"];
            EXPECT_EQ(t->encode(c["text"].get<std::string>(), true), c["ids_special"].get<Ids>())
                << folder << c["text"];
        }
        EXPECT_EQ(t->bos_id(), 1548);
        EXPECT_EQ(t->eos_id(), 1549);
    }
}

TEST(TokenizerGolden, SentencePiece) {
    DORABENCH_NEEDS_SHARED();
    auto t = load_tokenizer(golden_folder("sentencepiece"));
    json golden = cases("sentencepiece");
    check(*t, golden["cases"]);
    for (const json& c : golden["decode_ids"])
        EXPECT_EQ(t->decode(c["ids"].get<Ids>(), true), c["decoded"].get<std::string>()) << c["ids"];
    EXPECT_EQ(t->decode({1, 300, 2}, false), "<s>" + t->decode({300}, false) + "</s>");
    EXPECT_EQ(t->bos_id(), 1);
    EXPECT_EQ(t->eos_id(), 2);
    EXPECT_EQ(t->token_id("<s>"), 1);
    EXPECT_EQ(t->token_id("no such piece"), -1);
}

TEST(TokenizerGolden, LlamasTokenizerJsonInBothForms) {
    DORABENCH_NEEDS_SHARED();
    auto fast = load_tokenizer(golden_folder("sentencepiece/hf_fast")),
         hub = load_tokenizer(golden_folder("sentencepiece/hub_fast"));
    const json all = cases("sentencepiece")["cases"];
    ASSERT_EQ(all.size(), 300u);
    for (const json& c : all) {
        std::string text = c["text"];
        EXPECT_EQ(hub->encode(text, false), c["hub_fast"].get<Ids>()) << c["text"];
        Ids ids = fast->encode(text, false), special = fast->encode(text, true);
        EXPECT_EQ(ids, c["hf"]["ids"].get<Ids>()) << c["text"];
        EXPECT_EQ(special, c["hf"]["ids_special"].get<Ids>()) << c["text"];
        EXPECT_EQ(fast->decode(ids, false), c["hf"]["decoded"].get<std::string>()) << c["text"];
        EXPECT_EQ(fast->decode(special, false), c["hf"]["decoded_special"].get<std::string>()) << c["text"];
        EXPECT_EQ(fast->decode(special, true), c["hf"]["decoded_skip_special"].get<std::string>())
            << c["text"];
    }
}

// The real vocabularies against the originals' ids (no special tokens; texts with special tokens in them are
// plain text there, so they are left out here where ours recognises them).
class ReferenceEncodings : public testing::Test {
protected:
    void SetUp() override {
        DORABENCH_NEEDS_SHARED();
        folder_ = test::shared_dir() + "/data/tokenizers/";
        all_ = json::parse(read_file(folder_ + "reference_encodings.json"));
    }
    void compare(const Tokenizer& t, const char* key, const std::vector<std::string>& left_out,
                 size_t at_least) {
        size_t compared = 0;
        for (const json& c : all_) {
            std::string text = c["text"];
            bool skip = !c.contains(key) || c[key].is_null();
            for (const auto& special : left_out) skip = skip || text.find(special) != std::string::npos;
            if (skip) continue;
            EXPECT_EQ(t.encode(text, false), c[key].get<Ids>()) << key << " " << c["text"];
            ++compared;
        }
        EXPECT_GE(compared, at_least) << key;
    }
    std::string folder_;
    json all_;
};

TEST_F(ReferenceEncodings, OfSentencePieceUnigram) {
    compare(*load_tokenizer(folder_ + "spm_small/m.model"), "spm_small", {}, 290);
}

TEST_F(ReferenceEncodings, OfLlama3Style) {
    compare(*load_tokenizer(folder_ + "llama3_style_small"), "llama3_small_json", {}, 290);
}

TEST_F(ReferenceEncodings, OfQwen2Style) {
    std::vector<std::string> special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    compare(*load_tokenizer(folder_ + "bpe_tiny"), "bpe_tiny", special, 280);
    test::TempDir dir; // its vocab.json and merges.txt alone
    for (const char* name : {"vocab.json", "merges.txt"})
        std::filesystem::copy(folder_ + "bpe_tiny/" + name, dir / name);
    std::ofstream(dir / "tokenizer_config.json") << R"({"tokenizer_class":"Qwen2Tokenizer"})";
    compare(*load_tokenizer(dir.path()), "bpe_tiny", special, 280);
}

TEST_F(ReferenceEncodings, OfBart) {
    test::TempDir dir;
    std::filesystem::copy(folder_ + "bart/vocab.json", dir / "vocab.json");
    std::filesystem::copy(folder_ + "bart/vocab.bpe", dir / "merges.txt");
    auto t = load_tokenizer(dir.path());
    compare(*t, "bart", {"<s>", "</s>", "<pad>", "<unk>", "<mask>"}, 270);
    EXPECT_EQ(t->vocab_size(), 50265);
}

TEST_F(ReferenceEncodings, OfClip) {
    test::TempDir dir; // vocab.json and merges.txt as OpenAI's tokenizer builds them from its list of merges
    std::vector<std::string> tokens, merges;
    std::vector<std::string> order, rest;
    for (int b = 0; b < 256; ++b) {
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        std::string c;
        append_code_point(c, prints ? char32_t(b) : char32_t(256 + rest.size()));
        (prints ? order : rest).push_back(c);
    }
    order.insert(order.end(), rest.begin(), rest.end());
    tokens = order;
    for (const auto& c : order) tokens.push_back(c + "</w>");
    for_each_line(folder_ + "clip/bpe_simple_vocab_16e6.txt.gz", [&](size_t number, std::string_view line) {
        if (number == 1 || number > 49152 - 256 - 2 + 1) return;
        merges.emplace_back(line);
        size_t space = line.find(' ');
        tokens.push_back(std::string(line.substr(0, space)) + std::string(line.substr(space + 1)));
    });
    tokens.insert(tokens.end(), {"<|startoftext|>", "<|endoftext|>"});
    json vocabulary = json::object();
    for (const auto& token : tokens) vocabulary.emplace(token, vocabulary.size());
    std::ofstream(dir / "vocab.json") << vocabulary;
    std::ofstream out(dir / "merges.txt");
    for (const auto& merge : merges) out << merge << "\n";
    out.close();
    auto t = load_tokenizer(dir.path());
    EXPECT_EQ(t->vocab_size(), 49408);
    size_t same = 0, other = 0;
    for (const json& c : all_) {
        if (t->encode(c["text"].get<std::string>(), false) == c["clip"].get<Ids>())
            ++same;
        else
            ++other; // OpenAI's own repairs text with ftfy, unescapes HTML and does not know NFC
    }
    EXPECT_GE(same, 240u) << other << " differ";
}

} // namespace
} // namespace dorabench
