#include "harness/base/files.h"
#include "harness/base/error.h"
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>
#include <zlib.h>

namespace dorabench {

namespace {

namespace fs = std::filesystem;
constexpr size_t kBlock = size_t(1) << 18;
constexpr size_t kLongestLine = size_t(1) << 30;

// A file that zlib reads: gunzipped when its content is gzip, as it is otherwise.
class Reader {
public:
    explicit Reader(const std::string& path) : path_(path), file_(nullptr, gzclose) {
        if (is_folder(path)) throw Error::data(path, ": expected a file, got a folder");
        errno = 0;
        file_.reset(gzopen(path.c_str(), "rb"));
        if (!file_)
            throw Error::data(path, ": cannot be opened: ", errno ? std::strerror(errno) : "out of memory");
        gzbuffer(file_.get(), kBlock);
    }
    size_t read(char* to, size_t size) {
        errno = 0;
        int got = gzread(file_.get(), to, static_cast<unsigned>(size));
        int status = Z_OK;
        const char* reason = gzerror(file_.get(), &status);
        if (got < 0 || (static_cast<size_t>(got) < size && status != Z_OK && status != Z_STREAM_END))
            throw Error::data(path_, ": cannot be read: ",
                              status == Z_BUF_ERROR ? "the gzip stream ends too early (truncated file?)"
                              : errno               ? std::strerror(errno)
                                                    : reason);
        return static_cast<size_t>(got);
    }

private:
    std::string path_;
    std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() { close(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }
    int close() { return fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1)); }

private:
    int fd_;
};

int open_retrying(const char* path, int flags, mode_t mode = 0666) {
    int fd = -1;
    do fd = ::open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

// Number of bytes written; less than asked for with errno set.
size_t write_all(int fd, std::string_view content) {
    size_t done = 0;
    while (done < content.size()) {
        ssize_t wrote = ::write(fd, content.data() + done, content.size() - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            if (wrote == 0) errno = ENOSPC;
            break;
        }
        done += static_cast<size_t>(wrote);
    }
    return done;
}

Error cannot_write(const std::string& path, const char* what, int reason) {
    const char* repair =
        reason == ENOSPC || reason == EDQUOT || reason == EFBIG ? "; free some space or choose another folder"
        : reason == EACCES || reason == EROFS || reason == EPERM ? "; choose a folder that you may write to"
                                                                 : "";
    return Error::resources(path, ": ", what, ": ", std::strerror(reason), repair);
}

void sync_folder(const std::string& folder) { // makes the rename itself durable; not every file system can
    Descriptor fd(open_retrying(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY));
    if (fd.get() >= 0) ::fsync(fd.get());
}

// Pipes and devices (/dev/stdout) have no content to keep whole: written straight.
bool write_special(const std::string& path, std::string_view content) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode)) return false;
    if (S_ISDIR(info.st_mode)) throw Error::resources(path, ": cannot be written: it is a folder");
    Descriptor fd(open_retrying(path.c_str(), O_WRONLY));
    if (fd.get() < 0 || write_all(fd.get(), content) < content.size())
        throw cannot_write(path, "cannot be written", errno);
    return true;
}

} // namespace

std::string read_file(const std::string& path, size_t limit_bytes) {
    Reader reader(path);
    std::string out;
    for (;;) {
        size_t room = std::min(kBlock, limit_bytes < out.size() ? 0 : limit_bytes - out.size()) + 1;
        size_t before = out.size();
        out.resize(before + room);
        size_t got = reader.read(out.data() + before, room);
        out.resize(before + got);
        if (out.size() > limit_bytes)
            throw Error::data(path, ": expected at most ", limit_bytes, " bytes, got more");
        if (got < room) return out;
    }
}

void for_each_line(const std::string& path, const std::function<void(size_t, std::string_view)>& f) {
    Reader reader(path);
    std::string pending; // a line that crosses blocks
    std::vector<char> block(kBlock);
    size_t number = 0;
    auto give = [&](std::string_view line) {
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        f(++number, line);
    };
    while (size_t got = reader.read(block.data(), block.size())) {
        std::string_view rest(block.data(), got);
        for (size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
            if (pending.empty()) {
                give(rest.substr(0, end));
            } else {
                pending += rest.substr(0, end);
                give(pending);
                pending.clear();
            }
        }
        if (pending.size() + rest.size() > kLongestLine)
            throw Error::data(path, ":", number + 1, ": expected a line of at most 1 GiB, got a longer one");
        pending += rest;
    }
    if (!pending.empty()) give(pending);
}

