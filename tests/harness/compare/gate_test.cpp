#include "harness/base/error.h"
#include "harness/compare/gate.h"
#include "tests/harness/compare/synthetic_runs.h"
#include <functional>
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using nlohmann::json;
using test::SyntheticRun;
using ::testing::Contains;
using ::testing::HasSubstr;

class GateTest : public ::testing::Test {
protected:
    using Change = std::function<void(SyntheticRun&)>;
    void write(const Change& change = [](SyntheticRun&) {}) {
        SyntheticRun run;
        run.id = "aaaa";
        run.tasks["boolq"] = {test::right_below(400, 300)};
        run.tasks["piqa"] = {test::right_below(200, 150)};
        change(run);
        test::write_run(temp_.path(), run);
    }
    GateReport check(bool chosen = false) {
        return check_against(baseline_, read_runs(temp_.path()), chosen);
    }
    void take_baseline() {
        write_file_atomic(temp_ / "baseline.json",
                          make_baseline(read_runs(temp_.path()), nullptr, {{"commit", "abc"}}).dump());
        baseline_ = read_baseline(temp_ / "baseline.json");
    }
    void SetUp() override {
        write();
        take_baseline();
    }
    test::TempDir temp_;
    json baseline_;
};

TEST_F(GateTest, PassesWhatIsUnchangedOrBetter) {
    EXPECT_EQ(check().exit_code(), 0);
    write([](SyntheticRun& run) { run.tasks["boolq"].scores = test::right_below(400, 350); });
    EXPECT_EQ(check().exit_code(), 0);
}

TEST_F(GateTest, FindsALossOfFivePercentOfTheItems) {
    write([](SyntheticRun& run) { run.tasks["boolq"].scores = test::right_below(400, 280); });
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 3);
    ASSERT_EQ(report.cells.size(), 2u);
    EXPECT_EQ(report.cells[0].verdict, "regressed");
    EXPECT_EQ(report.cells[1].verdict, "pass");
    EXPECT_LT(report.cells[0].p, 1e-3);
    EXPECT_GT(report.cells[0].resolvable, 0);
}

TEST_F(GateTest, FindsFlipsInTheSamplesAlone) { // metrics.json still tells the old value
    RunFolder folder(temp_.path(), "aaaa");
    test::write_samples(folder, "boolq", {test::right_below(400, 280)});
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 3);
    EXPECT_THAT(report.cells[0].message, HasSubstr("disagree"));
}

TEST_F(GateTest, LetsALossOfTwoItemsPass) {
    write([](SyntheticRun& run) { run.tasks["boolq"].scores = test::right_below(400, 298); });
    EXPECT_EQ(check().exit_code(), 0);
}

TEST_F(GateTest, NamesThePromptHashWhenOneSpaceChanged) {
    write([](SyntheticRun& run) { run.tasks["boolq"].prompt = "Question  {} ?"; });
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 4);
    EXPECT_THAT(report.cells[0].differing, Contains("prompt_hash"));
    EXPECT_THAT(report.cells[0].message, HasSubstr("prompt_hash"));
}

TEST_F(GateTest, NamesEveryOtherFieldThatMakesRunsIncomparable) {
    auto fields = [&](const Change& change) {
        write(change);
        GateReport report = check();
        EXPECT_EQ(report.exit_code(), 4);
        return report.cells[0].differing;
    };
    EXPECT_THAT(fields([](SyntheticRun& run) { run.tokenizer = "t2"; }), Contains("token_ids"));
    EXPECT_THAT(fields([](SyntheticRun& run) { run.tasks["boolq"].fingerprint = "f2"; }),
                Contains(HasSubstr("scoring")));
    EXPECT_THAT(fields([](SyntheticRun& run) { run.evaluate["max_new_tokens"] = "5"; }),
                Contains("evaluate.max_new_tokens"));
    EXPECT_THAT(fields([](SyntheticRun& run) { run.train["template"] = "vicuna"; }),
                Contains(HasSubstr("template")));
    EXPECT_THAT(fields([](SyntheticRun& run) { run.limit = 100; }), Contains("evaluate.limit"));
}

