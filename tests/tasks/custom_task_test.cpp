// Tasks of a user's own, among them the one that tasks/README.md shows in full.
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tasks/catalog.h"
#include "tests/support/paths.h"

namespace dorabench {
namespace {

const TaskCatalog& catalog() {
    static const TaskCatalog all(test::source_dir() + "/tasks/specs");
    return all;
}

class CustomTask : public testing::Test {
protected:
    std::string spec(const std::string& yaml) {
        write_file_atomic(folder_ / "own.yaml", yaml);
        return folder_ / "own.yaml";
    }
    std::unique_ptr<Task> make(const std::string& yaml, const std::string& data, TaskOptions options = {}) {
        write_file_atomic(folder_ / "data.jsonl", data);
        options.data_dir = folder_.path();
        return catalog().make(spec(yaml), options);
    }
    Score answered(Task& task, size_t example, const std::string& text) {
        Response response;
        response.text = text;
        return task.score(task.examples().at(example), {response});
    }
    test::TempDir folder_;
};

// The fenced block that follows a line of the README.
std::string readme_block(const std::string& after) {
    std::string text = read_file(test::source_dir() + "/tasks/README.md");
    size_t at = text.find(after);
    EXPECT_NE(at, std::string::npos) << after;
    size_t begin = text.find('\n', text.find("```", at)) + 1;
    return text.substr(begin, text.find("```", begin) - begin);
}

TEST_F(CustomTask, TheReadmesExampleWorksAsItStands) {
    auto task = make(readme_block("`capitals.yaml`"), readme_block("`data.jsonl`"));
    ASSERT_EQ(task->examples().size(), 2u);
    const Example& example = task->examples()[0];
    EXPECT_EQ(example.prompt,
              "Which city is the capital of France?\nA. Lyon\nB. Paris\nC. Lille\nAnswer with a letter:");
    EXPECT_EQ(example.target, "B");
    EXPECT_EQ(answered(*task, 0, " B.").score, 1);
    EXPECT_EQ(answered(*task, 0, " C").score, 0);
    EXPECT_FALSE(answered(*task, 0, " Paris").parsed);
    EXPECT_EQ(answered(*task, 1, "A").score, 1); // the answer given as an index
    TaskOptions options;
    options.mode = "loglikelihood";
    task = make(readme_block("`capitals.yaml`"), readme_block("`data.jsonl`"), options);
    EXPECT_EQ(task->requests(task->examples()[0]).at(1).continuation, " Paris");
    options.data_dir = folder_.path();
    auto pairs = catalog().training_pairs(folder_ / "own.yaml", options);
    EXPECT_EQ(pairs.at(0).target, " Paris");
}

TEST_F(CustomTask, FixedOptionsNeedNoLabels) {
    auto task = make("name: yes_no\nkind: multiple_choice\ndata: {test: data.jsonl}\nprompt: \"{q} "
                     "\"\noptions: [\"yes\", \"no\"]\n"
                     "fields: {answer: a, id: key}\nmodes: [generate, loglikelihood]\n",
                     "{\"q\":\"Is it?\",\"a\":\"no\",\"key\":\"k1\"}\n");
    EXPECT_EQ(task->examples()[0].id, "k1");
    EXPECT_EQ(answered(*task, 0, "no\n").score, 1);
    EXPECT_FALSE(answered(*task, 0, "no, never").parsed);
    TaskResult result = task->aggregate(task->examples(), {Score{}});
    EXPECT_EQ(result.chance, 0.5);
}

TEST_F(CustomTask, GeneratesAndComparesByAnExpression) {
    auto task =
        make("name: gen\nkind: generate\ndata: {test: data.jsonl}\nprompt: \"{q}\"\nfields: {answer: a}\n"
             "answer: {pattern: \"is ([a-z]+)\", ignore_case: true}\ngeneration: {max_new_tokens: 5, stop: "
             "[\"\\n\"]}\n",
             "{\"q\":\"Sky?\",\"a\":\"Blue\"}\n{\"q\":\"Grass?\",\"a\":3}\n");
    EXPECT_EQ(answered(*task, 0, "It IS BLUE.").score, 1);
    EXPECT_EQ(answered(*task, 0, "Blue").parsed, false);
    auto request = task->requests(task->examples()[0]).at(0);
    EXPECT_EQ(request.generate.stop, std::vector<std::string>{"\n"});
    EXPECT_EQ(request.generate.decided, "(?i)is ([a-z]+)");
    EXPECT_EQ(task->examples()[1].target, "3");
    EXPECT_EQ(task->aggregate(task->examples(), {Score{}, Score{}}).primary, "exact_match");
}

TEST_F(CustomTask, NamesTheRecordThatDoesNotFit) {
    const std::string yaml =
        "name: own\nkind: multiple_choice\ndata: {test: data.jsonl}\nprompt: \"{q}\"\nlabels: [A, B, C]\n"
        "fields: {choices: options, answer: a, id: id}\n";
    auto complaint = [&](const std::string& data) {
        try {
            make(yaml, data)->examples();
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            return std::string(error.what()).substr(folder_.path().size() + 1);
        }
        return std::string("no complaint");
    };
    const std::string good = "{\"id\":1,\"q\":\"x\",\"options\":[\"u\",\"v\"],\"a\":\"v\"}\n";
    EXPECT_EQ(complaint(good), "no complaint");
    EXPECT_EQ(complaint(good + good), "data.jsonl:record 2: id: \"1\" stands twice");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":[\"u\",\"v\"],\"a\":\"w\"}"),
              "data.jsonl:record 1: a: expected A, B, got \"w\"");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":[\"u\",\"v\"],\"a\":2}"),
              "data.jsonl:record 1: a: expected A, B, got 2");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":[\"u\",\"v\"],\"a\":-1}"),
              "data.jsonl:record 1: a: expected A, B, got -1");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":\"u\",\"a\":0}"),
              "data.jsonl:record 1: options: expected an array of at least two options, got a string");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":[1,2,3,4],\"a\":0}"),
              "data.jsonl:record 1: expected at most 3 options, as the spec has labels, got 4");
    EXPECT_EQ(complaint("{\"id\":1,\"q\":\"x\",\"options\":[1,2]}"), "data.jsonl:record 1: no key \"a\"");
    EXPECT_EQ(complaint("{\"id\":1,\"p\":\"x\",\"options\":[1,2],\"a\":0}"),
              "data.jsonl:record 1: prompt \"{q}\": the record has no field \"q\"");
}

TEST_F(CustomTask, RefusesAModeThatTheSpecDoesNotList) {
    TaskOptions options;
    options.mode = "loglikelihood";
    EXPECT_THROW(make("name: e\nkind: exact_match\ndata: {test: data.jsonl}\n", "{}", options), Error);
}

} // namespace
} // namespace dorabench
