#include "backends/io/npy.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <optional>
#include <zlib.h>

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

// One entry of the archive's central directory (PKWARE APPNOTE 4.3.12).
struct ZipEntry {
    std::string name;
    uint64_t method, packed, size, offset, crc;
};

std::vector<ZipEntry> central_directory(std::string_view zip, const std::string& path) {
    auto damaged = [&](const char* what) { return Error::data(path, ": expected a zip archive, ", what); };
    size_t end = zip.size() < 22 ? std::string_view::npos : zip.rfind("PK\5\6", zip.size() - 22);
    if (end == std::string_view::npos)
        throw damaged("its end record is missing: the file is cut off or something else");
    uint64_t count = little_endian(zip, end + 10, 2), at = little_endian(zip, end + 16, 4);
    std::vector<ZipEntry> out;
    uint64_t used = 0;
    for (uint64_t i = 0; i < count; ++i) {
        if (at > zip.size() || zip.size() - at < 46 || zip.substr(at, 4) != "PK\1\2")
            throw damaged("its directory is damaged");
        uint64_t name = little_endian(zip, at + 28, 2), extra = little_endian(zip, at + 30, 2),
                 comment = little_endian(zip, at + 32, 2);
        if (zip.size() - at < 46 + name + extra + comment) throw damaged("its directory is cut off");
        ZipEntry entry{std::string(zip.substr(at + 46, name)), little_endian(zip, at + 10, 2),
                       little_endian(zip, at + 20, 4),         little_endian(zip, at + 24, 4),
                       little_endian(zip, at + 42, 4),         little_endian(zip, at + 16, 4)};
        // zip64 (4.5.3): 8-byte values in this order, for those of the fields above that are all ones
        for (uint64_t e = at + 46 + name, last = e + extra; e + 4 <= last;) {
            uint64_t id = little_endian(zip, e, 2), size = little_endian(zip, e + 2, 2), value = e + 4;
            if (size > last - value) break;
            for (uint64_t* field : {&entry.size, &entry.packed, &entry.offset})
                if (id == 1 && *field == 0xFFFFFFFF && value + 8 <= e + 4 + size)
                    *field = little_endian(zip, value, 8), value += 8;
            e += 4 + size;
        }
        if (entry.packed > zip.size() - used) throw damaged("its entries overlap or are cut off");
        used += entry.packed; // so that no archive unpacks to more than its own size allows
        out.push_back(std::move(entry));
        at += 46 + name + extra + comment;
    }
    return out;
}

std::string inflate_raw(std::string_view packed, uint64_t size, const std::string& name) {
    // deflate packs at most 1032 to 1, so a size beyond that is a lie that must not be allocated
    if (size > kMaxBytes || size / 1032 > packed.size())
        throw Error::data(name, ": claims ", size, " bytes, more than it can hold");
    std::string out(size, '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw Error::resources(name, ": no memory to unpack it");
    size_t in = 0, done = 0;
    int status = Z_OK;
    while (status == Z_OK) {
        auto give = uInt(std::min<size_t>(packed.size() - in, 1u << 30)),
             room = uInt(std::min<size_t>(out.size() - done, 1u << 30));
        unsigned char spare = 0; // where nothing is left to fill, so that zlib still has a place to point to
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + in));
        stream.avail_in = give;
        stream.next_out = room ? reinterpret_cast<Bytef*>(out.data() + done) : &spare;
        stream.avail_out = room;
        status = inflate(&stream, Z_NO_FLUSH);
        in += give - stream.avail_in;
        done += room - stream.avail_out;
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END || done != size) throw Error::data(name, ": the packed data are damaged");
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
    for (const auto& entry : central_directory(zip, path)) {
        std::string name = path + ": " + entry.name;
        if (entry.offset > zip.size() || zip.size() - entry.offset < 30 ||
            zip.compare(entry.offset, 4, "PK\3\4") != 0)
            throw Error::data(name, ": its place in the archive is damaged");
        uint64_t begin = entry.offset + 30 + little_endian(zip, entry.offset + 26, 2) +
                         little_endian(zip, entry.offset + 28, 2);
        if (begin > zip.size() || entry.packed > zip.size() - begin)
            throw Error::data(name, ": its data are cut off");
        std::string_view packed = std::string_view(zip).substr(begin, entry.packed);
        if (entry.method != 0 && entry.method != 8)
            throw Error::data(name, ": expected stored or deflated data, got method ", entry.method);
        if (entry.method == 0 && entry.packed != entry.size)
            throw Error::data(name, ": its two sizes disagree");
        std::string content = entry.method == 0 ? std::string(packed) : inflate_raw(packed, entry.size, name);
        if (crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != entry.crc)
            throw Error::data(name, ": its checksum does not fit: the archive is damaged");
        std::string key =
            ends_with(entry.name, ".npy") ? entry.name.substr(0, entry.name.size() - 4) : entry.name;
        if (!out.emplace(key, parse_npy(content, name)).second)
            throw Error::data(name, ": stands twice in the archive");
    }
    return out;
}

} // namespace dorabench
