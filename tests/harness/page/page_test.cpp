#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/page/browser.h"
#include "harness/page/page.h"
#include "harness/page/plots.h"
#include "harness/page/progress.h"
#include "harness/page/thumbnail.h"
#include "tests/harness/compare/synthetic_runs.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::HasSubstr;
using testing::Not;

class PageTest : public testing::Test {
protected:
    void add(const std::string& id, const std::string& method, int64_t rank, int right, int n = 60) {
        test::SyntheticRun run;
        run.id = id;
        run.method = method;
        run.rank = rank;
        run.tasks["boolq"].scores = test::right_below(n, right);
        test::write_run(dir_.path(), run);
        std::ofstream steps(dir_ / ("runs/" + id + "/steps.jsonl"));
        for (int step = 0; step < 1000; ++step)
            steps << "{\"step\":" << step << ",\"loss\":" << 1000 - step << "}\n";
    }
    test::TempDir dir_;
};

TEST_F(PageTest, HoldsTablesFiguresAndSamplesInOneFile) {
    add("a", "lora", 4, 30);
    add("b", "dora", 4, 40);
    add("c", "dora", 8, 45);
    std::string page = report_page(read_runs(dir_.path()));
    for (const char* part : {"<table>", "average by rank", "(published)", "Parameter accounting",
                             "Provenance", "id=\"specs\"", "id=\"sample-data\"", "Pareto front"})
        EXPECT_THAT(page, HasSubstr(part));
    EXPECT_THAT(page, Not(HasSubstr("data-live>")));
    EXPECT_EQ(page, report_page(read_runs(dir_.path()))); // nothing of the clock in it
}

TEST_F(PageTest, SurvivesAStoreWithoutResults) {
    EXPECT_THAT(report_page({}), HasSubstr("0 runs"));
    RunFolder(dir_.path(), "empty");
    EXPECT_THAT(report_page(read_runs(dir_.path())), HasSubstr("incomplete"));
}

TEST_F(PageTest, ListsEveryDisagreementAndAPartOfTheRest) {
    add("a", "lora", 4, 30);
    add("b", "dora", 4, 40);
    auto records = read_runs(dir_.path());
    BrowserLimits limits;
    limits.agreeing = 7;
    auto tasks = SampleBrowser(limits).tasks_of(make_comparisons(records).at(0), records);
    ASSERT_EQ(tasks.size(), 1u);
    EXPECT_EQ(tasks[0]["items"].size(), 10u + 7u);
    EXPECT_EQ(tasks[0]["left_out"]["agreeing"], 60 - 10 - 7);
    int differing = 0;
    for (const auto& item : tasks[0]["items"]) {
        std::string letters = item["s"];
        differing += letters[0] != letters[1];
        EXPECT_TRUE(item.contains("p"));
    }
    EXPECT_EQ(differing, 10);
}

TEST_F(PageTest, KeepsItemsWithoutTextsBeyondTheBudget) {
    add("a", "lora", 4, 30);
    add("b", "dora", 4, 40);
    auto records = read_runs(dir_.path());
    BrowserLimits limits;
    limits.text_bytes = 40;
    auto task = SampleBrowser(limits).tasks_of(make_comparisons(records).at(0), records).at(0);
    EXPECT_EQ(task["items"].size(), 10u + 40u);
    EXPECT_GT(task["left_out"]["texts"], 40);
}

TEST_F(PageTest, DrawsOneDescriptionAFigure) {
    add("a", "lora", 4, 30);
    add("b", "lora", 8, 40);
    std::vector<Plot> plots = report_plots(read_runs(dir_.path()));
    std::set<std::string> names;
    for (const Plot& plot : plots) {
        names.insert(plot.name);
        EXPECT_FALSE(plot.spec["data"]["values"].empty()) << plot.name;
        EXPECT_THAT(plot.spec["$schema"], HasSubstr("vega-lite"));
    }
    for (const char* name : {"scores", "rank_curve", "rank_curve_published", "rank_measures",
                             "pareto_parameters", "pareto_seconds", "training_loss", "parse_failures"})
        EXPECT_TRUE(names.count(name)) << name;
}

