#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/catalog.h"
#include "tasks/spec.h"
#include "tests/support/paths.h"

namespace dorabench {
namespace {

const std::string kGood =
    "name: mine\nkind: multiple_choice\ndata: {test: t.jsonl}\noptions: [yes, no]\nfields: {answer: a}\n"
    "prompt: \"{q}\"\n";

class SpecFile : public testing::Test {
protected:
    std::string complaint(const std::string& content) {
        std::string path = folder_ / "mine.yaml";
        write_file_atomic(path, content);
        try {
            read_task_spec(path);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::config);
            return replace_all(error.what(), folder_.path() + "/", "");
        }
        return "no complaint";
    }
    test::TempDir folder_;
};

TEST_F(SpecFile, MayBeShort) { EXPECT_EQ(complaint(kGood), "no complaint"); }

TEST_F(SpecFile, NamesFileLineAndColumnOfUnknownKeys) {
    EXPECT_TRUE(complaint(kGood + "metric: [accuracy]\n")
                    .starts_with("mine.yaml:7:1: metric: no such key; did you mean \"metrics\"?"))
        << complaint(kGood + "metric: [accuracy]\n");
    EXPECT_TRUE(complaint(kGood + "answer: {pattern: a, macth: last}\n")
                    .starts_with("mine.yaml:7:22: answer.macth: no such key; did you mean \"match\"?"));
}

TEST_F(SpecFile, NamesThePlaceOfWrongValues) {
    EXPECT_TRUE(complaint(kGood + "generation: {num_beams: four}\n")
                    .starts_with("mine.yaml:7:25: generation.num_beams: expected a number, got \"four\""));
    EXPECT_TRUE(
        complaint(kGood + "chance: 3\n").starts_with("mine.yaml:7:9: chance: expected 0 to 1, got 3"));
    EXPECT_TRUE(complaint(kGood + "template: lama3\n")
                    .starts_with("mine.yaml:7:11: template: no template is called \"lama3\""));
    EXPECT_NE(complaint(kGood + "answer: {pattern: \"(a\"}\n").find("expected a regular expression"),
              std::string::npos);
    EXPECT_NE(complaint(kGood + "modes: [generat]\n").find("did you mean \"generate\"?"), std::string::npos);
    EXPECT_NE(complaint(kGood + "name: again\n").find("stands twice"), std::string::npos);
    EXPECT_NE(complaint("name: [a\n").find("mine.yaml:"), std::string::npos);
    EXPECT_NE(complaint("- a\n").find("expected a mapping"), std::string::npos);
    EXPECT_NE(complaint("").find("expected a mapping"), std::string::npos);
    EXPECT_NE(complaint(kGood + "generation: {num_beams: 1.5}\n").find("whole number"), std::string::npos);
    EXPECT_NE(complaint(kGood + "answer: text\n").find("expected a mapping"), std::string::npos);
}

TEST_F(SpecFile, SaysWhatAKindNeeds) {
    EXPECT_NE(complaint("kind: generate\nname: a\ndata: {test: t}\n").find("expected answer.pattern"),
              std::string::npos);
    EXPECT_NE(complaint("kind: training\nname: a\n").find("expected data.train"), std::string::npos);
    EXPECT_NE(complaint("kind: exact_match\nname: a\n").find("data.test"), std::string::npos);
    EXPECT_NE(complaint("kind: synthetic\nname: a\n").find("expected the key world"), std::string::npos);
    EXPECT_NE(complaint("kind: multiple_choice\nname: a\ndata: {test: t}\n").find("exactly one of"),
              std::string::npos);
    EXPECT_NE(complaint("kind: exact_match\nname: a\ndata: {test: t}\nmodes: [loglikelihood]\n")
                  .find("only multiple_choice"),
              std::string::npos);
    EXPECT_NE(complaint(kGood + "data: {test: t}\n").find("twice"), std::string::npos);
    EXPECT_NE(complaint("kind: exact_match\nname: a\ndata: {test: \"{file}.json\"}\n").find("files:"),
              std::string::npos);
    EXPECT_NE(complaint("kind: exact_match\n").find("name:"), std::string::npos);
}

TEST_F(SpecFile, IncludesASharedPartAndWinsOverIt) {
    write_file_atomic(folder_ / "part.yaml", kGood + "generation: {num_beams: 4, max_new_tokens: 9}\n");
    std::string path = folder_ / "own.yaml";
    write_file_atomic(path, "include: part.yaml\nname: own\ngeneration: {num_beams: 2}\n");
    TaskSpec spec = read_task_spec(path);
    EXPECT_EQ(spec.name, "own");
    EXPECT_EQ(spec.num_beams, 2);
    EXPECT_EQ(spec.max_new_tokens, 9);
    EXPECT_NE(complaint("include: none.yaml\n").find("no file none.yaml"), std::string::npos);
    EXPECT_NE(complaint("include: mine.yaml\n").find("a circle?"), std::string::npos);
}

TEST_F(SpecFile, RefusesANameThatIsTaken) {
    make_folder(folder_ / "specs");
    write_file_atomic(folder_ / "specs/a.yaml", kGood);
    write_file_atomic(folder_ / "specs/b.yaml", kGood);
    EXPECT_THROW(TaskCatalog(folder_ / "specs"), Error);
    EXPECT_THROW(TaskCatalog(folder_ / "nothing"), Error);
}

} // namespace
} // namespace dorabench
