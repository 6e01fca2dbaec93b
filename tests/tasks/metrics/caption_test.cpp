#include "tasks/metrics/caption.h"

#include "tests/tasks/metrics/fixture_files.h"
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

namespace {

const std::string kGold = R"({"images": [{"id": 2}, {"id": 1}], "annotations": [
    {"image_id": 1, "caption": "A dog runs."}, {"image_id": 2, "caption": "A cat's here!"}, {"image_id": 1, "caption": "The dog is running."}]})";

} // namespace

TEST(Caption, ReadsInTheOrderOfTheImagesAndTokenises) {
    dorabench::test::TempDir folder;
    dorabench::test::put_file(folder / "r", kGold);
    dorabench::test::put_file(
        folder / "p",
        R"([{"image_id": 1, "caption": "A dog\nruns"}, {"image_id": 2, "caption": "A cat, here"}])");
    const CaptionCorpus tokens = tokenize_captions(read_captions(folder / "r", folder / "p"));
    EXPECT_EQ(tokens.ids, (std::vector<std::string>{"2", "1"}));
    EXPECT_EQ(tokens.candidates, (std::vector<std::string>{"a cat here", "a dog runs"}));
    EXPECT_EQ(tokens.references[0], std::vector<std::string>{"a cat 's here"});
    EXPECT_EQ(tokens.references[1], (std::vector<std::string>{"a dog runs", "the dog is running"}));
    const MetricValues values = caption_values(tokens, nullptr);
    EXPECT_NEAR(values.at("bleu_1").value, 1 * std::exp(1 - 7.0 / 6), 1e-6);
    EXPECT_NEAR(values.at("cider").value, values.at("cider_d").value, 0);
    EXPECT_FALSE(values.count("meteor_exact_stem_synonym"));
    EXPECT_EQ(values.at("rouge_l").n, 2);
}

TEST(Caption, ReadsMeteorsDataFromAFolderOfTheUsersAndRefusesOneThatIsNotThere) {
    dorabench::test::TempDir folder;
    dorabench::test::put_file(folder / "r", kGold);
    dorabench::test::put_file(
        folder / "p", R"([{"image_id": 1, "caption": "A dog"}, {"image_id": 2, "caption": "A cat"}])");
    EXPECT_TRUE(caption_metric(folder / "r", folder / "p").at("spice").missing);
    EXPECT_THROW(caption_metric(folder / "r", folder / "p", {folder / "nowhere", ""}), Error);
    DORABENCH_NEEDS_SHARED();
    const MetricValues values =
        caption_metric(folder / "r", folder / "p", {shared_dir() + "/data/meteor", ""});
    EXPECT_GT(values.at("meteor_exact_stem_synonym").value, 0);
}

TEST(Caption, NamesImagesOfOneSideAlone) {
    EXPECT_NE(MetricFiles(kGold, R"([{"image_id": 1, "caption": "x"}])").error("caption").find("missing: 2"),
              std::string::npos);
    EXPECT_NE(
        MetricFiles(
            kGold,
            R"([{"image_id": 1, "caption": "x"}, {"image_id": 2, "caption": "x"}, {"image_id": 3, "caption": "x"}])")
            .error("caption")
            .find("missing: 3"),
        std::string::npos);
    EXPECT_NE(MetricFiles(R"({"images": [{"id": 1}], "annotations": []})", "[]")
                  .error("caption")
                  .find("image 1 has none"),
              std::string::npos);
}

TEST(Caption, AgreesWithTheOriginalOnItsTokens) {
    DORABENCH_NEEDS_SHARED();
    for (const std::string set : {"coco80_human", "abstract_candsB", "vatex_A", "yc2_A"}) {
        const std::string folder = shared_dir() + "/data/captions/" + set;
        const auto expected = nlohmann::json::parse(read_file(folder + "/expected.json"))["corpus"];
        CaptionCorpus tokens;
        for_each_line(folder + "/tokens.jsonl", [&](size_t, std::string_view line) {
            const auto record = nlohmann::json::parse(line);
            tokens.ids.push_back(record["image_id"].dump());
            tokens.candidates.push_back(record["candidate"]);
            tokens.references.push_back(record["references"]);
        });
        const MetricValues values = caption_values(tokens, nullptr);
        for (int n = 1; n <= 4; ++n)
            EXPECT_NEAR(values.at(cat("bleu_", n)).value, expected[cat("Bleu_", n)].get<double>(), 1e-9)
                << set;
        EXPECT_NEAR(values.at("rouge_l").value, expected["ROUGE_L"].get<double>(), 1e-9) << set;
        EXPECT_NEAR(values.at("cider_d").value, expected["CIDEr"].get<double>(), 1e-9) << set;
        // our own tokens from the raw captions are the original's, to the last one
        const CaptionCorpus own =
            tokenize_captions(read_captions(folder + "/references.json", folder + "/candidates.json"));
        EXPECT_EQ(own.candidates, tokens.candidates) << set;
        EXPECT_EQ(own.references, tokens.references) << set;
    }
}
