#pragma once
// Experiment files written for a test, and what loading them says.
#include "harness/base/files.h"
#include "harness/config/config.h"
#include "tests/support/paths.h"
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace dorabench::test {

inline const KnownNames& known_names() {
    static const KnownNames kNames{{"llama", "vlbart", "llava"},
                                   {"none", "ft", "lora", "dora", "vera", "dvora"},
                                   {"boolq", "llm_adapters/boolq", "piqa", "commonsense_170k"},
                                   {"llm_adapters", "alpaca"},
                                   {"accuracy"},
                                   {"llama-7b", "llama3-8b", "bart-base"}};
    return kNames;
}

// A folder of files; the main one is x.yaml.
class Files {
public:
    explicit Files(const std::string& main) { add("x.yaml", main); }
    Files& add(const std::string& name, const std::string& text) {
        std::filesystem::create_directories(std::filesystem::path(folder_ / name).parent_path());
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return *this;
    }
    std::string path(const std::string& name = "x.yaml") const { return folder_ / name; }
    ConfigFile load(const std::vector<std::string>& overrides = {},
                    const std::vector<std::string>& axes = {}) const {
        return ConfigFile::load(path(), overrides, axes);
    }
    // Everything that is wrong, as printed, without the folder's name; "" when nothing is.
    std::string wrong(const std::vector<std::string>& overrides = {},
                      const std::vector<Assignment>& at = {}) const {
        std::string text;
        try {
            std::vector<Diagnostic> errors;
            load(overrides).parse(at, known_names(), errors);
            if (errors.empty()) return "";
            text = ConfigErrors(errors).what();
        } catch (const ConfigErrors& errors) {
            text = errors.what();
        }
        for (size_t i; (i = text.find(folder_.path() + "/")) != std::string::npos;)
            text.erase(i, folder_.path().size() + 1);
        return text;
    }
    RunSettings settings(const std::vector<std::string>& overrides = {},
                         const std::vector<Assignment>& at = {}) const {
        std::vector<Diagnostic> errors;
        RunSettings out = load(overrides).parse(at, known_names(), errors);
        if (!errors.empty()) ADD_FAILURE() << ConfigErrors(errors).what();
        return out;
    }

private:
    TempDir folder_;
};

inline constexpr const char* kGood = "name: t\n"
                                     "backend: {type: llama, shape: llama-7b}\n"
                                     "adapter:\n"
                                     "  method: dora\n"
                                     "  rank: 8\n"
                                     "  alpha: 16\n"
                                     "  target_modules: [q_proj, v_proj]\n"
                                     "train:\n"
                                     "  data: commonsense_170k\n"
                                     "  max_steps: 4\n"
                                     "evaluate:\n"
                                     "  tasks: [boolq]\n";

inline std::string good_with(const std::string& from, const std::string& to) {
    std::string text = kGood;
    size_t at = text.find(from);
    if (at == std::string::npos)
        ADD_FAILURE() << "no " << from;
    else
        text.replace(at, from.size(), to);
    return text;
}

inline ::testing::AssertionResult contains(const std::string& text, const std::string& part) {
    if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "expected \"" << part << "\" in:\n" << text;
}

} // namespace dorabench::test
