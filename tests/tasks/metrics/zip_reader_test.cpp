#include "tasks/metrics/zip_reader.h"

#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/tasks/metrics/fixture_files.h"
#include <gtest/gtest.h>
#include <zlib.h>

using namespace dorabench;

namespace {

void put(std::string& out, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::string deflated(const std::string& text) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string out(text.size() + 100, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

// A zip file of one entry.
std::string zip_of(const std::string& name, const std::string& content, bool deflate_it) {
    const std::string packed = deflate_it ? deflated(content) : content;
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())));
    auto fields = [&](std::string& out) { // version, flags, method, time, date, crc, sizes, name
        put(out, 20, 2), put(out, 0, 2), put(out, deflate_it ? 8 : 0, 2), put(out, 0, 4), put(out, crc, 4);
        put(out, static_cast<uint32_t>(packed.size()), 4), put(out, static_cast<uint32_t>(content.size()), 4);
        put(out, static_cast<uint32_t>(name.size()), 2), put(out, 0, 2);
    };
    std::string out;
    put(out, 0x04034b50, 4);
    fields(out);
    out += name + packed;
    const auto directory = static_cast<uint32_t>(out.size());
    put(out, 0x02014b50, 4), put(out, 20, 2);
    fields(out);
    put(out, 0, 2), put(out, 0, 2), put(out, 0, 2), put(out, 0, 4), put(out, 0, 4);
    out += name;
    const auto size = static_cast<uint32_t>(out.size()) - directory;
    put(out, 0x06054b50, 4), put(out, 0, 4), put(out, 1, 2), put(out, 1, 2), put(out, size, 4),
        put(out, directory, 4), put(out, 0, 2);
    return out;
}

} // namespace

TEST(ZipReader, ReadsStoredAndDeflatedEntries) {
    dorabench::test::TempDir folder;
    const std::string text(5000, 'x');
    for (bool deflate_it : {false, true}) {
        dorabench::test::put_file(folder / "a.zip", zip_of("dir/name.txt", text, deflate_it));
        ZipReader zip(folder / "a.zip");
        EXPECT_EQ(zip.read("dir/name.txt"), text);
        EXPECT_EQ(zip.read("other"), std::nullopt);
        EXPECT_THROW(zip.read("dir/name.txt", 100), Error);
    }
}

TEST(ZipReader, RefusesEveryDamagedFileWithoutCrashing) {
    dorabench::test::TempDir folder;
    const std::string whole =
        zip_of("n", "some text that is long enough to be deflated, deflated, deflated", true);
    size_t refused = 0, tried = 0;
    auto expect_refusal = [&](const std::string& bytes) {
        dorabench::test::put_file(folder / "a.zip", bytes);
        ++tried;
        try {
            ZipReader(folder / "a.zip").read("n");
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::data);
            ++refused;
        }
    };
    for (size_t size = 0; size < whole.size(); ++size) expect_refusal(whole.substr(0, size));
    EXPECT_EQ(refused, tried);
    for (size_t at = 0; at < whole.size(); ++at) { // single bytes: refused, or in a field that doesn't matter
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 0xFF);
        expect_refusal(damaged);
    }
    EXPECT_GT(refused, whole.size());
}
