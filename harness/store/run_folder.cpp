#include "harness/base/log.h"
#include "harness/store/store.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

namespace dorabench {

RunFolder::RunFolder(const std::string& results, const std::string& run_id)
    : path_(results + (results.empty() || results.back() != '/' ? "/runs/" : "runs/") + run_id), id_(run_id) {
    make_folder(path_);
}

bool RunFolder::try_lock() {
    if (lock_) return true;
    std::string lock_path = file(".lock");
    int fd = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        throw Error::resources(
            lock_path, ": a writable run folder is needed, cannot open the lock: ", std::strerror(errno));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int reason = errno;
        ::close(fd);
        if (reason == EWOULDBLOCK || reason == EINTR) return false;
        throw Error::resources(lock_path, ": cannot lock the run folder: ", std::strerror(reason),
                               " (a file system without flock? point `results` at a local one)");
    }
    // closing the descriptor gives the lock back, also when the process is killed
    lock_ = std::shared_ptr<int>(new int(fd), [](int* held) {
        ::close(*held);
        delete held;
    });
    return true;
}

void RunFolder::write_json(const std::string& name, const nlohmann::json& json) const {
    write_file_atomic(file(name), json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::optional<nlohmann::json> RunFolder::read_json(const std::string& name) const {
    std::string path = file(name);
    if (!exists(path)) return std::nullopt;
    try {
        nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
        if (!json.is_discarded()) return json;
        log::warning(path, ": expected JSON, the file is damaged; it counts as missing");
    } catch (const Error& error) {
        log::warning(error.what(), "; it counts as missing");
    }
    return std::nullopt;
}

bool RunFolder::finished() const {
    std::optional<nlohmann::json> metrics = read_json("metrics.json");
    if (!metrics || !metrics->is_object()) return false;
    auto status = metrics->find("status");
    return status != metrics->end() && *status == "done";
}

} // namespace dorabench