TEST_F(GateTest, CountsAMissingRunAsRegressedAndNamesNewCells) {
    write([](SyntheticRun& run) {
        run.tasks["obqa"] = run.tasks["piqa"];
        run.tasks.erase("piqa");
    });
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 3);
    ASSERT_EQ(report.cells.size(), 3u);
    EXPECT_EQ(report.cells[1].verdict, "missing");
    EXPECT_EQ(report.cells[2].verdict, "new");
    EXPECT_EQ(report.cells[2].task, "obqa");
    std::filesystem::remove_all(temp_ / "runs/aaaa");
    EXPECT_EQ(check().exit_code(), 3);
    EXPECT_THROW(check(true), Error); // nothing of what was named stands in the baseline
}

TEST_F(GateTest, TakesAnotherRunOfTheSameCell) {
    std::filesystem::remove_all(temp_ / "runs/aaaa");
    write([](SyntheticRun& run) {
        run.id = "bbbb";
        run.learning_rate = 1;
        run.tasks["boolq"].scores = test::right_below(400, 200);
    });
    GateReport report = check();
    EXPECT_THAT(report.cells[0].runs, ::testing::ElementsAre("bbbb"));
    EXPECT_EQ(report.exit_code(), 3);
}

TEST_F(GateTest, FindsMoreUnparsedAnswersAndAnotherParameterCount) {
    write([](SyntheticRun& run) {
        run.tasks["boolq"].parsed.assign(400, true);
        for (size_t i = 350; i < 380; ++i) run.tasks["boolq"].parsed[i] = false; // they were wrong before
    });
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 3);
    EXPECT_THAT(report.cells[0].message, HasSubstr("unparsed answers 0 to 30"));
    write([](SyntheticRun& run) { run.trainable = 1001; });
    report = check();
    EXPECT_EQ(report.exit_code(), 3);
    EXPECT_THAT(report.cells[0].message, HasSubstr("trainable parameters 1,000 to 1,001"));
}

TEST_F(GateTest, ToleratesWhatTheMeasuredNoiseExplains) {
    write([](SyntheticRun& run) { run.tasks["boolq"].scores = test::right_below(400, 285); });
    EXPECT_EQ(check().exit_code(), 3);
    for (json& cell : baseline_["cells"]) cell["noise_floor"] = {{"seed", {{"sd", 0.02}, {"n", 5}}}};
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 0);
    EXPECT_NEAR(report.cells[0].noise_floor, 2.1318467863266499 * 0.02 * std::sqrt(2.0), 1e-6); // t(0.95, 4)
    write([](SyntheticRun& run) { run.tasks["boolq"].scores = test::right_below(400, 200); });
    EXPECT_EQ(check().exit_code(), 3);
}

TEST_F(GateTest, PoolsSeedsAndKeepsCellsOfALearningRateAxisApart) {
    for (uint64_t seed : {1, 2, 3})
        for (double rate : {1e-4, 1e-3})
            write([&](SyntheticRun& run) {
                run.id = "s" + std::to_string(seed) + (rate > 5e-4 ? "high" : "low");
                run.seed = seed;
                run.learning_rate = rate;
            });
    std::filesystem::remove_all(temp_ / "runs/aaaa");
    take_baseline();
    EXPECT_EQ(baseline_["cells"].size(), 4u);
    EXPECT_EQ(baseline_["cells"][0]["runs"].size(), 3u);
    EXPECT_EQ(check().exit_code(), 0);
    for (uint64_t seed : {1, 2, 3}) // six items lost in every seed: six items, not eighteen
        write([&](SyntheticRun& run) {
            run.id = "s" + std::to_string(seed) + "low";
            run.seed = seed;
            run.learning_rate = 1e-4;
            run.tasks["boolq"].scores = test::right_below(400, 294);
        });
    GateReport report = check();
    EXPECT_EQ(report.exit_code(), 0);
    EXPECT_GT(report.cells[0].p + report.cells[2].p, 0.05);
}

