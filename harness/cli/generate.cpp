// generate: texts for prompts.
#include "backends/nn/generation_defaults.h"
#include "harness/cli/model_requests.h"

namespace dorabench {

int generate_command(const ModelOptions& options, const Globals& globals) {
    auto lines = read_requests(options.input, [](RequestLine& line) {
        Request& request = line.request;
        request.kind = Request::Kind::generate;
        request.has_ids = !has_text(line, "prompt");
        if (request.has_ids)
            request.context_ids = ids_of(line, "prompt_ids");
        else
            request.context = text_of(line, "prompt");
        read_media(line);
    });
    const LoadedModel model = load_model(options, globals);
    const GenerateOptions merged =
        merge_generation(options.generate, options.given, read_generation_defaults(model.checkpoint));
    for (RequestLine& line : lines) line.request.generate = merged;
    answer(model, lines, options.batch_size, [](const RequestLine& line, const Response& response) {
        return nlohmann::ordered_json{
            {"id", line.json.at("id")}, {"text", response.text}, {"ids", response.ids}};
    });
    return 0;
}

} // namespace dorabench
