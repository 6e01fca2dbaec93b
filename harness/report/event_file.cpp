#include "harness/report/event_file.h"
#include <array>
#include <cstring>

namespace dorabench {
namespace {

template <typename Number>
void append_little_endian(std::string& out, Number value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value); // the machines LibTorch runs on are little-endian
    out.append(bytes, sizeof value);
}

void append_varint(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
}

// protobuf's field keys: number and wire type (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes)
void append_key(std::string& out, int field, int wire_type) {
    append_varint(out, static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

void append_bytes(std::string& out, int field, std::string_view bytes) {
    append_key(out, field, 2);
    append_varint(out, bytes.size());
    out.append(bytes);
}

std::string event(double wall_time, int64_t step) {
    std::string out;
    append_key(out, 1, 1); // Event.wall_time
    append_little_endian(out, wall_time);
    append_key(out, 2, 0); // Event.step
    append_varint(out, static_cast<uint64_t>(step));
    return out;
}

uint32_t masked_crc(std::string_view bytes) {
    const uint32_t crc = crc32c(bytes);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

void append_record(std::string& out, const std::string& payload) {
    std::string length;
    append_little_endian(length, static_cast<uint64_t>(payload.size()));
    out += length;
    append_little_endian(out, masked_crc(length));
    out += payload;
    append_little_endian(out, masked_crc(payload));
}

} // namespace

uint32_t crc32c(std::string_view bytes) {
    static const auto table = [] {
        std::array<uint32_t, 256> table{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0);
            table[i] = value;
        }
        return table;
    }();
    uint32_t crc = ~0u;
    for (const char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
    return ~crc;
}

std::string event_file(double begin, const std::vector<ScalarEvent>& events) {
    std::string out, payload = event(begin, 0);
    append_bytes(payload, 3, "brain.Event:2"); // Event.file_version
    append_record(out, payload);
    for (const ScalarEvent& scalar : events) {
        std::string value, summary;
        append_bytes(value, 1, scalar.tag); // Summary.Value.tag
        append_key(value, 2, 5);            // Summary.Value.simple_value
        append_little_endian(value, static_cast<float>(scalar.value));
        append_bytes(summary, 1, value); // Summary.value
        payload = event(scalar.wall_time, scalar.step);
        append_bytes(payload, 5, summary); // Event.summary
        append_record(out, payload);
    }
    return out;
}

} // namespace dorabench
