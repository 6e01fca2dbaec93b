#include "backends/io/safetensors.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dorabench {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000; // bytes; the official limit

struct DtypeFact {
    Dtype dtype;
    const char* name;
    size_t size;
};
constexpr std::array<DtypeFact, 15> kDtypes{{{Dtype::f64, "F64", 8},
                                             {Dtype::f32, "F32", 4},
                                             {Dtype::f16, "F16", 2},
                                             {Dtype::bf16, "BF16", 2},
                                             {Dtype::i64, "I64", 8},
                                             {Dtype::i32, "I32", 4},
                                             {Dtype::i16, "I16", 2},
                                             {Dtype::i8, "I8", 1},
                                             {Dtype::u8, "U8", 1},
                                             {Dtype::boolean, "BOOL", 1},
                                             {Dtype::f8_e4m3, "F8_E4M3", 1},
                                             {Dtype::f8_e5m2, "F8_E5M2", 1},
                                             {Dtype::u16, "U16", 2},
                                             {Dtype::u32, "U32", 4},
                                             {Dtype::u64, "U64", 8}}};

const DtypeFact& fact(Dtype dtype) {
    for (const auto& f : kDtypes)
        if (f.dtype == dtype) return f;
    throw Error::internal("safetensors: unknown dtype number ", int(dtype));
}