TEST_F(GateTest, RefusesPartialRunsAndTwinsInABaseline) {
    auto kind_of = [&] {
        try {
            make_baseline(read_runs(temp_.path()), nullptr, nullptr);
        } catch (const Error& error) {
            return exit_code(error.kind());
        }
        return 0;
    };
    EXPECT_EQ(kind_of(), 0);
    write([](SyntheticRun& run) { run.limit = 10; });
    EXPECT_EQ(kind_of(), 2);
    write();
    write([](SyntheticRun& run) { run.id = "twin"; });
    EXPECT_EQ(kind_of(), 2);
    EXPECT_THROW(make_baseline({}, nullptr, nullptr), Error);
}

TEST_F(GateTest, KeepsTheNoiseFloorWhenABaselineIsRewritten) {
    baseline_["cells"][0]["noise_floor"] = {{"seed", {{"sd", 0.01}, {"n", 5}}}};
    json again = make_baseline(read_runs(temp_.path()), baseline_, nullptr);
    EXPECT_EQ(again["cells"][0]["noise_floor"]["seed"]["sd"], 0.01);
    EXPECT_TRUE(again["cells"][1]["noise_floor"].is_null());
}

TEST_F(GateTest, RefusesDamagedBaselinesAsDamagedData) {
    std::string path = temp_ / "baseline.json", whole = read_file(path);
    auto refuses = [&](const std::string& text) {
        write_file_atomic(path, text);
        try {
            read_baseline(path);
        } catch (const Error& error) {
            EXPECT_THAT(error.what(), HasSubstr("baseline.json"));
            return exit_code(error.kind()) == 6;
        }
        return false;
    };
    EXPECT_TRUE(refuses(whole.substr(0, whole.size() / 2)));
    for (const char* bad : {"[]", "{}", R"({"schema_version":1})", R"({"schema_version":1,"cells":[]})",
                            R"({"schema_version":2,"cells":[{}]})", R"({"schema_version":1,"cells":[3]})"})
        EXPECT_TRUE(refuses(bad)) << bad;
    json sound = json::parse(whole);
    for (const auto& [pointer, value] : std::vector<std::pair<std::string, json>>{
             {"/cells/0/runs", json::array()},
             {"/cells/0/rank", "x"},
             {"/cells/0/settings", 3},
             {"/cells/0/noise_floor", {{"seed", {{"sd", -1}, {"n", 5}}}}},
             {"/cells/0/runs/0/scores", "01x"},
             {"/cells/0/runs/0/scores", "01"},
             {"/cells/0/runs/0/seed", -1},
             {"/cells/0/runs/0/parsed", "0"},
             {"/cells/0/runs/0/evaluate", nullptr},
             {"/cells/0/runs/0/value", "high"}}) {
        json damaged = sound;
        damaged[json::json_pointer(pointer)] = value;
        EXPECT_TRUE(refuses(damaged.dump())) << pointer << " " << value;
    }
    EXPECT_FALSE(refuses(whole));
}

// Every tag closed in order, attributes quoted, no bare & or <: enough of XML for a report.
bool well_formed(const std::string& text) {
    std::vector<std::string> open;
    size_t at = text.find("?>") + 2;
    while (at < text.size()) {
        size_t start = text.find('<', at);
        if (start == std::string::npos) break;
        size_t end = text.find('>', start);
        if (end == std::string::npos) return false;
        std::string tag = text.substr(start + 1, end - start - 1);
        if (tag.find('<') != std::string::npos || std::count(tag.begin(), tag.end(), '"') % 2) return false;
        for (size_t i = tag.find('&'); i != std::string::npos; i = tag.find('&', i + 1))
            if (tag.find(';', i) == std::string::npos) return false;
        std::string name =
            tag.substr(tag[0] == '/', tag.find_first_of(" /", tag[0] == '/') - (tag[0] == '/'));
        if (tag[0] == '/') {
            if (open.empty() || open.back() != name) return false;
            open.pop_back();
        } else if (tag.back() != '/') {
            open.push_back(name);
        }
        at = end + 1;
    }
    return open.empty();
}

