// The event file taken apart again by a reader of its own: records, checksums, protobuf fields.
#include "harness/report/event_file.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <map>

namespace dorabench {
namespace {

template <typename Number>
Number number_at(std::string_view bytes, size_t at) {
    Number value;
    std::memcpy(&value, bytes.substr(at, sizeof value).data(), sizeof value);
    return value;
}

// Bit by bit from the polynomial: another way than the table of event_file.cpp.
uint32_t slow_crc32c(std::string_view bytes) {
    uint32_t crc = ~0u;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

uint32_t masked(std::string_view bytes) {
    const uint32_t crc = slow_crc32c(bytes);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

// Payloads of the records; fails where a length or checksum is wrong.
std::vector<std::string> records(std::string_view file) {
    std::vector<std::string> out;
    while (!file.empty()) {
        if (file.size() < 16) return ADD_FAILURE() << "a record is cut off", out;
        const auto size = number_at<uint64_t>(file, 0);
        EXPECT_EQ(number_at<uint32_t>(file, 8), masked(file.substr(0, 8)));
        if (file.size() < 16 + size) return ADD_FAILURE() << "a payload is cut off", out;
        out.emplace_back(file.substr(12, size));
        EXPECT_EQ(number_at<uint32_t>(file, 12 + size), masked(out.back()));
        file.remove_prefix(16 + size);
    }
    return out;
}

uint64_t varint(std::string_view& bytes) {
    uint64_t value = 0;
    for (int shift = 0; !bytes.empty(); shift += 7) {
        const auto byte = static_cast<unsigned char>(bytes.front());
        bytes.remove_prefix(1);
        value |= uint64_t(byte & 127) << shift;
        if (byte < 128) break;
    }
    return value;
}

// Field number to its bytes (a varint as eight).
std::map<uint64_t, std::string> fields(std::string_view bytes) {
    std::map<uint64_t, std::string> out;
    while (!bytes.empty()) {
        const uint64_t key = varint(bytes), type = key & 7;
        if (type == 0) {
            const uint64_t value = varint(bytes);
            out[key >> 3].assign(reinterpret_cast<const char*>(&value), 8);
            continue;
        }
        const uint64_t size = type == 1 ? 8 : type == 5 ? 4 : varint(bytes);
        out[key >> 3] = bytes.substr(0, size);
        bytes.remove_prefix(std::min<size_t>(size, bytes.size()));
    }
    return out;
}

TEST(Crc32c, HasTheChecksumsOfTheStandardsTestVectors) { // RFC 3720, B.4
    EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
    EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
    EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventFile, ReadsBackRecordByRecord) {
    const std::vector<ScalarEvent> events = {{1.7e9, 0, "train/loss", 2.5},
                                             {1.7e9 + 0.25, 300, "train/Verlust ä", -1e-3},
                                             {1.7e9 + 1, int64_t(1) << 40, "test/boolq/accuracy", 0.75}};
    const std::vector<std::string> got = records(event_file(1.6e9, events));
    ASSERT_EQ(got.size(), 4u);
    const auto head = fields(got[0]);
    EXPECT_EQ(head.at(3), "brain.Event:2");
    EXPECT_EQ(number_at<double>(head.at(1), 0), 1.6e9);
    for (size_t i = 0; i < events.size(); ++i) {
        const auto event = fields(got[i + 1]), value = fields(fields(event.at(5)).at(1));
        EXPECT_EQ(number_at<double>(event.at(1), 0), events[i].wall_time);
        EXPECT_EQ(number_at<int64_t>(event.at(2), 0), events[i].step);
        EXPECT_EQ(value.at(1), events[i].tag);
        EXPECT_EQ(number_at<float>(value.at(2), 0), static_cast<float>(events[i].value));
    }
}

TEST(EventFile, ReadersSeeABitThatFlipped) {
    std::string file = event_file(1, {{1, 1, "a", 1}});
    const std::vector<std::string> whole = records(file);
    file[file.size() - 6] ^= 1; // within the last payload
    uint64_t first = number_at<uint64_t>(file, 0), at = 16 + first;
    const std::string payload = file.substr(at + 12, number_at<uint64_t>(file, at));
    EXPECT_NE(payload, whole.back());
    EXPECT_NE(number_at<uint32_t>(file, file.size() - 4), masked(payload));
}

TEST(EventFile, KeepsWhatIsNoNumberAsTheFloatThatItIs) {
    const auto got = records(event_file(0, {{0, 0, "x", std::nan("")}, {0, 1, "x", 1e300}}));
    ASSERT_EQ(got.size(), 3u);
    EXPECT_TRUE(std::isnan(number_at<float>(fields(fields(fields(got[1]).at(5)).at(1)).at(2), 0)));
    EXPECT_EQ(number_at<float>(fields(fields(fields(got[2]).at(5)).at(1)).at(2), 0),
              std::numeric_limits<float>::infinity());
}

} // namespace
} // namespace dorabench
