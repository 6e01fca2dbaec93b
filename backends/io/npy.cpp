#include "backends/io/npy.h"
#include "backends/io/zip_archive.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <optional>

namespace dorabench {
namespace {

constexpr uint64_t kMaxBytes = uint64_t(16) << 30; // of one array, unpacked

uint64_t little_endian(std::string_view text, size_t at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | (unsigned char)text[at + i];
    return value;
}

// The header is a Python dict literal of three known keys; nothing else is understood.
class HeaderParser {
public:
    HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

    std::string descr;
    bool fortran = false;
    std::vector<int64_t> shape;

    void run() {
        expect('{');
        bool seen[3] = {};
        while (!accept('}')) {
            std::string key = quoted();
            expect(':');
            size_t which = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : 3;
            if (which == 3 || std::exchange(seen[which], true))
                throw fail("expected descr, fortran_order and shape, once each");
            if (which == 0) descr = quoted();
            if (which == 1) fortran = truth();
            if (which == 2) read_shape();
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        space();
        if (at_ != text_.size() || !(seen[0] && seen[1] && seen[2]))
            throw fail("expected descr, fortran_order and shape");
    }

private:
    Error fail(const std::string& what) const {
        return Error::data(name_, ": header: ", what, " (at byte ", at_, ")");
    }
    void space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    }
    bool accept(char c) {
        space();
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    void expect(char c) {
        if (!accept(c)) throw fail(std::string("expected ") + c);
    }
    std::string quoted() {
        space();
        char quote = at_ < text_.size() ? text_[at_] : ' ';
        size_t end = quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
        if (end == std::string_view::npos) throw fail("expected a plain dtype and names in quotes");
        std::string out(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
        return out;
    }
    bool truth() {
        space();
        for (std::string_view word : {"True", "False"})
            if (text_.substr(at_, word.size()) == word) {
                at_ += word.size();
                return word == "True";
            }
        throw fail("expected True or False");
    }
    void read_shape() {
        expect('(');
        while (!accept(')')) {
            space();
            uint64_t value = 0;
            size_t digits = 0;
            for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9' && digits < 16;
                 ++at_, ++digits)
                value = value * 10 + uint64_t(text_[at_] - '0');
            if (digits == 0 || shape.size() >= 64) throw fail("expected a shape of whole numbers");
            shape.push_back(int64_t(value));
            if (!accept(',')) {
                expect(')');
                break;
            }
        }
    }
    std::string_view text_;
    const std::string& name_;
    size_t at_ = 0;
};

std::optional<Dtype> dtype_of_descr(std::string_view kind) {
    static const std::pair<const char*, Dtype> kKinds[] = {
        {"f8", Dtype::f64}, {"f4", Dtype::f32}, {"f2", Dtype::f16}, {"i8", Dtype::i64},
        {"i4", Dtype::i32}, {"i2", Dtype::i16}, {"i1", Dtype::i8},  {"u8", Dtype::u64},
        {"u4", Dtype::u32}, {"u2", Dtype::u16}, {"u1", Dtype::u8},  {"b1", Dtype::boolean}};
    for (const auto& [name, dtype] : kKinds)
        if (kind == name) return dtype;
    return {};
}

std::string c_order(std::string_view data, const std::vector<int64_t>& shape, size_t size) {
    std::string out(data.size(), '\0');
    std::vector<int64_t> index(shape.size(), 0);
    size_t count = data.size() / size;
    for (size_t to = 0; to < count; ++to) {
        size_t from = 0, stride = 1;
        for (size_t d = 0; d < shape.size(); ++d) {
            from += size_t(index[d]) * stride;
            stride *= size_t(shape[d]);
        }
        std::copy_n(data.data() + from * size, size, out.data() + to * size);
        for (size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];) index[d] = 0;
    }
    return out;
}

} // namespace

NpyArray parse_npy(std::string_view content, const std::string& name) {
    if (content.size() < 10 || content.substr(0, 6) != "\x93NUMPY")
        throw Error::data(name, ": expected a .npy file of NumPy");
    int version = content[6];
    size_t field = version == 1 ? 2 : 4;
    if (version < 1 || version > 3 || content.size() < 8 + field)
        throw Error::data(name, ": expected version 1, 2 or 3 of the .npy format, got ", version);
    uint64_t length = little_endian(content, 8, field);
    if (length > content.size() - 8 - field) throw Error::data(name, ": the header is cut off");
    HeaderParser header(content.substr(8 + field, length), name);
    header.run();
    char order = header.descr.empty() ? ' ' : header.descr.front();
    auto dtype =
        header.descr.empty() ? std::nullopt : dtype_of_descr(std::string_view(header.descr).substr(1));
    if (!dtype || (order != '<' && order != '>' && order != '|' && order != '='))
        throw Error::data(name, ": expected numbers such as <f4 or <i8, got dtype \"", header.descr,
                          "\" (objects, text and records are not read)");
    size_t size = dtype_size(*dtype);
    uint64_t bytes = size, bound = size;
    for (int64_t extent : header.shape) {
        if (__builtin_mul_overflow(bound, uint64_t(std::max<int64_t>(extent, 1)), &bound) || bound >> 62)
            throw Error::data(name, ": expected a shape of fewer than 2^62 bytes");
        bytes *= uint64_t(extent);
    }
    std::string_view data = content.substr(8 + field + length);
    if (data.size() != bytes)
        throw Error::data(name, ": expected ", bytes, " bytes of data for its shape, got ", data.size());
    NpyArray out{*dtype, header.shape,
                 header.fortran && header.shape.size() > 1 ? c_order(data, header.shape, size)
                                                           : std::string(data)};
    if (order == '>')
        for (size_t at = 0; at + size <= out.bytes.size(); at += size)
            std::reverse(out.bytes.begin() + int64_t(at), out.bytes.begin() + int64_t(at + size));
    return out;
}

NpyArray read_npy(const std::string& path) { return parse_npy(read_file(path, kMaxBytes), path); }

std::map<std::string, NpyArray> read_npz(const std::string& path) {
    std::string zip = read_file(path, kMaxBytes);
    std::map<std::string, NpyArray> out;
    for (const ZipEntry& entry : zip_entries(zip, path)) {
        std::string name = path + ": " + entry.name;
        std::string content = zip_content(zip, entry, path);
        std::string key =
            ends_with(entry.name, ".npy") ? entry.name.substr(0, entry.name.size() - 4) : entry.name;
        if (!out.emplace(key, parse_npy(content, name)).second)
            throw Error::data(name, ": stands twice in the archive");
    }
    return out;
}

} // namespace dorabench
