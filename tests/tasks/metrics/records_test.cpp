#include "tasks/metrics/records.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <gtest/gtest.h>

using namespace dorabench;

namespace {

nlohmann::json read(const std::string& content) {
    dorabench::test::TempDir folder;
    dorabench::test::put_file(folder / "f.json", content);
    return read_json(folder / "f.json");
}

std::string message(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        return error.what();
    }
    return "";
}

} // namespace

TEST(Records, ReadsDocumentsAndLines) {
    EXPECT_EQ(read("[1, 2]").size(), 2u);
    EXPECT_TRUE(read("{\"a\": 1}").is_object());
    EXPECT_TRUE(read("{\"a\":\n1}\n").is_object());
    EXPECT_EQ(read("\xEF\xBB\xBF{\"a\": 1}\n\n{\"a\": 2}").size(), 2u);
}

TEST(Records, RefusesWhatIsNotJson) {
    for (const std::string bad :
         {"", "{", "[1, 2", "{\"a\": 1} x", "{\"a\": 1}\n{\"a\"", "\xFF", "\"\xFF\"", "NaN"})
        EXPECT_NE(message([&] { read(bad); }), "") << bad;
    EXPECT_NE(message([] { read("{\"a\": 1}\n{\"a\": }"); }).find("line 2"), std::string::npos);
}

TEST(Records, RefusesDeepNesting) {
    const std::string deep(1000000, '[');
    EXPECT_NE(message([&] { read(deep); }).find("nested"), std::string::npos);
    EXPECT_NE(message([&] { read("{\"a\": 1}\n" + deep); }).find("nested"), std::string::npos);
    EXPECT_EQ(read("\"" + std::string(1000, '[') + "\\\"[\"").get<std::string>().size(),
              1002u); // within a string
}

TEST(Records, NamesKeyPlaceAndFind) {
    const auto json = read(R"([{"id": 7, "text": 3, "big": 18446744073709551615, "half": 0.5}])");
    const Record record = Record(json, "file").items()[0];
    EXPECT_EQ(record.id("id"), "7");
    EXPECT_NE(message([&] { record.text("text"); }).find("file, record 1, text: a string expected, got 3"),
              std::string::npos);
    EXPECT_NE(message([&] { record.at("none"); }).find("\"none\" expected"), std::string::npos);
    EXPECT_NE(message([&] { record.whole("big"); }), "");
    EXPECT_NE(message([&] { record.whole("half"); }), "");
    EXPECT_NE(message([&] { record.id("half"); }), "");
    EXPECT_NE(message([&] { record.flag("id"); }), "");
    EXPECT_NE(message([&] { record.list("id"); }), "");
    EXPECT_NE(message([&] { record.at("id").at("x"); }), "");
}

TEST(Records, NamesIdsOfOneSideAlone) {
    const Texts predictions = {{"1", "a"}, {"3", "b"}};
    EXPECT_NE(message([&] {
                  expect_same_ids({"1", "2", "3"}, "gold", predictions, "pred");
              }).find("pred: 1 id of gold is missing: 2"),
              std::string::npos);
    EXPECT_NE(message([&] {
                  expect_same_ids({"1"}, "gold", predictions, "pred");
              }).find("gold: 1 id of pred is missing: 3"),
              std::string::npos);
    EXPECT_EQ(message([&] { expect_same_ids({"1", "3"}, "gold", predictions, "pred"); }), "");
}
