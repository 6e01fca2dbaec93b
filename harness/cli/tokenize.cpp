#include "backends/io/tokenizer.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/cli/commands.h"
#include <cstdio>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using OrderedJson = nlohmann::ordered_json;

// One line of the input, told apart by file and line in every complaint.
OrderedJson read_request(const std::string& place, std::string_view line) {
    OrderedJson request = OrderedJson::parse(line, nullptr, false);
    if (request.is_discarded()) throw Error::data(place, ": expected a line of JSON");
    if (!request.is_object()) throw Error::data(place, ": expected an object with id and text");
    if (!request.contains("id") || !(request["id"].is_string() || request["id"].is_number()))
        throw Error::data(place, ": expected an id (text or a number)");
    if (!request.contains("text") || !request["text"].is_string())
        throw Error::data(place, ": expected text as \"text\"");
    return request;
}

} // namespace

int tokenize_command(const TokenizeOptions& options, const Globals&) {
    auto tokenizer = load_tokenizer(options.tokenizer);
    for_each_line(options.input, [&](size_t number, std::string_view line) {
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
        OrderedJson request = read_request(cat(options.input, ":", number), line);
        auto ids = tokenizer->encode(request["text"].get_ref<const std::string&>(), !options.no_special);
        OrderedJson answer = {
            {"id", request["id"]}, {"ids", ids}, {"decoded", tokenizer->decode(ids, false)}};
        // ASCII alone: some readers take U+2028 and its like for line ends
        std::string text = answer.dump(-1, ' ', true, OrderedJson::error_handler_t::replace) + "\n";
        if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
            throw Error::resources("standard output cannot be written");
    });
    if (std::fflush(stdout) != 0) throw Error::resources("standard output cannot be written");
    return 0;
}

} // namespace dorabench
