#include "tasks/metrics/delimited_table.h"

#include "harness/base/error.h"
#include <gtest/gtest.h>

using namespace dorabench;

TEST(DelimitedTable, ReadsQuotedCellsAndShortRows) {
    DelimitedTable table("t", "a\tb\tc\r\n1\t\"x\ty \"\"z\"\"\nnext\"\t3\r\n\r\n4\n", '\t');
    ASSERT_EQ(table.rows(), 2u);
    EXPECT_EQ(table.cell(0, "b"), "x\ty \"z\"\nnext");
    EXPECT_EQ(table.cell(0, "c"), "3");
    EXPECT_EQ(table.cell(1, "a"), "4");
    EXPECT_EQ(table.cell(1, "c"), "");
    EXPECT_FALSE(table.has("d"));
    EXPECT_THROW(table.cell(0, "d"), Error);
    EXPECT_EQ(table.place(1), "t, row 2");
}

TEST(DelimitedTable, ReadsTheLastOfColumnsOfOneName) {
    EXPECT_EQ(DelimitedTable("t", "a\ta\n1\t2\n", '\t').cell(0, "a"), "2");
}

TEST(DelimitedTable, RefusesLongRowsOpenQuotesAndEmptyFiles) {
    EXPECT_THROW(DelimitedTable("t", "a\tb\n1\t2\t3\n", '\t'), Error);
    EXPECT_THROW(DelimitedTable("t", "a\n\"open", '\t'), Error);
    EXPECT_THROW(DelimitedTable("t", "", '\t'), Error);
}
