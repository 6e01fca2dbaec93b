#include "harness/base/log.h"
#include "harness/base/env.h"
#include "harness/base/progress.h"
#include <memory>
#include <mutex>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace dorabench::log {

namespace {

spdlog::level::level_enum of(Level level) {
    switch (level) {
    case Level::debug:
        return spdlog::level::debug;
    case Level::info:
        return spdlog::level::info;
    case Level::warning:
        return spdlog::level::warn;
    case Level::error:
        return spdlog::level::err;
    }
    return spdlog::level::info;
}

// A person reads the terminal ("warning: …"), a file keeps the time too.
struct Loggers {
    std::mutex mutex;
    spdlog::logger screen{"screen", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
    std::unique_ptr<spdlog::logger> file;
    bool colour = ::isatty(STDERR_FILENO) == 1 && !environment("NO_COLOR");

    Loggers() {
        screen.set_pattern("%v");
        screen.set_level(spdlog::level::info);
        screen.flush_on(spdlog::level::trace);
        ignore_failures(screen);
    }
    // a log that cannot be written (full disk, closed pipe) must not end a run
    static void ignore_failures(spdlog::logger& logger) {
        logger.set_error_handler([](const std::string&) {});
    }
    std::string prefix(Level level) const {
        if (level == Level::warning) return colour ? "\033[33mwarning:\033[0m " : "warning: ";
        if (level == Level::error) return colour ? "\033[31merror:\033[0m " : "error: ";
        return "";
    }
};

Loggers& loggers() {
    static Loggers all;
    return all;
}

} // namespace

void set_level(Level level) { loggers().screen.set_level(of(level)); }

void set_file(const std::string& path) {
    auto& all = loggers();
    std::lock_guard lock(all.mutex);
    all.file.reset();
    if (path.empty()) return;
    try {
        all.file = std::make_unique<spdlog::logger>(
            "file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    } catch (const spdlog::spdlog_ex& error) {
        throw Error::resources(path, ": the log cannot be opened: ", error.what());
    }
    all.file->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    all.file->set_level(spdlog::level::debug);
    all.file->flush_on(spdlog::level::debug);
    Loggers::ignore_failures(*all.file);
}

void write(Level level, const std::string& message) {
    auto& all = loggers();
    std::lock_guard lock(all.mutex);
    if (all.screen.should_log(of(level))) {
        clear_progress_line();
        all.screen.log(of(level), spdlog::string_view_t(all.prefix(level) + message));
    }
    if (all.file) all.file->log(of(level), spdlog::string_view_t(message));
}

} // namespace dorabench::log
