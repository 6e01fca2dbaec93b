#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/catalog.h"
#include "tasks/items.h"
#include "tasks/records.h"
#include "tasks/templates.h"
#include "tests/support/paths.h"
#include <nlohmann/json.hpp>
#include <set>

namespace dorabench {
namespace {

const TaskCatalog& catalog() {
    static const TaskCatalog all(test::source_dir() + "/tasks/specs");
    return all;
}

TaskOptions commonsense_options(const std::string& mode = "generate") {
    TaskOptions options;
    options.data_dir = test::shared_dir() + "/data/commonsense";
    options.mode = mode;
    return options;
}

std::string complaint(const std::function<void()>& f, ErrorKind kind = ErrorKind::config) {
    try {
        f();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), kind) << error.what();
        return error.what();
    }
    return "no complaint";
}

Response text(const std::string& written) {
    Response out;
    out.text = written;
    return out;
}

// Names in the data's README and in answer_extraction.json, and the aliases here.
const std::vector<std::pair<std::string, std::string>> kSets{{"boolq", "boolq"},
                                                             {"piqa", "piqa"},
                                                             {"siqa", "social_i_qa"},
                                                             {"hellaswag", "hellaswag"},
                                                             {"winogrande", "winogrande"},
                                                             {"arc_easy", "ARC-Easy"},
                                                             {"arc_challenge", "ARC-Challenge"},
                                                             {"obqa", "openbookqa"}};

TEST(Catalog, LoadsEverySpecAndMissesNone) {
    auto tasks = catalog().tasks();
    EXPECT_EQ(tasks.size(), 45u) << "a spec was added or lost: count it here";
    std::set<std::string> names;
    for (const TaskInfo& task : tasks) {
        EXPECT_TRUE(names.insert(task.name).second);
        EXPECT_FALSE(task.help.empty()) << task.name;
        EXPECT_TRUE(catalog().has(task.name));
        if (task.kind == "training") continue;
        EXPECT_EQ(catalog().make(task.name, {})->name(), task.name);
    }
    for (const auto& [alias, set] : kSets)
        EXPECT_EQ(catalog().make(alias, {})->name(), "llm_adapters/" + alias);
}

TEST(Catalog, NamesTheNearestTask) {
    EXPECT_FALSE(catalog().has("bolq"));
    EXPECT_NE(complaint([] { catalog().make("bolq", {}); }).find("did you mean \"boolq\"?"),
              std::string::npos);
    EXPECT_NE(complaint([] {
                  catalog().training_pairs("comonsense_170k", {});
              }).find("did you mean \"commonsense_170k\"?"),
              std::string::npos);
    EXPECT_NE(complaint([] { catalog().make("commonsense_170k", {}); }).find("is a training set"),
              std::string::npos);
    complaint([] { catalog().training_pairs("no/such.json", {}); }, ErrorKind::data);
}

TEST(Catalog, NamesEveryPlaceWhereDataMayLie) {
    TaskOptions options;
    options.data_dir = "nowhere";
    std::string message = complaint([&] { catalog().make("siqa", options)->examples(); }, ErrorKind::data);
    for (const char* place : {"nowhere/dataset/social_i_qa/test.json", "nowhere/social_i_qa/test.json",
                              "nowhere/test/social_i_qa.json"})
        EXPECT_NE(message.find(place), std::string::npos) << message;
}

TEST(CommonsenseTasks, ReadAllItemsWithTheirOptions) {
    DORABENCH_NEEDS_SHARED();
    const size_t counts[] = {3270, 1838, 1954, 666, 1267, 2376, 1172, 500};
    const size_t options[] = {2, 2, 3, 4, 2, 5, 5, 4}; // at most
    for (size_t i = 0; i < kSets.size(); ++i) {
        auto task = catalog().make(kSets[i].first, commonsense_options("loglikelihood"));
        const auto& examples = task->examples();
        ASSERT_EQ(examples.size(), counts[i]) << kSets[i].first;
        size_t most = 0;
        for (const Example& example : examples) {
            most = std::max(most, example.choices.size());
            ASSERT_EQ(example.choices.at(static_cast<size_t>(example.gold)), example.fields.at("output"));
        }
        EXPECT_EQ(most, options[i]) << kSets[i].first;
    }
}

