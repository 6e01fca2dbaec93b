#pragma once
// The one C entry of a shared-object plug-in. Behind it are the C++ interfaces of these headers, which hold
// only where both sides were built alike: the loader (harness/plugin) demands exactly equal ABI number,
// LibTorch version and compiler tag, and its refusal prints both sides.
//
//   void register_all(dorabench::Registries& registries) { registries.backends.add(…);
//   registries.tasks.add(…); } DORABENCH_PLUGIN("mine", register_all)
//
// An example with its CMake project: tests/plugins.
#include <cstdint>
#include <torch/version.h>

namespace dorabench {
struct Registries; // harness/api/registries.h

// Goes up when a type or function in the installed headers changes so that objects built before it misread
// it.
inline constexpr uint32_t kPluginAbi = 1;
} // namespace dorabench

#define DORABENCH_TEXT_(x) #x
#define DORABENCH_TEXT(x) DORABENCH_TEXT_(x)
#ifdef __clang__
#define DORABENCH_COMPILER "clang"
#else
#define DORABENCH_COMPILER "gcc"
#endif
#ifdef _GLIBCXX_DEBUG // its containers have another layout
#define DORABENCH_CONTAINERS " debug containers"
#else
#define DORABENCH_CONTAINERS ""
#endif
#ifndef DORABENCH_COMPILER_ABI
// "gcc, C++ ABI 1017, string ABI 1, C++ 202002L": what decides names and layouts
#define DORABENCH_COMPILER_ABI                                                                               \
    DORABENCH_COMPILER ", C++ ABI " DORABENCH_TEXT(__GXX_ABI_VERSION) ", string ABI " DORABENCH_TEXT(        \
        _GLIBCXX_USE_CXX11_ABI) ", C++ " DORABENCH_TEXT(__cplusplus) DORABENCH_CONTAINERS
#endif

extern "C" {
struct DorabenchPlugin {
    uint32_t size; // sizeof(DorabenchPlugin): a later loader knows what an earlier plug-in lacks
    uint32_t abi;
    const char* torch;    // "2.11.0"
    const char* compiler; // DORABENCH_COMPILER_ABI
    const char* name;
    void (*register_plugin)(dorabench::Registries&); // may throw
};
}

// Defines dorabench_plugin_v1, the symbol that the loader looks for.
#define DORABENCH_PLUGIN(plugin_name, register_function)                                                     \
    extern "C" __attribute__((visibility("default"))) const DorabenchPlugin* dorabench_plugin_v1() {         \
        static const DorabenchPlugin plugin = {                                                              \
            sizeof(DorabenchPlugin), dorabench::kPluginAbi, TORCH_VERSION,                                   \
            DORABENCH_COMPILER_ABI,  plugin_name,           register_function};                              \
        return &plugin;                                                                                      \
    }
