#include "harness/plan/plan.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gmock/gmock.h>
#include <set>

namespace dorabench {
namespace {

using ::testing::HasSubstr;

const Registry<BackendFactory>& registry() {
    static const Registry<BackendFactory> filled = [] {
        Registry<BackendFactory> backends("backend");
        BackendFactory factory;
        factory.name = "toy";
        factory.shapes = [](const BackendSettings&) {
            ModelShapes shapes;
            shapes.backend = "toy";
            shapes.name = "toy-1";
            shapes.layers = 1;
            shapes.hidden = 8;
            shapes.intermediate = 16;
            shapes.heads = shapes.kv_heads = 2;
            shapes.head_dim = 4;
            shapes.vocab = 32;
            shapes.parameters.push_back({"model.layers.0.self_attn.q_proj.weight", {8, 8}, true});
            return shapes;
        };
        factory.shape_names = [] { return std::vector<std::string>{"toy-1"}; };
        backends.add(factory);
        return backends;
    }();
    return filled;
}

RunPlan plan(const std::string& more) {
    test::TempDir temp;
    std::ofstream(temp / "x.yaml")
        << "name: t\nbackend: {type: toy, shape: toy-1}\nevaluate: {tasks: [boolq]}\n"
           "adapter: {method: dora, rank: 4, scaling: 2, target_modules: [q_proj]}\n"
        << more;
    return make_plan(ConfigFile::load(temp / "x.yaml", {}), registry(),
                     {{"toy"},
                      adapter_methods(),
                      {"boolq", "commonsense_170k"},
                      {"llm_adapters"},
                      {"accuracy"},
                      {"toy-1"}});
}

const char* const kTrain = "train: {data: commonsense_170k, max_steps: 2, validation: 8}\n";

TEST(Selection, GroupsWhatDiffersOnTheSelectedAxisAndTheSeedAlone) {
    RunPlan made =
        plan(std::string(kTrain) +
             "seed: [1, 2]\n"
             "sweep: {adapter.method: [lora, dora], train.learning_rate: [1.0e-4, 3.0e-4, 1.0e-3]}\n"
             "select: {over: train.learning_rate}\n");
    ASSERT_EQ(made.runs.size(), 12u);
    std::map<std::string, std::set<std::string>> groups;
    for (const PlannedRun& run : made.runs) groups[run.select_group].insert(run.select_value);
    ASSERT_EQ(groups.size(), 2u); // one a method
    for (const auto& [group, values] : groups) EXPECT_EQ(values.size(), 3u) << group;
}

TEST(Selection, TakesAlongWhatAZipMovesWithTheAxis) {
    RunPlan made = plan(std::string(kTrain) +
                        "sweep: {zip: {train.learning_rate: [1.0e-4, 3.0e-4], train.max_steps: [2, 4]}}\n"
                        "select: {over: train.learning_rate}\n");
    ASSERT_EQ(made.runs.size(), 2u);
    EXPECT_EQ(made.runs[0].select_group, made.runs[1].select_group);
    EXPECT_NE(made.runs[0].select_value, made.runs[1].select_value);
}

TEST(Selection, IsRefusedWithoutHeldOutExamplesOrAnAxis) {
    auto wrong = [](const std::string& more) {
        try {
            plan(more);
        } catch (const ConfigErrors& errors) {
            return std::string(errors.what());
        }
        return std::string("nothing is wrong");
    };
    const std::string sweep =
        "sweep: {train.learning_rate: [1.0e-4, 3.0e-4]}\nselect: {over: train.learning_rate}\n";
    EXPECT_THAT(wrong("train: {data: commonsense_170k, max_steps: 2}\n" + sweep),
                HasSubstr("train.validation"));
    EXPECT_THAT(wrong(std::string(kTrain) + "select: {over: train.learning_rate}\n"), HasSubstr("axis"));
    EXPECT_EQ(wrong(kTrain + sweep), "nothing is wrong");
}

} // namespace
} // namespace dorabench