TEST(CommonsenseTasks, ExtractAnswersAsLlmAdaptersDoes) {
    DORABENCH_NEEDS_SHARED();
    auto file =
        nlohmann::json::parse(read_file(test::shared_dir() + "/data/commonsense/answer_extraction.json"));
    ASSERT_EQ(file["cases"].size(), 1200u);
    double sum = 0;
    for (const auto& [alias, set] : kSets) {
        auto task = catalog().make(alias, commonsense_options());
        std::vector<Example> examples;
        std::vector<Score> scores;
        for (const auto& c : file["cases"]) {
            if (c["dataset"] != set) continue;
            Example example;
            example.target = c["label"];
            example.gold = 0;
            example.fields["task.labels"] = "a\nb";
            Score score = task->score(example, {text(c["generated"])});
            ASSERT_EQ(score.prediction, c["expected_prediction"].get<std::string>()) << c;
            ASSERT_EQ(score.score == 1, c["correct"].get<bool>()) << c;
            ASSERT_EQ(score.parsed, !score.prediction.empty()) << c;
            examples.push_back(example);
            scores.push_back(score);
        }
        TaskResult result = task->aggregate(examples, scores);
        const auto& expected = file["expected"][set];
        EXPECT_EQ(result.primary, "accuracy");
        EXPECT_EQ(result.n, expected["total"].get<int64_t>());
        EXPECT_NEAR(result.metrics["accuracy"].value, expected["accuracy"].get<double>(), 1e-12) << set;
        EXPECT_GT(result.unparsed, 0);
        double parsed = static_cast<double>(result.n - result.unparsed);
        EXPECT_NEAR(result.metrics["accuracy_parsed"].value, expected["correct"].get<double>() / parsed,
                    1e-12);
        EXPECT_EQ(result.metrics.count("acc_norm"), 0u);
        sum += result.metrics["accuracy"].value;
    }
    EXPECT_NEAR(sum / 8, file["macro_average"].get<double>(), 1e-12);
}

TEST(CommonsenseTasks, AskForGenerationAsPublished) {
    DORABENCH_NEEDS_SHARED();
    TaskOptions options = commonsense_options();
    options.limit = 3;
    auto task = catalog().make("obqa", options);
    ASSERT_EQ(task->examples().size(), 3u);
    const Example& example = task->examples()[0];
    EXPECT_EQ(example.prompt, find_template("llm_adapters_eval")
                                  .prompt(example.fields.at("instruction"), "", PromptForm::evaluation));
    EXPECT_EQ(example.target, "answer2");
    auto requests = task->requests(example);
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_EQ(requests[0].generate.num_beams, 4);
    EXPECT_EQ(requests[0].generate.max_new_tokens, 32);
    EXPECT_EQ(requests[0].generate.decided, "answer1|answer2|answer3|answer4|answer5");
}

TEST(CommonsenseTasks, ScoreEveryOptionOfAnItem) {
    DORABENCH_NEEDS_SHARED();
    TaskOptions options = commonsense_options("loglikelihood");
    options.limit = 1;
    auto task = catalog().make("siqa", options);
    Example example = task->examples()[0];
    auto requests = task->requests(example);
    ASSERT_EQ(requests.size(), 3u);
    EXPECT_EQ(requests[2].kind, Request::Kind::score);
    EXPECT_EQ(requests[2].continuation, "the correct answer is answer3");
    EXPECT_EQ(requests[2].context, example.prompt);
    std::vector<Response> responses(3);
    responses[0].loglikelihood = -3;
    responses[1].loglikelihood = -4;
    responses[2].loglikelihood = -2;
    Score score = task->score(example, responses);
    EXPECT_EQ(score.prediction, "answer3");
    EXPECT_EQ(score.score, 1);
    TaskResult result = task->aggregate({example}, {score});
    EXPECT_EQ(result.metrics.at("acc_norm").value, 1);
    EXPECT_NEAR(result.chance, 1.0 / 3, 1e-15);
    EXPECT_EQ(result.unparsed, 0);
}

TEST(CommonsenseTasks, NormaliseOptionTextsByTheirBytes) {
    DORABENCH_NEEDS_SHARED();
    TaskOptions options = commonsense_options("loglikelihood:option_text");
    options.limit = 1;
    auto task = catalog().make("siqa", options);
    Example example = task->examples()[0];
    EXPECT_EQ(example.choices,
              (std::vector<std::string>{"make a new plan", "Go home and see Riley", "Find somewhere to go"}));
    std::vector<Response> responses(3);
    responses[0].loglikelihood = -10; // 15 bytes: best sum
    responses[1].loglikelihood = -20; // 21 bytes
    responses[2].loglikelihood = -11; // 20 bytes: best per byte
    Score score = task->score(example, responses);
    EXPECT_EQ(score.prediction, "answer1");
    EXPECT_EQ(score.score, 0);
    EXPECT_EQ(score.values.at("acc_norm"), 1);
}

