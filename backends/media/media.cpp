#include "backends/media/media.h"
#include "harness/base/env.h"
#include "harness/base/error.h"
#include <dlfcn.h>
#include <mutex>

namespace dorabench {
namespace {

struct Loaded {
    const MediaLibrary* library = nullptr;
    std::string why_not;
};

const Loaded& load() {
    static const Loaded loaded = [] {
        Loaded out;
        std::string path = executable_folder() + "/libdorabench_media.so";
        void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!object) {
            out.why_not = dlerror();
            return out;
        }
        using Entry = const MediaLibrary* (*)();
        auto entry = reinterpret_cast<Entry>(dlsym(object, "dorabench_media_v1"));
        if (!entry)
            out.why_not = path + " has no entry dorabench_media_v1: it belongs to another build";
        else
            out.library = entry();
        return out;
    }();
    return loaded;
}

} // namespace

const MediaLibrary& media_library() {
    const Loaded& loaded = load();
    if (!loaded.library)
        throw Error::resources(
            "images and video need libdorabench_media.so beside the program: ", loaded.why_not,
            "; install the packages of scripts/setup and build with DORABENCH_MEDIA=ON");
    return *loaded.library;
}

bool media_available(std::string* why_not) {
    if (why_not) *why_not = load().why_not;
    return load().library != nullptr;
}

} // namespace dorabench
