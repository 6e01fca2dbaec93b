// score: log-likelihoods of continuations.
#include "harness/cli/model_requests.h"

namespace dorabench {

int score_command(const ModelOptions& options, const Globals& globals) {
    const auto lines = read_requests(options.input, [](RequestLine& line) {
        Request& request = line.request;
        request.kind = Request::Kind::score;
        request.has_ids = !has_text(line, "context");
        if (request.has_ids) {
            request.context_ids = ids_of(line, "context_ids");
            request.continuation_ids = ids_of(line, "continuation_ids");
        } else {
            request.context = text_of(line, "context");
            request.continuation = text_of(line, "continuation");
        }
        read_media(line);
    });
    const LoadedModel model = load_model(options, globals);
    answer(model, lines, options.batch_size, [](const RequestLine& line, const Response& response) {
        return nlohmann::ordered_json{{"id", line.json.at("id")},
                                      {"loglikelihood", response.loglikelihood},
                                      {"is_greedy", response.is_greedy},
                                      {"tokens", response.tokens}};
    });
    return 0;
}

} // namespace dorabench
