#include "backends/io/tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/catalog.h"
#include "tasks/world.h"
#include "tests/support/paths.h"
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

const TaskCatalog& catalog() {
    static const TaskCatalog all(test::source_dir() + "/tasks/specs");
    return all;
}

WorldSpec spec_of(WorldStage stage) {
    WorldSpec spec;
    spec.stage = stage;
    return spec;
}

TEST(WorldTest, IsTheSameForASeedAndAnotherForAnother) {
    World one(spec_of(WorldStage::original)), again(spec_of(WorldStage::original));
    auto a = one.training_pairs(), b = again.training_pairs();
    ASSERT_EQ(a.size(), 7200u);
    for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i].prompt + a[i].target, b[i].prompt + b[i].target);
    WorldSpec other = spec_of(WorldStage::original);
    other.seed = 2;
    EXPECT_NE(World(other).training_pairs()[0].prompt, a[0].prompt);
}

TEST(WorldTest, AsksInTheWordsItPromises) {
    WorldQuestion question = World(spec_of(WorldStage::original)).test_questions()[0];
    const auto& options = question.options;
    ASSERT_EQ(options.size(), 3u);
    EXPECT_TRUE(question.prompt.starts_with("question : "));
    EXPECT_TRUE(question.prompt.ends_with(" ? " + options[0] + " or " + options[1] + " or " + options[2] +
                                          " answer :"));
    EXPECT_EQ(question.answer, options.at(question.right));
    WorldSpec spec = spec_of(WorldStage::shifted);
    spec.answer_by_option = true;
    spec.options = 2;
    question = World(spec).test_questions()[0];
    EXPECT_TRUE(question.prompt.starts_with("today : "));
    EXPECT_TRUE(question.prompt.ends_with(" ? option1 " + question.options.at(0) + " option2 " +
                                          question.options.at(1) + " reply :"));
    EXPECT_EQ(question.answer, question.right == 0 ? "option1" : "option2");
}

TEST(WorldTest, MovesByOneRuleForAll) {
    WorldSpec spec = spec_of(WorldStage::shifted);
    World world(spec);
    size_t moved = 0;
    for (size_t a = 0; a < 4; ++a) {
        std::map<std::string, std::string> rule;
        for (size_t p = 0; p < 60; ++p) {
            auto [at, fresh] = rule.emplace(world.fact(p, a, false), world.fact(p, a, true));
            EXPECT_EQ(at->second, world.fact(p, a, true));
            EXPECT_EQ(world.is_moved(p, a), world.fact(p, a, false) != world.fact(p, a, true));
            moved += world.is_moved(p, a);
        }
    }
    EXPECT_NEAR(static_cast<double>(moved) / 240, spec.moved, 0.12);
    spec.move_by_rule = false;
    World by_chance(spec);
    std::set<std::string> places;
    for (size_t p = 0; p < 60; ++p)
        if (by_chance.fact(p, 0, false) == world.fact(0, 0, false)) places.insert(by_chance.fact(p, 0, true));
    EXPECT_GT(places.size(), 1u);
    spec.moved = 0;
    for (size_t p = 0; p < 60; ++p) EXPECT_FALSE(World(spec).is_moved(p, 1));
}

TEST(WorldTest, AsksHeldOutFactsOnlyInTheTest) {
    WorldSpec spec = spec_of(WorldStage::shifted);
    spec.held_out = 0.3;
    World world(spec);
    auto questions = world.test_questions();
    ASSERT_GE(questions.size(), 200u);
    std::set<std::string> trained, heads;
    for (const TrainingPair& pair : world.training_pairs()) {
        trained.insert(pair.prompt);
        heads.insert(pair.prompt.substr(0, pair.prompt.find(" ?")));
    }
    size_t moved = 0;
    for (const WorldQuestion& question : questions) {
        EXPECT_TRUE(question.held_out);
        EXPECT_EQ(heads.count(question.prompt.substr(0, question.prompt.find(" ?"))), 0u) << question.prompt;
        EXPECT_EQ(question.options.at(question.right), world.fact(question.person, question.attribute, true));
        moved += question.moved;
    }
    EXPECT_GT(moved, questions.size() / 4);
    EXPECT_LT(moved, questions.size() * 3 / 4);
}

TEST(WorldTest, NeverTestsATrainingQuestion) {
    for (WorldStage stage : {WorldStage::original, WorldStage::shifted}) {
        World world(spec_of(stage)); // nothing held out: known facts with other options
        std::set<std::string> trained;
        for (const TrainingPair& pair : world.training_pairs()) trained.insert(pair.prompt);
        for (const WorldQuestion& question : world.test_questions())
            EXPECT_TRUE(trained.insert(question.prompt).second);
    }
}

