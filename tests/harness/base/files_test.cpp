#include "harness/base/error.h"
#include "harness/base/files.h"
#include "tests/support/paths.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

namespace dorabench {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

void write(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

void write_gzip(const std::string& path, const std::string& content) {
    gzFile file = gzopen(path.c_str(), "wb");
    ASSERT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())),
              static_cast<int>(content.size()));
    gzclose(file);
}

// The kind and text of what f throws.
template <typename F>
std::pair<ErrorKind, std::string> thrown(F f) {
    try {
        f();
    } catch (const Error& error) {
        return {error.kind(), error.what()};
    }
    return {ErrorKind::internal, "nothing was thrown"};
}

size_t files_in(const std::string& folder) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

// Writes beyond `bytes` of a file fail with EFBIG, as they do with ENOSPC on a full disk.
class SmallDisk {
public:
    explicit SmallDisk(rlim_t bytes) {
        getrlimit(RLIMIT_FSIZE, &old_);
        handler_ = std::signal(SIGXFSZ, SIG_IGN);
        rlimit small{bytes, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
    }
    ~SmallDisk() {
        setrlimit(RLIMIT_FSIZE, &old_);
        std::signal(SIGXFSZ, handler_);
    }

private:
    rlimit old_{};
    void (*handler_)(int) = nullptr;
};

TEST(ReadFile, GivesEveryByte) {
    TempDir folder;
    std::string content = "a\0b\r\n\xFF";
    content += std::string(1'000'003, 'x');
    write(folder / "f", content);
    EXPECT_EQ(read_file(folder / "f"), content);
    write(folder / "empty", "");
    EXPECT_EQ(read_file(folder / "empty"), "");
}

TEST(ReadFile, UnzipsByContentAndNotByName) {
    TempDir folder;
    std::string content(600'000, 'z');
    write_gzip(folder / "plain.name", content);
    EXPECT_EQ(read_file(folder / "plain.name"), content);
}

TEST(ReadFile, RefusesWhatGoesBeyondTheLimitEvenZipped) {
    TempDir folder;
    write_gzip(folder / "bomb.gz", std::string(10'000'000, '0'));
    EXPECT_EQ(read_file(folder / "bomb.gz", 10'000'000).size(), 10'000'000u);
    auto [kind, text] = thrown([&] { read_file(folder / "bomb.gz", 9'999'999); });
    EXPECT_EQ(kind, ErrorKind::data);
    EXPECT_NE(text.find("at most 9999999"), std::string::npos) << text;
}

TEST(ReadFile, NamesTheFileAndTheReason) {
    TempDir folder;
    auto [kind, text] = thrown([&] { read_file(folder / "absent"); });
    EXPECT_EQ(kind, ErrorKind::data);
    EXPECT_NE(text.find("absent: cannot be opened: No such file"), std::string::npos) << text;
    EXPECT_NE(thrown([&] { read_file(folder.path()); }).second.find("got a folder"), std::string::npos);
}

TEST(ReadFile, RefusesACutGzipStream) {
    TempDir folder;
    write_gzip(folder / "whole.gz", "some text that is long enough to be cut in the middle of it");
    std::ifstream in(folder / "whole.gz", std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    write(folder / "cut.gz", bytes.substr(0, bytes.size() / 2));
    auto [kind, text] = thrown([&] { read_file(folder / "cut.gz"); });
    EXPECT_EQ(kind, ErrorKind::data);
    EXPECT_NE(text.find("truncated"), std::string::npos) << text;
}

TEST(ForEachLine, NumbersLinesAndDropsTheirEnds) {
    TempDir folder;
    write(folder / "f", "one\r\n\ntwo\nlast");
    std::vector<std::string> lines;
    for_each_line(folder / "f", [&](size_t number, std::string_view line) {
        EXPECT_EQ(number, lines.size() + 1);
        lines.emplace_back(line);
    });
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "two", "last"}));
}

