#include "backends/io/torch_pickle.h"
#include "backends/io/zip_archive.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

namespace dorabench {
namespace {

constexpr size_t kMaxDepth = 32, kMaxPickle = size_t(256) << 20, kMaxRank = 8;

struct Value;
// Complete before it goes into another one (`sealed` from then on), so that nothing contains itself and
// `depth` is true.
struct Items : std::vector<Value> {
    using std::vector<Value>::vector;
    size_t depth = 1;
    bool sealed = false;
};
enum class Kind { none, mark, boolean, integer, real, text, list, dict, name, storage, tensor };

struct Storage {
    Dtype dtype;
    std::string key;
    int64_t elements;
};
struct TensorView {
    Storage storage;
    int64_t offset;
    std::vector<int64_t> shape, stride;
};
// list: list, tuple and set alike; dict: keys and values in turn; name: an allowed global, in `text`.
struct Value {
    Kind kind = Kind::none;
    int64_t integer = 0;
    std::string text;
    std::shared_ptr<Items> items;
    std::shared_ptr<TensorView> tensor; // storage: with the storage alone
};

std::optional<Dtype> storage_dtype(const std::string& name) {
    static const std::map<std::string, Dtype> types = {
        {"torch.FloatStorage", Dtype::f32}, {"torch.DoubleStorage", Dtype::f64},
        {"torch.HalfStorage", Dtype::f16},  {"torch.BFloat16Storage", Dtype::bf16},
        {"torch.LongStorage", Dtype::i64},  {"torch.IntStorage", Dtype::i32},
        {"torch.ShortStorage", Dtype::i16}, {"torch.CharStorage", Dtype::i8},
        {"torch.ByteStorage", Dtype::u8},   {"torch.BoolStorage", Dtype::boolean}};
    const auto at = types.find(name);
    if (at == types.end()) return {};
    return at->second;
}

bool is_allowed(const std::string& name) {
    return name == "collections.OrderedDict" || name == "torch._utils._rebuild_tensor_v2" ||
           name == "torch._utils._rebuild_parameter" || name == "torch.Size" || storage_dtype(name);
}

// One program of opcodes (Python's pickletools lists them), protocols 2 to 4.
class Unpickler {
public:
    Unpickler(std::string_view code, std::string place) : code_(code), place_(std::move(place)) {}

    Value run() {
        for (;;) {
            const auto op = static_cast<unsigned char>(take(1)[0]);
            if (op == '.') return pop();
            if (!constant(op) && !container(op) && !memory(op) && !call(op))
                throw fail(cat("opcode ", int(op), " is not one that tensors need"));
        }
    }

private:
    Error fail(const std::string& what) const { return Error::data(place_, ": byte ", at_, ": ", what); }

    std::string_view take(size_t size) {
        if (size > code_.size() - at_) throw fail("the pickle is cut off");
        at_ += size;
        return code_.substr(at_ - size, size);
    }
    uint64_t number(size_t bytes) {
        const std::string_view text = take(bytes);
        uint64_t value = 0;
        for (size_t i = bytes; i-- > 0;) value = value << 8 | (unsigned char)text[i];
        return value;
    }
    std::string line() {
        const size_t end = code_.find('\n', at_);
        if (end == std::string_view::npos) throw fail("the pickle is cut off");
        const std::string text(code_.substr(at_, end - at_));
        at_ = end + 1;
        return text;
    }
    void push(Value value) { stack_.push_back(std::move(value)); }
    Value pop() {
        if (stack_.empty() || stack_.back().kind == Kind::mark) throw fail("the stack is empty");
        Value value = std::move(stack_.back());
        stack_.pop_back();
        return value;
    }
    Value& top() {
        if (stack_.empty() || stack_.back().kind == Kind::mark) throw fail("the stack is empty");
        return stack_.back();
    }
    Items pop_to_mark() {
        size_t begin = stack_.size();
        while (begin > 0 && stack_[begin - 1].kind != Kind::mark) --begin;
        if (begin == 0) throw fail("no mark on the stack");
        Items items(std::make_move_iterator(stack_.begin() + int64_t(begin)),
                    std::make_move_iterator(stack_.end()));
        stack_.resize(begin - 1);
        return items;
    }
    Value of_items(Kind kind, Items items) const {
        Value value;
        value.kind = kind;
        value.items = std::make_shared<Items>(std::move(items));
        for (const Value& item : *value.items) seal(item, *value.items);
        return value;
    }
    void seal(const Value& item, Items& parent) const {
        if (!item.items) return;
        item.items->sealed = true;
        parent.depth = std::max(parent.depth, item.items->depth + 1);
        if (parent.depth > kMaxDepth) throw fail(cat("values nested deeper than ", kMaxDepth));
    }
    static Value of_integer(int64_t integer, Kind kind = Kind::integer) {
        Value value;
        value.kind = kind;
        value.integer = integer;
        return value;
    }
    static Value of_text(std::string_view text, Kind kind = Kind::text) {
        Value value;
        value.kind = kind;
        value.text = std::string(text);
        return value;
    }