std::string shown(std::string_view name) { // a name out of the file, safe to print
    std::string out;
    for (char c : name.substr(0, 200)) out += (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
    return "\"" + out + "\"" + (name.size() > 200 ? "…" : "");
}

// Reads the header event by event: the document is never built, so depth and repeated keys cost nothing and
// are seen.
class HeaderReader {
public:
    HeaderReader(const std::string& path, std::map<std::string, TensorEntry>& tensors,
                 std::map<std::string, std::string>& metadata)
        : path_(path), tensors_(tensors), metadata_(metadata) {}

    bool start_object(size_t) {
        if (place_ == Place::start) {
            place_ = Place::top;
        } else if (place_ == Place::top_value) {
            place_ = name_ == "__metadata__" ? Place::metadata : Place::tensor;
            entry_ = {};
            seen_ = {};
        } else {
            wrong("an object");
        }
        return true;
    }
    bool end_object() {
        if (place_ == Place::tensor) finish_tensor();
        place_ = place_ == Place::top ? Place::end : Place::top;
        return true;
    }
    bool key(std::string& key) {
        if (key.find('\0') != std::string::npos)
            throw fail("expected names without NUL characters, got ", shown(key));
        if (place_ == Place::top) {
            name_ = key;
            if (key == "__metadata__" ? std::exchange(metadata_seen_, true) : tensors_.count(key) > 0)
                throw fail("expected every name once, ", shown(key), " stands twice");
            place_ = Place::top_value;
        } else if (place_ == Place::metadata) {
            if (metadata_.count(key))
                throw fail("expected every metadata key once, ", shown(key), " stands twice");
            field_ = key;
            place_ = Place::metadata_value;
        } else {
            begin_field(key);
        }
        return true;
    }
    bool string(std::string& value) {
        if (place_ == Place::metadata_value) {
            metadata_[field_] = value;
            place_ = Place::metadata;
        } else if (place_ == Place::dtype) {
            entry_.dtype = parse_dtype_name(value);
            place_ = Place::tensor;
        } else {
            wrong("a string");
        }
        return true;
    }
    bool start_array(size_t) {
        if (place_ == Place::shape)
            place_ = Place::shape_values;
        else if (place_ == Place::offsets)
            place_ = Place::offset_values;
        else
            wrong("an array");
        return true;
    }
    bool end_array() {
        if (place_ == Place::offset_values && offsets_.size() != 2)
            throw fail(shown(name_), ": expected 2 data_offsets, got ", offsets_.size());
        place_ = Place::tensor;
        return true;
    }
    bool number_unsigned(uint64_t value) {
        if (value > uint64_t(std::numeric_limits<int64_t>::max()))
            throw fail(shown(name_), ": expected numbers below 2^63, got ", value);
        if (place_ == Place::shape_values) {
            if (entry_.shape.size() >= 64) throw fail(shown(name_), ": expected at most 64 dimensions");
            entry_.shape.push_back(int64_t(value));
        } else if (place_ == Place::offset_values) {
            if (offsets_.size() >= 2) throw fail(shown(name_), ": expected 2 data_offsets, got more");
            offsets_.push_back(value);
        } else {
            wrong("a number");
        }
        return true;
    }
    bool number_integer(int64_t value) { return wrong(cat("the negative number ", value)); }
    bool number_float(double, const std::string& text) {
        return wrong(cat("the number ", text.substr(0, 40)));
    }
    bool null() { return wrong("null"); }
    bool boolean(bool) { return wrong("a truth value"); }
    bool binary(nlohmann::json::binary_t&) { return wrong("binary data"); }
    bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
        throw fail("expected JSON, it goes wrong at byte ", position, " of the header");
    }

private:
    enum class Place {
        start,
        top,
        top_value,
        metadata,
        metadata_value,
        tensor,
        dtype,
        shape,
        shape_values,
        offsets,
        offset_values,
        end
    };

    template <typename... P>
    Error fail(const P&... p) const {
        return Error::data(path_, ": header: ", p...);
    }

    bool wrong(const std::string& got) const {
        const char* wanted = place_ == Place::start            ? "an object"
                             : place_ == Place::metadata_value ? "text as metadata"
                             : place_ == Place::dtype          ? "text as dtype"
                             : place_ == Place::shape          ? "an array as shape"
                             : place_ == Place::shape_values   ? "whole numbers in shape"
                             : place_ == Place::offsets        ? "an array as data_offsets"
                             : place_ == Place::offset_values
                                 ? "whole numbers in data_offsets"
                                 : "an object with dtype, shape and data_offsets";
        throw fail(name_.empty() ? std::string() : shown(name_) + ": ", "expected ", wanted, ", got ", got);
    }

    void begin_field(const std::string& key) {
        size_t which = key == "dtype" ? 0 : key == "shape" ? 1 : key == "data_offsets" ? 2 : 3;
        if (which == 3)
            throw fail(shown(name_), ": expected dtype, shape and data_offsets alone, got ", shown(key));
        if (std::exchange(seen_[which], true)) throw fail(shown(name_), ": ", key, " stands twice");
        if (which == 2) offsets_.clear();
        place_ = which == 0 ? Place::dtype : which == 1 ? Place::shape : Place::offsets;
    }

    Dtype parse_dtype_name(const std::string& name) const {
        for (const auto& f : kDtypes)
            if (name == f.name) return f.dtype;
        throw fail(shown(name_), ": expected a dtype such as F32, BF16 or F16, got ", shown(name));
    }

    void finish_tensor() {
        static constexpr const char* kFields[] = {"dtype", "shape", "data_offsets"};
        for (size_t i = 0; i < 3; ++i)
            if (!seen_[i]) throw fail(shown(name_), ": ", kFields[i], " is missing");
        entry_.begin = offsets_[0];
        entry_.end = offsets_[1];
        size_t size = dtype_size(entry_.dtype);
        uint64_t bytes = size,
                 bound = size; // bound: zeros counted as ones, so that no stride can overflow either
        for (int64_t extent : entry_.shape) {
            if (__builtin_mul_overflow(bound, uint64_t(std::max<int64_t>(extent, 1)), &bound) || bound >> 63)
                throw fail(shown(name_), ": expected a shape of fewer than 2^63 bytes");
            bytes *= uint64_t(extent);
        }
        if (entry_.begin > entry_.end || entry_.end - entry_.begin != bytes)
            throw fail(shown(name_), ": its shape and dtype need ", bytes, " bytes, its data_offsets are ",
                       entry_.begin, " to ", entry_.end);
        if (bytes > 0 && entry_.begin % size != 0)
            throw fail(shown(name_), ": expected data aligned to its dtype's ", size,
                       " bytes, it begins at byte ", entry_.begin,
                       "; write the file anew with the official writer");
        tensors_.emplace(name_, entry_);
    }

    const std::string& path_;
    std::map<std::string, TensorEntry>& tensors_;
    std::map<std::string, std::string>& metadata_;
    Place place_ = Place::start;
    std::string name_, field_;
    bool metadata_seen_ = false;
    TensorEntry entry_{};
    std::array<bool, 3> seen_{};
    std::vector<uint64_t> offsets_;
};