void write_file_atomic(const std::string& path, std::string_view content) {
    static std::atomic<unsigned> counter{0};
    if (write_special(path, content)) return;
    std::error_code ignored;
    std::string target = path;
    if (fs::is_symlink(path, ignored))
        target = fs::weakly_canonical(path, ignored).string(); // the link stays a link
    if (target.empty()) target = path;
    std::string temporary =
        target + "." + std::to_string(::getpid()) + "." + std::to_string(++counter) + ".tmp";
    Descriptor fd(open_retrying(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL));
    if (fd.get() < 0) throw cannot_write(path, "cannot be written", errno);
    struct stat old {};
    if (::stat(target.c_str(), &old) == 0) (void)!::fchmod(fd.get(), old.st_mode & 07777);
    auto give_up = [&](const char* what) {
        int reason = errno;
        ::unlink(temporary.c_str());
        throw cannot_write(path, what, reason);
    };
    if (write_all(fd.get(), content) < content.size()) give_up("cannot be written");
    if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOSYS) give_up("cannot be synced");
    if (fd.close() != 0) give_up("cannot be closed");
    if (::rename(temporary.c_str(), target.c_str()) != 0) give_up("cannot be replaced");
    sync_folder(fs::path(target).parent_path().string());
}

LineAppender::LineAppender(const std::string& path) : path_(path) {
    Descriptor fd(open_retrying(path.c_str(), O_RDWR | O_CREAT | O_APPEND));
    if (fd.get() < 0) throw cannot_write(path, "cannot be opened for appending", errno);
    off_t size = ::lseek(fd.get(), 0, SEEK_END), keep = size;
    std::vector<char> block(size_t(1) << 16);
    while (keep > 0) { // keep: just behind the last line end
        auto count = static_cast<size_t>(std::min<off_t>(keep, static_cast<off_t>(block.size())));
        ssize_t got = ::pread(fd.get(), block.data(), count, keep - static_cast<off_t>(count));
        if (got != static_cast<ssize_t>(count))
            throw Error::data(path, ": cannot be read: ", std::strerror(errno));
        size_t end = std::string_view(block.data(), count).rfind('\n');
        if (end != std::string_view::npos) {
            keep -= static_cast<off_t>(count - end - 1);
            break;
        }
        keep -= static_cast<off_t>(count);
    }
    if (keep < size && ::ftruncate(fd.get(), keep) != 0)
        throw cannot_write(path, "its incomplete last line cannot be cut off", errno);
    fd_ = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
    if (fd_ < 0) throw cannot_write(path, "cannot be opened for appending", errno);
}

LineAppender::~LineAppender() {
    if (fd_ >= 0) ::close(fd_);
}

LineAppender::LineAppender(LineAppender&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

LineAppender& LineAppender::operator=(LineAppender&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = std::exchange(other.fd_, -1);
        path_ = std::move(other.path_);
    }
    return *this;
}

void LineAppender::append(std::string_view line) {
    if (fd_ < 0) throw Error::internal("LineAppender::append needs an open file");
    if (line.find('\n') != std::string_view::npos)
        throw Error::internal(path_, ": expected one line to append, got several");
    std::string whole(line);
    whole += '\n';
    size_t wrote = write_all(fd_, whole);
    if (wrote == whole.size()) return;
    int reason = errno;
    if (wrote > 0) { // take the part back, so that the file holds whole lines only
        off_t end = ::lseek(fd_, 0, SEEK_END);
        if (end >= static_cast<off_t>(wrote)) (void)!::ftruncate(fd_, end - static_cast<off_t>(wrote));
    }
    throw cannot_write(path_, "cannot be appended to", reason);
}

void LineAppender::sync() {
    if (fd_ >= 0 && ::fdatasync(fd_) != 0 && errno != EINVAL)
        throw cannot_write(path_, "cannot be synced", errno);
}

void make_folder(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error || !is_folder(path))
        throw cannot_write(path, "the folder cannot be made", error ? error.value() : ENOTDIR);
}

bool exists(const std::string& path) {
    std::error_code ignored;
    return !path.empty() && fs::exists(path, ignored);
}

bool is_folder(const std::string& path) {
    std::error_code ignored;
    return fs::is_directory(path, ignored);
}

} // namespace dorabench