    bool constant(unsigned char op) {
        switch (op) {
        case 0x80: // PROTO
            if (const auto version = number(1); version < 2 || version > 5)
                throw fail("expected protocol 2 to 5");
            return true;
        case 0x95:
            take(8);
            return true; // FRAME
        case 'N':
            push({});
            return true;
        case 0x88:
            push(of_integer(1, Kind::boolean));
            return true;
        case 0x89:
            push(of_integer(0, Kind::boolean));
            return true;
        case 'K':
            push(of_integer(int64_t(number(1))));
            return true;
        case 'M':
            push(of_integer(int64_t(number(2))));
            return true;
        case 'J':
            push(of_integer(int32_t(uint32_t(number(4)))));
            return true;
        case 0x8a: { // LONG1
            const size_t size = number(1);
            if (size > 8) throw fail("an integer of more than 64 bits");
            uint64_t value = number(size);
            if (size > 0 && size < 8 && value >> (8 * size - 1)) value |= ~uint64_t(0) << (8 * size);
            push(of_integer(int64_t(value)));
            return true;
        }
        case 'G':
            take(8);
            push(of_integer(0, Kind::real));
            return true; // a float: nothing here needs its value
        case 'X':
            push(of_text(take(number(4))));
            return true;
        case 0x8c:
            push(of_text(take(number(1))));
            return true;
        default:
            return false;
        }
    }
    bool container(unsigned char op) {
        switch (op) {
        case '(':
            push(of_integer(0, Kind::mark));
            return true;
        case ')':
        case ']':
            push(of_items(Kind::list, {}));
            return true;
        case '}':
            push(of_items(Kind::dict, {}));
            return true;
        case 't':
        case 'l':
            push(of_items(Kind::list, pop_to_mark()));
            return true;
        case 0x85:
        case 0x86:
        case 0x87: { // TUPLE1 to TUPLE3
            Items items(op - 0x84);
            for (size_t i = items.size(); i-- > 0;) items[i] = pop();
            push(of_items(Kind::list, std::move(items)));
            return true;
        }
        case 'a': {
            Value value = pop();
            extend(Kind::list, {std::move(value)});
            return true;
        }
        case 'e':
            extend(Kind::list, pop_to_mark());
            return true;
        case 's': {
            Value value = pop(), key = pop();
            extend(Kind::dict, {std::move(key), std::move(value)});
            return true;
        }
        case 'u': {
            Items items = pop_to_mark();
            if (items.size() % 2) throw fail("a key without a value");
            extend(Kind::dict, std::move(items));
            return true;
        }
        default:
            return false;
        }
    }
    void extend(Kind kind, Items items) {
        Value& target = top();
        if (target.kind != kind) throw fail("items for something that holds none");
        if (target.items->sealed) throw fail("items for a value that is part of another already");
        for (Value& item : items) {
            if (item.items && item.items == target.items) throw fail("a value that contains itself");
            seal(item, *target.items);
            target.items->push_back(std::move(item));
        }
    }
    bool memory(unsigned char op) {
        switch (op) {
        case 'q':
            memo_[number(1)] = top();
            return true;
        case 'r':
            memo_[number(4)] = top();
            return true;
        case 0x94:
            memo_[memo_.size()] = top();
            return true;
        case 'h':
            recall(number(1));
            return true;
        case 'j':
            recall(number(4));
            return true;
        case '0':
            pop();
            return true;
        default:
            return false;
        }
    }
    void recall(uint64_t key) {
        const auto at = memo_.find(key);
        if (at == memo_.end()) throw fail("a reference to nothing");
        push(at->second);
    }
    bool call(unsigned char op) {
        switch (op) {
        case 'c': {
            const std::string module = line();
            name(module + "." + line());
            return true;
        }
        case 0x93: { // STACK_GLOBAL
            const std::string last = pop().text;
            name(pop().text + "." + last);
            return true;
        }
        case 'Q':
            persistent(pop());
            return true;
        case 'R': {
            const Value arguments = pop(), function = pop();
            reduce(function, arguments);
            return true;
        }
        case 'b': // BUILD: an OrderedDict's attributes (_metadata), which hold no tensor
            pop();
            if (top().kind != Kind::dict) throw fail("a state for something that has none");
            return true;
        default:
            return false;
        }
    }
    void name(const std::string& full) {
        if (!is_allowed(full))
            throw fail(cat("it names \"", full.substr(0, 200),
                           "\", which tensors don't need and which is never run; save the "
                           "adapter as safetensors, from a source that you trust"));
        push(of_text(full, Kind::name));
    }
    int64_t size_of(const Value& value, const char* what) const {
        if (value.kind != Kind::integer || value.integer < 0 || value.integer > int64_t(1) << 48)
            throw fail(cat("expected a size for ", what));
        return value.integer;
    }
    void persistent(const Value& id) {
        // ("storage", class, key, location, elements)
        const bool fits = id.kind == Kind::list && id.items->size() == 5 &&
                          (*id.items)[0].text == "storage" && (*id.items)[1].kind == Kind::name &&
                          (*id.items)[2].kind == Kind::text;
        const auto dtype = fits ? storage_dtype((*id.items)[1].text) : std::nullopt;
        if (!dtype) throw fail("expected a storage of torch");
        Value value;
        value.kind = Kind::storage;
        value.tensor = std::make_shared<TensorView>();
        value.tensor->storage = {*dtype, (*id.items)[2].text, size_of((*id.items)[4], "a storage")};
        push(std::move(value));
    }
    void reduce(const Value& function, const Value& arguments) {
        if (function.kind != Kind::name || arguments.kind != Kind::list)
            throw fail("a call of something that is no function");
        const Items& given = *arguments.items;
        if (function.text == "collections.OrderedDict" && given.empty())
            return push(of_items(Kind::dict, {}));
        if (function.text == "torch.Size" && given.size() == 1 && given[0].kind == Kind::list)
            return push(given[0]);
        if (function.text == "torch._utils._rebuild_parameter" && !given.empty() &&
            given[0].kind == Kind::tensor)
            return push(given[0]);
        if (function.text == "torch._utils._rebuild_tensor_v2" && given.size() >= 6 &&
            given[0].kind == Kind::storage && given[2].kind == Kind::list && given[3].kind == Kind::list &&
            given[2].items->size() == given[3].items->size() && given[2].items->size() <= kMaxRank) {
            Value value;
            value.kind = Kind::tensor;
            value.tensor = std::make_shared<TensorView>(*given[0].tensor);
            value.tensor->offset = size_of(given[1], "an offset");
            for (const Value& size : *given[2].items) value.tensor->shape.push_back(size_of(size, "a shape"));
            for (const Value& stride : *given[3].items)
                value.tensor->stride.push_back(size_of(stride, "a stride"));
            return push(std::move(value));
        }
        throw fail(cat("a call of ", function.text, " with unexpected arguments"));
    }

