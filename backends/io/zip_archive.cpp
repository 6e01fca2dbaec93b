#include "backends/io/zip_archive.h"
#include "harness/base/error.h"
#include <algorithm>
#include <zlib.h>

namespace dorabench {
namespace {

constexpr uint64_t kMaxBytes = uint64_t(16) << 30; // of one entry, unpacked

uint64_t little_endian(std::string_view text, size_t at, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | (unsigned char)text[at + i];
    return value;
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

bool looks_like_zip(std::string_view content) { return content.substr(0, 4) == "PK\3\4"; }

std::vector<ZipEntry> zip_entries(std::string_view zip, const std::string& path) {
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

std::string zip_content(std::string_view zip, const ZipEntry& entry, const std::string& path) {
    const std::string name = path + ": " + entry.name;
    if (entry.offset > zip.size() || zip.size() - entry.offset < 30 ||
        zip.substr(entry.offset, 4) != "PK\3\4")
        throw Error::data(name, ": its place in the archive is damaged");
    uint64_t begin = entry.offset + 30 + little_endian(zip, entry.offset + 26, 2) +
                     little_endian(zip, entry.offset + 28, 2);
    if (begin > zip.size() || entry.packed > zip.size() - begin)
        throw Error::data(name, ": its data are cut off");
    std::string_view packed = zip.substr(begin, entry.packed);
    if (entry.method != 0 && entry.method != 8)
        throw Error::data(name, ": expected stored or deflated data, got method ", entry.method);
    if (entry.method == 0 && entry.packed != entry.size) throw Error::data(name, ": its two sizes disagree");
    std::string content = entry.method == 0 ? std::string(packed) : inflate_raw(packed, entry.size, name);
    if (crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != entry.crc)
        throw Error::data(name, ": its checksum does not fit: the archive is damaged");
    return content;
}

} // namespace dorabench
