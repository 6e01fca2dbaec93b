#include "tasks/metrics/zip_reader.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include <algorithm>
#include <zlib.h>

namespace dorabench {

namespace {

constexpr uint32_t kEndMark = 0x06054b50, kDirectoryMark = 0x02014b50, kLocalMark = 0x04034b50;
constexpr size_t kEndSize = 22, kDirectorySize = 46, kLocalSize = 30;

uint16_t u16(const std::string& bytes, size_t at) {
    return static_cast<uint16_t>(static_cast<unsigned char>(bytes[at]) |
                                 static_cast<unsigned char>(bytes[at + 1]) << 8);
}
uint32_t u32(const std::string& bytes, size_t at) {
    return u16(bytes, at) | static_cast<uint32_t>(u16(bytes, at + 2)) << 16;
}
bool fits(const std::string& bytes, size_t at, size_t size) {
    return at <= bytes.size() && size <= bytes.size() - at;
}

std::string inflate_raw(const std::string& path, const std::string& name, std::string_view packed,
                        size_t size) {
    std::string out(size, '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw Error::resources(path, ": zlib cannot start");
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    int status = inflate(&stream, Z_FINISH);
    size_t got = stream.total_out;
    inflateEnd(&stream);
    if (status != Z_STREAM_END || got != size)
        throw Error::data(path, ": entry ", name, ": ", size, " bytes expected, got ", got,
                          " (damaged file?)");
    return out;
}

} // namespace

ZipReader::ZipReader(const std::string& path) : path_(path), bytes_(read_file(path, size_t(1) << 30)) {
    size_t end = std::string::npos; // the end record is behind everything but a comment of at most 64 KiB
    for (size_t back = kEndSize; back <= std::min<size_t>(bytes_.size(), kEndSize + 0xFFFF); ++back)
        if (u32(bytes_, bytes_.size() - back) == kEndMark) {
            end = bytes_.size() - back;
            break;
        }
    if (end == std::string::npos)
        throw Error::data(path, ": a zip or jar file expected, its end record was not found");
    size_t at = u32(bytes_, end + 16);
    for (uint16_t i = 0, count = u16(bytes_, end + 10); i < count; ++i) {
        if (!fits(bytes_, at, kDirectorySize) || u32(bytes_, at) != kDirectoryMark)
            throw Error::data(path, ": entry ", i, " of the zip directory is damaged");
        size_t name_size = u16(bytes_, at + 28), rest = size_t(u16(bytes_, at + 30)) + u16(bytes_, at + 32);
        if (!fits(bytes_, at + kDirectorySize, name_size + rest))
            throw Error::data(path, ": entry ", i, " of the zip directory reaches past the end of the file");
        Entry entry{u32(bytes_, at + 42), u32(bytes_, at + 20), u32(bytes_, at + 24),
                    u32(bytes_, at + 16), u16(bytes_, at + 10), u16(bytes_, at + 8)};
        entries_[bytes_.substr(at + kDirectorySize, name_size)] = entry;
        at += kDirectorySize + name_size + rest;
    }
}

std::optional<std::string> ZipReader::read(const std::string& name, size_t limit_bytes) const {
    auto found = entries_.find(name);
    if (found == entries_.end()) return std::nullopt;
    const Entry& entry = found->second;
    if (entry.size > limit_bytes)
        throw Error::data(path_, ": entry ", name, ": at most ", limit_bytes, " bytes expected, got ",
                          entry.size);
    if (!fits(bytes_, entry.offset, kLocalSize) || u32(bytes_, entry.offset) != kLocalMark)
        throw Error::data(path_, ": entry ", name, ": its header is damaged");
    size_t begin =
        size_t(entry.offset) + kLocalSize + u16(bytes_, entry.offset + 26) + u16(bytes_, entry.offset + 28);
    if (!fits(bytes_, begin, entry.packed))
        throw Error::data(path_, ": entry ", name, " reaches past the end of the file");
    if (entry.flags & 1) throw Error::data(path_, ": entry ", name, " is encrypted");
    std::string_view packed = std::string_view(bytes_).substr(begin, entry.packed);
    std::string content;
    if (entry.method == 0 && entry.packed == entry.size) {
        content = std::string(packed);
    } else if (entry.method == 8) {
        content = inflate_raw(path_, name, packed, entry.size);
    } else {
        throw Error::data(path_, ": entry ", name, ": stored or deflated content expected, got method ",
                          entry.method);
    }
    uLong crc = crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
    if (crc != entry.crc)
        throw Error::data(path_, ": entry ", name, ": the checksum does not match (damaged file?)");
    return content;
}

} // namespace dorabench
