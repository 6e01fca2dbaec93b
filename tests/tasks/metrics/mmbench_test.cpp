#include "tasks/metrics/mmbench.h"

#include "tasks/metrics/delimited_table.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <nlohmann/json.hpp>

using namespace dorabench;
using dorabench::test::MetricFiles;
using dorabench::test::shared_dir;

TEST(MmbenchOption, ReadsLettersPhrasesAndTexts) {
    const std::map<std::string, std::string> options = {
        {"A", "black cat"}, {"B", "red ball"}, {"C", "green tree"}};
    EXPECT_EQ(mmbench_option("B", options), "B");
    EXPECT_EQ(mmbench_option("(B) red ball", options), "B");
    EXPECT_EQ(mmbench_option("The answer is C.", options), "C");
    EXPECT_EQ(mmbench_option("It is the RED ball", options), "B");
    EXPECT_EQ(mmbench_option("A or B", options), "");
    EXPECT_EQ(mmbench_option("Not A, the answer is B", options), "B");
    EXPECT_EQ(mmbench_option("a black cat and a red ball", options), "");
    EXPECT_EQ(mmbench_option("A man rides a horse on the beach", options),
              ""); // the letter is not among the last words
    EXPECT_EQ(mmbench_option("", options), "");
}

TEST(MmbenchOption, AgreesWithTheToolkitOnEveryRow) {
    DORABENCH_NEEDS_SHARED();
    const std::string folder = shared_dir() + "/data/made_up/mmbench/";
    const auto expected = nlohmann::json::parse(read_file(folder + "expected.json"));
    const DelimitedTable table = read_table(folder + "mmbench_dev.tsv", '\t');
    for (size_t row = 0; row < table.rows(); ++row) {
        std::map<std::string, std::string> options;
        for (const char* letter : {"A", "B", "C", "D"})
            if (!table.cell(row, letter).empty()) options[letter] = table.cell(row, letter);
        const auto& want = expected["parsed"][table.cell(row, "index")];
        std::string got = mmbench_option(table.cell(row, "prediction"), options);
        EXPECT_EQ(got, want.is_string() && want.get<std::string>().size() == 1 ? want.get<std::string>() : "")
            << table.cell(row, "prediction");
    }
}

TEST(Mmbench, CountsAQuestionOnlyWhenEveryRotationIsRight) {
    const std::string table =
        "index\tA\tB\tanswer\tcategory\tprediction\n0\tcat\tdog\tA\tx\tA\n1000000\tdog\tcat\tB\tx\tB\n"
        "1\tcat\tdog\tA\ty\tcat\n1000001\tdog\tcat\tB\ty\tA\n";
    auto values = MetricFiles(table, table).compute("mmbench");
    EXPECT_EQ(values["circular"].value, 0.5);
    EXPECT_EQ(values["vanilla"].value, 1);
    EXPECT_EQ(values["category.y"].value, 0);
    EXPECT_EQ(values["circular"].n, 2);
}

TEST(Mmbench, RefusesDamagedTables) {
    const std::string good = "index\tA\tB\tanswer\tprediction\n0\tcat\tdog\tA\tA\n";
    EXPECT_EQ(MetricFiles(good, good).error("mmbench"), "");
    EXPECT_NE(MetricFiles(good, "index\tx\n0\tA\n").error("mmbench").find("prediction"), std::string::npos);
    EXPECT_NE(MetricFiles(good, "index\tprediction\n1\tA\n").error("mmbench").find("missing: 0"),
              std::string::npos);
    const std::string bad_answer = "index\tA\tB\tanswer\tprediction\n0\tcat\tdog\tC\tA\n";
    EXPECT_NE(MetricFiles(bad_answer, good).error("mmbench").find("row 1"), std::string::npos);
    const std::string rotation = "index\tA\tB\tanswer\tprediction\n1000000\tcat\tdog\tA\tA\n";
    EXPECT_NE(MetricFiles(rotation, rotation).error("mmbench").find("first rotation"), std::string::npos);
    EXPECT_NE(MetricFiles("index\tA\nx\tcat\n", good).error("mmbench"), "");
}
