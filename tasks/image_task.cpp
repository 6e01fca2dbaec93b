#include "tasks/image_task.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/media_items.h"
#include "tasks/metrics/mmbench.h"
#include "tasks/metrics/pope.h"
#include "tasks/metrics/scienceqa.h"
#include "tasks/metrics/vqa.h"
#include "tasks/metrics/words.h"
#include "tasks/templates.h"
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

std::string dumped(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// GQA's reading of a free answer, as LLaVA writes it for the official script.
std::string gqa_answer(std::string text) {
    while (!text.empty() && text.back() == '.') text.pop_back();
    return lower_unicode(text);
}

} // namespace

ImageTask::ImageTask(const TaskSpec& spec, const TaskOptions& options) : spec_(spec), options_(options) {
    if (options.mode != "generate")
        throw Error::config("evaluate.mode: ", spec.name, " expects generate, got \"", options.mode, "\"");
    if (options.num_fewshot != 0)
        throw Error::config("evaluate.num_fewshot: ", spec.name, " has no few-shot form, expected 0, got ",
                            options.num_fewshot);
    for (const std::string* name : {&options_.chat_template, &options_.template_name})
        if (!name->empty()) spec_.template_name = *name;
    if (!find_template(spec_.template_name).is_chat())
        throw Error::config("evaluate.template: ", spec.name, " expects a chat template, got \"",
                            spec_.template_name, "\"");
}

std::vector<std::string> ImageTask::files_of(const std::vector<std::string>& names) const {
    std::vector<std::string> out;
    for (const std::string& name : names)
        if (std::string file = look_for_media_data(spec_, name, options_.data_dir); !file.empty())
            out.push_back(std::move(file));
    return out;
}

std::string ImageTask::fingerprint() const {
    const MediaSpec& media = *spec_.media;
    if (data_hash_.empty()) {
        std::vector<std::string> hashes;
        for (const std::string& file : media_data_files(spec_, MediaSplit::test, options_.data_dir))
            hashes.push_back(sha256_file(file));
        for (const auto* list : {&media.annotations, &media.subtitles, &media.ocr})
            for (const std::string& file : files_of(*list)) hashes.push_back(sha256_file(file));
        data_hash_ = join(hashes, " ");
    }
    const int64_t beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
    const int64_t tokens = options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
    return sha256_hex(
        join({spec_.name, spec_.version, kind_name(spec_.kind), spec_.prompt, spec_.template_name, data_hash_,
              join(spec_.metrics, "\x1f"), media.suffix, media.scoring,
              cat(media.choices, " ", media.frames, " beams ", beams, " tokens ", tokens)},
             "\x1d"));
}

Example ImageTask::make_example(const ImageItem& item) const {
    Example out;
    out.id = item.id;
    std::string marks;
    for (size_t i = 0; i < item.images.size(); ++i) marks += "<image>\n";
    out.prompt = find_template(spec_.template_name).chat({{"user", marks + item.question}});
    out.target = item.answer;
    out.media.images = item.images;
    out.fields = item.fields;
    if (!item.options.empty()) out.fields["task.options"] = dumped(json(item.options));
    if (item.humans.empty()) return out;
    out.fields["task.human_answers"] = dumped(json(item.humans));
    std::map<std::string, int> counts;
    for (const std::string& human : item.humans) // the most frequent, the first of equals
        if (++counts[human] > (out.target.empty() ? 0 : counts[out.target])) out.target = human;
    return out;
}

const std::vector<Example>& ImageTask::examples() {
    if (read_) return examples_;
    std::vector<Example> read;
    for_each_image_item(spec_, options_.data_dir, [&](ImageItem&& item) {
        read.push_back(make_example(item));
        return options_.limit <= 0 || static_cast<int64_t>(read.size()) < options_.limit;
    });
    if (read.empty()) throw Error::data(spec_.name, ": expected questions, its files have none");
    examples_ = std::move(read);
    read_ = true;
    return examples_;
}

std::vector<Request> ImageTask::requests(const Example& example) const {
    Request request;
    request.kind = Request::Kind::generate;
    request.id = example.id;
    request.context = example.prompt;
    request.media = example.media;
    request.generate.num_beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
    request.generate.max_new_tokens =
        options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
    return {request};
}

bool ImageTask::is_hidden(const Example& example) const { return example.target.empty(); }

Score ImageTask::score(const Example& example, const std::vector<Response>& responses) const {
    if (responses.size() != 1)
        throw Error::internal(spec_.name, ": expected 1 response to example ", example.id, ", got ",
                              responses.size());
    const std::string& rule = spec_.media->scoring;
    Score out;
    out.raw_output = responses[0].text;
    const std::string text = strip_white_space(out.raw_output);
    std::map<std::string, std::string> options;
    if (const auto found = example.fields.find("task.options"); found != example.fields.end())
        options = json::parse(found->second).get<std::map<std::string, std::string>>();
    if (rule == "pope") {
        out.prediction = pope_says_yes(text) ? "yes" : "no";
    } else if (rule == "scienceqa") {
        if (const auto found = scienceqa_letter(text)) out.prediction = std::string(1, *found);
        out.parsed = !out.prediction.empty();
    } else if (rule == "mmbench" || rule == "option") {
        out.prediction = mmbench_option(text, options);
        out.parsed = !out.prediction.empty();
    } else if (rule == "gqa") {
        out.prediction = gqa_answer(text);
    } else {
        out.prediction = text;
        if (const auto humans = example.fields.find("task.human_answers"); humans != example.fields.end())
            out.score = vqa_score(text, json::parse(humans->second).get<std::vector<std::string>>(),
                                  rule == "vqa" ? VqaRule::official : VqaRule::m4c);
        return out;
    }
    out.score = !is_hidden(example) && out.prediction == example.target;
    return out;
}

} // namespace dorabench
