#pragma once
// The words of the synthetic world (world.h), all lower case and none of them twice.
#include <string>
#include <vector>

namespace dorabench {

struct WorldWords {
    std::vector<std::string> names, places, trades, things, colours;
    std::vector<std::string> grammar; // every other word and sign of the phrases
    std::vector<std::string> openers; // words that begin a text, without a space before them
};
const WorldWords& world_words();

} // namespace dorabench
