#pragma once
// Facts about this build, process and machine, for provenance and doctor. The only reader of environment variables.
#include <cstdint>
#include <optional>
#include <string>

namespace dorabench {

std::optional<std::string> environment(const std::string& name);
std::string version();            // "0.1.0"
std::string commit();             // git commit the program was built from, "unknown" outside a checkout; "+dirty" appended
std::string host_description();   // CPU model, cores, memory
std::string executable_folder();  // where the program lies
std::string share_folder();       // share/dora-bench beside the program (specs, configs, baselines); the source tree's folders in tests
int64_t resident_bytes();         // VmRSS
int64_t peak_resident_bytes();    // VmHWM
void reset_peak_resident();       // through /proc/self/clear_refs where allowed
int64_t available_memory_bytes();

} // namespace dorabench
