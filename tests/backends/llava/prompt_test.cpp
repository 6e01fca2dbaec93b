#include "backends/llava/prefixes.h"
#include "backends/llava/prompt.h"
#include "harness/base/error.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

using testing::HasSubstr;

// One id a character (100 + its code), begin-of-text 1; may know "<image>" as one token.
class Characters final : public Tokenizer {
public:
    explicit Characters(int64_t image = -1) : image_(image) {}
    std::vector<int64_t> encode(std::string_view text, bool special) const override {
        std::vector<int64_t> out;
        if (special) out.push_back(1);
        for (size_t i = 0; i < text.size(); ++i) {
            if (image_ >= 0 && text.substr(i, 7) == "<image>") {
                out.push_back(image_), i += 6;
                continue;
            }
            out.push_back(100 + text[i]);
        }
        return out;
    }
    std::string decode(const std::vector<int64_t>&, bool) const override { return {}; }
    int64_t vocab_size() const override { return 300; }
    int64_t bos_id() const override { return 1; }
    int64_t eos_id() const override { return 2; }
    int64_t pad_id() const override { return 0; }
    int64_t token_id(std::string_view) const override { return -1; }
    std::string fingerprint() const override { return "characters"; }

private:
    int64_t image_;
};

const Characters kPlain, kKnowing(50);

LlavaVocabulary vocabulary(const Tokenizer& tokenizer = kPlain, int64_t image_id = kImageMark) {
    LlavaVocabulary out;
    out.words = {&tokenizer, 300, 1, 2, "test"};
    out.image_id = image_id;
    out.patches = 4;
    return out;
}

TrainingPair pair_of(const std::string& prompt, const std::string& target, size_t images) {
    TrainingPair pair;
    pair.prompt = prompt, pair.target = target, pair.source = "data.json:3";
    for (size_t i = 0; i < images; ++i) pair.media.images.push_back("image" + std::to_string(i) + ".png");
    return pair;
}

std::string refusal(const std::function<void()>& act) {
    try {
        act();
    } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::data);
        return e.what();
    }
    return "accepted";
}

int64_t id(char c) { return 100 + c; }

TEST(LlavaPrompt, TextIsDividedAtItsImages) {
    const Ids want{1, id('a'), kImageMark, id('b'), kImageMark};
    EXPECT_EQ(marked_text("a<image>b<image>", true, vocabulary(), "x"), want);
    // a tokenizer that has the token encodes the whole
    EXPECT_EQ(marked_text("a<image>b<image>", true, vocabulary(kKnowing, 50), "x"), want);
    EXPECT_EQ(marked_text("<image>a", true, vocabulary(), "x"), (Ids{1, kImageMark, id('a')}));
    EXPECT_EQ(marked_text("ab", false, vocabulary(), "x"), (Ids{id('a'), id('b')}));
}

TEST(LlavaPrompt, ReadyMadeIdsHaveOneTokenAnImageOrOneAPatch) {
    const LlavaVocabulary words = vocabulary(kPlain, 50);
    const Ids want{1, kImageMark, 7, kImageMark};
    EXPECT_EQ(marked_ids({1, 50, 7, 50}, nullptr, 2, words, "x"), want);
    EXPECT_EQ(marked_ids({1, -200, 7, 50}, nullptr, 2, words, "x"), want); // -200 is understood everywhere
    Ids labels{1, 9, 9, 9, 9, 7, 9, 9, 9, 9};
    EXPECT_EQ(marked_ids({1, 50, 50, 50, 50, 7, 50, 50, 50, 50}, &labels, 2, words, "x"), want);
    EXPECT_EQ(labels, (Ids{1, -100, 7, -100}));
    // neighbouring images
    EXPECT_EQ(marked_ids(Ids(8, 50), nullptr, 2, words, "x"), (Ids{kImageMark, kImageMark}));
}

TEST(LlavaPrompt, MismatchesNameTheRequest) {
    const LlavaVocabulary words = vocabulary(kPlain, 50);
    EXPECT_THAT(refusal([&] {
                    marked_ids({1, 50, 7}, nullptr, 2, words, "request 7");
                }),
                AllOf(HasSubstr("request 7"), HasSubstr("2, got 1")));
    EXPECT_THAT(refusal([&] {
                    marked_ids({1, 50, 50, 50, 7, 50}, nullptr, 1, words, "request 8");
                }),
                HasSubstr("request 8"));
    EXPECT_THAT(refusal([&] { marked_ids({1, 300}, nullptr, 0, words, "request 9"); }), HasSubstr("300"));
    EXPECT_THAT(refusal([&] {
                    encode_llava(pair_of("a", "b", 1), {64, true}, words);
                }),
                AllOf(HasSubstr("data.json:3"), HasSubstr("1, got 0")));
    TrainingPair video = pair_of("a", "b", 0);
    video.media.video = "clip.mp4";
    EXPECT_THAT(refusal([&] { encode_llava(video, {64, true}, words); }), HasSubstr("video"));
}

TEST(LlavaPrompt, TargetsAreTextAlone) {
    const EncodedExample all = encode_llava(pair_of("<image>q", "ab", 1), {64, true}, vocabulary());
    EXPECT_EQ(all.input_ids, (Ids{1, kImageMark, id('q'), id('a'), id('b'), 2}));
    EXPECT_EQ(all.labels, (Ids{1, kIgnoreLabel, id('q'), id('a'), id('b'), 2}));
    const EncodedExample masked = encode_llava(pair_of("<image>q", "ab", 1), {64, false}, vocabulary());
    EXPECT_EQ(masked.labels, (Ids{-100, -100, -100, id('a'), id('b'), 2}));
    EXPECT_FALSE(masked.lost_target);
}

TEST(LlavaPrompt, LengthCountsPatchesAndImagesAreNeverCut) {
    // 1 + 4 + 3 + 2 = 10 codes and the end token
    const TrainingPair pair = pair_of("x<image>yz", "ab", 1);
    EXPECT_EQ(encode_llava(pair, {11, false}, vocabulary()).cut_tokens, 0);
    const EncodedExample nine = encode_llava(pair, {9, false}, vocabulary());
    EXPECT_EQ(nine.input_ids, (Ids{1, kImageMark, id('y'), id('z'), id('a'), id('b')})); // x went, BOS stays
    EXPECT_EQ(nine.cut_tokens, 1);
    EXPECT_FALSE(nine.lost_target);
    EXPECT_TRUE(encode_llava(pair, {6, false}, vocabulary()).lost_target);
    Ids marked{1, 10, kImageMark, 11, 12};
    EXPECT_EQ(cut_text(marked, nullptr, marked.size(), 6, vocabulary()), 2);
    EXPECT_EQ(marked, (Ids{1, kImageMark, 12}));
    EXPECT_EQ(expanded_length(marked, 4), 6);
}

TEST(LlavaPrompt, EqualCodesMeanEqualEmbeddings) {
    ImageBook book;
    Codes codes;
    size_t next = 0;
    const Ids marked{1, kImageMark, 7, kImageMark, kImageMark};
    append_codes(marked, 0, marked.size(), {"a", "b", "a"}, next, 2, book, codes);
    EXPECT_EQ(codes, (Codes{1, -1, -2, 7, -3, -4, -1, -2}));
    EXPECT_EQ(book.size(), 2u);
    EXPECT_EQ(book.file(1), "b");
}

} // namespace
} // namespace dorabench
