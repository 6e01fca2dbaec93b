#include "harness/cli/model_requests.h"
#include "backends/io/safetensors.h"
#include "backends/io/tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/progress.h"
#include <cstdio>

namespace dorabench {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Prints answers in the requests' order.
class OrderedOutput {
public:
    explicit OrderedOutput(size_t size) : lines_(size) {}
    void put(size_t index, std::string line) {
        lines_[index] = std::move(line);
        for (; next_ < lines_.size() && !lines_[next_].empty(); ++next_) {
            if (std::fwrite(lines_[next_].data(), 1, lines_[next_].size(), stdout) != lines_[next_].size())
                fail();
            lines_[next_] = std::string();
            lines_[next_].shrink_to_fit();
            wrote_ = true;
        }
        if (wrote_ && std::fflush(stdout) != 0) fail();
        wrote_ = false;
    }

private:
    [[noreturn]] static void fail() { throw Error::resources("standard output cannot be written"); }
    std::vector<std::string> lines_;
    size_t next_ = 0;
    bool wrote_ = false;
};

std::vector<std::string> texts_of(const RequestLine& line, const char* key) {
    const OrderedJson& value = line.json.at(key);
    std::vector<std::string> out;
    if (!value.is_array())
        throw Error::data(line.place, ": ", key, " must be a list of file names, got ", value.dump());
    for (const OrderedJson& item : value) {
        if (!item.is_string())
            throw Error::data(line.place, ": ", key, " must be a list of file names, got ", value.dump());
        out.push_back(item.get<std::string>());
    }
    return out;
}

void check_against(const RequestLine& line, const Backend& backend) {
    const Request& r = line.request;
    if (!r.has_ids && !backend.tokenizer())
        throw Error::data(
            line.place,
            ": text needs a tokenizer, and the checkpoint has none; name one with --tokenizer, or give ids");
    const int64_t vocabulary = backend.shapes().vocab;
    for (const Ids* ids : {&r.context_ids, &r.continuation_ids})
        for (int64_t id : *ids) // a negative id may mark an image
            if ((vocabulary > 0 && id >= vocabulary) || (id < 0 && r.media.images.empty()))
                throw Error::data(line.place, ": ids must lie in [0, ", vocabulary, "), the vocabulary; got ",
                                  id);
}

} // namespace

std::string backend_of(const std::string& checkpoint, const Registry<BackendFactory>& backends) {
    static const std::map<std::string, std::string> families{{"llama", "llama"}, {"mistral", "llama"},
                                                             {"qwen2", "llama"}, {"bart", "vlbart"},
                                                             {"llava", "llava"}, {"llava_llama", "llava"}};
    const std::string path = checkpoint + "/config.json";
    if (!exists(path))
        throw Error::data(
            path, " is missing: expected a checkpoint folder with config.json, weights and tokenizer");
    const OrderedJson config = OrderedJson::parse(read_file(path, size_t(16) << 20), nullptr, false);
    if (!config.is_object()) throw Error::data(path, ": expected a JSON object");
    const auto type = config.find("model_type");
    if (type == config.end() || !type->is_string())
        throw Error::data(path, ": model_type is missing, which says what kind of backbone this is");
    const std::string name = type->get<std::string>();
    auto family = families.find(name);
    const std::string backend =
        family == families.end() ? name : family->second; // a plug-in may go by the type's own name
    if (!backends.has(backend))
        throw Error::data(path, ": model_type \"", name,
                          "\" belongs to no backend of this program (llama, mistral, qwen2, bart, llava do)");
    return backend;
}

