#include "harness/base/progress.h"
#include "harness/base/text.h"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dorabench {

namespace {

using std::chrono::duration;
using std::chrono::steady_clock;
std::atomic<bool> enabled{true};
std::atomic<bool> line_on_screen{false};
constexpr double kRedrawSeconds = 0.1, kPlainSeconds = 10;

size_t terminal_columns() {
    winsize size{};
    return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double seconds_since(steady_clock::time_point then) {
    return duration<double>(steady_clock::now() - then).count();
}

} // namespace

void set_progress_enabled(bool on) { enabled = on; }

void clear_progress_line() {
    if (line_on_screen.exchange(false)) std::fputs("\r\033[K", stderr);
}

Progress::Progress(std::string label, int64_t total, int64_t already)
    : label_(std::move(label)), total_(total), already_(already), terminal_(::isatty(STDERR_FILENO) == 1),
      start_(steady_clock::now()), last_(start_) {}

Progress::~Progress() {
    if (shown_ && terminal_ && line_on_screen.exchange(false)) std::fputc('\n', stderr);
}

void Progress::update(int64_t done, const std::string& note) {
    if (!enabled) return;
    bool finished = total_ > 0 && done >= total_;
    if (finished && last_plain_ == done) return;
    if (!finished && seconds_since(last_) < (terminal_ ? kRedrawSeconds : kPlainSeconds)) return;
    last_ = steady_clock::now();
    std::string line = label_ + " " + with_commas(done);
    if (total_ > 0) {
        line += "/" + with_commas(total_) + " (" + fixed(100.0 * double(done) / double(total_), 0) + "%)";
    }
    double elapsed = seconds_since(start_);
    if (finished)
        line += ", " + human_seconds(elapsed);
    else if (total_ > 0 && done > already_)
        line += ", " + human_seconds(elapsed / double(done - already_) * double(total_ - done)) + " left";
    if (!note.empty()) line += ", " + note;
    if (terminal_) {
        line.resize(std::min(line.size(), terminal_columns() - 1));
        std::fprintf(stderr, "\r\033[K%s", line.c_str());
        std::fflush(stderr);
        line_on_screen = true;
    } else {
        std::fprintf(stderr, "%s\n", line.c_str());
    }
    last_plain_ = done;
    shown_ = true;
}

} // namespace dorabench
