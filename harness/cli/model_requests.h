#pragma once
// What `score` and `generate` share: a checkpoint (with an adapter) behind the command line, request lines
// in, answer lines out in the same order, each as soon as it and all before it are there.
#include "adapters/adapter_set.h"
#include "harness/cli/commands.h"
#include <functional>
#include <nlohmann/json.hpp>

namespace dorabench {

struct RequestLine {
    std::string place;           // "requests.jsonl:12"
    nlohmann::ordered_json json; // an object with an id
    Request request;
};

struct LoadedModel {
    std::unique_ptr<Backend> backend;
    std::unique_ptr<AdapterSet> adapter; // null: none
    std::string checkpoint;              // the folder
};

// The backend's name for a checkpoint folder, by config.json's model_type. Error::data when none is known for
// it.
std::string backend_of(const std::string& checkpoint, const Registry<BackendFactory>& backends);
LoadedModel load_model(const ModelOptions& options, const Globals& globals);

// Parses every line and calls fill for it; Error::data names file and line.
std::vector<RequestLine> read_requests(const std::string& path,
                                       const std::function<void(RequestLine&)>& fill);
// "prompt" → text, "prompt_ids" → ids, exactly one of the two (of each pair for score).
bool has_text(const RequestLine& line, const char* key);
std::string text_of(const RequestLine& line, const char* key);
Ids ids_of(const RequestLine& line, const char* key);
void read_media(RequestLine& line); // images, video, features, n_images

// Checks ids and the need of a tokenizer against the model, then answers all lines.
void answer(const LoadedModel& model, const std::vector<RequestLine>& lines, int64_t batch_size,
            const std::function<nlohmann::ordered_json(const RequestLine&, const Response&)>& render);

} // namespace dorabench