TEST(WorldTest, KeptQuestionsAreAboutFactsThatDidNotMove) {
    World world(spec_of(WorldStage::kept));
    for (const WorldQuestion& question : world.test_questions()) {
        EXPECT_FALSE(question.moved);
        EXPECT_EQ(world.fact(question.person, question.attribute, true), question.options.at(question.right));
    }
    EXPECT_TRUE(world.training_pairs().empty());
}

TEST(WorldTest, SpreadsTheRightAnswerEvenly) {
    std::map<size_t, int> counts;
    for (const WorldQuestion& question : World(spec_of(WorldStage::shifted)).test_questions())
        ++counts[question.right];
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(counts[i], 100, 30);
}

TEST(WorldTest, RefusesKnobsThatMakeNoWorld) {
    WorldSpec spec = spec_of(WorldStage::original);
    spec.people = most_people() + 1;
    EXPECT_THROW(World{spec}, Error);
    spec.people = 6;
    spec.test_questions = 60000;
    EXPECT_THROW(World(spec).test_questions(), Error);
}

TEST(WorldTasks, AnswerByOneOfTheirOptions) {
    TaskOptions options;
    options.num_beams = options.max_new_tokens = 0;
    auto task = catalog().make("quickstart/shifted", options);
    const auto& examples = task->examples();
    ASSERT_EQ(examples.size(), 300u);
    auto request = task->requests(examples[0]).at(0);
    EXPECT_EQ(request.generate.max_new_tokens, 4);
    Response response;
    response.text = " " + examples[0].target + " .";
    EXPECT_EQ(task->score(examples[0], {response}).score, 1);
    TaskResult result = task->aggregate(examples, std::vector<Score>(examples.size()));
    EXPECT_NEAR(result.chance, 1.0 / 3, 1e-12);
    options.mode = "loglikelihood";
    task = catalog().make("quickstart/kept", options);
    const Example& kept = task->examples()[0];
    EXPECT_EQ(task->requests(kept).at(static_cast<size_t>(kept.gold)).continuation, " " + kept.target);
    EXPECT_EQ(catalog().training_pairs("quickstart/world", options).size(), 14400u);
    EXPECT_EQ(catalog().training_pairs("quickstart/shifted", options).size(), 6400u);
    EXPECT_NE(task->fingerprint(), catalog().make("quickstart/world", options)->fingerprint());
}

TEST(WorldTokenizer, HoldsEveryWordInOneToken) {
    test::TempDir folder;
    catalog().write_tokenizer("quickstart/world", folder / "tokenizer");
    EXPECT_THROW(catalog().write_tokenizer("boolq", folder / "other"), Error);
    auto tokenizer = load_tokenizer(folder / "tokenizer");
    EXPECT_LE(tokenizer->vocab_size(), 512);
    EXPECT_GE(tokenizer->bos_id(), 0);
    EXPECT_GE(tokenizer->eos_id(), 0);
    for (int variant = 0; variant < 4; ++variant) {
        WorldSpec spec = spec_of(variant % 2 ? WorldStage::shifted : WorldStage::original);
        spec.answer_by_option = variant > 1;
        spec.people = most_people();
        for (const TrainingPair& pair : World(spec).training_pairs()) {
            std::string text = pair.prompt + pair.target;
            auto ids = tokenizer->encode(text, true);
            ASSERT_EQ(ids.at(0), tokenizer->bos_id());
            ASSERT_LE(ids.size() + 1, 40u) << text;
            size_t digits = 0, words = 1;
            for (char c : text) digits += c >= '0' && c <= '9', words += c == ' ';
            ASSERT_EQ(ids.size(), 1 + words + digits) << text; // "option1" is a word and a digit
            ASSERT_EQ(tokenizer->decode(ids, true), text);
            auto prompt = tokenizer->encode(pair.prompt, true); // the seam falls between two tokens
            ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), ids.begin()));
        }
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode("Zürich 99 €", false), true), "Zürich 99 €");
}

TEST(WorldTokenizer, IsShapedLikeLlama3s) {
    auto json = nlohmann::json::parse(word_tokenizer_json(world_tokenizer()));
    EXPECT_EQ(json["model"]["ignore_merges"], true);
    EXPECT_EQ(json["model"]["type"], "BPE");
    EXPECT_EQ(json["pre_tokenizer"]["pretokenizers"].size(), 2u);
    std::set<int64_t> ids;
    for (const auto& [token, id] : json["model"]["vocab"].items()) ids.insert(id.get<int64_t>());
    for (const auto& token : json["added_tokens"]) ids.insert(token["id"].get<int64_t>());
    EXPECT_EQ(*ids.rbegin() + 1, static_cast<int64_t>(ids.size()));
    int64_t begin = json["post_processor"]["special_tokens"]["<|begin_of_text|>"]["ids"][0];
    EXPECT_EQ(json["added_tokens"][0]["id"].get<int64_t>(), begin);
    EXPECT_EQ(json["post_processor"]["single"][0]["SpecialToken"]["id"], "<|begin_of_text|>");
}

} // namespace
} // namespace dorabench
