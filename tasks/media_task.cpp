#include "tasks/media_task.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/log.h"
#include "harness/base/text.h"
#include "tasks/media_features.h"
#include "tasks/metrics/cider.h"
#include "tasks/metrics/ptb_tokenizer.h"
#include "tasks/metrics/vqa.h"
#include "tasks/metrics/words.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace dorabench {

namespace {

using nlohmann::json;

// Fields of an example beside the record's: JSON arrays of texts.
const char* const kReferences = "task.references"; // captions, right answers
const char* const kHumans = "task.human_answers";  // vqa

json texts_of(const Example& example, const char* field) {
    const auto found = example.fields.find(field);
    return found == example.fields.end() ? json::array() : json::parse(found->second);
}

std::string dumped(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

} // namespace

std::string ascii_only(const std::string& text) {
    std::string out;
    for (unsigned char c : text) {
        if (c < 0x80) out += static_cast<char>(c);
        if (c >= 0xC0) out += ' '; // the first byte of a character; the others go
    }
    return out;
}

MediaTask::MediaTask(const TaskSpec& spec, const TaskOptions& options) : spec_(spec), options_(options) {
    const bool scored = spec.kind == TaskKind::nlvr2;
    if (options.mode != "generate" && !(scored && options.mode == "loglikelihood"))
        throw Error::config("evaluate.mode: ", spec.name,
                            scored ? " expects loglikelihood or generate (it is scored "
                                     "by log-likelihood either way)"
                                   : " expects generate",
                            ", got \"", options.mode, "\"");
    if (options.num_fewshot != 0)
        throw Error::config("evaluate.num_fewshot: ", spec.name, " has no few-shot form, expected 0, got ",
                            options.num_fewshot);
    if (!options.template_name.empty() || !options.chat_template.empty())
        throw Error::config("evaluate.template: ", spec.name, " has a prompt of its own (", spec.origin,
                            "); leave template and chat_template out");
}

MediaTask::~MediaTask() = default;

bool MediaTask::has_captions() const {
    return spec_.kind == TaskKind::caption || spec_.kind == TaskKind::video_caption;
}

std::string MediaTask::fingerprint() const {
    if (data_hash_.empty()) {
        std::vector<std::string> hashes;
        for (const std::string& file : media_data_files(spec_, MediaSplit::test, options_.data_dir))
            hashes.push_back(sha256_hex(read_file(file)));
        for (const auto* list : {&spec_.media->annotations, &spec_.media->subtitles})
            for (const std::string& names : *list)
                if (const std::string file = look_for_media_data(spec_, names, options_.data_dir);
                    !file.empty())
                    hashes.push_back(sha256_hex(read_file(file)));
        data_hash_ = join(hashes, " ");
    }
    const int64_t beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
    const int64_t tokens = options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
    return sha256_hex(join({spec_.name, spec_.version, kind_name(spec_.kind), spec_.prompt, data_hash_,
                            join(spec_.metrics, "\x1f"), join(spec_.media->test_splits, "\x1f"),
                            cat(spec_.media->choices, " ", spec_.media->skip_missing, " beams ", beams,
                                " tokens ", tokens, " prompt ", spec_.media->max_prompt)},
                           "\x1d"));
}

Example MediaTask::make_example(const MediaItem& item, const std::string& features) const {
    Example out;
    out.id = item.id;
    out.prompt = item.prompt;
    out.media.features = features;
    out.media.n_images = static_cast<int64_t>(item.media.size());
    out.fields = item.fields;
    json references = json::array();
    double best = -1;
    for (const auto& [text, score] : item.answers) {
        references.push_back(text);
        if (score > best) best = score, out.target = text;
    }
    out.fields[kReferences] = dumped(references);
    if (spec_.kind == TaskKind::vqa) out.fields[kHumans] = dumped(item.human_answers);
    if (spec_.kind == TaskKind::nlvr2) {
        out.choices = {"true", "false"};
        out.gold = out.target.empty() ? -1 : out.target == "true" ? 0 : 1;
    }
    const bool may_hide = spec_.kind == TaskKind::video_qa || spec_.kind == TaskKind::video_caption;
    if (item.answers.empty() && item.human_answers.empty() && !may_hide)
        throw Error::data(item.place, ": expected an answer to score against, this record (", item.id,
                          ") has none");
    return out;
}

const std::vector<Example>& MediaTask::examples() {
    if (read_) return examples_;
    FeatureFinder finder(spec_, options_.data_dir);
    std::vector<Example> read;
    for_each_media_item(spec_, MediaSplit::test, options_.data_dir, [&](MediaItem&& item) {
        if (const auto features = finder.find(item.media, item.place))
            read.push_back(make_example(item, *features));
        return options_.limit <= 0 || static_cast<int64_t>(read.size()) < options_.limit;
    });
    finder.finish();
    if (read.empty())
        throw Error::data(spec_.name, ": expected examples, all of them are left out or of other splits");
    if (has_captions()) {
        std::vector<std::vector<std::string>> references;
        PtbTokenizer tokenizer;
        for (const Example& example : read) {
            std::vector<std::string> texts;
            for (const json& text : texts_of(example, kReferences)) texts.push_back(ascii_or_all(text));
            references.push_back(tokenizer.captions(texts));
        }
        cider_ = std::make_unique<CiderD>(references);
    }
    examples_ = std::move(read);
    read_ = true;
    return examples_;
}

std::vector<Request> MediaTask::requests(const Example& example) const {
    Request request;
    request.id = example.id;
    request.context = example.prompt;
    request.media = example.media;
    request.max_context = spec_.media->max_prompt;
    if (spec_.kind != TaskKind::nlvr2) {
        request.kind = Request::Kind::generate;
        request.generate.num_beams = options_.num_beams > 0 ? options_.num_beams : spec_.num_beams;
        request.generate.max_new_tokens =
            options_.max_new_tokens > 0 ? options_.max_new_tokens : spec_.max_new_tokens;
        return {request};
    }
    request.kind = Request::Kind::score;
    std::vector<Request> out;
    for (const std::string& choice : example.choices) {
        request.id = example.id + "/" + choice;
        request.continuation = choice;
        out.push_back(request);
    }
    return out;
}

Score MediaTask::score(const Example& example, const std::vector<Response>& responses) const {
    const size_t expected = spec_.kind == TaskKind::nlvr2 ? 2 : 1;
    if (responses.size() != expected)
        throw Error::internal(spec_.name, ": expected ", expected, " responses to example ", example.id,
                              ", got ", responses.size());
    Score out;
    const json references = texts_of(example, kReferences);
    auto is_right = [&](const std::string& text) {
        return std::find(references.begin(), references.end(), text) != references.end();
    };
    if (spec_.kind == TaskKind::nlvr2) {
        const double yes = responses[0].loglikelihood, no = responses[1].loglikelihood;
        if (std::isnan(yes) || std::isnan(no))
            throw Error::failed(spec_.name, ": the log-likelihood of example ", example.id,
                                " is not a number");
        out.raw_output = out.prediction = yes > no ? "true" : "false";
        out.score = is_right(out.prediction);
        if (yes == no) out.values["tie"] = 1;
        return out;
    }
    out.raw_output = responses[0].text;
    out.prediction = strip_white_space(out.raw_output);
    switch (spec_.kind) {
    case TaskKind::vqa: {
        const auto humans = texts_of(example, kHumans).get<std::vector<std::string>>();
        out.score = vqa_score(out.prediction, humans, VqaRule::vlt5);
        out.values["accuracy_official"] = vqa_score(out.prediction, humans, VqaRule::official);
        break;
    }
    case TaskKind::caption:
    case TaskKind::video_caption: {
        const auto texts = references.get<std::vector<std::string>>();
        if (texts.empty()) break; // hidden
        out.values["cider_d"] = caption_cider(out.prediction, texts);
        out.score = std::min(1.0, out.values["cider_d"] / 10); // CIDEr-D's own scale ends at 10
        break;
    }
    case TaskKind::video_qa: {
        const std::string& text = out.prediction;
        out.parsed =
            text.size() == 2 && text[0] == 'a' && text[1] >= '0' && text[1] < '0' + spec_.media->choices;
        if (!out.parsed) out.prediction.clear();
        out.score = is_right(out.prediction);
        break;
    }
    default:
        out.score = is_right(out.prediction);
    }
    return out;
}

double MediaTask::caption_cider(const std::string& candidate,
                                const std::vector<std::string>& references) const {
    if (!cider_) throw Error::internal(spec_.name, ": examples() comes before score()");
    PtbTokenizer tokenizer;
    std::vector<std::string> texts;
    for (const std::string& text : references) texts.push_back(ascii_or_all(text));
    return cider_->score(tokenizer.captions({ascii_or_all(candidate)}).at(0), tokenizer.captions(texts));
}

std::string MediaTask::ascii_or_all(const std::string& text) const {
    return spec_.kind == TaskKind::video_caption ? ascii_only(text) : text;
}

} // namespace dorabench
