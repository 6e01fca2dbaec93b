#pragma once
// Files: whole reads with limits and gzip, atomic writes that never leave a half-written file, line readers.
#include <functional>
#include <string>
#include <string_view>

namespace dorabench {

// Whole file; transparently gunzips when the content is gzip. Error::data names the file and the reason.
std::string read_file(const std::string& path, size_t limit_bytes = size_t(4) << 30);
// Calls for every line (1-based number, no line end); gunzips as read_file.
void for_each_line(const std::string& path, const std::function<void(size_t number, std::string_view line)>& f);
// Writes to a temporary file in the same folder, fsyncs, renames. Error::resources on a full disk or missing permission
// (names the path; the old file stays whole).
void write_file_atomic(const std::string& path, std::string_view content);
// Appends whole lines with one write(2) each, so that a crash loses at most the line being written; on open, cuts off an
// incomplete last line. Not copyable.
class LineAppender {
public:
    LineAppender() = default;
    explicit LineAppender(const std::string& path);
    ~LineAppender();
    LineAppender(LineAppender&& other) noexcept;
    LineAppender& operator=(LineAppender&& other) noexcept;
    void append(std::string_view line); // adds the line end; Error::resources when it cannot
    void sync();                        // fdatasync
private:
    int fd_ = -1;
    std::string path_;
};
void make_folder(const std::string& path); // with parents; Error::resources
bool exists(const std::string& path);
bool is_folder(const std::string& path);

} // namespace dorabench
