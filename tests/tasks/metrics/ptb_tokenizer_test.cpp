#include "tasks/metrics/ptb_tokenizer.h"

#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tests/support/paths.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using dorabench::PtbTokenizer;

namespace {

std::string ptb(const std::string& line, const std::string& next = "") {
    return dorabench::join(PtbTokenizer().tokens(line, next), " ");
}

} // namespace

TEST(PtbTokenizer, SplitsShortFormsAndFusedWords) {
    EXPECT_EQ(ptb("It's a dog's life; I can't, we'll won't've"),
              "it 's a dog 's life ; i ca n't , we 'll wo n't 've");
    EXPECT_EQ(ptb("can’t it’s"), "ca n't it 's");
    EXPECT_EQ(ptb("cannot gonna gotta wanna lemme gimme 'tis 'twas"),
              "can not gon na got ta wan na lem me gim me 't is 't was");
    EXPECT_EQ(ptb("o'clock ma'am rock'n'roll y'all d'ye s'mores more'n"),
              "o'clock ma'am rock 'n' roll y' all d'ye s'mores more 'n");
}

TEST(PtbTokenizer, TurnsQuotesAndBracketsIntoTreebankMarks) {
    EXPECT_EQ(ptb("\"Yes,\" she said: \"go\"."), "`` yes , '' she said : `` go '' .");
    EXPECT_EQ(ptb("'quoted phrase' (a) [b] {c}"),
              "` quoted phrase ' -lrb- a -rrb- -lsb- b -rsb- -lcb- c -rcb-");
    EXPECT_EQ(ptb("“quoted” ‘single’ «x»"), "`` quoted '' ` single ' `` x ''");
}

TEST(PtbTokenizer, KeepsNumbersHyphensAndAddressesWhole) {
    EXPECT_EQ(ptb("1,000 3.14 1/2 3-4 -5 2-year-old e-mail. a/b"),
              "1,000 3.14 1/2 3-4 -5 2-year-old e-mail . a/b");
    EXPECT_EQ(ptb("$5.00 £3 €2 10% #7 12:00pm 20°C"), "$ 5.00 # 3 $ 2 10 % # 7 12:00 pm 20 ° c");
    EXPECT_EQ(ptb("http://a.com/b?c=d, foo@bar.com www.test.org"),
              "http://a.com/b?c=d , foo@bar.com www.test.org");
    EXPECT_EQ(ptb("wait... -- --- a–b"), "wait ... -- -- a -- b");
}

TEST(PtbTokenizer, KeepsTheDotOfAbbreviationsAndAddsOneBeforeASentence) {
    EXPECT_EQ(ptb("Mr. Smith of the U.S. army"), "mr. smith of the u.s. army");
    EXPECT_EQ(ptb("a Ph.D. He left"), "a ph.d. . he left");
    EXPECT_EQ(ptb("by J. Smith"), "by j. smith");
    EXPECT_EQ(ptb("plan a. The end"), "plan a . the end");
    EXPECT_EQ(ptb("No. 5 no. yes"), "no. 5 no . yes");
    EXPECT_EQ(ptb("the mat. a dog"), "the mat . a dog");
}

TEST(PtbTokenizer, LetsTheNextLineDecideAboutTheLastDot) {
    EXPECT_EQ(ptb("from Acme Inc.", "a dog"), "from acme inc.");
    EXPECT_EQ(ptb("from Acme Inc.", "The dog"), "from acme inc. .");
    EXPECT_EQ(PtbTokenizer().lines({"see no.", "5 dogs"})[0], "see no.");
}

TEST(PtbTokenizer, DropsWhatItCannotReadAndPunctuation) {
    EXPECT_EQ(ptb("a 🙂 dog\xFF!"), "a dog !");
    EXPECT_EQ(ptb("中文字 привет café"), "中文字 привет café");
    EXPECT_EQ(PtbTokenizer().captions({"\"Hi\", he said - (ok)... why?!"})[0],
              "hi he said -lrb- ok -rrb- why ?!");
    EXPECT_EQ(PtbTokenizer().captions({"", " . "}), (std::vector<std::string>{"", ""}));
}

TEST(PtbTokenizer, SurvivesHostileText) {
    PtbTokenizer tokenizer;
    std::string bytes;
    for (int i = 0; i < 5000; ++i) bytes += static_cast<char>((i * 7919 + i / 3) % 256);
    EXPECT_FALSE(tokenizer.tokens(bytes).empty());
    EXPECT_EQ(tokenizer.tokens(std::string(20000, '(')).size(), 20000u);
    EXPECT_EQ(tokenizer.tokens(std::string(50000, 'a')).size(), 1u);
    EXPECT_FALSE(
        tokenizer.tokens(std::string(3000, '<') + std::string(3000, '.') + std::string(3000, '-')).empty());
}

TEST(PtbTokenizer, AgreesWithTheOriginalOnItsOutputs) {
    DORABENCH_NEEDS_SHARED();
    std::vector<std::string> raw, ptb, final;
    dorabench::for_each_line(dorabench::test::shared_dir() + "/data/captions/ptb_tokenizer/cases.jsonl",
                             [&](size_t, std::string_view line) {
                                 auto record = nlohmann::json::parse(line);
                                 raw.push_back(record["raw"]);
                                 ptb.push_back(record["ptb"]);
                                 final.push_back(record["final"]);
                             });
    ASSERT_GT(raw.size(), 1500u);
    PtbTokenizer tokenizer;
    const auto lines = tokenizer.lines(raw), captions = tokenizer.captions(raw);
    for (size_t i = 0; i < raw.size(); ++i) {
        EXPECT_EQ(lines[i], ptb[i]) << raw[i];
        EXPECT_EQ(captions[i], final[i]) << raw[i];
    }
}