TEST(CommonsenseTasks, FindEveryOptionTextOfEverySet) {
    DORABENCH_NEEDS_SHARED();
    for (const char* set :
         {"ARC-Challenge", "ARC-Easy", "openbookqa", "piqa", "social_i_qa", "winogrande", "hellaswag_subset"})
        for_each_record(test::shared_dir() + "/data/commonsense/test/" + set + ".json",
                        [&](size_t number, const nlohmann::json& record) {
                            std::vector<std::string> labels, texts;
                            EXPECT_TRUE(options_of_instruction(record["instruction"], labels, texts));
                            EXPECT_NE(texts, labels) << set << " " << number;
                            for (const std::string& option : texts) EXPECT_FALSE(option.empty());
                            return true;
                        });
}

TEST(CommonsenseTasks, ReportTheChanceOfTheirItems) {
    DORABENCH_NEEDS_SHARED();
    auto chance = [](const std::string& name) {
        auto task = catalog().make(name, commonsense_options());
        const auto& examples = task->examples();
        TaskResult result = task->aggregate(examples, std::vector<Score>(examples.size()));
        EXPECT_TRUE(result.has_chance);
        return result.chance;
    };
    EXPECT_EQ(chance("boolq"), 0.5);
    EXPECT_NEAR(chance("arc_challenge"), (1165.0 / 4 + 4.0 / 3 + 3.0 / 5) / 1172, 1e-12);
    EXPECT_NEAR(chance("hellaswag"), 0.25, 1e-12);
}

TEST(CommonsenseTasks, TrainOnTheirTrainingSplit) {
    DORABENCH_NEEDS_SHARED();
    auto pairs = catalog().training_pairs("obqa", commonsense_options());
    ASSERT_EQ(pairs.size(), 4957u);
    EXPECT_TRUE(
        pairs[0].prompt.ends_with("\n                \n                ### Response:\n                "));
    EXPECT_TRUE(pairs[0].target.starts_with("the correct answer is answer"));
    TaskOptions options = commonsense_options();
    options.template_name = "alpaca";
    EXPECT_TRUE(catalog().training_pairs("obqa", options)[0].prompt.ends_with("### Response: "));
    EXPECT_EQ(catalog().training_pairs("train/commonsense_mix_1k.json", options).size(),
              1000u); // below data_dir
}

TEST(FewShot, DrawsSeededExamplesAndNeverTheItemItself) {
    DORABENCH_NEEDS_SHARED();
    TaskOptions options = commonsense_options();
    options.num_fewshot = 2;
    options.limit = 40;
    auto prompts = [&](const std::string& name) {
        std::vector<std::string> out;
        auto task = catalog().make(name, options);
        for (const Example& example : task->examples()) out.push_back(example.prompt);
        return out;
    };
    auto first = prompts("obqa");
    EXPECT_EQ(first, prompts("obqa"));
    options.seed = 1;
    EXPECT_NE(first, prompts("obqa"));
    auto task = catalog().make("siqa", options); // no training split here: the head of the test file
    for (const Example& example : task->examples()) {
        const std::string& instruction = example.fields.at("instruction");
        size_t at = example.prompt.find(instruction);
        EXPECT_EQ(example.prompt.find(instruction, at + 1), std::string::npos);
        size_t shots = 0;
        for (size_t i = 0; (i = example.prompt.find("the correct answer is answer", i)) != std::string::npos;
             ++i)
            ++shots;
        EXPECT_EQ(shots, 2u);
        EXPECT_NE(example.prompt.find("\n\nBelow is"), std::string::npos);
    }
}

