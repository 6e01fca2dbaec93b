// Files into one tree: includes, twins, variables, overrides, sweeps.
#include "tests/harness/config/config_support.h"

namespace dorabench {
namespace {

using test::contains;
using test::Files;
using test::good_with;
using test::kGood;

TEST(Include, MergesDeeplyWithTheIncludingFileLast) {
    Files files("include: [a.yaml, b.yaml]\nadapter: {rank: 4}\n");
    files.add("a.yaml", kGood).add("b.yaml", "adapter: {rank: 2, target_modules: [k_proj], dropout: 0.1}\n");
    RunSettings s = files.settings();
    EXPECT_EQ(s.adapter.rank, 4);
    EXPECT_EQ(s.adapter.dropout, 0.1);
    EXPECT_EQ(s.adapter.target_modules, std::vector<std::string>{"k_proj"}); // lists are replaced
    EXPECT_EQ(s.adapter.alpha, 16);
}

TEST(Include, LooksBesideTheFileThenInItsAncestors) {
    Files files("");
    files.add("sweeps/deep/run.yaml", "include: parts/a.yaml\n").add("parts/a.yaml", kGood);
    files.add("sweeps/parts/a.yaml", good_with("rank: 8", "rank: 3"));
    std::vector<Diagnostic> errors;
    auto settings =
        ConfigFile::load(files.path("sweeps/deep/run.yaml"), {}).parse({}, test::known_names(), errors);
    EXPECT_EQ(settings.adapter.rank, 3); // the nearest ancestor
    EXPECT_TRUE(errors.empty());
}

TEST(Include, NamesTheIncludedFileAndWhereItCameFrom) {
    Files files("name: t\ninclude:\n  - part.yaml\n");
    files.add("part.yaml", good_with("rank: 8", "rank: 0"));
    std::string text = files.wrong();
    EXPECT_TRUE(contains(text, "part.yaml:5:9: adapter.rank"));
    EXPECT_TRUE(contains(text, "included from x.yaml:3:5"));
}

TEST(Include, ReportsMissingFilesLoopsAndWrongTypesTogether) {
    Files files("include: [absent.yaml, x.yaml, 7, also_absent.yaml]\nname: [\n");
    EXPECT_TRUE(contains(files.wrong(), "not YAML"));
    files.add("x.yaml", "include: [absent.yaml, x.yaml, 7, also_absent.yaml, a: b]\n");
    EXPECT_TRUE(contains(files.wrong(), "x.yaml:1:11: include: no such file: absent.yaml"));
    EXPECT_TRUE(contains(files.wrong(), "no such file: also_absent.yaml"));
    EXPECT_TRUE(contains(files.wrong(), "x.yaml includes itself"));
    EXPECT_TRUE(contains(files.wrong(), "expected a file, got 7"));
    EXPECT_TRUE(contains(files.wrong(), "expected a file, got a map"));
}

TEST(Include, StopsWhereFilesMultiply) {
    Files files("include: [f0.yaml, f0.yaml]\n");
    for (int i = 0; i < 20; ++i)
        files.add(cat("f", i, ".yaml"), cat("include: [f", i + 1, ".yaml, f", i + 1, ".yaml]\n"));
    files.add("f20.yaml", kGood);
    EXPECT_TRUE(contains(files.wrong(), "expected at most 256 included files"));
}

TEST(Include, MissingMainFileIsAnErrorOfConfiguration) {
    try {
        ConfigFile::load("/nowhere/x.yaml", {});
        FAIL() << "nothing was thrown";
    } catch (const ConfigErrors& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        EXPECT_TRUE(contains(error.what(), "/nowhere/x.yaml: cannot be opened: No such file"));
    }
}

TEST(Twins, ALaterFileDisplacesAnEarlierOnesKey) {
    Files files("include: a.yaml\nadapter: {scaling: 3}\ntrain: {epochs: 2}\nbackend: {checkpoint: .}\n");
    files.add("a.yaml", kGood);
    RunSettings s = files.settings();
    EXPECT_EQ(s.adapter.alpha, 24);
    EXPECT_FALSE(s.adapter.has_alpha);
    EXPECT_EQ(s.train.max_steps, 0);
    EXPECT_EQ(s.train.epochs, 2);
    EXPECT_EQ(s.backend.shape, "");
    EXPECT_EQ(s.backend.checkpoint, ".");
}

TEST(Twins, AnOverrideOrAxisDisplacesToo) {
    EXPECT_EQ(Files(kGood).settings({"adapter.scaling=4"}).adapter.alpha, 32);
    EXPECT_EQ(Files(kGood).settings({"train.warmup_ratio=0.1", "train.warmup_steps=5"}).train.warmup_ratio,
              0);
    Files swept(std::string(kGood) + "sweep: {adapter.scaling: [1, 2]}\n");
    EXPECT_EQ(swept.settings({}, {{"adapter.scaling", "2"}}).adapter.alpha, 16);
}

TEST(Twins, TwoFilesThatEachGiveOneAreNoError) {
    Files files("include: [a.yaml, b.yaml]\n");
    files.add("a.yaml", kGood).add("b.yaml", "adapter: {scaling: 1}\n");
    EXPECT_EQ(files.settings().adapter.alpha, 8);
    files.add("b.yaml", "adapter: {scaling: 1, alpha: 2}\n");
    EXPECT_TRUE(contains(files.wrong(), "b.yaml:1:23: adapter.alpha"));
}

TEST(Variables, ExpandWithDefaultsAndTypes) {
    ::setenv("DORABENCH_RANK", "12", 1);
    ::setenv("DORABENCH_EMPTY", "", 1);
    ::unsetenv("DORABENCH_UNSET");
    std::string text = good_with("rank: 8", "rank: ${DORABENCH_RANK}");
    RunSettings s =
        Files("data_dir: ${DORABENCH_UNSET:-data}/x${DORABENCH_EMPTY}\nresults: ${DORABENCH_EMPTY:-r}\n" +
              text)
            .settings();
    EXPECT_EQ(s.adapter.rank, 12);
    EXPECT_EQ(s.data_dir, "data/x");
    EXPECT_EQ(s.results, "r");
    EXPECT_EQ(Files("data_dir: $${X}\n" + text).settings().data_dir, "${X}");
    EXPECT_TRUE(
        contains(Files(good_with("rank: 8", "rank: '${DORABENCH_RANK}'")).wrong(), "expected an integer"));
}

TEST(Variables, UnsetOnesAreReportedWithEverythingElse) {
    ::unsetenv("DORABENCH_UNSET");
    std::string text =
        Files(good_with("shape: llama-7b}", "checkpoint: '${DORABENCH_UNSET}'}") + "  limt: 3\n").wrong();
    EXPECT_TRUE(contains(
        text, "x.yaml:2:36: backend.checkpoint: the environment variable DORABENCH_UNSET is not set"));
    EXPECT_TRUE(contains(text, "x.yaml:13:3: evaluate.limt"));
    EXPECT_EQ(text.find("missing"), std::string::npos) << text;
    for (const char* bad : {"${", "${}", "${1}", "${A B}", "${A", "${A-b}"})
        EXPECT_TRUE(contains(Files(cat("data_dir: \"", bad, "\"\n", kGood)).wrong(), "expected ${NAME}"))
            << bad;
}

TEST(Variables, AreNoErrorInWhatIsDisplaced) {
    ::unsetenv("DORABENCH_UNSET");
    Files files("include: a.yaml\nbackend: {shape: llama-7b}\nresults: here\n");
    files.add("a.yaml", "results: ${DORABENCH_UNSET}\n" +
                            good_with("{type: llama, shape: llama-7b}",
                                      "\n  type: llama\n  checkpoint: ${DORABENCH_UNSET}"));
    EXPECT_EQ(files.settings().results, "here");
    EXPECT_EQ(Files("results: ${DORABENCH_UNSET}\n" + std::string(kGood)).settings({"results=there"}).results,
              "there");
}

TEST(Overrides, AreYamlTypedAndPrintedAsGiven) {
    RunSettings s = Files(kGood).settings(
        {"adapter.rank=4", "adapter.target_modules=[k_proj]", "train.shuffle=false", "name=a=b"});
    EXPECT_EQ(s.adapter.rank, 4);
    EXPECT_EQ(s.adapter.target_modules, std::vector<std::string>{"k_proj"});
    EXPECT_FALSE(s.train.shuffle);
    EXPECT_EQ(s.name, "a=b");
    EXPECT_EQ(Files(kGood).wrong({"adapter.rnak=4"}), "command line: adapter.rnak: no such key\n"
                                                      "    adapter.rnak=4\n"
                                                      "did you mean \"rank\"?");
    EXPECT_TRUE(contains(Files(kGood).wrong({"adapter.rank=eight"}),
                         "command line: adapter.rank: expected an integer"));
    EXPECT_TRUE(contains(Files(kGood).wrong({"adapter.rank"}), "expected key.path=value"));
    EXPECT_TRUE(contains(Files(kGood).wrong({"adapter.rank=[1"}), "not YAML"));
    EXPECT_TRUE(Files(kGood).settings({"train=null"}).train.data.empty());
}

TEST(Overrides, SettleAnAxis) {
    Files files(std::string(kGood) + "sweep: {adapter.rank: [4, 8], adapter.method: [lora, dora]}\n");
    EXPECT_EQ(files.load().sweep().axes.size(), 2u);
    auto settled = files.load({"adapter.rank=2"});
    ASSERT_EQ(settled.sweep().axes.size(), 1u);
    EXPECT_EQ(settled.sweep().axes[0].first, "adapter.method");
    EXPECT_EQ(files.settings({"adapter.rank=2"}, {{"adapter.method", "lora"}}).adapter.rank, 2);
}

TEST(Sweep, KeepsTheFilesOrderWithSeedsFirst) {
    Files files("seed: [1, 2]\n" + std::string(kGood) +
                "sweep:\n  adapter.method: [lora, dora]\n  adapter.rank: [4, 8, 16]\n"
                "  zip: {train.learning_rate: [1e-4, 2e-4], train.batch_size: [8, 16]}\n");
    const SweepSettings sweep = files.load().sweep();
    ASSERT_EQ(sweep.axes.size(), 3u);
    EXPECT_EQ(sweep.axes[0].first, "seed");
    EXPECT_EQ(sweep.axes[1].second, (std::vector<std::string>{"lora", "dora"}));
    EXPECT_EQ(sweep.axes[2].second, (std::vector<std::string>{"4", "8", "16"}));
    ASSERT_EQ(sweep.zips.size(), 1u);
    EXPECT_EQ(sweep.zips[0][1].second, (std::vector<std::string>{"8", "16"}));
    RunSettings s = files.settings(
        {},
        {{"seed", "2"}, {"adapter.method", "lora"}, {"adapter.rank", "16"}, {"train.learning_rate", "2e-4"}});
    EXPECT_EQ(s.seed, 2u);
    EXPECT_EQ(s.adapter.rank, 16);
    EXPECT_EQ(s.train.learning_rate, 2e-4);
}

TEST(Sweep, TakesAxesFromTheCommandLine) {
    auto sweep = Files(std::string(kGood) + "sweep: {adapter.rank: [1]}\n")
                     .load({}, {"adapter.rank=4,8", "adapter.target_modules=[[q_proj], [q_proj, v_proj]]"})
                     .sweep();
    ASSERT_EQ(sweep.axes.size(), 2u);
    EXPECT_EQ(sweep.axes[0].second, (std::vector<std::string>{"4", "8"}));
    EXPECT_EQ(sweep.axes[1].second, (std::vector<std::string>{"[q_proj]", "[q_proj, v_proj]"}));
}

TEST(Sweep, SaysWhatIsWrongWithItsAxes) {
    std::string text = Files("seed: []\n" + std::string(kGood) +
                             "sweep:\n  adapter.rnak: [1]\n  adapter.rank: 4\n  train.max_steps: []\n  "
                             "adapter.dropout: [0, 0]\n"
                             "  zip: {train.batch_size: [1, 2], train.learning_rate: [1]}\n"
                             "select: {ovr: x}\nmatch: {trainable: lots, params: 1%}\n")
                           .wrong();
    for (const char* part :
         {"sweep.adapter.rnak: no such key", "did you mean \"adapter.rank\"?", "write [4]",
          "got an empty one", "the value 0 stands twice", "expected 2 values as train.batch_size has, got 1",
          "select.over: missing", "did you mean \"over\"?", "match.trainable", "match.params: no such budget",
          "got an empty list"})
        EXPECT_TRUE(contains(text, part));
}

TEST(Sweep, ChecksEveryAxisValueAtItsPlace) {
    Files files(std::string(kGood) + "sweep: {adapter.rank: [4, 0]}\n");
    EXPECT_EQ(files.wrong({}, {{"adapter.rank", "4"}}), "");
    EXPECT_TRUE(contains(files.wrong({}, {{"adapter.rank", "0"}}), "x.yaml:13:27: adapter.rank"));
    EXPECT_TRUE(contains(
        Files(std::string(kGood) + "sweep: {adapter.alpha: [1], adapter.scaling: [1]}\n").wrong(), "twin"));
}

TEST(Sweep, ReadsSelectAndMatch) {
    auto sweep =
        Files(std::string(kGood) + "sweep: {train.learning_rate: [1e-4]}\nselect: {over: "
                                   "train.learning_rate, by: validation.loss}\nmatch: {trainable: 1%}\n")
            .load()
            .sweep();
    ASSERT_TRUE(sweep.select);
    EXPECT_EQ(sweep.select->over, "train.learning_rate");
    EXPECT_EQ(sweep.match.at(0), (std::pair<std::string, std::string>{"trainable", "1%"}));
}

TEST(Diagnostics, FindPlacesForLaterErrors) {
    Files files(kGood);
    auto config = files.load();
    EXPECT_EQ(config.mark_of("adapter.target_modules").line, 7);
    EXPECT_EQ(config.mark_of("adapter.target_modules").column, 19);
    EXPECT_EQ(config.mark_of("adapter.init").line, 3); // absent: the section's key
    EXPECT_EQ(Files(std::string(kGood) + "match: {trainable: 1%}\n").load().mark_of("match").line, 13);
    Diagnostic found =
        config.diagnostic("adapter.target_modules", "no site ends in q_prj", "did you mean \"q_proj\"?");
    EXPECT_TRUE(contains(ConfigErrors({found, found}).what(), ":7:19: adapter.target_modules: no site"));
    EXPECT_EQ(ConfigErrors({found, found}).diagnostics().size(), 1u);
}

} // namespace
} // namespace dorabench
