#include "harness/base/error.h"
#include "harness/report/table.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Table sample() {
    Table table;
    table.title = "llama-7b";
    table.header = {"method", "rank", "boolq"};
    table.rows = {{"lora", "4", "2.3 ±0.5"}, {"dora", "16", "51.3 ±1.7"}, {"chance", "-", "50.0"}};
    table.rules = {2};
    table.notes = {"a note"};
    return table;
}

TEST(TableText, AlignsColumnsByWhatPeopleSee) {
    EXPECT_EQ(render(sample(), "text", {}), "llama-7b\n"
                                            "method  rank      boolq\n"
                                            "───────────────────────\n"
                                            "lora       4   2.3 ±0.5\n"
                                            "dora      16  51.3 ±1.7\n"
                                            "───────────────────────\n"
                                            "chance     -       50.0\n"
                                            "a note\n");
    EXPECT_EQ(render(sample(), "table", {}), render(sample(), "text", {}));
}

TEST(TableText, FoldsToTheWidthAndRepeatsTheKeyColumns) {
    Table table;
    table.header = {"method", "aaaaaaaa", "bbbbbbbb", "cccccccc"};
    table.rows = {{"lora", "1", "2", "3"}};
    std::string text = render(table, "text", {.width = 18});
    size_t lines = 0;
    for (size_t at = 0; (at = text.find("method", at)) != std::string::npos; ++at) ++lines;
    EXPECT_EQ(lines, 3u);
    size_t start = 0;
    while (start < text.size()) {
        size_t end = text.find('\n', start);
        EXPECT_LE(display_width(text.substr(start, end - start)), 18u);
        start = end + 1;
    }
}

TEST(TableText, HasNoEscapesUnlessColourIsAskedFor) {
    EXPECT_THAT(render(sample(), "text", {}), Not(HasSubstr("\033")));
    EXPECT_THAT(render(sample(), "text", {.color = true}), HasSubstr("\033[1m"));
}

TEST(TableText, SurvivesShortRowsAndLineBreaks) {
    Table table = sample();
    table.rows.push_back({"only\none"});
    EXPECT_THAT(render(table, "text", {}), HasSubstr("only one"));
    for (const std::string& format : table_formats()) EXPECT_NO_THROW(render(table, format)) << format;
    for (const std::string& format : table_formats()) EXPECT_NO_THROW(render(Table{}, format)) << format;
}

TEST(TableMarkdown, EscapesBarsAndMarksAlignment) {
    Table table = sample();
    table.rows[0][0] = "a|b";
    std::string text = render(table, "markdown");
    EXPECT_THAT(text, HasSubstr("| a\\|b | 4 |"));
    EXPECT_THAT(text, HasSubstr("| --- | ---: | ---: |"));
}

TEST(TableCsv, QuotesAsRfc4180Says) {
    Table table = sample();
    table.rows = {{"a,b", "say \"x\"", "1"}};
    EXPECT_EQ(render(table, "csv"), "method,rank,boolq\r\n\"a,b\",\"say \"\"x\"\"\",1\r\n");
}

TEST(TableLatex, UsesBooktabsAndEscapes) {
    Table table = sample();
    table.header[2] = "arc_easy %";
    std::string text = render(table, "latex");
    EXPECT_THAT(
        text, HasSubstr("\\begin{tabular}{lrr}\n\\toprule\nmethod & rank & arc\\_easy \\% \\\\\n\\midrule"));
    EXPECT_THAT(text, HasSubstr("2.3 $\\pm$0.5"));
    EXPECT_THAT(text, HasSubstr("\\bottomrule"));
}

TEST(TableJson, NamesEveryCellByItsColumn) {
    auto json = nlohmann::json::parse(render(sample(), "json"));
    EXPECT_EQ(json["rows"][1]["boolq"], "51.3 ±1.7");
}

TEST(TableFormats, RefuseAnUnknownNameWithASuggestion) {
    try {
        render(sample(), "markdwon");
        FAIL() << "an unknown format was taken";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::config);
        EXPECT_THAT(error.what(), HasSubstr("did you mean \"markdown\""));
    }
}

TEST(DisplayWidth, CountsColumnsNotBytes) {
    EXPECT_EQ(display_width("±1.7"), 4u);
    EXPECT_EQ(display_width("日本"), 4u);
    EXPECT_EQ(display_width("e\xcc\x81"), 1u);
    EXPECT_EQ(display_width("\xff\xfe"), 2u);
}

} // namespace
} // namespace dorabench
