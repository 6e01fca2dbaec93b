#include "harness/eval/evaluate.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/progress.h"
#include "harness/base/text.h"
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

namespace dorabench {
namespace {

using nlohmann::json;

struct Sample {
    Score score;
    int64_t cut_tokens = 0;
};

json sample_json(const Example& example, const Score& score, const std::vector<Response>& responses) {
    json line = {{"schema_version", 1},
                 {"id", example.id},
                 {"prompt", example.prompt},
                 {"target", example.target},
                 {"prediction", score.prediction},
                 {"raw_output", score.raw_output},
                 {"parsed", score.parsed}};
    if (score.score == 0 || score.score == 1) line["correct"] = score.score == 1;
    line["score"] = score.score;
    for (const auto& [name, value] : score.values) line["values"][name] = value;
    for (const std::string& image : example.media.images) // bytes in base64 stay where they are
        line["media"]["images"].push_back(starts_with(image, "data:") ? image.substr(0, image.find(','))
                                                                      : image);
    if (!example.media.video.empty()) line["media"]["video"] = example.media.video;
    int64_t cut = 0;
    for (const Response& response : responses) cut = std::max(cut, response.cut_tokens);
    line["cut_tokens"] = cut;
    if (!responses.empty()) line["prompt_tokens"] = responses.front().prompt_tokens;
    if (responses.size() == 1 && !responses.front().finish_reason.empty())
        line["finish_reason"] = responses.front().finish_reason;
    if (responses.size() > 1)
        for (const Response& response : responses) line["loglikelihoods"].push_back(response.loglikelihood);
    return line;
}

std::optional<Sample> sample_from(const json& line) {
    try {
        Sample sample;
        sample.score.prediction = line.at("prediction");
        sample.score.raw_output = line.at("raw_output");
        sample.score.parsed = line.at("parsed");
        sample.score.score = line.at("score");
        if (line.contains("values"))
            for (const auto& [name, value] : line.at("values").items()) sample.score.values[name] = value;
        sample.cut_tokens = line.at("cut_tokens");
        return sample;
    } catch (const json::exception&) {
        return std::nullopt;
    }
}

std::string dump(const json& line) { return line.dump(-1, ' ', false, json::error_handler_t::replace); }

// What an earlier call left, by example index. A line that is damaged or of another prompt is asked for
// again.
std::vector<std::optional<json>> earlier_samples(const std::string& path,
                                                 const std::vector<Example>& examples) {
    std::vector<std::optional<json>> found(examples.size());
    if (!exists(path)) return found;
    std::map<std::string, size_t> index_of;
    for (size_t i = 0; i < examples.size(); ++i) index_of.emplace(examples[i].id, i);
    for_each_line(path, [&](size_t, std::string_view text) {
        json line = json::parse(text, nullptr, false);
        if (!line.is_object() || !line.contains("id") || !line["id"].is_string()) return;
        auto at = index_of.find(line["id"].get<std::string>());
        if (at == index_of.end() || !sample_from(line)) return;
        // stored prompts had bad UTF-8 replaced: compare as stored
        if (line.value("prompt", "") !=
            json::parse(dump(json(examples[at->second].prompt))).get<std::string>())
            return;
        found[at->second] = std::move(line);
    });
    return found;
}

// The requests of the examples that are still to be answered, with the way back from request to example.
struct Pending {
    std::vector<Request> requests;
    std::vector<size_t> example_of;              // by request
    std::map<size_t, std::vector<Response>> got; // by example, in the order of its requests
    std::map<size_t, size_t> first, missing;     // by example
};

Pending pending_requests(Task& task, const std::vector<Example>& examples,
                         const std::vector<std::optional<json>>& done) {
    Pending pending;
    for (size_t i = 0; i < examples.size(); ++i) {
        if (done[i]) continue;
        std::vector<Request> requests = task.requests(examples[i]);
        pending.first[i] = pending.requests.size();
        pending.missing[i] = requests.size();
        pending.got[i].resize(requests.size());
        for (Request& request : requests) {
            pending.requests.push_back(std::move(request));
            pending.example_of.push_back(i);
        }
    }
    return pending;
}

} // namespace

TaskResult evaluate_task(Backend& backend, Task& task, int64_t batch_size, const std::string& samples_path,
                         const std::atomic<int>& stop) {
    const std::vector<Example>& examples = task.examples();
    std::vector<std::optional<json>> lines = earlier_samples(samples_path, examples);
    Pending pending = pending_requests(task, examples, lines);
    size_t done = examples.size() - pending.missing.size();
    if (!pending.requests.empty()) {
        if (done > 0)
            log::info(task.name(), ": ", done, " of ", examples.size(), " samples stand from an earlier run");
        LineAppender appender(samples_path);
        Progress progress(task.name(), static_cast<int64_t>(examples.size()));
        backend.respond(pending.requests, batch_size, [&](size_t index, Response response) {
            size_t i = pending.example_of[index];
            pending.got[i][index - pending.first[i]] = std::move(response);
            if (--pending.missing[i] == 0) {
                Score score = task.score(examples[i], pending.got[i]);
                lines[i] = sample_json(examples[i], score, pending.got[i]);
                pending.got.erase(i);
                appender.append(dump(*lines[i]));
                progress.update(static_cast<int64_t>(++done));
            }
            if (stop.load() > 0) {
                appender.sync();
                throw Error(ErrorKind::interrupted,
                            cat("interrupted while evaluating ", task.name(), ": ", done, " of ",
                                examples.size(), " samples are kept; the same command goes on"));
            }
        });
    }
    std::string text;
    std::vector<Score> scores;
    int64_t cut = 0;
    for (size_t i = 0; i < examples.size(); ++i) {
        if (!lines[i])
            throw Error::internal(task.name(), ": the backend gave no answer for example ", examples[i].id);
        text += dump(*lines[i]) + "\n";
        Sample sample = *sample_from(*lines[i]);
        cut += sample.cut_tokens > 0;
        scores.push_back(std::move(sample.score));
    }
    write_file_atomic(samples_path, text);
    for (const auto& [name, content] : task.submissions(examples, scores)) {
        const std::string folder =
            (std::filesystem::path(samples_path).parent_path() / "submissions").string();
        make_folder(folder);
        write_file_atomic(folder + "/" + name, content);
    }
    TaskResult result = task.aggregate(examples, scores);
    result.cut_prompts = cut;
    if (cut > 0)
        log::warning(task.name(), ": ", cut, " of ", examples.size(),
                     " prompts were cut on the left to fit the backbone's positions");
    return result;
}

} // namespace dorabench
