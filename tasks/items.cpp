#include "tasks/items.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/records.h"
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

namespace dorabench {

namespace {

using nlohmann::json;

std::string letter(size_t index) {
    return index < 26 ? std::string(1, static_cast<char>('A' + index)) : std::to_string(index + 1);
}

void read_options(const TaskSpec& spec, const json& record, Item& item) {
    if (spec.options_in_text) {
        if (!options_of_instruction(item.instruction, item.labels, item.options))
            throw Error::data(item.place, ": ", spec.instruction_field,
                              ": expected it to end in \"Answer format: a/b\" with the options of this item");
        return;
    }
    item.options = spec.options;
    if (!spec.choices_field.empty()) {
        auto at = record.find(spec.choices_field);
        if (at == record.end()) throw Error::data(item.place, ": no key \"", spec.choices_field, "\"");
        if (!at->is_array() || at->size() < 2)
            throw Error::data(item.place, ": ", spec.choices_field,
                              ": expected an array of at least two options, got ",
                              at->is_array() ? at->dump() : json_kind(*at));
        for (const json& option : *at) item.options.push_back(as_text(option));
    }
    if (item.options.empty()) return;
    if (!spec.labels.empty() && spec.labels.size() < item.options.size())
        throw Error::data(item.place, ": expected at most ", spec.labels.size(),
                          " options, as the spec has labels, got ", item.options.size());
    for (size_t i = 0; i < item.options.size(); ++i)
        item.labels.push_back(!spec.labels.empty()   ? spec.labels[i]
                              : spec.options.empty() ? letter(i)
                                                     : item.options[i]);
}

// The answer as a label, as an option's text, or as a 0-based index.
void read_gold(const TaskSpec& spec, const json& answer, Item& item) {
    std::string text = as_text(answer);
    auto index_in = [&](const std::vector<std::string>& list) {
        auto at = std::find(list.begin(), list.end(), text);
        return at == list.end() ? int64_t(-1) : static_cast<int64_t>(at - list.begin());
    };
    auto options = static_cast<int64_t>(item.options.size());
    if (answer.is_number_integer())
        item.gold = answer.is_number_unsigned() || answer.get<int64_t>() >= 0
                        ? std::min<int64_t>(answer.get<int64_t>(), options)
                        : -1;
    else
        item.gold = index_in(item.labels);
    if (item.gold < 0 && answer.is_string()) item.gold = index_in(item.options);
    if (item.gold < 0 || item.gold >= options)
        throw Error::data(item.place, ": ", spec.answer_field, ": expected ", join(item.labels, ", "),
                          ", got ", answer.dump());
    item.answer = item.labels[static_cast<size_t>(item.gold)];
}

Item read_item(const TaskSpec& spec, const json& record, const std::string& place, size_t index) {
    Item item;
    item.place = place;
    item.id = std::to_string(index);
    for (const auto& [key, value] : record.items()) item.fields[key] = as_text(value);
    if (!spec.id_field.empty()) {
        auto at = record.find(spec.id_field);
        if (at == record.end()) throw Error::data(place, ": no key \"", spec.id_field, "\"");
        item.id = as_text(*at);
    }
    if (spec.prompt.empty()) {
        item.instruction = string_field(record, spec.instruction_field, place);
        item.input = optional_string_field(record, spec.input_field, place);
    } else if (spec.options_in_text) {
        item.instruction = string_field(record, spec.instruction_field, place);
    }
    read_options(spec, record, item);
    auto answer = record.find(spec.answer_field);
    if (answer == record.end()) {
        std::vector<std::string> keys;
        for (const auto& [key, value] : record.items()) keys.push_back(key);
        throw Error::data(place, ": no key \"", spec.answer_field, "\"",
                          did_you_mean(spec.answer_field, keys));
    }
    if (!item.options.empty())
        read_gold(spec, *answer, item);
    else if (answer->is_string() || answer->is_number() || answer->is_boolean())
        item.answer = as_text(*answer);
    else
        throw Error::data(place, ": ", spec.answer_field, ": expected a string or a number, got ",
                          json_kind(*answer));
    if (!spec.target_field.empty())
        item.target = string_field(record, spec.target_field, place);
    else if (item.gold >= 0)
        item.target = continuation(spec, spec.choices, item, static_cast<size_t>(item.gold));
    else
        item.target = item.answer;
    return item;
}

Item world_item(const WorldQuestion& question, const WorldSpec& world, size_t index) {
    Item item;
    item.id = std::to_string(index);
    item.place = cat("world ", world.seed, ":question ", index + 1);
    item.instruction = question.prompt;
    item.options = question.options;
    for (size_t i = 0; i < item.options.size(); ++i)
        item.labels.push_back(world.answer_by_option ? world_option(i) : item.options[i]);
    item.gold = static_cast<int64_t>(question.right);
    item.answer = question.answer;
    item.target = (world.answer_by_option ? "the correct answer is " : "") + item.answer;
    item.fields = {{"prompt", question.prompt},
                   {"answer", item.answer},
                   {"moved", question.moved ? "true" : "false"},
                   {"held_out", question.held_out ? "true" : "false"}};
    return item;
}

} // namespace

bool options_of_instruction(const std::string& instruction, std::vector<std::string>& labels,
                            std::vector<std::string>& texts) {
    const std::string mark = "Answer format:";
    size_t format = instruction.rfind(mark);
    if (format == std::string::npos) return false;
    labels = split(trim(instruction.substr(format + mark.size())), '/');
    if (labels.size() < 2 || std::find(labels.begin(), labels.end(), "") != labels.end()) return false;
    texts = labels;
    // "Answer1: … Answer2: …", from the back, because the question may hold such words, too
    std::vector<std::string> found(labels.size());
    size_t end = format;
    for (size_t i = labels.size(); i-- > 0;) {
        std::string head = labels[i] + ":";
        head[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(head[0])));
        size_t at = end == 0 ? std::string::npos : instruction.rfind(head, end - 1);
        if (at == std::string::npos) return true;
        found[i] = trim(instruction.substr(at + head.size(), end - at - head.size()));
        end = at;
    }
    if (std::find(found.begin(), found.end(), "") == found.end()) texts = std::move(found);
    return true;
}

