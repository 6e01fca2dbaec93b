#include "tasks/metrics/snowball_english.h"

#include "harness/base/text.h"
#include <array>
#include <utility>

namespace dorabench {

namespace {

using Pair = std::pair<std::string_view, std::string_view>;

bool is_vowel(char c) { return std::string_view("aeiouy").find(c) != std::string_view::npos; }

// A word on its way through the steps. A consonantal y is written Y; R1 and R2 are the algorithm's regions.
class Stemmer {
public:
    explicit Stemmer(std::string_view word) : word_(word) {
        if (word_.front() == '\'') word_.erase(0, 1);
        for (size_t i = 0; i < word_.size(); ++i)
            if (word_[i] == 'y' && (i == 0 || is_vowel(word_[i - 1]))) word_[i] = 'Y';
        r1_ = word_.size();
        for (std::string_view prefix : {"gener", "commun", "arsen"})
            if (starts_with(word_, prefix)) r1_ = prefix.size();
        if (r1_ == word_.size()) r1_ = region_behind(0);
        r2_ = region_behind(r1_);
    }

    std::string run() {
        step_0();
        step_1a();
        for (std::string_view kept :
             {"inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"})
            if (word_ == kept) return word_;
        step_1b();
        step_1c();
        step_2();
        step_3();
        step_4();
        step_5();
        return replace_all(word_, "Y", "y");
    }

private:
    std::string word_;
    size_t r1_ = 0, r2_ = 0;

    // Behind the first consonant that follows a vowel, from `from` on.
    size_t region_behind(size_t from) const {
        for (size_t i = from + 1; i < word_.size(); ++i)
            if (!is_vowel(word_[i]) && is_vowel(word_[i - 1])) return i + 1;
        return word_.size();
    }
    bool ends(std::string_view suffix) const { return ends_with(word_, suffix); }
    bool in_r1(std::string_view suffix) const { return word_.size() >= r1_ + suffix.size(); }
    bool in_r2(std::string_view suffix) const { return word_.size() >= r2_ + suffix.size(); }
    void cut(size_t length) { word_.resize(word_.size() - length); }
    void replace(std::string_view suffix, std::string_view with) {
        cut(suffix.size());
        word_ += with;
    }
    bool has_vowel_before(size_t end) const {
        for (size_t i = 0; i < end && i < word_.size(); ++i)
            if (is_vowel(word_[i])) return true;
        return false;
    }
    // A short syllable ends at `end`: consonant, vowel, consonant other than w, x, Y; or vowel, consonant at
    // the start.
    bool short_syllable(size_t end) const {
        if (end == 2) return is_vowel(word_[0]) && !is_vowel(word_[1]);
        if (end < 3) return false;
        char last = word_[end - 1];
        return !is_vowel(word_[end - 3]) && is_vowel(word_[end - 2]) && !is_vowel(last) && last != 'w' &&
               last != 'x' && last != 'Y';
    }
    bool short_word() const { return r1_ >= word_.size() && short_syllable(word_.size()); }