LoadedModel load_model(const ModelOptions& options, const Globals& globals) {
    LoadedModel model;
    model.checkpoint = resolve_checkpoint(options.checkpoint);
    BackendSettings settings;
    settings.type = backend_of(model.checkpoint, globals.registries->backends);
    settings.checkpoint = model.checkpoint;
    settings.tokenizer = options.tokenizer;
    settings.dtype = options.dtype;
    settings.device = options.device;
    settings.quantization = options.quantization;
    settings.vision_tower = options.vision_tower;
    settings.image_processing = options.image_processing;
    AdapterSettings adapter;
    if (!options.adapter.empty())
        adapter = read_adapter_settings(options.adapter); // its mistakes before the weights are read
    model.backend = globals.registries->backends.get(settings.type).load(settings, 0);
    if (!options.adapter.empty()) {
        model.adapter = attach_adapter(*model.backend, adapter, 0);
        model.adapter->load(options.adapter);
        model.adapter->set_training(false);
    }
    model.backend->set_training(false);
    return model;
}

std::vector<RequestLine> read_requests(const std::string& path,
                                       const std::function<void(RequestLine&)>& fill) {
    std::vector<RequestLine> lines;
    for_each_line(path, [&](size_t number, std::string_view text) {
        if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
        RequestLine line{cat(path, ":", number), OrderedJson::parse(text, nullptr, false), {}};
        if (line.json.is_discarded()) throw Error::data(line.place, ": expected a line of JSON");
        if (!line.json.is_object()) throw Error::data(line.place, ": expected an object");
        auto id = line.json.find("id");
        if (id == line.json.end() || !(id->is_string() || id->is_number()))
            throw Error::data(line.place, ": expected an id (text or a number)");
        line.request.id = id->is_string() ? id->get<std::string>() : id->dump();
        fill(line);
        lines.push_back(std::move(line));
    });
    return lines;
}

bool has_text(const RequestLine& line, const char* key) {
    const std::string ids = cat(key, "_ids");
    const bool text = line.json.contains(key), numbers = line.json.contains(ids);
    if (text == numbers)
        throw Error::data(line.place, ": expected either ", key, " or ", ids, ", got ",
                          text ? "both" : "neither");
    return text;
}

std::string text_of(const RequestLine& line, const char* key) {
    if (!line.json.contains(key) || !line.json.at(key).is_string())
        throw Error::data(line.place, ": expected text as \"", key, "\"");
    return line.json.at(key).get<std::string>();
}

Ids ids_of(const RequestLine& line, const char* key) {
    if (!line.json.contains(key) || !line.json.at(key).is_array())
        throw Error::data(line.place, ": expected a list of token ids as \"", key, "\"");
    Ids ids;
    for (const OrderedJson& id : line.json.at(key)) {
        if (!id.is_number_integer() || id.get<double>() > 1e15 || id.get<double>() < -1e15)
            throw Error::data(line.place, ": ", key, " must hold token ids, got ", id.dump());
        ids.push_back(id.get<int64_t>());
    }
    return ids;
}

void read_media(RequestLine& line) {
    Media& media = line.request.media;
    if (line.json.contains("images")) media.images = texts_of(line, "images");
    if (line.json.contains("video")) media.video = text_of(line, "video");
    if (line.json.contains("features")) media.features = text_of(line, "features");
    if (!line.json.contains("n_images")) return;
    const OrderedJson& count = line.json.at("n_images");
    if (!count.is_number_integer() || count.get<double>() < 1 || count.get<double>() > 1024)
        throw Error::data(line.place, ": n_images must be a positive integer, got ", count.dump());
    media.n_images = count.get<int64_t>();
}

void answer(const LoadedModel& model, const std::vector<RequestLine>& lines, int64_t batch_size,
            const std::function<OrderedJson(const RequestLine&, const Response&)>& render) {
    std::vector<Request> requests;
    for (const RequestLine& line : lines) {
        check_against(line, *model.backend);
        requests.push_back(line.request);
    }
    OrderedOutput output(lines.size());
    Progress progress("requests", static_cast<int64_t>(lines.size()));
    int64_t finished = 0;
    model.backend->respond(requests, batch_size, [&](size_t index, const Response& response) {
        output.put(
            index,
            render(lines[index], response).dump(-1, ' ', true, OrderedJson::error_handler_t::replace) +
                "\n");
        progress.update(++finished);
    });
}

} // namespace dorabench
