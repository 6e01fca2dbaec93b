#pragma once
// safetensors files (huggingface/safetensors, format section of its README): 8-byte little-endian header
// length, JSON header, data. Read through a private mmap (a stray write copies a page and never reaches the
// file), every offset checked before use; nothing is executed. No torch here.
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dorabench {

enum class Dtype { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean, f8_e4m3, f8_e5m2, u16, u32, u64 };
size_t dtype_size(Dtype dtype);
std::string dtype_name(Dtype dtype); // as in the header: "F32"

struct TensorEntry {
    Dtype dtype;
    std::vector<int64_t> shape;
    size_t begin = 0, end = 0; // bytes, from the start of the data part
    int64_t elements() const;
};

class SafetensorsFile {
public:
    // Error::data (file, place, reason) for a truncated file, a header over 100 MB or not JSON, unknown
    // dtype, shape and offsets that disagree, overlap or holes, duplicate keys, bad UTF-8. Stricter than the
    // official reader in four points: repeated names, unknown fields, NUL in names and data not aligned to
    // its dtype are refused.
    static std::shared_ptr<const SafetensorsFile> open(const std::string& path);
    ~SafetensorsFile();
    const std::string& path() const { return path_; }
    const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    std::span<const std::byte>
    bytes(const TensorEntry& entry) const; // into the mapping; aligned as the file is

private:
    SafetensorsFile() = default;
    std::string path_;
    void* map_ = nullptr;
    size_t size_ = 0, data_ = 0;
    std::map<std::string, TensorEntry> tensors_;
    std::map<std::string, std::string> metadata_;
};

struct TensorBytes {
    std::string name;
    Dtype dtype;
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
};
// Sorted by alignment as the official writer does, header padded to 8 bytes, written atomically.
void write_safetensors(const std::string& path, std::vector<TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

// A checkpoint: one safetensors file, a folder with model.safetensors, or one sharded with
// model.safetensors.index.json.
class Checkpoint {
public:
    static Checkpoint
    open(const std::string& path); // file or folder; Error::data names what is missing or doubled
    struct Place {
        std::shared_ptr<const SafetensorsFile> file;
        TensorEntry entry;
    };
    const std::map<std::string, Place>& tensors() const { return tensors_; }
    const Place* find(const std::string& name) const;
    const std::vector<std::string>& files() const {
        return files_;
    } // paths, sorted, for sharding a merged copy alike
    bool sharded() const { return files_.size() > 1; }

private:
    std::map<std::string, Place> tensors_;
    std::vector<std::string> files_;
};

// A hub id ("meta-llama/Meta-Llama-3-8B") or a folder to a folder: looked for as a path, then in the local HF
// cache
// ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub: refs/main or the newest snapshot). Error::data says
// where it looked.
std::string resolve_checkpoint(const std::string& checkpoint);

} // namespace dorabench