// The data part must be covered by the tensors, each byte once.
void check_cover(const std::string& path, const std::map<std::string, TensorEntry>& tensors,
                 size_t data_bytes) {
    std::vector<std::pair<const TensorEntry*, const std::string*>> order;
    for (const auto& [name, entry] : tensors) order.emplace_back(&entry, &name);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
        return std::tie(a.first->begin, a.first->end) < std::tie(b.first->begin, b.first->end);
    });
    size_t covered = 0;
    for (const auto& [entry, name] : order) {
        if (entry->end > data_bytes)
            throw Error::data(path, ": ", shown(*name), " ends at byte ", entry->end,
                              " of the data, but the file has ", data_bytes,
                              " bytes of it: the file is cut off");
        if (entry->begin != covered)
            throw Error::data(path, ": ", shown(*name), ": expected its data to begin at byte ", covered,
                              " (no overlap, no hole), it begins at byte ", entry->begin);
        covered = entry->end;
    }
    if (covered != data_bytes)
        throw Error::data(path, ": expected ", covered, " bytes of data after the header, the file has ",
                          data_bytes);
}

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

} // namespace

size_t dtype_size(Dtype dtype) { return fact(dtype).size; }
std::string dtype_name(Dtype dtype) { return fact(dtype).name; }

int64_t TensorEntry::elements() const {
    int64_t n = 1;
    for (int64_t extent : shape) n *= extent;
    return n;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info {};
    if (file.get() < 0 || fstat(file.get(), &info) != 0)
        throw Error::data(path, ": cannot be opened: ", std::strerror(errno));
    if (!S_ISREG(info.st_mode))
        throw Error::data(path, ": expected a safetensors file, it is not a regular file");
    size_t size = size_t(info.st_size);
    if (size < 8) throw Error::data(path, ": expected a safetensors file of at least 8 bytes, it has ", size);

    // private, not shared: a stray write through a mapped tensor changes a copy of the page, never the file
    std::shared_ptr<SafetensorsFile> out(new SafetensorsFile);
    void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.get(), 0);
    if (map == MAP_FAILED)
        throw Error::resources(path, ": cannot be mapped into memory: ", std::strerror(errno));
    out->map_ = map;
    out->size_ = size;
    out->path_ = path;

    const auto* bytes = static_cast<const unsigned char*>(map);
    uint64_t header = 0;
    for (int i = 7; i >= 0; --i) header = header << 8 | bytes[i];
    if (header > kMaxHeader)
        throw Error::data(path, ": expected a header of at most ", kMaxHeader, " bytes, its length says ",
                          header, ": not a safetensors file, or damaged");
    if (header > size - 8)
        throw Error::data(path, ": expected a header of ", header, " bytes, the file ends after ", size - 8,
                          ": the file is cut off");
    const char* text = reinterpret_cast<const char*>(bytes) + 8;
    if (header == 0 || text[0] != '{') throw Error::data(path, ": expected a header that begins with {");
    if (size_t bad = invalid_utf8({text, header}); bad != std::string::npos)
        throw Error::data(path, ": expected a header in UTF-8, byte ", bad, " is not");
    HeaderReader reader(path, out->tensors_, out->metadata_);
    nlohmann::json::sax_parse(text, text + header, &reader);
    out->data_ = 8 + header;
    check_cover(path, out->tensors_, size - out->data_);
    return out;
}

SafetensorsFile::~SafetensorsFile() {
    if (map_) munmap(map_, size_);
}

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& entry) const {
    if (entry.begin > entry.end || entry.end > size_ - data_)
        throw Error::internal(path_, ": bytes ", entry.begin, " to ", entry.end, " lie outside the data");
    return {static_cast<const std::byte*>(map_) + data_ + entry.begin, entry.end - entry.begin};
}

} // namespace dorabench