    void step_0() {
        for (std::string_view suffix : {"'s'", "'s", "'"})
            if (ends(suffix)) return cut(suffix.size());
    }
    void step_1a() {
        if (ends("sses")) return cut(2);
        if (ends("ied") || ends("ies")) return cut(word_.size() > 4 ? 2 : 1);
        if (ends("us") || ends("ss")) return;
        if (ends("s") && word_.size() >= 2 && has_vowel_before(word_.size() - 2)) cut(1);
    }
    void step_1b() {
        for (std::string_view suffix : {"eedly", "eed"}) {
            if (!ends(suffix)) continue;
            if (in_r1(suffix)) replace(suffix, "ee");
            return;
        }
        for (std::string_view suffix : {"ingly", "edly", "ing", "ed"}) {
            if (!ends(suffix)) continue;
            if (!has_vowel_before(word_.size() - suffix.size())) return;
            cut(suffix.size());
            size_t n = word_.size();
            if (ends("at") || ends("bl") || ends("iz")) {
                word_ += 'e';
            } else if (n >= 2 && word_[n - 1] == word_[n - 2] &&
                       std::string_view("bdfgmnprt").find(word_[n - 1]) != std::string_view::npos) {
                cut(1);
            } else if (short_word()) {
                word_ += 'e';
            }
            return;
        }
    }
    void step_1c() {
        size_t n = word_.size();
        if (n > 2 && (word_[n - 1] == 'y' || word_[n - 1] == 'Y') && !is_vowel(word_[n - 2]))
            word_[n - 1] = 'i';
    }
    // The longest of the table's suffixes that the word ends in (the table has longer ones first).
    template <size_t N>
    const Pair* longest(const std::array<Pair, N>& table) const {
        for (const Pair& entry : table)
            if (ends(entry.first)) return &entry;
        return nullptr;
    }
    void step_2() {
        static constexpr std::array<Pair, 24> kTable = {
            {{"ational", "ate"}, {"fulness", "ful"}, {"iveness", "ive"}, {"ization", "ize"},
             {"ousness", "ous"}, {"biliti", "ble"},  {"lessli", "less"}, {"tional", "tion"},
             {"alism", "al"},    {"aliti", "al"},    {"ation", "ate"},   {"entli", "ent"},
             {"fulli", "ful"},   {"iviti", "ive"},   {"ousli", "ous"},   {"abli", "able"},
             {"alli", "al"},     {"anci", "ance"},   {"ator", "ate"},    {"enci", "ence"},
             {"izer", "ize"},    {"bli", "ble"},     {"ogi", "og"},      {"li", ""}}};
        const Pair* found = longest(kTable);
        if (!found || !in_r1(found->first)) return;
        size_t before = word_.size() - found->first.size();
        char previous = before > 0 ? word_[before - 1] : ' ';
        if (found->first == "ogi" && previous != 'l') return;
        if (found->first == "li" && std::string_view("cdeghkmnrt").find(previous) == std::string_view::npos)
            return;
        replace(found->first, found->second);
    }
    void step_3() {
        static constexpr std::array<Pair, 9> kTable = {{{"ational", "ate"},
                                                        {"tional", "tion"},
                                                        {"alize", "al"},
                                                        {"icate", "ic"},
                                                        {"iciti", "ic"},
                                                        {"ative", ""},
                                                        {"ical", "ic"},
                                                        {"ness", ""},
                                                        {"ful", ""}}};
        const Pair* found = longest(kTable);
        if (!found || !in_r1(found->first)) return;
        if (found->first == "ative" && !in_r2(found->first)) return;
        replace(found->first, found->second);
    }
    void step_4() {
        static constexpr std::array<Pair, 18> kTable = {{{"ement", ""},
                                                         {"ance", ""},
                                                         {"ence", ""},
                                                         {"able", ""},
                                                         {"ible", ""},
                                                         {"ment", ""},
                                                         {"ant", ""},
                                                         {"ent", ""},
                                                         {"ism", ""},
                                                         {"ate", ""},
                                                         {"iti", ""},
                                                         {"ous", ""},
                                                         {"ive", ""},
                                                         {"ize", ""},
                                                         {"ion", ""},
                                                         {"al", ""},
                                                         {"er", ""},
                                                         {"ic", ""}}};
        const Pair* found = longest(kTable);
        if (!found || !in_r2(found->first)) return;
        size_t before = word_.size() - found->first.size();
        if (found->first == "ion" && (before == 0 || (word_[before - 1] != 's' && word_[before - 1] != 't')))
            return;
        cut(found->first.size());
    }
    void step_5() {
        size_t n = word_.size();
        if (ends("e")) {
            if (in_r2("e") || (in_r1("e") && !short_syllable(n - 1))) cut(1);
        } else if (ends("l")) {
            if (in_r2("l") && n >= 2 && word_[n - 2] == 'l') cut(1);
        }
    }
};

} // namespace

std::string snowball_english(std::string_view word) {
    static constexpr std::array<Pair, 18> kExceptions = {{{"skis", "ski"},
                                                          {"skies", "sky"},
                                                          {"dying", "die"},
                                                          {"lying", "lie"},
                                                          {"tying", "tie"},
                                                          {"idly", "idl"},
                                                          {"gently", "gentl"},
                                                          {"ugly", "ugli"},
                                                          {"early", "earli"},
                                                          {"only", "onli"},
                                                          {"singly", "singl"},
                                                          {"sky", "sky"},
                                                          {"news", "news"},
                                                          {"howe", "howe"},
                                                          {"atlas", "atlas"},
                                                          {"cosmos", "cosmos"},
                                                          {"bias", "bias"},
                                                          {"andes", "andes"}}};
    for (const Pair& exception : kExceptions)
        if (word == exception.first) return std::string(exception.second);
    if (word.size() <= 2) return std::string(word);
    return Stemmer(word).run();
}

} // namespace dorabench
