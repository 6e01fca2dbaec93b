#include "backends/io/sentencepiece_tokenizer.h"
#include "backends/io/utf8.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <sentencepiece_processor.h>

namespace dorabench {
namespace {

class SentencePieceTokenizer final : public Tokenizer {
public:
    SentencePieceTokenizer(const std::string& file, const SpecialTokens& special) {
        std::string bytes = read_file(file, size_t(1) << 28);
        auto status = processor_.LoadFromSerializedProto(bytes);
        if (!status.ok() || processor_.GetPieceSize() <= 0)
            throw Error::data(file, ": expected a SentencePiece model, ", what_instead(bytes));
        size_ = processor_.GetPieceSize();
        for (const auto& token : special.added)
            if (token.id >= size_ && !find(token.id)) added_.push_back(token);
        limit_ = size_;
        for (const auto& token : added_) limit_ = std::max(limit_, token.id + 1);

        ids_ = special_ids(special, [this](std::string_view token) { return token_id(token); });
        if (!special.bos.stated) ids_.bos = processor_.bos_id();
        if (!special.eos.stated) ids_.eos = processor_.eos_id();
        if (!special.pad.stated) ids_.pad = processor_.pad_id();
        bool t5 = special.tokenizer_class.find("T5") != std::string::npos;
        add_bos_ = special.add_bos.value_or(!t5) && ids_.bos >= 0;
        add_eos_ = special.add_eos.value_or(t5) && ids_.eos >= 0;
        fingerprint_ = sha256_hex(cat(sha256_hex(bytes), " bos ", add_bos_, " eos ", add_eos_));
    }

    std::vector<int64_t> encode(std::string_view text, bool add_special) const override {
        std::vector<int> ids;
        auto status = processor_.Encode(text, &ids);
        if (!status.ok())
            throw Error::data("sentencepiece cannot encode a text of ", text.size(),
                              " bytes: ", status.message());
        std::vector<int64_t> out;
        out.reserve(ids.size() + 2);
        if (add_special && add_bos_) out.push_back(ids_.bos);
        out.insert(out.end(), ids.begin(), ids.end());
        if (add_special && add_eos_) out.push_back(ids_.eos);
        return out;
    }

    std::string decode(const std::vector<int64_t>& ids, bool skip_special) const override {
        std::string out;
        std::vector<int> run; // ids of the model between added tokens
        for (int64_t id : ids) {
            if (id >= 0 && id < size_) {
                run.push_back(int(id));
            } else if (const AddedToken* token = find(id)) {
                decode_run(run, skip_special, out);
                if (!(skip_special && token->special)) out += token->content;
            }
        }
        decode_run(run, skip_special, out);
        return out;
    }

    int64_t vocab_size() const override { return limit_; }
    int64_t bos_id() const override { return ids_.bos; }
    int64_t eos_id() const override { return ids_.eos; }
    int64_t pad_id() const override { return ids_.pad; }
    int64_t token_id(std::string_view token) const override {
        for (const auto& added : added_)
            if (added.content == token) return added.id;
        int id = processor_.PieceToId(token);
        return id >= 0 && id < size_ && processor_.IdToPiece(id) == token
                   ? id
                   : -1; // an unknown piece gives unk's id
    }
    std::string fingerprint() const override { return fingerprint_; }

private:
    static std::string what_instead(const std::string& bytes) {
        size_t line = std::min(bytes.find('\n'), bytes.size());
        std::string first = bytes.substr(0, std::min<size_t>(line, 200));
        size_t space = first.find(' ');
        if (space != std::string::npos && space + 1 < first.size() &&
            first.find_first_not_of("0123456789", space + 1) == std::string::npos)
            return "this looks like a tiktoken rank file; use the tokenizer.json of the same model";
        return "it is damaged or something else";
    }
    const AddedToken* find(int64_t id) const {
        for (const auto& token : added_)
            if (token.id == id) return &token;
        return nullptr;
    }
    void decode_run(std::vector<int>& run, bool skip_special, std::string& out) const {
        if (run.empty()) return;
        auto pieces = processor_.DecodeIdsAsImmutableProto(run);
        for (size_t i = 0; i < pieces.pieces_size(); ++i) {
            auto piece = pieces.pieces(int(i));
            if (!skip_special && processor_.IsControl(int(piece.id())))
                out += piece.piece();
            else
                out += piece.surface();
        }
        run.clear();
    }

    sentencepiece::SentencePieceProcessor processor_;
    std::vector<AddedToken> added_; // behind the model's own pieces
    SpecialIds ids_;
    int64_t size_ = 0, limit_ = 0;
    bool add_bos_ = false, add_eos_ = false;
    std::string fingerprint_;
};

} // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const std::string& file, const SpecialTokens& special) {
    return std::make_unique<SentencePieceTokenizer>(file, special);
}

} // namespace dorabench
