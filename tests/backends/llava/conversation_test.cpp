// Conversations with images: ids and labels against tests/golden/llava, made by an independent implementation
// of the rule of LLaVA-1.5's trainer over Hugging Face's tokenizer.
#include "backends/llava/prompt.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

class LlavaConversation : public testing::Test {
protected:
    LlavaConversation() : tokenizer(load_tokenizer(test::golden("llava/tokenizer"))) {
        vocabulary.words = {tokenizer.get(), tokenizer->vocab_size(), tokenizer->bos_id(),
                            tokenizer->eos_id(), "test"};
        vocabulary.patches = 16;
    }
    static TrainingPair pair_of(const json& pieces, size_t images) {
        TrainingPair pair;
        pair.source = "conversations.json:record 1";
        for (const json& piece : pieces) pair.pieces.push_back({piece[0], piece[1], piece[2]});
        for (size_t i = 0; i < images; ++i) pair.media.images.push_back(cat("image", i, ".png"));
        return pair;
    }
    std::unique_ptr<Tokenizer> tokenizer;
    LlavaVocabulary vocabulary;
};

TEST_F(LlavaConversation, IdsAndLabelsAreThoseOfThePublishedRule) {
    const json cases = json::parse(read_file(test::golden("llava/expected.json")));
    ASSERT_GE(cases.size(), 8u);
    int64_t cut = 0;
    for (const json& expected : cases) {
        const std::string name =
            cat(expected["id"].get<std::string>(), " at ", expected["max_length"].get<int>());
        const EncodedExample got = encode_llava(pair_of(expected["pieces"], expected["images"]),
                                                {expected["max_length"], false}, vocabulary);
        EXPECT_EQ(got.input_ids, expected["input_ids"].get<Ids>()) << name;
        EXPECT_EQ(got.labels, expected["labels"].get<Ids>()) << name;
        cut += got.cut_tokens > 0;
        EXPECT_FALSE(got.lost_target) << name;
    }
    EXPECT_GE(cut, 2); // some of them do not fit
}

TEST_F(LlavaConversation, ACutRowSaysHowMuchWentAndARowWithoutTargetsOrWithHalfAnImageIsLost) {
    const json cases = json::parse(read_file(test::golden("llava/expected.json")));
    const json& two = cases[8]; // two images in two rounds
    ASSERT_EQ(two["images"], 2);
    const TrainingPair pair = pair_of(two["pieces"], 2);
    const auto whole = expanded_length(two["input_ids"].get<Ids>(), 16);
    const EncodedExample fits = encode_llava(pair, {whole, false}, vocabulary);
    EXPECT_EQ(fits.cut_tokens, 0);
    EXPECT_FALSE(fits.lost_target);
    const EncodedExample shorter = encode_llava(pair, {whole - 1, false}, vocabulary);
    EXPECT_FALSE(shorter.lost_target);
    EXPECT_EQ(shorter.input_ids.size(), fits.input_ids.size() - 1);
    // the second image no longer fits as a whole, though the first round's answer does
    const Ids ids = two["input_ids"].get<Ids>();
    const auto mark = static_cast<int64_t>(ids.size()) - 1 -
                      (std::find(ids.rbegin(), ids.rend(), kImageMark) - ids.rbegin());
    EXPECT_TRUE(encode_llava(pair, {mark + 15 + 15, false}, vocabulary).lost_target);
    EXPECT_TRUE(encode_llava(pair, {20, false}, vocabulary).lost_target);
}

TEST_F(LlavaConversation, TheMarkOfAnImageIsTextWhereTheRowHasNone) {
    TrainingPair pair;
    pair.source = "x";
    pair.pieces = {{"USER: what does <image> mean? ASSISTANT:", false, false}, {" A tag.", true, false}};
    const EncodedExample got = encode_llava(pair, {256, false}, vocabulary);
    EXPECT_EQ(std::count(got.input_ids.begin(), got.input_ids.end(), kImageMark), 0);
    EXPECT_FALSE(got.lost_target);
}

TEST_F(LlavaConversation, TrainingOnInputsLabelsEverythingButImages) {
    const json cases = json::parse(read_file(test::golden("llava/expected.json")));
    const EncodedExample got = encode_llava(pair_of(cases[0]["pieces"], 1), {2048, true}, vocabulary);
    for (size_t i = 0; i < got.input_ids.size(); ++i)
        EXPECT_EQ(got.labels[i], got.input_ids[i] == kImageMark ? kIgnoreLabel : got.input_ids[i]);
}

} // namespace
} // namespace dorabench
