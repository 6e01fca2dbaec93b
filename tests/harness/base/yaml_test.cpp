#include "harness/base/error.h"
#include "harness/base/yaml.h"
#include <gtest/gtest.h>

namespace dorabench {
namespace {

YamlNode parsed(const std::string& text) {
    std::vector<YamlError> errors;
    YamlNode node = parse_yaml(text, 0, errors);
    for (const auto& error : errors)
        ADD_FAILURE() << error.place.line << ":" << error.place.column << " " << error.message;
    return node;
}

// line:column: message of the first error.
std::string refused(const std::string& text) {
    std::vector<YamlError> errors;
    parse_yaml(text, 0, errors);
    if (errors.empty()) return "nothing is wrong";
    return cat(errors[0].place.line, ":", errors[0].place.column, ": ", errors[0].message);
}

std::string place(const YamlPlace& at) { return cat(at.line, ":", at.column); }

TEST(Yaml, KnowsThePlacesOfKeysAndValues) {
    YamlNode root = parsed("a: 1\nb:\n  ünïcode: {c: x, d: [y, 'z']}\n");
    const YamlEntry* inner = root.find("b")->value.find("ünïcode");
    EXPECT_EQ(place(root.find("a")->value.place), "1:4");
    EXPECT_EQ(place(inner->key_place), "3:3");
    EXPECT_EQ(place(inner->value.find("c")->value.place), "3:16"); // code points, not bytes
    EXPECT_EQ(place(inner->value.find("d")->value.items[1].place), "3:26");
}

TEST(Yaml, PutsAnAbsentValueAtItsKey) {
    YamlNode root = parsed("a:\nb: 1\n");
    EXPECT_TRUE(root.find("a")->value.is_null());
    EXPECT_EQ(place(root.find("a")->value.place), "1:1");
}

TEST(Yaml, TypesScalarsByTheCoreSchema) {
    YamlNode root =
        parsed("[8, '8', 0x1F, 0o17, 1e-4, .5, -2., true, yes, null, ~, 1%, 12_000, .inf, \"\", 1-2]");
    auto& i = root.items;
    EXPECT_EQ(i[0].as_integer(), 8);
    EXPECT_EQ(i[1].as_integer(), std::nullopt);
    EXPECT_TRUE(i[1].is_string());
    EXPECT_EQ(i[2].as_integer(), 31);
    EXPECT_EQ(i[3].as_integer(), 15);
    EXPECT_EQ(i[4].as_number(), 1e-4);
    EXPECT_EQ(i[5].as_number(), 0.5);
    EXPECT_EQ(i[6].as_number(), -2.0);
    EXPECT_EQ(i[7].as_bool(), true);
    EXPECT_TRUE(i[8].is_string()); // yes
    EXPECT_TRUE(i[9].is_null());
    EXPECT_TRUE(i[10].is_null());
    EXPECT_TRUE(i[11].is_string());
    EXPECT_TRUE(i[12].is_string());
    EXPECT_EQ(i[13].as_number(), std::nullopt);
    EXPECT_FALSE(i[13].is_string());
    EXPECT_TRUE(i[14].is_string());
    EXPECT_TRUE(i[15].is_string());
}

TEST(Yaml, KeepsToTheRangeOfIntegers) {
    YamlNode root =
        parsed("[9223372036854775807, 9223372036854775808, -9223372036854775808, 18446744073709551615, -1]");
    auto& i = root.items;
    EXPECT_EQ(i[0].as_integer(), INT64_MAX);
    EXPECT_EQ(i[1].as_integer(), std::nullopt);
    EXPECT_EQ(i[2].as_integer(), INT64_MIN);
    EXPECT_EQ(i[3].as_unsigned(), UINT64_MAX);
    EXPECT_EQ(i[4].as_unsigned(), std::nullopt);
}

TEST(Yaml, RefusesDuplicateKeysAllOfThem) {
    std::vector<YamlError> errors;
    parse_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n", 0, errors);
    ASSERT_EQ(errors.size(), 2u);
    EXPECT_EQ(errors[0].key, "b.c");
    EXPECT_EQ(place(errors[0].place), "2:11");
    EXPECT_EQ(errors[1].key, "a");
    EXPECT_NE(errors[1].message.find("line 1"), std::string::npos);
}

TEST(Yaml, ResolvesAnchorsAliasesAndMergeKeys) {
    YamlNode root =
        parsed("base: &b {rank: 8, alpha: 16}\none: *b\ntwo: {<<: *b, rank: 4}\nthree: {<<: [*b, {x: 1}]}\n");
    EXPECT_EQ(yaml_flow(root.find("one")->value), "{rank: 8, alpha: 16}");
    EXPECT_EQ(yaml_flow(root.find("two")->value), "{rank: 4, alpha: 16}");
    EXPECT_EQ(yaml_flow(root.find("three")->value), "{rank: 8, alpha: 16, x: 1}");
    EXPECT_EQ(place(root.find("one")->value.place), "2:6");
}

TEST(Yaml, RefusesAliasBombsByBudget) {
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 10; ++i) {
        std::string before = cat("*a", i - 1), list = before;
        for (int k = 0; k < 9; ++k) list += ", " + before;
        bomb += cat("a", i, ": &a", i, " [", list, "]\n");
    }
    EXPECT_NE(refused(bomb).find("once aliases are expanded"), std::string::npos) << refused(bomb);
    std::string text = "a: &a " + std::string(500'000, 'x') + "\nb: [*a";
    for (int i = 0; i < 20; ++i) text += ", *a";
    EXPECT_NE(refused(text + "]\n").find("once aliases are expanded"), std::string::npos);
}

TEST(Yaml, RefusesDeepNestingInEveryForm) {
    for (size_t depth : {100u, 10'000u, 200'000u}) {
        EXPECT_NE(refused("a: " + std::string(depth, '[')).find("levels of nesting"), std::string::npos)
            << depth;
        std::string maps, blocks;
        for (size_t i = 0; i < depth; ++i) maps += "{a: ";
        EXPECT_NE(refused(maps).find("levels of nesting"), std::string::npos) << depth;
        for (size_t i = 0; i < depth; ++i) blocks += "- ";
        EXPECT_NE(refused(blocks + "x").find("levels of nesting"), std::string::npos) << depth;
    }
    std::string block;
    for (size_t i = 0; i < 1000; ++i) block += std::string(i, ' ') + "a:\n";
    EXPECT_NE(refused(block).find("levels of nesting"), std::string::npos);
}

TEST(Yaml, RefusesWhatIsNoText) {
    EXPECT_EQ(refused("a: b\nc: \xFFx\n"), "2:4: expected UTF-8, got the byte 0xff");
    EXPECT_EQ(refused(std::string("a: b\0c", 6)), "1:5: expected text, got the control character 0");
    EXPECT_EQ(refused("\xFE\xFF\0a"), "1:1: expected UTF-8, got the byte 0xfe"); // UTF-16
    EXPECT_NE(refused(std::string(2 << 20, 'a')).find("at most 1.0 MiB"), std::string::npos);
}

TEST(Yaml, SaysWhatATabDoes) {
    std::vector<YamlError> errors;
    parse_yaml("a:\n\tb: 1\n", 0, errors);
    ASSERT_FALSE(errors.empty());
    EXPECT_EQ(errors[0].place.line, 2);
    EXPECT_EQ(errors[0].suggestion, "indent with spaces, not with tabs");
}

TEST(Yaml, ReadsByteOrderMarksAndWindowsLines) {
    YamlNode root = parsed("\xEF\xBB\xBF"
                           "a: x\r\nb:\r\n  c: 2\r\n");
    EXPECT_EQ(root.find("a")->value.text, "x");
    EXPECT_EQ(place(root.find("a")->key_place), "1:1");
    EXPECT_EQ(root.find("b")->value.find("c")->value.as_integer(), 2);
    EXPECT_EQ(place(root.find("b")->value.find("c")->value.place), "3:6");
}

TEST(Yaml, RefusesTagsSecondDocumentsAndOddKeys) {
    EXPECT_NE(refused("a: !!python/object x").find("tags are not supported"), std::string::npos);
    EXPECT_NE(refused("a: 1\n---\nb: 2\n").find("one document"), std::string::npos);
    EXPECT_NE(refused("{[a]: 1}").find("expected a key"), std::string::npos);
    EXPECT_NE(refused("a: *nowhere").find("not YAML"), std::string::npos);
    EXPECT_NE(refused("a: &a [*a]").find("an alias inside the value that it stands for"), std::string::npos);
    EXPECT_TRUE(parsed("a: !!str 8").find("a")->value.is_string());
    EXPECT_TRUE(parsed("").is_null());
    EXPECT_TRUE(parsed("# nothing\n").is_null());
}

TEST(Yaml, FlowTextParsesBack) {
    std::string hard =
        "[\"a: b\", \"#x\", \"\", \" lead\", \"quote \\\" and \\\\\", \"line\\nend\", \"8\", 8, \"true\", "
        "true, "
        "\"null\", null, \"1e5\", 1.0e5, \"-\", \"é\", \"~\", \"a,b\", \"{\", {\"odd key:\": [], plain: {}}]";
    YamlNode once = parsed(hard);
    std::string flow = yaml_flow(once);
    YamlNode again = parsed(flow);
    EXPECT_EQ(yaml_flow(again), flow);
    ASSERT_EQ(again.items.size(), once.items.size());
    for (size_t i = 0; i < once.items.size(); ++i) {
        EXPECT_EQ(again.items[i].text, once.items[i].text);
        EXPECT_EQ(again.items[i].is_string(), once.items[i].is_string()) << once.items[i].text;
        EXPECT_EQ(again.items[i].kind, once.items[i].kind);
    }
}

} // namespace
} // namespace dorabench
