#pragma once
// Loads shared objects that bring backends and tasks (harness/api/plugin.h is what they offer). They are
// never closed: what they registered lives as long as the process.
#include "harness/api/registries.h"

namespace dorabench {

// dlopen(RTLD_NOW | RTLD_LOCAL), the guards, then its register function; what it adds carries `path` as
// origin. A path that was loaded before changes nothing. Error{plugin} for an object that cannot be loaded,
// one without the entry, one built otherwise (both sides printed) and one that throws while registering, of
// which then nothing stays registered.
void load_plugin(const std::string& path, Registries& registries);

} // namespace dorabench
