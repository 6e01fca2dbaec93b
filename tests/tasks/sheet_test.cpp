#include "backends/io/zip_archive.h"
#include "harness/base/error.h"
#include "tasks/sheet.h"
#include <gmock/gmock.h>

namespace dorabench {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string part(const std::string& book, const std::string& name) {
    for (const ZipEntry& entry : zip_entries(book, "a workbook"))
        if (entry.name == name) return zip_content(book, entry, "a workbook");
    return "no part " + name;
}

TEST(ExcelSheet, HoldsTextAndNumbersAndLeavesEmptyCellsOut) {
    const std::string book = excel_sheet({"index", "question", "A"},
                                         {{"1000003", "a < b & \"c\"\nd\te", ""}, {"007", "é", "1.5"}});
    ASSERT_TRUE(looks_like_zip(book));
    const std::string sheet = part(book, "xl/worksheets/sheet1.xml"),
                      text = part(book, "xl/sharedStrings.xml");
    EXPECT_THAT(sheet, AllOf(HasSubstr("<c r=\"A2\"><v>1000003</v></c>"), HasSubstr("<c r=\"B2\" t=\"s\">"),
                             Not(HasSubstr("\"C2\"")), HasSubstr("<c r=\"A3\" t=\"s\">")));
    EXPECT_THAT(text, AllOf(HasSubstr("a &lt; b &amp; \"c\"\nd\te"), HasSubstr("é"), HasSubstr("<t>007</t>"),
                            HasSubstr("<t>1.5</t>"), HasSubstr("<t>index</t>")));
}

TEST(ExcelSheet, EqualTablesAreEqualBytes) {
    const std::vector<std::vector<std::string>> rows{{"1", "x"}};
    EXPECT_EQ(excel_sheet({"a", "b"}, rows), excel_sheet({"a", "b"}, rows));
    EXPECT_NE(excel_sheet({"a", "b"}, rows), excel_sheet({"a", "c"}, rows));
}

TEST(ExcelSheet, CutsWhatExcelHasNoRoomForAtACharactersEnd) {
    std::string cell = "x";
    while (cell.size() < 40000) cell += "é"; // two bytes each, so that the bound falls within one
    const std::string text = part(excel_sheet({"a"}, {{cell}}), "xl/sharedStrings.xml");
    EXPECT_THAT(text, AllOf(HasSubstr(cell.substr(0, 32767)), Not(HasSubstr(cell.substr(0, 32769)))));
    EXPECT_THROW(excel_sheet({"a", "b"}, {{"one"}}), Error);
}

} // namespace
} // namespace dorabench
