#include "backends/io/tokenizer.h"
#include "backends/io/hf_tokenizer.h"
#include "backends/io/safetensors.h"
#include "backends/io/sentencepiece_tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <filesystem>

namespace dorabench {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Tokenizer> from_json(const std::string& file, const SpecialTokens& special) {
    return std::make_unique<HfTokenizer>(read_json_file(file), file, special, sha256_file(file));
}

std::unique_ptr<Tokenizer> from_vocabulary(const std::string& vocabulary, const SpecialTokens& special) {
    std::string merges = (fs::path(vocabulary).parent_path() / "merges.txt").string();
    if (!exists(merges))
        throw Error::data(merges, ": is missing; ", vocabulary, " cannot be used without it");
    std::string fingerprint = sha256_hex(sha256_file(vocabulary) + " " + sha256_file(merges));
    return std::make_unique<HfTokenizer>(tokenizer_of_vocabulary(vocabulary, merges, special), vocabulary,
                                         special, fingerprint);
}

// The file of a folder that defines its tokenizer; "": none.
std::string defining_file(const std::string& folder) {
    for (const char* name :
         {"tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json"}) {
        std::string file = (fs::path(folder) / name).string();
        if (exists(file) &&
            (std::string_view(name) != "vocab.json" || exists((fs::path(folder) / "merges.txt").string())))
            return file;
    }
    return "";
}

std::unique_ptr<Tokenizer> from_file(const std::string& file) {
    SpecialTokens special = read_special_tokens(fs::path(file).parent_path().string());
    if (ends_with(file, ".model")) return load_sentencepiece(file, special);
    if (fs::path(file).filename() == "vocab.json") return from_vocabulary(file, special);
    if (ends_with(file, ".json")) return from_json(file, special);
    throw Error::data(file,
                      ": expected a tokenizer.json, a tokenizer.model or a vocab.json beside a merges.txt");
}

} // namespace

bool has_tokenizer(const std::string& folder) { return is_folder(folder) && !defining_file(folder).empty(); }

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
    std::string at = exists(path) ? path : resolve_checkpoint(path);
    if (is_folder(at)) {
        std::string file = defining_file(at);
        if (file.empty())
            throw Error::data(at, ": expected tokenizer.json, tokenizer.model or vocab.json with merges.txt, "
                                  "found none of them");
        at = file;
    }
    try {
        return from_file(at);
    } catch (const Json::exception& e) {
        throw Error::data(at, ": cannot be read as a tokenizer: ", e.what());
    }
}

} // namespace dorabench