TEST_F(PageTest, WritesFiguresOrSaysWhatIsMissing) {
    add("a", "lora", 4, 30);
    add("b", "dora", 4, 40);
    std::vector<Plot> plots = report_plots(read_runs(dir_.path()));
    try {
        for (const std::string& file : write_plots(plots, dir_ / "figures"))
            EXPECT_GT(read_file(file).size(), 500u) << file;
    } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("vl-convert-python"));
        EXPECT_TRUE(exists(dir_ / "figures/scores.vl.json"));
        GTEST_SKIP() << "no vl-convert-python in .venv";
    }
}

TEST_F(PageTest, ThinsATrainingCurveToMeansOfItsStretches) {
    add("a", "lora", 4, 30);
    auto curve = training_curve(dir_ / "runs/a", 100);
    ASSERT_EQ(curve.size(), 100u);
    EXPECT_EQ(curve[1].first, 10);
    EXPECT_DOUBLE_EQ(curve[1].second, 1000 - 14.5);
    EXPECT_TRUE(training_curve(dir_ / "runs/none", 100).empty());
}

TEST_F(PageTest, TellsHowFarRunningRunsAre) {
    add("a", "lora", 4, 30);
    std::string before = store_stamp(dir_.path());
    RunFolder running(dir_.path(), "b");
    std::ofstream(running.file("config.yaml"))
        << "adapter: {method: dora, rank: 8}\ntrain: {max_steps: 50}\n";
    std::ofstream(running.file("steps.jsonl")) << "{\"step\":4,\"loss\":1.5}\n{\"step\":5,\"lo";
    ASSERT_TRUE(running.try_lock());
    auto progress = progress_of(dir_.path());
    EXPECT_EQ(progress["done"], 1);
    ASSERT_EQ(progress["runs"].size(), 1u);
    EXPECT_EQ(progress["runs"][0]["step"], 5);
    EXPECT_EQ(progress["runs"][0]["steps"], 50);
    EXPECT_EQ(progress["runs"][0]["working"], true);
    EXPECT_EQ(store_stamp(dir_.path()), before); // no result yet
    add("c", "lora", 8, 30);
    EXPECT_NE(store_stamp(dir_.path()), before);
}

TEST_F(PageTest, ShowsThumbnailsOfImagesAndOfVideoFrames) {
    if (std::string why; !media_available(&why)) GTEST_SKIP() << why;
    Image red{200, 100, std::vector<uint8_t>(200 * 100 * 3, 0)};
    for (size_t i = 0; i < red.rgb.size(); i += 3) red.rgb[i] = 255;
    media_library().write_png(dir_ / "red.png", red);
    media_library().write_video(dir_ / "clip.mp4", std::vector<Image>(30, red), 10);
    add("a", "lora", 4, 1, 3);
    add("b", "dora", 4, 2, 3);
    for (const char* id : {"a", "b"}) {
        std::string path = dir_ / ("runs/" + std::string(id) + "/samples/boolq.jsonl"), text;
        int line = 0;
        for_each_line(path, [&](size_t, std::string_view one) {
            auto json = nlohmann::json::parse(one);
            if (line == 0) json["media"]["images"] = {dir_ / "red.png", dir_ / "missing.png"};
            if (line == 1) json["media"]["video"] = dir_ / "clip.mp4";
            ++line;
            text += json.dump() + "\n";
        });
        write_file_atomic(path, text);
    }
    auto records = read_runs(dir_.path());
    auto items = SampleBrowser().tasks_of(make_comparisons(records).at(0), records).at(0)["items"];
    std::map<std::string, nlohmann::json> by_id;
    for (const auto& item : items) by_id[item["id"]] = item;
    ASSERT_EQ(by_id["0"]["m"].size(), 1u); // a file that is gone is left out
    EXPECT_THAT(by_id["0"]["m"][0].get<std::string>(),
                testing::StartsWith("data:image/png;base64,iVBORw0KGgo"));
    EXPECT_EQ(by_id["1"]["m"].size(), 3u);
    EXPECT_FALSE(by_id["2"].contains("m"));
}

TEST(Base64, PadsAsRfc4648Says) {
    for (auto [bytes, text] :
         {std::pair{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}})
        EXPECT_EQ(base64(bytes), text);
}

} // namespace
} // namespace dorabench
