#include "tasks/metrics/meteor_data.h"

#include "harness/base/env.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/metrics/words.h"
#include "tasks/metrics/zip_reader.h"
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>

namespace dorabench {

namespace {

namespace fs = std::filesystem;

struct Text { // one data file, wherever it came from
    std::string name, content;
};

void for_each_line_of(const Text& text,
                      const std::function<void(size_t number, const std::string& line)>& f) {
    size_t number = 0;
    for (std::string& line : split(text.content, '\n')) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        f(++number, line);
    }
}

// Files of two lines an entry.
void for_each_pair(const Text& text,
                   const std::function<void(size_t, const std::string&, const std::string&)>& f) {
    std::string first;
    size_t last = 0;
    for_each_line_of(text, [&](size_t number, const std::string& line) {
        if (number % 2 == 1) {
            first = line;
        } else {
            f(number, first, line);
        }
        last = number;
    });
    if (last % 2 == 1 && !first.empty())
        throw Error::data(text.name,
                          ": two lines an entry expected, the last entry has one (truncated file?)");
}

void read_synsets(const Text& text, MeteorData& data) {
    for_each_pair(text, [&](size_t number, const std::string& word, const std::string& line) {
        std::vector<uint32_t>& ids = data.synsets[word];
        for (const std::string& part : split_white_space(line)) {
            uint32_t id = 0;
            auto [end, status] = std::from_chars(part.data(), part.data() + part.size(), id);
            if (status != std::errc() || end != part.data() + part.size())
                throw Error::data(text.name, ", line ", number, ": synset numbers expected, got \"", part,
                                  "\"");
            ids.push_back(id);
        }
        std::sort(ids.begin(), ids.end());
    });
}

void read_exceptions(const Text& text, MeteorData& data) {
    for_each_pair(text, [&](size_t, const std::string& base, const std::string& forms) {
        for (const std::string& form : split_white_space(forms)) data.base_forms[form].push_back(base);
    });
}

void read_prefixes(const Text& text, MeteorData& data) {
    for_each_line_of(text, [&](size_t, const std::string& line) {
        auto parts = split_white_space(line);
        if (!parts.empty() && parts[0][0] != '#')
            data.prefixes[parts[0]] = parts.size() > 1 && parts[1] == "#NUMERIC_ONLY#";
    });
}

// The base forms of a regular inflection, by WordNet's rules: the first rule whose result is a word that has
// synsets.
std::string morph(const std::string& word, const MeteorData& data) {
    static const std::vector<std::pair<std::string, std::string>> kRules = {
        {"s", ""},      {"ses", "s"}, {"xes", "x"}, {"zes", "z"}, {"ches", "ch"}, {"shes", "sh"},
        {"men", "man"}, {"ies", "y"}, {"es", "e"},  {"es", ""},   {"ed", "e"},    {"ed", ""},
        {"ing", "e"},   {"ing", ""},  {"er", ""},   {"est", ""},  {"er", "e"},    {"est", "e"}};
    // -ful words would need their ending put back; METEOR finds none of them either
    if (ends_with(word, "ful") || ends_with(word, "ss") || word.size() <= 2) return word;
    for (const auto& [suffix, ending] : kRules) {
        if (!ends_with(word, suffix)) continue;
        std::string base = word.substr(0, word.size() - suffix.size()) + ending;
        if (data.synsets.count(base)) return base;
    }
    return word;
}

} // namespace

std::vector<uint32_t> MeteorData::meanings(const std::string& word) const {
    std::vector<uint32_t> out;
    auto add = [&](const std::string& form) {
        auto found = synsets.find(form);
        if (found != synsets.end()) out.insert(out.end(), found->second.begin(), found->second.end());
    };
    add(word);
    auto irregular = base_forms.find(word);
    if (irregular != base_forms.end()) {
        for (const std::string& base : irregular->second) add(base);
    } else {
        add(morph(word, *this));
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

MeteorData load_meteor_data(const std::string& folder_or_jar) {
    MeteorData data;
    data.source = folder_or_jar;
    std::optional<ZipReader> jar;
    fs::path folder = folder_or_jar;
    if (!is_folder(folder_or_jar)) {
        jar.emplace(folder_or_jar);
        folder = folder.parent_path();
    } else if (!exists(folder_or_jar + "/english.synsets") &&
               !exists(folder_or_jar + "/english.synsets.gz") && exists(folder_or_jar + "/meteor-1.5.jar")) {
        jar.emplace(folder_or_jar + "/meteor-1.5.jar");
    }
    auto text = [&](const std::string& part, const std::string& name) -> Text {
        if (jar) {
            auto content = jar->read(part + "/" + name);
            if (!content)
                throw Error::data(folder_or_jar, ": entry ", part, "/", name, " expected, it is not there");
            return {folder_or_jar + ":" + part + "/" + name, std::move(*content)};
        }
        for (const char* ending : {"", ".gz"}) {
            std::string path = (folder / (name + ending)).string();
            if (exists(path)) return {path, read_file(path, size_t(1) << 30)};
        }
        throw Error::data(folder_or_jar, ": METEOR's file ", name, " (or ", name,
                          ".gz) expected, it is not there; name a folder that holds it in DORA_BENCH_METEOR");
    };
    for_each_line_of(text("function", "english.words"), [&](size_t, const std::string& line) {
        for (std::string& word : split_white_space(line)) data.function_words.insert(std::move(word));
    });
    read_prefixes(text("nonbreaking", "english.prefixes"), data);
    read_synsets(text("synonym", "english.synsets"), data);
    read_exceptions(text("synonym", "english.exceptions"), data);
    for (const char* name : {"paraphrase-en.gz", "data/paraphrase-en.gz"})
        if (data.paraphrase_file.empty() && exists((folder / name).string()))
            data.paraphrase_file = (folder / name).string();
    return data;
}

std::optional<std::string> find_meteor_data() {
    if (auto named = environment("DORA_BENCH_METEOR"); named && !named->empty()) {
        if (!exists(*named))
            throw Error::data(
                *named,
                ": METEOR's data expected here (the environment's DORA_BENCH_METEOR), nothing is there");
        return named;
    }
    if (std::string beside = share_folder() + "/meteor"; is_folder(beside)) return beside;
    if (auto python = environment("VIRTUAL_ENV")) {
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(*python + "/lib", ignored)) {
            std::string folder = (entry.path() / "site-packages/pycocoevalcap/meteor").string();
            if (exists(folder + "/meteor-1.5.jar")) return folder;
        }
    }
    return std::nullopt;
}

ParaphraseTable load_paraphrases(const std::string& file, const std::unordered_set<std::string>& vocabulary) {
    ParaphraseTable table;
    std::string phrase;
    bool wanted = false;
    size_t last = 0;
    auto known = [&](std::string_view text) {
        for (const std::string& word : split(text, ' '))
            if (!vocabulary.count(word)) return false;
        return true;
    };
    for_each_line(file, [&](size_t number, std::string_view line) { // probability, phrase, paraphrase
        if (number % 3 == 2) {
            wanted = known(line);
            if (wanted) phrase = std::string(line);
        } else if (number % 3 == 0 && wanted && known(line)) {
            table[phrase].emplace_back(line);
        }
        last = number;
    });
    if (last % 3 != 0)
        throw Error::data(file,
                          ": three lines an entry expected, the file ends within one (truncated file?)");
    return table;
}

} // namespace dorabench
