#pragma once
// Where tests find their fixtures, and a temporary folder each.
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace dorabench::test {

std::string source_dir(); // of the checkout, as CMake was given it
std::string binary_dir(); // of the build
inline std::string golden(const std::string& name) { return source_dir() + "/tests/golden/" + name; }
// The shared reference material beside the checkout; empty where a public clone has none.
inline std::string shared_dir() {
    std::string path = source_dir() + "/../shared";
    return std::filesystem::is_directory(path) ? path : std::string();
}
#define DORABENCH_NEEDS_SHARED()                                                                                       \
    if (dorabench::test::shared_dir().empty()) GTEST_SKIP() << "../shared is absent (a public clone): its fixtures are not here"

class TempDir {
public:
    TempDir() {
        std::string pattern = (std::filesystem::temp_directory_path() / "dorabench-XXXXXX").string();
        path_ = mkdtemp(pattern.data());
    }
    ~TempDir() { std::error_code ignored; std::filesystem::remove_all(path_, ignored); }
    TempDir(const TempDir&) = delete;
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }
private:
    std::string path_;
};

} // namespace dorabench::test
