#pragma once
// Language data of METEOR 1.5, English: function words, abbreviations, WordNet synsets and exceptions, and
// where the paraphrase table lies. Read from a folder with english.words, english.prefixes, english.synsets
// and english.exceptions (each gzipped or not) and, if it is there, paraphrase-en.gz; or from METEOR's jar
// (its folder's data/paraphrase-en.gz beside it), such as the one in the Python package pycocoevalcap.
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace dorabench {

struct MeteorData {
    std::string source; // the folder or jar that was read
    std::unordered_set<std::string> function_words;
    std::unordered_map<std::string, bool> prefixes; // keep their dot; true: only before a number
    std::unordered_map<std::string, std::vector<uint32_t>> synsets;       // sorted
    std::unordered_map<std::string, std::vector<std::string>> base_forms; // of irregular words
    std::string paraphrase_file;                                          // empty: not at hand

    // All synsets that a word can stand for, through its base forms too; sorted, without doubles.
    std::vector<uint32_t> meanings(const std::string& word) const;
};

// Error::data names the file and line that is missing or damaged.
MeteorData load_meteor_data(const std::string& folder_or_jar);
// Where the data is: the environment's DORA_BENCH_METEOR, else the folder `meteor` beside the program's other
// files, else the package pycocoevalcap of the active Python environment. Nothing when it is nowhere;
// Error::data when the environment names a place that does not exist.
std::optional<std::string> find_meteor_data();

// The entries of the paraphrase table whose words all occur in a vocabulary: phrase -> its paraphrases, words
// joined by spaces. Reads the whole file (some seconds).
using ParaphraseTable = std::unordered_map<std::string, std::vector<std::string>>;
ParaphraseTable load_paraphrases(const std::string& file, const std::unordered_set<std::string>& vocabulary);

} // namespace dorabench
