#pragma once
// Logging facade (spdlog lives in log.cpp alone: its fmt and torch's do not compile in one file). To stderr, and to a
// file when one is set. Results go to stdout elsewhere.
#include "harness/base/error.h"
#include <string>

namespace dorabench::log {

enum class Level { debug, info, warning, error };
void set_level(Level level);              // --quiet: warning; --verbose: debug
void set_file(const std::string& path);   // also write there (append); "" ends it
void write(Level level, const std::string& message);
template <typename... P> void debug(const P&... p) { write(Level::debug, cat(p...)); }
template <typename... P> void info(const P&... p) { write(Level::info, cat(p...)); }
template <typename... P> void warning(const P&... p) { write(Level::warning, cat(p...)); }
template <typename... P> void error(const P&... p) { write(Level::error, cat(p...)); }

} // namespace dorabench::log
