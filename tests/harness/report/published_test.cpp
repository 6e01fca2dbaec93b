#include "harness/base/error.h"
#include "harness/report/published.h"
#include "tests/support/paths.h"
#include <cmath>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dorabench {
namespace {

const std::vector<std::string> kQkvud = {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"};

std::vector<PublishedRow> all() { return read_published(test::source_dir() + "/results/baselines"); }

TEST(Published, HoldsThePapersTables) {
    auto rows = all();
    EXPECT_EQ(rows.size(), 20u + 8u + 4u + 8u + 3u);
    auto dora = published(rows, "llama-7b", "dora", 32, kQkvud);
    ASSERT_GE(dora.size(), 1u);
    EXPECT_EQ(dora[0].table, "Table 1");
    EXPECT_DOUBLE_EQ(dora[0].scores.at("hellaswag"), 87.2);
    EXPECT_DOUBLE_EQ(*dora[0].average, 78.4);
    auto fine = published(rows, "llama-7b", "dora", 32, {"q_proj", "k_proj", "v_proj"},
                          {"o_proj", "gate_proj", "up_proj", "down_proj"});
    ASSERT_EQ(fine.size(), 1u);
    EXPECT_DOUBLE_EQ(*fine[0].params_percent, 0.39);
    EXPECT_TRUE(published(rows, "llama-7b", "dora", 33, kQkvud).empty());
    EXPECT_TRUE(published(rows, "llama-7b", "dora", 32, {"q_proj"}).empty());
}

TEST(Published, AveragesAgreeWithTheirFiguresUnlessANoteSaysSo) {
    for (const PublishedRow& row : all()) {
        if (row.scores.size() != 8 || !row.average || row.note.find("printed average") != std::string::npos)
            continue;
        double sum = 0;
        for (const auto& [task, score] : row.scores) sum += score;
        EXPECT_NEAR(sum / 8, *row.average, 0.0801)
            << row.backbone << " " << row.method << " " << row.rank.value_or(0);
    }
}

TEST(Published, RefusesADamagedFileByName) {
    test::TempDir temp;
    std::ofstream(temp / "bad.yaml")
        << "source: x\ntable: y\ncolumns: [a, b]\nrows:\n  - {backbone: x, method: lora, scores: [1]}\n";
    try {
        read_published(temp.path());
        FAIL() << "two columns, one score";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        EXPECT_THAT(error.what(), ::testing::HasSubstr("bad.yaml"));
    }
    EXPECT_TRUE(read_published(temp / "absent").empty());
}

TEST(CanonicalBackbone, KnowsOneNameForManySpellings) {
    EXPECT_EQ(canonical_backbone("meta-llama/Llama-2-7b-hf"), "llama2-7b");
    EXPECT_EQ(canonical_backbone("yahma/llama-7b-hf"), "llama-7b");
    EXPECT_EQ(canonical_backbone("liuhaotian/llava-v1.5-7b"), "llava-1.5-7b");
    EXPECT_EQ(canonical_backbone("llava-hf/llava-1.5-7b-hf"), "llava-1.5-7b");
    EXPECT_EQ(canonical_backbone("meta-llama/Meta-Llama-3-8B"), "llama3-8b");
    EXPECT_EQ(canonical_backbone("Llama-3.1-8B"), "llama3.1-8b");
    EXPECT_EQ(canonical_backbone("llama3-8b"), "llama3-8b");
    EXPECT_EQ(canonical_backbone(""), "");
}

TEST(PercentVerdict, NamesTheConventionThatGivesThePublishedFigure) {
    constexpr int64_t base = 6738415616;
    auto verdict = [&](int64_t trainable, double published) {
        return percent_verdict(trainable, base + trainable, base, published);
    };
    EXPECT_EQ(verdict(56975360, 0.84), "matches");
    EXPECT_EQ(verdict(14901248, 0.22), "matches");
    EXPECT_THAT(verdict(28049408, 0.42), ::testing::HasSubstr("differs: 0.41 here"));
    EXPECT_THAT(verdict(28049408, 0.42), ::testing::HasSubstr("base alone as denominator gives it"));
    EXPECT_THAT(verdict(7888896, 0.11), ::testing::HasSubstr("truncation"));
    EXPECT_THAT(percent_verdict(29097984, 8030261248 + 29097984, 8030261248, 0.35),
                ::testing::HasSubstr("neither"));
    EXPECT_DOUBLE_EQ(printed_percent(2949120, base + 2949120), 0.04);
}

} // namespace
} // namespace dorabench
