#include "backends/io/safetensors.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dorabench {
namespace {

// A file that appears under its name only when it is whole.
class AtomicFile {
public:
    explicit AtomicFile(const std::string& path) : path_(path) {
        static std::atomic<uint64_t> counter{0};
        temporary_ = cat(path, ".tmp.", getpid(), ".", counter++);
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd_ < 0) throw failed("cannot be created");
    }
    ~AtomicFile() {
        if (fd_ >= 0) ::close(fd_);
        if (!done_ && !temporary_.empty()) ::unlink(temporary_.c_str());
    }
    AtomicFile(const AtomicFile&) = delete;

    void write(const void* data, size_t size) {
        const char* p = static_cast<const char*>(data);
        while (size > 0) {
            ssize_t n = ::write(fd_, p, std::min(size, size_t(1) << 26));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) throw failed("cannot be written");
            p += n;
            size -= size_t(n);
        }
    }
    void commit() {
        if (fsync(fd_) != 0) throw failed("cannot be written to disk");
        int closed = ::close(std::exchange(fd_, -1));
        if (closed != 0) throw failed("cannot be closed");
        if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw failed("cannot be put in place");
        done_ = true;
        std::string folder = std::filesystem::path(path_).parent_path().string();
        int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) { // the rename itself on disk; some file systems refuse, which costs nothing but that
            (void)fsync(fd);
            ::close(fd);
        }
    }

private:
    Error failed(const char* what) const {
        return Error::resources(path_, ": ", what, ": ", std::strerror(errno));
    }
    std::string path_, temporary_;
    int fd_ = -1;
    bool done_ = false;
};

// The official writer's order of dtypes, widest first, so that every tensor is aligned.
int order_of(Dtype dtype) {
    static constexpr Dtype kOrder[] = {Dtype::u64, Dtype::i64, Dtype::f64,     Dtype::f32,
                                       Dtype::u32, Dtype::i32, Dtype::bf16,    Dtype::f16,
                                       Dtype::u16, Dtype::i16, Dtype::f8_e4m3, Dtype::f8_e5m2,
                                       Dtype::i8,  Dtype::u8,  Dtype::boolean};
    return int(std::find(std::begin(kOrder), std::end(kOrder), dtype) - std::begin(kOrder));
}

void check(const std::string& path, const TensorBytes& tensor) {
    uint64_t bytes = dtype_size(tensor.dtype);
    for (int64_t extent : tensor.shape)
        if (extent < 0 || __builtin_mul_overflow(bytes, uint64_t(extent), &bytes))
            throw Error::internal(path, ": ", tensor.name, ": impossible shape");
    if (bytes != tensor.bytes.size())
        throw Error::internal(path, ": ", tensor.name, ": expected ", bytes, " bytes for its shape, got ",
                              tensor.bytes.size());
    if (tensor.name == "__metadata__" || tensor.name.find('\0') != std::string::npos ||
        invalid_utf8(tensor.name) != std::string::npos)
        throw Error::data(path, ": a tensor cannot bear the name \"", tensor.name, "\"");
}

} // namespace

void write_safetensors(const std::string& path, std::vector<TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata) {
    std::sort(tensors.begin(), tensors.end(), [](const TensorBytes& a, const TensorBytes& b) {
        int x = order_of(a.dtype), y = order_of(b.dtype);
        return x != y ? x < y : a.name < b.name;
    });
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    // an ordered_json object looks its keys up one by one, so a long list is written out piece by piece
    // instead
    std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text.pop_back();
    std::map<std::string_view, bool> names;
    size_t offset = 0;
    for (const auto& tensor : tensors) {
        check(path, tensor);
        if (!names.emplace(tensor.name, true).second)
            throw Error::data(path, ": expected every tensor once, \"", tensor.name, "\" stands twice");
        nlohmann::ordered_json entry = {{"dtype", dtype_name(tensor.dtype)},
                                        {"shape", tensor.shape},
                                        {"data_offsets", {offset, offset + tensor.bytes.size()}}};
        if (text.size() > 1) text += ',';
        text += nlohmann::json(tensor.name).dump() + ":" + entry.dump();
        offset += tensor.bytes.size();
    }
    text += '}';
    text.append((8 - text.size() % 8) % 8, ' ');

    AtomicFile file(path);
    unsigned char length[8];
    for (int i = 0; i < 8; ++i) length[i] = (unsigned char)(uint64_t(text.size()) >> (8 * i));
    file.write(length, 8);
    file.write(text.data(), text.size());
    for (const auto& tensor : tensors) file.write(tensor.bytes.data(), tensor.bytes.size());
    file.commit();
}

} // namespace dorabench
