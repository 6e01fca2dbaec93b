#pragma once
// A progress line for a person (one line rewritten on a terminal) or plain lines now and then otherwise; to stderr.
#include <chrono>
#include <cstdint>
#include <string>

namespace dorabench {

void set_progress_enabled(bool on); // --no-progress, --quiet
void clear_progress_line();         // a log line comes: the progress line is wiped, and drawn again by the next update

class Progress {
public:
    // already: what an earlier process has done; it counts as done, but not for the time that is left.
    Progress(std::string label, int64_t total, int64_t already = 0);
    ~Progress(); // ends the line
    void update(int64_t done, const std::string& note = ""); // note: "loss 1.234, 812 tokens/s"
private:
    std::string label_;
    int64_t total_, already_, last_plain_ = -1;
    bool terminal_, shown_ = false;
    std::chrono::steady_clock::time_point start_, last_;
};

} // namespace dorabench
