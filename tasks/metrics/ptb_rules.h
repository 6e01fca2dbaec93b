#pragma once
// The table behind PtbTokenizer: what a token may look like. Of all rules that match at a place the longest
// match wins, the earlier rule where two are equally long.
#include <string>
#include <utility>
#include <vector>

namespace dorabench {

enum class PtbAction {
    keep,        // the token as it stands
    straight,    // with straight apostrophes
    fixed,       // `replacement`
    split,       // a word of ptb_split_words(): two tokens
    with_dot,    // the token and then a dot of its own: an abbreviation that also ends a sentence
    brackets,    // brackets inside become -lrb- and so on
    join_spaces, // spaces inside become no-break spaces: still one token
    dashes,      // one dash stays, two to four become --, more stay
};

struct PtbRule {
    std::string expression; // group 1, where there is one, is the token; the rest is what must follow
    bool caseless = false;
    PtbAction action = PtbAction::keep;
    const char* replacement = "";
    const char* needs = nullptr; // text that the line must hold for the rule to be worth a try
};

std::vector<PtbRule> ptb_rules();
std::vector<std::pair<std::string, size_t>> ptb_split_words(); // word and where it is cut: cannot -> can not
void emit_ptb_token(const PtbRule& rule, const std::string& token, std::vector<std::string>& out);

} // namespace dorabench
