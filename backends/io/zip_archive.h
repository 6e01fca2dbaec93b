#pragma once
// Entries of a zip archive held in memory (PKWARE APPNOTE 4.3): stored or deflated, 64-bit sizes understood.
// Every offset and length is checked before use, sizes that a file of its length cannot hold are refused,
// checksums are compared.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dorabench {

struct ZipEntry {
    std::string name;
    uint64_t method, packed, size, offset, crc;
};

bool looks_like_zip(std::string_view content);
std::vector<ZipEntry> zip_entries(std::string_view zip, const std::string& path); // Error::data names `path`
std::string zip_content(std::string_view zip, const ZipEntry& entry, const std::string& path);

} // namespace dorabench
