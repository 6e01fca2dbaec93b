#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tests/support/paths.h"
#include <fstream>

namespace dorabench {
namespace {

TEST(Text, JoinsAndSplitsAreInverse) {
    EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
    EXPECT_EQ(split("", ','), std::vector<std::string>{""});
    EXPECT_EQ(join(split("a,,b,", ','), ","), "a,,b,");
    EXPECT_EQ(join({}, ","), "");
}

TEST(Text, TrimsAsciiWhiteSpaceOnly) {
    EXPECT_EQ(trim(" \t\r\n a b \v\f"), "a b");
    EXPECT_EQ(trim(" \n"), "");
    EXPECT_EQ(trim("\xC2\xA0x"), "\xC2\xA0x"); // a no-break space stays
}

TEST(Text, ReplacesWithoutRereadingWhatItWrote) {
    EXPECT_EQ(replace_all("aaa", "a", "aa"), "aaaaaa");
    EXPECT_EQ(replace_all("abc", "", "x"), "abc");
}

TEST(Text, CountsEditsAndTranspositions) {
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    EXPECT_EQ(edit_distance("rnak", "rank"), 1u);
    EXPECT_EQ(edit_distance("ca", "abc"), 3u); // no substring is edited twice
    EXPECT_EQ(edit_distance("same", "same"), 0u);
}

TEST(Text, FindsTheNearestNameOrNone) {
    std::vector<std::string> keys{"rank", "alpha", "dropout", "target_modules"};
    EXPECT_EQ(nearest("rnak", keys), "rank");
    EXPECT_EQ(nearest("TARGET_MODULE", keys), "target_modules");
    EXPECT_EQ(nearest("learning_rate", keys), "");
    EXPECT_EQ(nearest("", keys), "");
    EXPECT_EQ(did_you_mean("alhpa", keys), "; did you mean \"alpha\"?");
    EXPECT_EQ(did_you_mean("zzz", keys), "");
}

TEST(Text, MatchesPatternsOverTheWholeText) {
    EXPECT_TRUE(matches_pattern("*layer_norm*", "model.encoder.layer_norm.weight"));
    EXPECT_TRUE(matches_pattern("*.q_proj", "model.layers.0.self_attn.q_proj"));
    EXPECT_FALSE(matches_pattern("q_proj", "model.q_proj"));
    EXPECT_TRUE(matches_pattern("layers.[0-3].?_proj", "layers.2.v_proj"));
    EXPECT_FALSE(matches_pattern("layers.[!0-3].*", "layers.2.x"));
    EXPECT_TRUE(matches_pattern("[]]", "]"));
    EXPECT_TRUE(matches_pattern("a[b", "a[b")); // an open bracket without its pair is itself
    EXPECT_TRUE(matches_pattern("\\*", "*"));
    EXPECT_FALSE(matches_pattern("\\*", "a"));
    EXPECT_TRUE(matches_pattern("**", ""));
    EXPECT_FALSE(matches_pattern("", "a"));
}

TEST(Text, PatternsOfManyStarsStayCheap) {
    std::string pattern, text(5000, 'a');
    for (int i = 0; i < 200; ++i) pattern += "a*";
    EXPECT_FALSE(matches_pattern(pattern + "b", text));
}

TEST(Text, FormatsNumbersForPeople) {
    EXPECT_EQ(with_commas(6738415616), "6,738,415,616");
    EXPECT_EQ(with_commas(-1234), "-1,234");
    EXPECT_EQ(with_commas(-123), "-123");
    EXPECT_EQ(with_commas(INT64_MIN), "-9,223,372,036,854,775,808");
    EXPECT_EQ(fixed(-0.001, 2), "0.00");
    EXPECT_EQ(fixed(-0.006, 2), "-0.01");
    EXPECT_EQ(human_bytes(12.9 * 1024 * 1024 * 1024), "12.9 GiB");
    EXPECT_EQ(human_bytes(17), "17 B");
    EXPECT_EQ(human_seconds(192), "3 min 12 s");
    EXPECT_EQ(human_seconds(7500), "2 h 5 min");
    EXPECT_EQ(human_seconds(0.25), "250 ms");
}

TEST(Text, FindsTheFirstBadByteOfUtf8) {
    EXPECT_EQ(invalid_utf8("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"), std::string::npos);
    EXPECT_EQ(invalid_utf8("a\x80"), 1u);
    EXPECT_EQ(invalid_utf8("ab\xC3"), 2u);           // cut off
    EXPECT_EQ(invalid_utf8("\xC0\xAF"), 0u);         // overlong
    EXPECT_EQ(invalid_utf8("\xE0\x80\x80"), 0u);     // overlong
    EXPECT_EQ(invalid_utf8("x\xED\xA0\x80"), 1u);    // a surrogate
    EXPECT_EQ(invalid_utf8("\xF4\x90\x80\x80"), 0u); // beyond U+10FFFF
}

TEST(Text, HashesByTheStandardsExamples) { // FIPS 180-2, appendix B
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    test::TempDir folder;
    std::string million(1'000'000, 'a');
    std::ofstream(folder / "million") << million;
    EXPECT_EQ(sha256_file(folder / "million"),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    EXPECT_THROW(sha256_file(folder / "absent"), Error);
}

} // namespace
} // namespace dorabench
