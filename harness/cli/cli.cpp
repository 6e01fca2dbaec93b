// From argv to an exit code: calls the command line, turns what it throws into a message and a code.
#include "harness/base/text.h"
#include "harness/cli/command_line.h"
#include "harness/config/config.h"
#include <c10/util/Exception.h>
#include <csignal>
#include <iostream>
#include <poll.h>
#include <unistd.h>

namespace dorabench {
namespace {

constexpr int kUsage = 2, kResources = 8;

int complain(const std::string& message, int code) {
    std::cout.flush();
    std::cerr << "error: " << message << "\n";
    return code;
}

// c10's messages end with a C++ backtrace, which says nothing to a user.
int complain_torch(const c10::Error& error) {
    std::string message = error.what_without_backtrace();
    bool memory = dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
                  message.find("can't allocate memory") != std::string::npos ||
                  message.find("not enough memory") != std::string::npos;
    return complain(message, memory ? kResources : exit_code(ErrorKind::internal));
}

int dispatch(int argc, char** argv, Registries& registries) {
    CommandLine line(registries);
    try {
        return line.run(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0)
            return line.app().exit(error, std::cout, std::cerr); // --help, --version
        return complain(error.what() + std::string("; see dora-bench --help"), kUsage);
    } catch (const ConfigErrors& error) { // carries its places and carets
        std::cout.flush();
        std::cerr << error.what() << "\n";
        return exit_code(error.kind());
    } catch (const Error& error) {
        return complain(error.what(), exit_code(error.kind()));
    } catch (const c10::Error& error) {
        return complain_torch(error);
    } catch (const std::bad_alloc&) {
        return complain("out of memory; a smaller batch, model or dtype needs less", kResources);
    } catch (const std::exception& error) {
        return complain(error.what(), exit_code(ErrorKind::internal));
    }
}

// A reader that went away (| head) is no error; a full disk behind stdout is.
int flush_results(int code) {
    std::cout.flush();
    if (std::cout) return code;
    pollfd out{STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP))) return code;
    return complain("the results could not be written to stdout (disk full or closed?)", kResources);
}

} // namespace

int run_cli(int argc, char** argv, Registries& registries) {
    std::signal(SIGPIPE, SIG_IGN);
    return flush_results(dispatch(argc, argv, registries));
}

} // namespace dorabench
