#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/cli/commands.h"
#include "tests/support/paths.h"
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using test::TempDir;
using testing::HasSubstr;

void put(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

std::string folder_with_tokenizer(const TempDir& dir) {
    put(dir / "vocab.json", R"({"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6,"Ġ":7})");
    put(dir / "merges.txt", "#version: 0.2\na b\n");
    return dir.path();
}

TEST(TokenizeCommand, PrintsIdsAndTheDecodedTextOfEveryLine) {
    TempDir dir;
    put(dir / "in.jsonl", "{\"id\":\"x\",\"text\":\"ab a\"}\n\n{\"id\":7,\"text\":\"</s>b\"}\n");
    TokenizeOptions options{folder_with_tokenizer(dir), dir / "in.jsonl", false};
    testing::internal::CaptureStdout();
    EXPECT_EQ(tokenize_command(options, {}), 0);
    EXPECT_EQ(testing::internal::GetCapturedStdout(),
              "{\"id\":\"x\",\"ids\":[0,6,7,4,2],\"decoded\":\"<s>ab a</s>\"}\n"
              "{\"id\":7,\"ids\":[0,2,5,2],\"decoded\":\"<s></s>b</s>\"}\n");
    options.no_special = true;
    testing::internal::CaptureStdout();
    EXPECT_EQ(tokenize_command(options, {}), 0);
    EXPECT_THAT(testing::internal::GetCapturedStdout(),
                HasSubstr("{\"id\":7,\"ids\":[2,5],\"decoded\":\"</s>b\"}"));
}

TEST(TokenizeCommand, NamesABadLineAfterPrintingTheGoodOnes) {
    TempDir dir;
    std::string tokenizer = folder_with_tokenizer(dir);
    for (const char* bad : {"{\"id\":\"y\"}", "{\"text\":\"a\"}", "{\"id\":\"y\",\"text\":5}", "[]", "{",
                            "{\"id\":1,\"text\":\"\xFF\"}"}) {
        put(dir / "in.jsonl", std::string("{\"id\":\"x\",\"text\":\"a\"}\n") + bad + "\n");
        testing::internal::CaptureStdout();
        try {
            tokenize_command({tokenizer, dir / "in.jsonl", true}, {});
            ADD_FAILURE() << bad;
        } catch (const Error& e) {
            EXPECT_EQ(exit_code(e.kind()), 6);
            EXPECT_THAT(e.what(), HasSubstr("in.jsonl:2: expected"));
        }
        EXPECT_EQ(testing::internal::GetCapturedStdout(), "{\"id\":\"x\",\"ids\":[4],\"decoded\":\"a\"}\n")
            << bad;
    }
}

} // namespace
} // namespace dorabench
