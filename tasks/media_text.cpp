#include "tasks/media_text.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include "tasks/media_items.h"
#include "tasks/metrics/records.h"
#include "tasks/records.h"

namespace dorabench {

using nlohmann::json;

std::unordered_map<std::string, VqaAnnotation> read_vqa_annotations(const TaskSpec& spec,
                                                                    const std::string& data_dir) {
    std::unordered_map<std::string, VqaAnnotation> out;
    bool found = false;
    for (const std::string& names : spec.media->annotations) {
        const std::string path = look_for_media_data(spec, names, data_dir);
        if (path.empty()) continue;
        found = true;
        const json root = read_json(path);
        const Record whole(root, path);
        for (const Record& record : root.is_array() ? whole.items() : whole.list("annotations")) {
            VqaAnnotation own;
            for (const Record& answer : record.list("answers"))
                own.answers.push_back(answer.value().is_object() ? answer.text("answer") : answer.as_text());
            if (own.answers.empty())
                throw Error::data(record.place(), ": expected the humans' answers, got none");
            for (const char* key : {"answer_type", "question_type"})
                if (record.has(key)) own.types[key] = record.text(key);
            if (!out.emplace(record.id("question_id"), std::move(own)).second)
                throw Error::data(record.place(), ": question ", record.id("question_id"),
                                  " is annotated twice");
        }
    }
    if (!found)
        throw Error::data(spec.name, ": expected the humans' answers at ",
                          join(spec.media->annotations, " or "), " below ", data_dir, ", found none");
    return out;
}

std::unordered_map<std::string, std::string> read_subtitles(const TaskSpec& spec,
                                                            const std::string& data_dir) {
    std::unordered_map<std::string, std::string> out;
    for (const std::string& names : spec.media->subtitles) {
        const std::string path = look_for_media_data(spec, names, data_dir);
        if (path.empty())
            throw Error::data(spec.name, ": expected the subtitles ", replace_all(names, "|", " or "),
                              " below ", data_dir, ", found none");
        for_each_record(path, [&](size_t number, const json& value) {
            const Record record(value, record_place(path, number));
            std::vector<std::string> texts;
            if (record.has("sub"))
                for (const Record& line : record.list("sub")) texts.push_back(line.text("text"));
            if (!out.emplace(record.id("vid_name"), join(texts, " ")).second)
                throw Error::data(record.place(), ": the subtitles of ", record.id("vid_name"),
                                  " stand twice");
            return true;
        });
    }
    return out;
}

std::string time_span_text(const json& value, const std::string& place) {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_array()) throw Error::data(place, ": ts: expected a span of time, got ", json_kind(value));
    std::vector<std::string> numbers;
    for (const json& number : value) {
        if (!number.is_number()) throw Error::data(place, ": ts: expected numbers, got ", json_kind(number));
        numbers.push_back(number.dump());
    }
    return "[" + join(numbers, ", ") + "]";
}

std::string option_text(const std::string& text) {
    const size_t begin = text.find_first_not_of(". ");
    if (begin == std::string::npos) return ".";
    return text.substr(begin, text.find_last_not_of(". ") - begin + 1) + ".";
}

} // namespace dorabench
