#pragma once
// Errors. One class with a kind; thrown anywhere, caught in main.cpp and, per run, in cli/run. The exit code of the
// program follows from the kind (design: exit codes are part of the contract with CI).
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dorabench {

// Streams its arguments into one string: cat("rank must be at least 1, got ", rank).
template <typename... Parts>
std::string cat(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
}

enum class ErrorKind {
    config,       // 2: wrong usage or configuration
    data,         // 6: missing or damaged data, weights or adapter
    check,        // 7: a self-check failed
    resources,    // 8: memory, device, disk
    plugin,       // 2
    failed,       // 1: a run failed
    incomparable, // 4: baseline of another prompt, data, template or scoring
    interrupted,  // 130
    internal,     // 1: a fault of ours
};

// what(): expected first, then actual, then the repair if one is known; names file and place.
class Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    ErrorKind kind() const { return kind_; }

    template <typename... P> static Error config(const P&... p) { return {ErrorKind::config, cat(p...)}; }
    template <typename... P> static Error data(const P&... p) { return {ErrorKind::data, cat(p...)}; }
    template <typename... P> static Error check(const P&... p) { return {ErrorKind::check, cat(p...)}; }
    template <typename... P> static Error resources(const P&... p) { return {ErrorKind::resources, cat(p...)}; }
    template <typename... P> static Error failed(const P&... p) { return {ErrorKind::failed, cat(p...)}; }
    template <typename... P> static Error internal(const P&... p) { return {ErrorKind::internal, cat(p...)}; }

private:
    ErrorKind kind_;
};

// The process exit code for a kind of error: config 2, data 6, check 7, resources 8, incomparable 4, interrupted 130,
// everything else 1.
int exit_code(ErrorKind kind);

} // namespace dorabench
