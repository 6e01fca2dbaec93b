#pragma once
#include <string>

namespace CLI {
class App;
}

namespace dorabench {

// A bash script that completes the program's commands, their options and the choices of these, out of the
// same description that parses the command line; where a value is expected that has no choices, file names.
std::string bash_completion(const CLI::App& app);

} // namespace dorabench
