#pragma once
// Reads single entries of a zip (or jar) file: stored or deflated, without encryption and without the 64-bit
// extension. Everything read from the file is bounds-checked.
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace dorabench {

class ZipReader {
public:
    explicit ZipReader(const std::string& path); // Error::data when it is no zip file, or damaged
    // The content; nothing when there is no such entry; Error::data when it is damaged or larger than the
    // limit.
    std::optional<std::string> read(const std::string& name, size_t limit_bytes = size_t(256) << 20) const;

private:
    struct Entry {
        uint32_t offset = 0, packed = 0, size = 0, crc = 0;
        uint16_t method = 0, flags = 0;
    };
    std::string path_, bytes_;
    std::map<std::string, Entry> entries_;
};

} // namespace dorabench