    std::string_view code_;
    std::string place_;
    size_t at_ = 0;
    Items stack_;
    std::map<uint64_t, Value> memo_;
};

// The archive's storages, and the tensors over them.
class TorchArchive {
public:
    explicit TorchArchive(const std::string& path) : path_(path), zip_(read_file(path, size_t(16) << 30)) {
        if (!looks_like_zip(zip_))
            throw Error::data(
                path,
                ": expected a zip archive of PyTorch 1.6 or later, found another format; convert it: "
                "python -c \"import torch,sys; torch.save(torch.load(sys.argv[1], weights_only=True, "
                "map_location='cpu'), sys.argv[2])\" ",
                path, " new.bin");
        for (const ZipEntry& entry : zip_entries(zip_, path)) {
            const size_t slash = entry.name.find('/');
            entries_[slash == std::string::npos ? entry.name : entry.name.substr(slash + 1)] = entry;
        }
        if (const auto order = content("byteorder"); order && *order != "little")
            throw Error::data(path, ": expected little-endian data, got ", order->substr(0, 16));
        left_ = 4 * zip_.size() + (size_t(1) << 20);
    }
    std::vector<PickledTensor> read() {
        const auto pickle = content("data.pkl");
        if (!pickle || pickle->size() > kMaxPickle)
            throw Error::data(path_, ": expected data.pkl in the archive; is it a checkpoint of PyTorch?");
        const Value root = Unpickler(*pickle, path_ + ": data.pkl").run();
        if (root.kind != Kind::dict) throw Error::data(path_, ": expected a dictionary of tensors");
        collect(root, "", 0);
        return std::move(tensors_);
    }

private:
    std::optional<std::string> content(const std::string& name) const {
        const auto at = entries_.find(name);
        if (at == entries_.end()) return {};
        return zip_content(zip_, at->second, path_);
    }
    void collect(const Value& dict, const std::string& prefix, size_t depth) {
        if (depth > kMaxDepth) throw Error::data(path_, ": dictionaries nested deeper than ", kMaxDepth);
        for (size_t i = 0; i + 1 < dict.items->size(); i += 2) {
            const Value &key = (*dict.items)[i], &value = (*dict.items)[i + 1];
            if (key.kind != Kind::text) continue; // an optimiser's state counts its parameters
            if (++visited_ > zip_.size()) throw Error::data(path_, ": more entries than the file can hold");
            const std::string name = prefix.empty() ? key.text : prefix + "." + key.text;
            if (value.kind == Kind::dict) collect(value, name, depth + 1);
            if (value.kind == Kind::tensor) tensors_.push_back(gather(name, *value.tensor));
        }
    }
    const std::string& storage(const std::string& name, const Storage& storage) {
        const auto known = storages_.find(storage.key);
        if (known != storages_.end()) return known->second;
        auto bytes = content("data/" + storage.key);
        if (!bytes) throw Error::data(path_, ": ", name, ": its storage data/", storage.key, " is missing");
        return storages_.emplace(storage.key, std::move(*bytes)).first->second;
    }
    PickledTensor gather(const std::string& name, const TensorView& view) {
        const std::string& bytes = storage(name, view.storage);
        const uint64_t size = dtype_size(view.storage.dtype), elements = bytes.size() / size;
        uint64_t count = 1, last = uint64_t(view.offset);
        for (size_t d = 0; d < view.shape.size(); ++d) {
            count = view.shape[d] == 0
                        ? 0
                        : count; // sizes are below 2^48 and the count below the elements' number
            if (count && count > elements / uint64_t(view.shape[d]) + 1)
                count = elements + 1;
            else
                count *= uint64_t(view.shape[d]);
            uint64_t reach = 0;
            if (view.shape[d] > 0 &&
                __builtin_mul_overflow(uint64_t(view.shape[d] - 1), uint64_t(view.stride[d]), &reach))
                last = elements;
            last = std::min<uint64_t>(last, elements) + std::min<uint64_t>(reach, elements);
        }
        if (count > 0 && (last >= elements || count > elements))
            throw Error::data(path_, ": ", name, " reaches past its storage of ", elements, " elements");
        if (count * size > left_)
            throw Error::data(path_, ": ", name, ": the tensors unpack to more than the file can hold");
        left_ -= count * size;
        PickledTensor tensor{name, view.storage.dtype, view.shape, std::string(count * size, '\0')};
        std::vector<int64_t> index(view.shape.size());
        for (uint64_t to = 0; to < count; ++to) {
            uint64_t from = uint64_t(view.offset);
            for (size_t d = 0; d < index.size(); ++d) from += uint64_t(index[d] * view.stride[d]);
            std::memcpy(tensor.bytes.data() + to * size, bytes.data() + from * size, size);
            for (size_t d = index.size(); d-- > 0 && ++index[d] == view.shape[d];) index[d] = 0;
        }
        return tensor;
    }

    std::string path_, zip_;
    std::map<std::string, ZipEntry> entries_;
    std::map<std::string, std::string> storages_;
    std::vector<PickledTensor> tensors_;
    uint64_t left_ = 0, visited_ = 0;
};

} // namespace

std::vector<PickledTensor> read_torch_file(const std::string& path) { return TorchArchive(path).read(); }

} // namespace dorabench
