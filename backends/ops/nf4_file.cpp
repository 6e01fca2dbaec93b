#include "backends/ops/nf4_file.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using Json = nlohmann::json;

constexpr const char* kState = ".quant_state.bitsandbytes__nf4";
constexpr const char* kOtherState = ".quant_state.bitsandbytes__fp4";
constexpr const char* kParts[] = {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", kState};

const Checkpoint::Place& place_of(const Checkpoint& checkpoint, const std::string& key, Dtype dtype) {
    const Checkpoint::Place* place = checkpoint.find(key);
    if (!place)
        throw Error::data("a 4-bit weight needs ", key,
                          ", which the checkpoint lacks; fetch the checkpoint again");
    if (place->entry.dtype != dtype)
        throw Error::data(place->file->path(), ": ", key, " must be ", dtype_name(dtype), ", is ",
                          dtype_name(place->entry.dtype));
    return *place;
}

at::Tensor copy_of(const Checkpoint::Place& place) { return map_tensor(place.file, place.entry).clone(); }

Json state_of(const Checkpoint::Place& place, const std::string& key) {
    const auto bytes = place.file->bytes(place.entry);
    Json state = Json::parse(reinterpret_cast<const char*>(bytes.data()),
                             reinterpret_cast<const char*>(bytes.data()) + bytes.size(), nullptr, false);
    if (!state.is_object()) throw Error::data(place.file->path(), ": ", key, ": expected a JSON object");
    return state;
}

int64_t integer(const Json& state, const char* name, const std::string& where) {
    const auto at = state.find(name);
    if (at == state.end() || !at->is_number_integer())
        throw Error::data(where, ": expected an integer \"", name, "\" in the JSON");
    return at->get<int64_t>();
}

void check_table(const at::Tensor& table, const std::string& where) {
    if (table.numel() != 16 || (table.view(-1) - nf4_table()).abs().max().item<float>() > 1e-6f)
        throw Error::data(where, ": expected NF4's 16 values; other 4-bit tables are not read");
}

} // namespace

bool holds_nf4(const Checkpoint& checkpoint, const std::string& name) {
    if (const Checkpoint::Place* other = checkpoint.find(name + kOtherState))
        throw Error::data(other->file->path(), ": ", name,
                          " is quantised as fp4, which is not read; nf4 is, or the 16-bit checkpoint");
    return checkpoint.find(name + kState) != nullptr;
}

bool belongs_to_nf4(const std::string& key) {
    for (const char* part : kParts)
        if (ends_with(key, std::string(".weight") + part)) return true;
    return false;
}

std::vector<std::string> nf4_keys(const Checkpoint& checkpoint, const std::string& name) {
    std::vector<std::string> keys;
    for (const char* part : kParts)
        if (checkpoint.find(name + part)) keys.push_back(name + part);
    return keys;
}

std::shared_ptr<Nf4Weight> read_nf4(const Checkpoint& checkpoint, const std::string& name,
                                    std::optional<at::ScalarType> dtype, std::shared_ptr<Nf4Buffer> buffer) {
    const Checkpoint::Place& state_place = place_of(checkpoint, name + kState, Dtype::u8);
    const std::string where = cat(state_place.file->path(), ": ", name, kState);
    const Json state = state_of(state_place, name + kState);
    if (state.value("quant_type", Json()) != "nf4") throw Error::data(where, ": expected quant_type nf4");
    const auto shape = state.find("shape");
    if (shape == state.end() || !shape->is_array() || shape->size() != 2 ||
        !(*shape)[0].is_number_integer() || !(*shape)[1].is_number_integer())
        throw Error::data(where, ": expected \"shape\": [out, in] in the JSON");
    auto weight = std::make_shared<Nf4Weight>();
    weight->out = (*shape)[0].get<int64_t>(), weight->in = (*shape)[1].get<int64_t>();
    weight->block = integer(state, "blocksize", where);
    if (dtype) {
        weight->dtype = *dtype;
    } else {
        const Json named = state.value("dtype", Json("float32"));
        if (!named.is_string()) throw Error::data(where, ": expected \"dtype\" as text");
        weight->dtype = parse_dtype(named.get<std::string>());
    }
    weight->codes = copy_of(place_of(checkpoint, name, Dtype::u8));
    check_table(copy_of(place_of(checkpoint, name + ".quant_map", Dtype::f32)), cat(where, ": quant_map"));
    if (checkpoint.find(name + ".nested_absmax")) {
        weight->absmax = copy_of(place_of(checkpoint, name + ".absmax", Dtype::u8));
        weight->nested_absmax = copy_of(place_of(checkpoint, name + ".nested_absmax", Dtype::f32)).view(-1);
        weight->nested_map = copy_of(place_of(checkpoint, name + ".nested_quant_map", Dtype::f32)).view(-1);
        weight->nested_block = integer(state, "nested_blocksize", where);
        const auto offset = state.find("nested_offset");
        if (offset == state.end() || !offset->is_number() || !std::isfinite(offset->get<double>()))
            throw Error::data(where, ": expected a number \"nested_offset\" in the JSON");
        weight->offset = offset->get<double>();
    } else {
        weight->absmax = copy_of(place_of(checkpoint, name + ".absmax", Dtype::f32));
    }
    weight->buffer = std::move(buffer);
    nf4_check(*weight, where);
    if (!nf4_absmax(*weight).isfinite().all().item<bool>())
        throw Error::data(where, ": its scales hold NaN or infinity");
    return weight;
}

std::vector<NamedTensor> nf4_tensors(const std::string& name, const Nf4Weight& weight) {
    const std::string type = weight.dtype == at::kBFloat16 ? "bfloat16"
                             : weight.dtype == at::kHalf   ? "float16"
                                                           : "float32";
    // as Python's json.dumps spaces and orders it, so that a file that went through bitsandbytes is the same
    std::string text = cat("{\"quant_type\": \"nf4\", \"blocksize\": ", weight.block, ", \"dtype\": \"", type,
                           "\", \"shape\": [", weight.out, ", ", weight.in, "]");
    std::vector<NamedTensor> all = {{name, weight.codes.cpu().view({-1, 1})},
                                    {name + ".absmax", weight.absmax.cpu()},
                                    {name + ".quant_map", nf4_table()}};
    if (weight.nested()) {
        text += cat(", \"nested_blocksize\": ", weight.nested_block,
                    ", \"nested_dtype\": \"float32\", \"nested_offset\": ", Json(weight.offset).dump());
        all.push_back({name + ".nested_absmax", weight.nested_absmax.cpu()});
        all.push_back({name + ".nested_quant_map", weight.nested_map.cpu()});
    }
    text += "}";
    at::Tensor bytes = at::empty({int64_t(text.size())}, at::kByte);
    std::copy(text.begin(), text.end(), bytes.mutable_data_ptr<uint8_t>());
    all.push_back({name + kState, bytes});
    return all;
}

} // namespace dorabench
