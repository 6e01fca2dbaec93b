#include "tasks/contamination.h"
#include <gtest/gtest.h>

namespace dorabench {
namespace {

Example item(const std::string& id, const std::string& body) {
    Example example;
    example.id = id;
    example.prompt = "Please answer the following question with true or false and give nothing else but that word: " + body + " Answer format: true/false";
    return example;
}

const std::string kLong = "the quick brown fox jumps over the lazy dog while seven grey owls watch from an old oak";

TEST(ContaminationScan, FindsAPlantedItemAndItsNearCopy) {
    ContaminationScan scan;
    TrainingPair whole, near;
    whole.prompt = item("x", kLong).prompt;
    near.prompt = "Something else entirely, then: SEVEN grey owls watch from an old oak as a boat with nine red sails goes slowly by the shore";
    scan.add_training(whole);
    scan.add_training(near);
    std::vector<Example> examples = {item("whole", kLong), item("clean", "is water wet in the town of tarn"),
                                     item("near", "are there boats: an old oak as a boat with nine red sails goes slowly by the shore")};
    Contamination found = scan.scan(examples);
    EXPECT_EQ(found.items, 3);
    EXPECT_EQ(found.exact, 1);
    EXPECT_EQ(found.ngram13, 2);
    EXPECT_EQ(found.first, (std::vector<std::string>{"whole", "near"}));
}

TEST(ContaminationScan, WordsOfTheTemplateAreNoOverlap) {
    ContaminationScan scan;
    TrainingPair other;
    other.prompt = item("x", "an entirely different matter").prompt; // shares the template's seventeen words
    scan.add_training(other);
    EXPECT_EQ(scan.scan({item("a", "one thing"), item("b", "another thing altogether")}).ngram13, 0);
}

TEST(ContaminationScan, EmptyTextsAreCountedAndHarmless) {
    ContaminationScan scan;
    scan.add_training({});
    Contamination found = scan.scan({Example{}, Example{}});
    EXPECT_EQ(found.items, 2);
    EXPECT_EQ(found.ngram13, 0);
    EXPECT_EQ(scan.scan({}).items, 0);
}

} // namespace
} // namespace dorabench
