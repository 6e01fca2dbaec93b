#include "harness/plugin/plugin.h"
#include "harness/api/plugin.h"
#include <algorithm>
#include <dlfcn.h>
#include <filesystem>

namespace dorabench {
namespace {

template <typename... P>
Error refused(const std::string& path, const P&... what) {
    return Error(ErrorKind::plugin, cat("plug-in ", path, ": ", what...));
}

std::string or_none(const char* text) { return text ? text : "none"; }

// "" where both sides were built alike, else what differs: ours first.
std::string mismatch(const DorabenchPlugin& plugin) {
    std::vector<std::string> differs;
    auto compare = [&](const char* what, const std::string& ours, const std::string& theirs) {
        if (ours != theirs) differs.push_back(cat(what, ": expected ", ours, ", got ", theirs));
    };
    if (plugin.size != sizeof(DorabenchPlugin))
        return cat("size of its entry: expected ", sizeof(DorabenchPlugin), " bytes, got ", plugin.size);
    compare("ABI number", cat(kPluginAbi), cat(plugin.abi));
    compare("LibTorch", TORCH_VERSION, or_none(plugin.torch));
    compare("compiler", DORABENCH_COMPILER_ABI, or_none(plugin.compiler));
    return join(differs, "; ");
}

void register_contents(const DorabenchPlugin& plugin, const std::string& path, Registries& registries) {
    const Registries before = registries;
    auto set_origin = [&](const std::string& origin) {
        registries.backends.set_origin(origin);
        registries.tasks.set_origin(origin);
    };
    set_origin(path);
    try {
        plugin.register_plugin(registries);
    } catch (const std::exception& error) {
        registries = before;
        throw refused(path, "threw while registering: ", error.what());
    } catch (...) {
        registries = before;
        throw refused(path, "threw while registering something that is no std::exception");
    }
    set_origin("");
}

} // namespace

void load_plugin(const std::string& path, Registries& registries) {
    std::error_code error;
    const std::string whole = std::filesystem::canonical(path, error).string();
    if (error) throw refused(path, "expected a shared object, got: ", error.message());
    if (std::any_of(registries.plugins.begin(), registries.plugins.end(),
                    [&](const LoadedPlugin& loaded) { return loaded.path == whole; }))
        return;
    void* object = dlopen(whole.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!object)
        throw refused(path, "cannot be loaded (", or_none(dlerror()),
                      "); build it with dorabench_plugin() against the headers of this program");
    using Entry = const DorabenchPlugin* (*)();
    const auto entry = reinterpret_cast<Entry>(dlsym(object, "dorabench_plugin_v1"));
    if (!entry)
        throw refused(path, "has no symbol dorabench_plugin_v1; DORABENCH_PLUGIN(name, function) of "
                            "harness/api/plugin.h defines it");
    const DorabenchPlugin* plugin = entry();
    if (!plugin) throw refused(path, "dorabench_plugin_v1 returned nothing");
    if (const std::string differs = mismatch(*plugin); !differs.empty())
        throw refused(path, "was built otherwise than this program (", differs,
                      "); build it again against this program's headers and LibTorch");
    if (!plugin->register_plugin) throw refused(path, "names no function that registers");
    register_contents(*plugin, whole, registries);
    registries.plugins.push_back({or_none(plugin->name), whole});
}

} // namespace dorabench
