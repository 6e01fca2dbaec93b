#include "tasks/metrics/meteor.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/metrics/meteor_normalise.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <cmath>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::shared_dir;

namespace {

// A language of a few words, in METEOR's own file formats.
class SmallLanguage : public ::testing::Test {
protected:
    void SetUp() override {
        write("english.words", "a\nan\nis\nthe\n.\n,\n");
        write("english.prefixes", "# titles\nMr\nv\npp #NUMERIC_ONLY#\n");
        write("english.synsets", "car\n1 2\nautomobile\n2 7\nman\n5\nperson\n5 6\nfoot\n9\nhorse\n11\n");
        write("english.exceptions", "foot\nfeet\n");
    }
    void write(const std::string& name, const std::string& content) {
        dorabench::test::put_file(folder_ / name, content);
    }
    MeteorData load() { return load_meteor_data(folder_.path()); }
    double score(const std::string& candidate, const std::string& reference, int modules = 3) {
        data_ = load();
        Meteor meteor(data_, modules);
        meteor.prepare({candidate, reference});
        return meteor_score(meteor.statistics(candidate, {reference}));
    }
    dorabench::test::TempDir folder_;
    MeteorData data_;
};

} // namespace

TEST_F(SmallLanguage, GivesOneForTheSameAndZeroForNothing) {
    EXPECT_EQ(score("a dog runs", "a dog runs"), 1);
    EXPECT_EQ(score("", "a dog"), 0);
    EXPECT_EQ(score("a cat", ""), 0);
    EXPECT_EQ(score("x", "y"), 0);
}

TEST_F(SmallLanguage, PunishesChunks) { // all matched in four chunks of one word: 1 - 0.6
    EXPECT_NEAR(score("d c b a", "a b c d"), 0.4, 1e-12);
    // precision and recall 1; two chunks, four words each side
    EXPECT_NEAR(score("c d b x", "b x c d"), 1 - 0.6 * std::pow(0.5, 0.2), 1e-12);
}

TEST_F(SmallLanguage, WeighsModulesAndFunctionWords) {
    // content: car ~ automobile (synonym 0.8), parked; function: is (a, an differ). P = R = (0.75 (0.8 + 1) +
    // 0.25) / 2
    double p = (0.75 * 1.8 + 0.25 * 1) / (0.75 * 2 + 0.25 * 2);
    EXPECT_NEAR(score("a car is parked", "an automobile is parked"), p * (1 - 0.6 * std::pow(1.0 / 3, 0.2)),
                1e-12);
    EXPECT_LT(score("a car is parked", "an automobile is parked", 2), p / 2);
    // stems count 0.6
    EXPECT_NEAR(score("horses x", "horse x"), (0.6 + 1) / 2, 1e-12); // one chunk: no penalty
}

TEST_F(SmallLanguage, FindsBaseFormsOfInflectedWords) {
    MeteorData data = load();
    EXPECT_EQ(data.meanings("cars"), data.meanings("car"));
    EXPECT_EQ(data.meanings("feet"), data.meanings("foot"));
    EXPECT_TRUE(data.meanings("glass").empty());
    EXPECT_TRUE(data.meanings("").empty());
}

TEST_F(SmallLanguage, UsesParaphrasesOfAnyLengthInBothDirections) {
    write("paraphrase-en.gz", "0.5\nbig house\nmansion\n0.5\nunknown words\nmansion\n");
    EXPECT_GT(score("red mansion", "red big house", 4), score("red mansion", "red big house", 3));
    EXPECT_GT(score("red big house", "red mansion", 4), score("red big house", "red mansion", 3));
    write("paraphrase-en.gz", "0.5\nbig house\n");
    EXPECT_THROW(score("big house", "x", 4), Error);
}

TEST_F(SmallLanguage, TakesTheBestReferenceAndSumsTheCorpus) {
    data_ = load();
    Meteor meteor(data_);
    MeteorStatistics best = meteor.statistics("a dog runs", {"x y", "a dog runs", "a dog"});
    EXPECT_EQ(meteor_score(best), 1);
    MeteorStatistics sum;
    sum.add(best, 3);
    EXPECT_EQ(sum.chunks, 0); // whole segments in one chunk are no fragments
    sum.add(meteor.statistics("d c", {"c d"}));
    EXPECT_EQ(sum.chunks, 2);
    EXPECT_EQ(sum.length[0], 11);
}

TEST_F(SmallLanguage, RefusesDamagedDataByFileAndLine) {
    write("english.synsets", "car\n1 x2\n");
    try {
        load();
        FAIL() << "a synset that is no number was read";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_NE(std::string(error.what()).find("english.synsets, line 2"), std::string::npos)
            << error.what();
    }
    write("english.synsets", "car\n1 2\nbus");
    EXPECT_THROW(load(), Error);
    EXPECT_THROW(load_meteor_data(folder_ / "nowhere"), Error);
    EXPECT_THROW(load_meteor_data(folder_ / "english.words"), Error); // no jar
}

TEST_F(SmallLanguage, NormalisesText) {
    MeteorData data = load();
    auto words = [&](const std::string& text) { return join(meteor_words(text, data.prefixes), " "); };
    EXPECT_EQ(words("the dog's bone isn't here"), "the dog 's bone isn 't here");
    EXPECT_EQ(words("two-year-old 3-4 -lrb- a--b x-"), "two year old 3 4 -lrb- a b x-");
    EXPECT_EQ(words("u.s. flag Mr. X mr. X the end."), "us flag mr. x mr . x the end .");
    EXPECT_EQ(words("pp. 5 pp. X cat. runs"), "pp. 5 pp . x cat. runs");
    EXPECT_EQ(words("1,000 a,b $5 3:30 1990's"), "1,000 a , b $ 5 3 : 30 1990 's");
    EXPECT_EQ(words("``hi'' “x” ‘y’ wait... "), "\" hi \" \" x \" ' y ' wait ...");
    EXPECT_EQ(words(" "), "");
}

TEST(Meteor, AgreesWithTheOriginalOnEverySegment) {
    DORABENCH_NEEDS_SHARED();
    const MeteorData data = load_meteor_data(shared_dir() + "/data/meteor");
    const std::vector<std::string> names = {"METEOR[exact]", "METEOR[exact+stem]",
                                            "METEOR[exact+stem+synonym]"};
    for (const std::string set : {"coco80_human", "yc2_A"}) {
        const std::string folder = shared_dir() + "/data/captions/" + set;
        const auto expected = nlohmann::json::parse(read_file(folder + "/expected.json"));
        for (int modules = 1; modules <= 3; ++modules) {
            Meteor meteor(data, modules);
            MeteorStatistics sum;
            const std::string& name = names[static_cast<size_t>(modules - 1)];
            for_each_line(folder + "/tokens.jsonl", [&](size_t, std::string_view line) {
                const auto record = nlohmann::json::parse(line);
                auto here = meteor.statistics(record["candidate"], record["references"]);
                sum.add(here);
                double want = expected["per_image"][record["image_id"].dump()][name];
                EXPECT_NEAR(meteor_score(here), want, 1e-9) << set << " " << record["image_id"];
            });
            EXPECT_NEAR(meteor_score(sum), expected["corpus"][name].get<double>(), 1e-9)
                << set << " " << name;
        }
    }
}