TEST(Fingerprint, ChangesWithWhateverShapesPromptsAndScores) {
    DORABENCH_NEEDS_SHARED();
    std::set<std::string> prints;
    auto print = [&](auto change) {
        TaskOptions options = commonsense_options();
        change(options);
        return catalog().make("obqa", options)->fingerprint();
    };
    std::string plain = print([](TaskOptions&) {});
    EXPECT_EQ(plain, print([](TaskOptions& o) {
                  o.limit = 5;
                  o.seed = 9;
              }));
    for (const std::string& other :
         {print([](TaskOptions& o) { o.template_name = "alpaca"; }),
          print([](TaskOptions& o) { o.chat_template = "llama3"; }),
          print([](TaskOptions& o) { o.mode = "loglikelihood"; }),
          print([](TaskOptions& o) { o.num_fewshot = 1; }), print([](TaskOptions& o) { o.num_beams = 1; }),
          print([](TaskOptions& o) { o.max_new_tokens = 16; })}) {
        EXPECT_NE(other, plain);
        EXPECT_TRUE(prints.insert(other).second);
    }
    test::TempDir folder;
    std::string data = read_file(test::shared_dir() + "/data/commonsense/test/openbookqa.json");
    make_folder(folder / "openbookqa");
    write_file_atomic(folder / "openbookqa/test.json", data);
    EXPECT_EQ(plain, print([&](TaskOptions& o) { o.data_dir = folder.path(); })) << "the same data elsewhere";
    write_file_atomic(folder / "openbookqa/test.json", data + "\n");
    EXPECT_NE(plain, print([&](TaskOptions& o) { o.data_dir = folder.path(); }));
}

TEST(ChatTemplateOption, WrapsTheBareInstruction) {
    DORABENCH_NEEDS_SHARED();
    TaskOptions options = commonsense_options("loglikelihood");
    options.limit = 1;
    options.chat_template = "vicuna_v1";
    auto task = catalog().make("boolq", options);
    const Example& example = task->examples()[0];
    EXPECT_TRUE(example.prompt.ends_with(" USER: " + example.fields.at("instruction") + " ASSISTANT:"));
    EXPECT_EQ(task->requests(example)[0].continuation, " the correct answer is true");
    options.template_name = "alpaca_full";
    EXPECT_TRUE(catalog().make("boolq", options)->examples()[0].prompt.ends_with("### Response: ASSISTANT:"));
    options.chat_template = "alpaca";
    complaint([&] { catalog().make("boolq", options); });
}

TEST(OrcaMath, ComparesTheLastNumbers) {
    test::TempDir folder;
    make_folder(folder / "orca_math");
    write_file_atomic(folder / "orca_math/test.jsonl",
                      "{\"question\":\"2+2?\",\"answer\":\"2 and 2 are "
                      "4.\"}\n{\"question\":\"Who?\",\"answer\":\"Nobody\"}\n");
    TaskOptions options;
    options.data_dir = folder.path();
    options.num_beams = options.max_new_tokens = 0; // the task's own
    auto task = catalog().make("orca_math", options);
    const auto& examples = task->examples();
    ASSERT_EQ(examples.size(), 2u);
    EXPECT_EQ(examples[0].prompt, "###Question:\n2+2?\n###Answer:\n");
    EXPECT_EQ(task->requests(examples[0])[0].generate.max_new_tokens, 1024);
    EXPECT_EQ(task->requests(examples[0])[0].generate.num_beams, 1);
    EXPECT_TRUE(task->requests(examples[0])[0].generate.decided.empty())
        << "the last match is never decided early";
    EXPECT_EQ(task->score(examples[0], {text("1 + 3 = 4")}).score, 1);
    EXPECT_EQ(task->score(examples[0], {text("4 = 1 + 3")}).score, 0);
    EXPECT_FALSE(task->score(examples[0], {text("four")}).parsed);
    EXPECT_EQ(task->score(examples[1], {text("0")}).score, 0);
    TaskResult result = task->aggregate(examples, {Score{}, Score{}});
    EXPECT_EQ(result.primary, "exact_match");
    EXPECT_FALSE(result.has_chance);
}

TEST(TrainingSets, AreFoundUnderTheirPublishedNames) {
    test::TempDir folder;
    make_folder(folder / "dataset");
    write_file_atomic(
        folder / "dataset/commonsense_170k.json",
        R"([{"instruction":"q","input":"","output":"the correct answer is true","answer":"true"}])");
    TaskOptions options;
    options.data_dir = folder.path();
    auto pairs = catalog().training_pairs("commonsense_170k", options);
    ASSERT_EQ(pairs.size(), 1u);
    EXPECT_EQ(pairs[0].prompt, find_template("llm_adapters").prompt("q", "", PromptForm::training));
    complaint([&] { catalog().training_pairs("commonsense_15k", options); }, ErrorKind::data);
}

} // namespace
} // namespace dorabench