TEST(ForEachLine, PutsLinesTogetherThatCrossBlocks) {
    TempDir folder;
    std::string longest(700'001, 'q');
    write_gzip(folder / "f.gz", "a\n" + longest + "\nb\n");
    std::vector<size_t> sizes;
    for_each_line(folder / "f.gz", [&](size_t, std::string_view line) { sizes.push_back(line.size()); });
    EXPECT_EQ(sizes, (std::vector<size_t>{1, longest.size(), 1}));
}

TEST(WriteFileAtomic, ReplacesAndKeepsTheMode) {
    TempDir folder;
    write_file_atomic(folder / "f", "old");
    fs::permissions(folder / "f", fs::perms::owner_read | fs::perms::owner_write);
    write_file_atomic(folder / "f", "new");
    EXPECT_EQ(read_file(folder / "f"), "new");
    EXPECT_EQ(fs::status(folder / "f").permissions(), fs::perms::owner_read | fs::perms::owner_write);
    EXPECT_EQ(files_in(folder.path()), 1u); // no temporary is left
}

TEST(WriteFileAtomic, KeepsALinkALink) {
    TempDir folder;
    write(folder / "target", "old");
    fs::create_symlink(folder / "target", folder / "link");
    write_file_atomic(folder / "link", "new");
    EXPECT_TRUE(fs::is_symlink(folder / "link"));
    EXPECT_EQ(read_file(folder / "target"), "new");
}

TEST(WriteFileAtomic, LeavesTheOldFileWholeOnAFullDisk) {
    TempDir folder;
    write_file_atomic(folder / "f", "old");
    std::pair<ErrorKind, std::string> error;
    {
        SmallDisk disk(1000);
        error = thrown([&] { write_file_atomic(folder / "f", std::string(5000, 'n')); });
    }
    EXPECT_EQ(error.first, ErrorKind::resources);
    EXPECT_NE(error.second.find("free some space"), std::string::npos) << error.second;
    EXPECT_EQ(read_file(folder / "f"), "old");
    EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(WriteFileAtomic, SaysWhereItMayNotWrite) {
    auto [kind, text] =
        thrown([] { write_file_atomic("/proc/dorabench-file", "x"); }); // read-only even for root
    EXPECT_EQ(kind, ErrorKind::resources);
    EXPECT_NE(text.find("/proc/dorabench-file"), std::string::npos) << text;
    TempDir folder;
    EXPECT_EQ(thrown([&] { write_file_atomic(folder / "absent/f", "x"); }).first, ErrorKind::resources);
    EXPECT_EQ(thrown([&] { write_file_atomic(folder.path(), "x"); }).first, ErrorKind::resources);
    if (::geteuid() == 0) GTEST_SKIP() << "the folder part needs a user who is not root";
    fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
    EXPECT_EQ(thrown([&] { write_file_atomic(folder / "f", "x"); }).first, ErrorKind::resources);
    fs::permissions(folder.path(), fs::perms::owner_all);
}

TEST(WriteFileAtomic, WritesDevicesStraightAndReportsAFullOne) {
    EXPECT_EQ(thrown([] { write_file_atomic("/dev/full", "x"); }).first, ErrorKind::resources);
    write_file_atomic("/dev/null", "x");
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST(LineAppender, CutsOffTheLineThatACrashLeft) {
    TempDir folder;
    write(folder / "f", "whole\nhalf a li");
    {
        LineAppender lines(folder / "f");
        lines.append("next");
        lines.sync();
    }
    EXPECT_EQ(read_file(folder / "f"), "whole\nnext\n");
    write(folder / "g", std::string(200'000, 'h')); // longer than the block that is searched
    LineAppender(folder / "g").append("first");
    EXPECT_EQ(read_file(folder / "g"), "first\n");
}

TEST(LineAppender, LeavesWholeLinesOnAFullDisk) {
    TempDir folder;
    LineAppender lines(folder / "f");
    lines.append("first");
    {
        SmallDisk disk(10);
        EXPECT_EQ(thrown([&] { lines.append("far too long for it"); }).first, ErrorKind::resources);
    }
    EXPECT_EQ(read_file(folder / "f"), "first\n");
    lines.append("second");
    EXPECT_EQ(read_file(folder / "f"), "first\nsecond\n");
}

TEST(LineAppender, RefusesSeveralLinesInOne) {
    TempDir folder;
    LineAppender lines(folder / "f"), moved(std::move(lines));
    EXPECT_THROW(moved.append("a\nb"), Error);
    EXPECT_THROW(lines.append("a"), Error); // moved from
}

TEST(MakeFolder, MakesParentsAndRefusesAFileInTheWay) {
    TempDir folder;
    make_folder(folder / "a/b/c");
    make_folder(folder / "a/b/c");
    EXPECT_TRUE(is_folder(folder / "a/b/c"));
    write(folder / "f", "");
    EXPECT_EQ(thrown([&] { make_folder(folder / "f/g"); }).first, ErrorKind::resources);
    EXPECT_EQ(thrown([&] { make_folder(folder / "f"); }).first, ErrorKind::resources);
    EXPECT_TRUE(exists(folder / "f"));
    EXPECT_FALSE(exists(folder / "g"));
    EXPECT_FALSE(exists(""));
}

} // namespace
} // namespace dorabench
