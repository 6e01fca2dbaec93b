#include "tasks/metrics/ptb_rules.h"

#include "harness/base/text.h"

namespace dorabench {

namespace {

const std::string kLetter = "[\\p{L}\\p{M}]";
const std::string kAlnum = "[\\p{L}\\p{M}\\p{Nd}]";
const std::string kApos = "['\\x{2019}]";
const std::string kWord = kLetter + kAlnum + "*+(?:[.!?]" + kLetter + kAlnum + "*+)*";
const std::string kNumber = "(?:\\d*+(?:[.:,]\\d+)+|\\d+)";
const std::string kInitials = "[A-Za-z](?:\\.[A-Za-z])*";

// Abbreviations whose dot stays. A capital (or a tag) behind them means that the dot ended a sentence too.
const std::string kEndingAbbreviations =
    "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs|thu|fri|"
    "ala|ariz|calif|colo|conn|dak|fla|ga|ind|kans?|ky|md|mich|minn|mo|mont|neb|nev|okla|penn|tenn|va|vt|wisc?"
    "|wyo|"
    "inc|cos?|corp|pt[ye]s?|ltd|plc|rt|bancorp|bhd|assn|univ|intl|sys|bldg|est|ext|sq|tel|jr|sr|bros|blvd|rd|"
    "esq|ct|"
    "ph\\.d|ed\\.d|etc|al|seq";
const std::string kCapitalAbbreviations =
    "Ark|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash"; // words too when in lower case
// Titles and the like, which never end a sentence.
const std::string kInnerAbbreviations =
    "dept|invt|elec|natl|m[ft]g|ste?|ave|drs?|mrs?|ms|messrs|profs?|sens?|reps?|attys?|lt|col|gen|govs?|adm|"
    "rev|maj|sgt|"
    "cpl|pvt|mt|capt|pres|lieut|hon|brig|comdr|cmdr|pfc|spc|supts?|det|mme|mlle|vs|cf|ft|asst|assoc|treas";
const std::string kNumberAbbreviations = "figs?|nos?|art|pp|op"; // only before a number
// Words that open a sentence, behind an initial or an acronym.
const std::string kSentenceWords = "(?:A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|"
                                   "However|If|In|It|Last|Many|More|Mr\\.|Ms\\.|"
                                   "Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|"
                                   "These|They|This|We|What|When|While|Yet|You)"
                                   "(?=\\s)";
const std::string kTag =
    "<(?:/?[A-Za-z][A-Za-z0-9:.-]*(?: +[A-Za-z][A-Za-z0-9:._-]*(?: *= *(?:'[^'>\\n]*'|\"[^\">\\n]*\"))?)* */?"
    "|[!?][A-Za-z-][^>\\n]*)>";

void add_words(std::vector<PtbRule>& rules) {
    const std::string short_form = kApos + "(?:[smd]|ll|re|ve)(?!" + kAlnum + ")";
    const std::string end = "(?!" + kAlnum + ")";
    rules.push_back({"(?:cannot|gonna|gotta|lemme|gimme|wanna)" + end, true, PtbAction::split});
    rules.push_back({"(" + kApos + "t)(?:is|was)(?:n" + kApos + "t)?" + end, true, PtbAction::straight});
    rules.push_back({kTag, false, PtbAction::join_spaces, "", "<"});
    // the part before a short form: what follows counts for the length, not for the token
    rules.push_back({"(" + kWord + ")" + short_form, true, PtbAction::keep, ""});
    rules.push_back({"(" + kLetter + kAlnum + "*?)n(?:" + kApos + "|`)t" + end, true});
    rules.push_back({kWord});
    rules.push_back({kApos + "n" + kApos + "|(?:" + kApos + "n|ol" + kApos + "|" + kApos +
                         "(?:em|cause|till?|[2-9]0s)|c" + kApos + "mon|o" + kApos + "er|dunkin" + kApos +
                         "|somethin" + kApos + "|cap" + kApos + "n|c" + kApos + "est)" + end,
                     true});
    rules.push_back(
        {"(?:ma" + kApos + "am|li" + kApos + "l|qu" + kApos + kLetter + ")" + kAlnum + "*", true});
    rules.push_back({"[ns]" + kApos + kLetter + "{2,}+", true});
    rules.push_back({"[dlj]" + kApos + "(?=" + kLetter + ")", true});
    rules.push_back({"y" + kApos + "(?=" + kLetter + ")", true});
    rules.push_back({kApos + "\\d\\d(?=\\s)"});
    rules.push_back({"(" + short_form + ")", true, PtbAction::straight});
    rules.push_back({"(n(?:" + kApos + "|`)t)" + end, true, PtbAction::straight});
}

void add_addresses(std::vector<PtbRule>& rules) {
    const std::string tail = "[^\\s\"<>|()]+[^\\s\"<>|.!?(),{}-]";
    rules.push_back({"https?://" + tail, true, PtbAction::keep, "", "://"});
    rules.push_back({"(?:www\\.(?:[^\\s\"<>|.!?(),{}]+\\.)+[a-z]{2,4}|(?:[^\\s\"`'<>|.!?(),_$/"
                     "-]+\\.)+(?:com|net|org|edu))"
                     "(?:/" +
                         tail + ")?",
                     true, PtbAction::keep, "", "."});
    rules.push_back({"<?[A-Za-z0-9][^\\s\"<>|()]*@(?:[^\\s\"<>|().]+\\.)*[^\\s\"<>|().]+>?", false,
                     PtbAction::keep, "", "@"});
    rules.push_back({"@[A-Za-z_][A-Za-z_0-9]*", false, PtbAction::keep, "", "@"});
    rules.push_back({"#" + kLetter + "+", false, PtbAction::keep, "", "#"});
}

void add_numbers(std::vector<PtbRule>& rules) {
    const std::string elision = "(?:[dol]" + kApos + "(?=" + kLetter + "{2}))?"; // o'clock, d'Artagnan
    rules.push_back({"\\d{1,2}[-/]\\d{1,2}[-/]\\d{2,4}"});
    rules.push_back({"[-+]?" + kNumber});
    rules.push_back(
        {"(?:\\d{1,4}[- ])?\\d{1,4}\\\\?[/\\x{2044}]\\d{1,4}", false, PtbAction::join_spaces, "", "/"});
    for (auto [sign, text] : {std::pair("\\x{BC}", "1/4"),
                              {"\\x{BD}", "1/2"},
                              {"\\x{BE}", "3/4"},
                              {"\\x{2153}", "1/3"},
                              {"\\x{2154}", "2/3"}})
        rules.push_back({sign, false, PtbAction::fixed, text});
    rules.push_back({"-(?:[lr][rcs]b)-", true, PtbAction::keep, "", "-"});
    rules.push_back({"c\\.d\\.s|pro-|anti-|s&p-500|s&ls|c\\+\\+|c#", true});
    rules.push_back({elision + kAlnum + "+(?:-" + elision + kAlnum + "+)*", true});
    rules.push_back({"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+"});
    rules.push_back({"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}", false,
                     PtbAction::keep, "", "/"});
    rules.push_back({"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)+", false, PtbAction::keep, "", "_"});
    rules.push_back({"[A-Za-z0-9][A-Za-z0-9.,]*(?:-(?:[A-Za-z0-9]+|" + kInitials + "\\.))+", false,
                     PtbAction::keep, "", "-"});
    rules.push_back(
        {"(?:\\+\\+?)?(?:\\d{2,4}[- ])?\\d{2,4}[- ]\\d{3,4}[- ]?\\d{3,5}", false, PtbAction::join_spaces});
    rules.push_back({"\\(\\d{2,3}\\) ?\\d{3,4}[- ]?\\d{3,5}", false, PtbAction::brackets, "", "("});
    rules.push_back({"[A-Z]*\\$|#+", false});
    rules.push_back({"\\x{A3}", false, PtbAction::fixed, "#"});
    rules.push_back({"[\\x{A4}\\x{20A0}\\x{20AC}]", false, PtbAction::fixed, "$"});
    rules.push_back({"\\x{A2}", false, PtbAction::fixed, "cents"});
}

void add_abbreviations(std::vector<PtbRule>& rules) {
    const std::string capital = "(?=\\s+(?:[A-Z]|<[A-Za-z/!?]))";
    const std::string opening = "(?=\\s+(?:" + kSentenceWords + "|<[A-Za-z/!?]))";
    const std::string acronym = "(?:" + kInitials + "|(?:Canada|Sino|Korean|EU|Japan|non)-U\\.S)\\.";
    auto add = [&](const std::string& expression, bool caseless, PtbAction action) {
        rules.push_back({expression, caseless, action, "", "."});
    };
    add("(?:(?:" + kEndingAbbreviations + ")\\.)(?-i:" + capital + ")", true, PtbAction::with_dot);
    add("(?:" + kEndingAbbreviations + ")\\.", true, PtbAction::keep);
    add("(?:" + kCapitalAbbreviations + ")\\." + capital, false, PtbAction::with_dot);
    add("(?:" + kCapitalAbbreviations + ")\\.", false, PtbAction::keep);
    add("(?:" + kInnerAbbreviations + ")\\.", true, PtbAction::keep);
    add("(?:" + kNumberAbbreviations + ")\\.(?=\\s*\\d)", true, PtbAction::keep);
    add("[A-Za-z]\\.(?!\\s+(?:" + kSentenceWords + "|<[A-Za-z/!?]))", false, PtbAction::keep);
    add("(?:[A-Za-z](?:\\.[A-Za-z])+|(?:Canada|Sino|Korean|EU|Japan|non)-U\\.S)\\." + opening, false,
        PtbAction::with_dot);
    add("(?:[A-Za-z](?:\\.[A-Za-z])+|(?:Canada|Sino|Korean|EU|Japan|non)-U\\.S)\\.", false, PtbAction::keep);
    add("(" + kWord + "\\.)(?=[,;:])", false, PtbAction::keep);
}

void add_signs(std::vector<PtbRule>& rules) {
    auto fixed = [&](const char* expression, const char* text) {
        rules.push_back({expression, true, PtbAction::fixed, text});
    };
    fixed("[\\x{2013}-\\x{2015}]|&(?:mdash|ndash);", "--");
    fixed("&amp;", "&");
    fixed("&lt;", "<");
    fixed("&gt;", ">");
    fixed("&nbsp;", "");
    fixed("(?:\"|&quot;)(?=[A-Za-z0-9$])", "``");
    fixed("\"|&quot;|[\\x{201D}\\x{BB}]", "''");
    fixed("[\\x{201C}\\x{AB}]", "``");
    fixed("[\\x{2018}\\x{201B}\\x{2039}]", "`");
    fixed("['\\x{2019}](?=[A-Za-z][^\\s])", "`");
    fixed("[\\x{2019}\\x{203A}]", "'");
    fixed("\\.{3,5}|(?:\\. ){2,4}\\.|\\x{2026}", "...");
    rules.push_back({"[<>]?[:;=][-o*']?[()DPdpO\\\\{@|\\[\\]](?![A-Za-z])", false, PtbAction::brackets});
    rules.push_back({"\\^_\\^|<<|>>|''|``|&#\\d+;"});
    rules.push_back({"-+", false, PtbAction::dashes});
    rules.push_back({"[!?]+|_+|\\*+|@+"});
    fixed("\\(", "-lrb-");
    fixed("\\)", "-rrb-");
    fixed("\\[", "-lsb-");
    fixed("\\]", "-rsb-");
    fixed("\\{", "-lcb-");
    fixed("\\}", "-rcb-");
}

} // namespace

std::vector<PtbRule> ptb_rules() {
    std::vector<PtbRule> rules;
    add_words(rules);
    add_addresses(rules);
    add_numbers(rules);
    add_abbreviations(rules);
    add_signs(rules);
    return rules;
}

std::vector<std::pair<std::string, size_t>> ptb_split_words() {
    return {{"cannot", 3}, {"gonna", 3}, {"gotta", 3}, {"lemme", 3}, {"gimme", 3}, {"wanna", 3}};
}

void emit_ptb_token(const PtbRule& rule, const std::string& token, std::vector<std::string>& out) {
    switch (rule.action) {
    case PtbAction::keep:
        out.push_back(token);
        break;
    case PtbAction::straight:
        out.push_back(replace_all(token, "\xE2\x80\x99", "'"));
        break;
    case PtbAction::fixed:
        if (*rule.replacement) out.push_back(rule.replacement);
        break;
    case PtbAction::split:
        for (const auto& [word, at] : ptb_split_words()) {
            if (word != token) continue;
            out.push_back(word.substr(0, at));
            out.push_back(word.substr(at));
        }
        break;
    case PtbAction::with_dot:
        out.push_back(token);
        out.push_back(".");
        break;
    case PtbAction::brackets: {
        std::string text = replace_all(replace_all(token, "(", "-lrb-"), ")", "-rrb-");
        text = replace_all(replace_all(text, "[", "-lsb-"), "]", "-rsb-");
        out.push_back(replace_all(text, " ", "\xC2\xA0"));
        break;
    }
    case PtbAction::join_spaces:
        out.push_back(replace_all(token, " ", "\xC2\xA0"));
        break;
    case PtbAction::dashes:
        out.push_back(token.size() >= 2 && token.size() <= 4 ? "--" : token);
        break;
    }
}

} // namespace dorabench