TEST_F(GateTest, WritesReportsForJUnitPullRequestsAndGitHub) {
    write([](SyntheticRun& run) {
        run.tasks["boolq"].scores = test::right_below(400, 100);
        run.tasks["piqa"].prompt = "<&\" {}";
        run.tasks["obqa"] = run.tasks["piqa"];
    });
    GateReport report = check();
    report.cells[0].message += " <&\"\n\x01>";
    std::string junit = gate_as_junit(report);
    EXPECT_TRUE(well_formed(junit)) << junit;
    EXPECT_THAT(junit, HasSubstr("tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"1\""));
    EXPECT_THAT(junit, HasSubstr("<failure type=\"regressed\""));
    EXPECT_THAT(junit, HasSubstr("<error type=\"incomparable\""));
    EXPECT_THAT(gate_as_markdown(report), HasSubstr("## dora-bench check: regressed"));
    std::string github = gate_as_github(report);
    EXPECT_EQ(std::count(github.begin(), github.end(), '\n'), 4);
    EXPECT_THAT(github, HasSubstr("::error title=dora-bench check regressed::"));
    EXPECT_EQ(gate_as_json(report)["verdict"], "regressed");
    EXPECT_FALSE(well_formed("<?xml?><a><b></a>"));
}

// 200 replays of an unchanged system: each item of each of three tasks answers anew with its own probability.
TEST(GateNull, RaisesFalseAlarmsAtMostAtTheNominalLevel) {
    test::TempDir temp;
    auto write = [&](uint64_t replay) {
        SyntheticRun run;
        run.id = "aaaa";
        for (const char* task : {"boolq", "piqa", "obqa"})
            run.tasks[task] = {test::coin_scores(100, 0.7, replay, task), std::vector<bool>()};
        test::write_run(temp.path(), run);
    };
    int alarms = 0;
    for (uint64_t replay = 0; replay < 200; ++replay) {
        write(2 * replay);
        json baseline = make_baseline(read_runs(temp.path()), nullptr, nullptr);
        write(2 * replay + 1);
        int code = check_against(baseline, read_runs(temp.path()), false).exit_code();
        ASSERT_TRUE(code == 0 || code == 3);
        alarms += code == 3;
    }
    EXPECT_LE(alarms, 10); // 5 % of 200
}

// Soft scores over three seeds: the flip test holds its level too.
TEST(GateNull, HoldsTheLevelForSoftScoresOverSeeds) {
    int alarms = 0;
    test::TempDir temp;
    auto write = [&](uint64_t replay) {
        for (uint64_t seed : {1, 2}) {
            SyntheticRun run;
            run.id = "s" + std::to_string(seed);
            run.seed = seed;
            auto a = test::coin_scores(60, 0.5, 10 * replay + seed, "a"),
                 b = test::coin_scores(60, 0.5, 10 * replay + seed, "b");
            for (size_t i = 0; i < a.size(); ++i) a[i] = (a[i] + b[i]) / 2;
            run.tasks["vqa"] = {a};
            test::write_run(temp.path(), run);
        }
    };
    for (uint64_t replay = 0; replay < 100; ++replay) {
        write(2 * replay);
        json baseline = make_baseline(read_runs(temp.path()), nullptr, nullptr);
        write(2 * replay + 1);
        alarms += check_against(baseline, read_runs(temp.path()), false).exit_code() == 3;
    }
    EXPECT_LE(alarms, 5);
}

} // namespace
} // namespace dorabench