std::string continuation(const TaskSpec& spec, ChoiceForm form, const Item& item, size_t option) {
    switch (form) {
    case ChoiceForm::answer_sentence:
        return "the correct answer is " + item.labels.at(option);
    case ChoiceForm::label:
        return item.labels.at(option);
    case ChoiceForm::option_text:
        break;
    }
    return item.options.at(option);
}

std::string find_data(const TaskSpec& spec, const std::vector<std::string>& candidates,
                      const std::string& data_dir) {
    std::vector<std::string> looked,
        folders{data_dir, std::filesystem::path(spec.origin).parent_path().string()};
    for (const std::string& folder : folders)
        for (const std::string& candidate : candidates) {
            bool named = candidate.find("{file}") != std::string::npos;
            for (const std::string& file : named ? spec.files : std::vector<std::string>{""}) {
                std::string path =
                    (std::filesystem::path(folder) / replace_all(candidate, "{file}", file)).string();
                for (const std::string& form : {path, path + ".gz"})
                    if (exists(form) && !is_folder(form)) return form;
                if (&folder == &folders[0]) looked.push_back(path);
            }
        }
    throw Error::data(spec.name, ": expected its data at ", join(looked, " or "),
                      " (also gzipped), found none; set data_dir to the folder that holds them");
}

void for_each_item(const TaskSpec& spec, const std::string& path, const std::function<bool(Item&&)>& f) {
    if (spec.world) {
        size_t index = 0;
        for (const WorldQuestion& question : World(*spec.world).test_questions())
            if (!f(world_item(question, *spec.world, index++))) return;
        return;
    }
    std::set<std::string> ids;
    for_each_record(path, [&](size_t number, const json& record) {
        Item item = read_item(spec, record, record_place(path, number), number - 1);
        if (!spec.id_field.empty() && !ids.insert(item.id).second)
            throw Error::data(item.place, ": ", spec.id_field, ": \"", item.id, "\" stands twice");
        return f(std::move(item));
    });
}

} // namespace dorabench
