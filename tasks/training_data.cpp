#include "tasks/training_data.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/records.h"
#include <algorithm>
#include <filesystem>

namespace dorabench {

namespace {

using nlohmann::json;

constexpr int64_t kImageId = -200; // LLaVA's: an image among ready-made ids
const std::string kImageWord = "<image>";

Ids ids_field(const json& record, const std::string& field, const std::string& place, int64_t smallest) {
    const json& value = record.at(field);
    if (!value.is_array())
        throw Error::data(place, ": ", field, ": expected an array of ids, got ", json_kind(value));
    Ids out;
    out.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
        bool fits = value[i].is_number_integer() &&
                    !(value[i].is_number_unsigned() && value[i].get<uint64_t>() >> 62);
        int64_t id = fits ? value[i].get<int64_t>() : -1;
        if (!fits || (id < 0 && id != smallest))
            throw Error::data(place, ": ", field, "[", i, "]: expected a token id of at least 0",
                              smallest < 0 ? cat(" or ", smallest) : std::string(), ", got ",
                              value[i].dump());
        out.push_back(id);
    }
    return out;
}

bool given(const json& record, const char* field) {
    return record.contains(field) && !record[field].is_null();
}

bool has_images(const json& record) { return given(record, "image") || given(record, "images"); }

TrainingPair ids_pair(const json& record, const std::string& place) {
    TrainingPair pair;
    pair.input_ids = ids_field(record, "input_ids", place, has_images(record) ? kImageId : 0);
    if (pair.input_ids.empty()) throw Error::data(place, ": input_ids: expected at least one id, got none");
    pair.labels = given(record, "labels") ? ids_field(record, "labels", place, kIgnoreLabel) : pair.input_ids;
    if (!given(record, "labels")) // an image is no target
        std::replace(pair.labels.begin(), pair.labels.end(), kImageId, kIgnoreLabel);
    if (pair.labels.size() != pair.input_ids.size())
        throw Error::data(place, ": labels: expected as many as there are input_ids (", pair.input_ids.size(),
                          "), got ", pair.labels.size());
    return pair;
}

std::vector<Turn> turns_field(const json& record, const std::string& place) {
    const json& messages = record.at("messages");
    if (!messages.is_array() || messages.empty())
        throw Error::data(place, ": messages: expected an array of {role, content}, got ",
                          messages.is_array() ? "an empty one" : json_kind(messages));
    std::vector<Turn> turns;
    for (size_t i = 0; i < messages.size(); ++i) {
        std::string at = cat(place, ": messages[", i, "]");
        if (!messages[i].is_object())
            throw Error::data(at, ": expected {role, content}, got ", json_kind(messages[i]));
        Turn turn{string_field(messages[i], "role", at), string_field(messages[i], "content", at)};
        if (turn.role != "system" && turn.role != "user" && turn.role != "assistant")
            throw Error::data(at, ": role: expected system, user or assistant, got \"", turn.role, "\"");
        if (!turns.empty() && turns.back().role == "assistant" && turn.role == "assistant")
            turns.back().content += "\n" + turn.content; // one turn in several messages
        else
            turns.push_back(std::move(turn));
    }
    while (!turns.empty() && turns.back().role != "assistant") turns.pop_back(); // an unanswered end
    if (turns.size() < 2)
        throw Error::data(place, ": messages: expected an assistant's turn behind a user's");
    return turns;
}

// LLaVA: a message's images stand in front of its text, a line each.
std::string images_in_front(const std::string& text) {
    std::string marks;
    for (size_t at = 0; (at = text.find(kImageWord, at)) != std::string::npos; at += kImageWord.size())
        marks += kImageWord + "\n";
    return marks.empty() ? text : trim(marks + trim(replace_all(text, kImageWord, "")));
}

// LLaVA's turns [{from: human | gpt, value}]: what stands before the first human turn goes, and so does an
// unanswered end.
std::vector<Turn> conversation_turns(const json& record, const std::string& place) {
    const json& said = record.at("conversations");
    if (!said.is_array() || said.empty())
        throw Error::data(place, ": conversations: expected an array of {from, value}, got ",
                          said.is_array() ? "an empty one" : json_kind(said));
    std::vector<Turn> turns;
    for (size_t i = 0; i < said.size(); ++i) {
        const std::string at = cat(place, ": conversations[", i, "]");
        if (!said[i].is_object()) throw Error::data(at, ": expected {from, value}, got ", json_kind(said[i]));
        const std::string from = string_field(said[i], "from", at);
        const bool human = from == "human" || from == "user";
        if (!human && from != "gpt" && from != "assistant" && from != "system")
            throw Error::data(at, ": from: expected human or gpt, got \"", from, "\"");
        const std::string role = human ? "user" : from == "system" ? "system" : "assistant";
        const std::string text = string_field(said[i], "value", at);
        if (turns.empty() && role == "assistant") continue;
        turns.push_back({role, has_images(record) ? images_in_front(text) : text});
    }
    while (!turns.empty() && turns.back().role != "assistant") turns.pop_back();
    return turns;
}

// The files of `image` (one, or a list) or `images`: from the data file's folder, else below data_dir, unless
// absolute. Files that are not there are added to `missing`.
std::vector<std::string> image_files(const json& record, const std::string& path, const std::string& data_dir,
                                     const std::string& place, std::vector<std::string>& missing) {
    const char* field = given(record, "image") ? "image" : "images";
    json names = record[field];
    if (names.is_string()) names = json::array({names});
    if (!names.is_array())
        throw Error::data(place, ": ", field, ": expected a file or a list of files, got ", json_kind(names));
    std::vector<std::string> out;
    for (const json& name : names) {
        if (!name.is_string())
            throw Error::data(place, ": ", field, ": expected files, got ", json_kind(name));
        const std::filesystem::path file = name.get<std::string>();
        std::string found = (std::filesystem::path(path).parent_path() / file).string();
        if (!exists(found) && !data_dir.empty())
            if (const std::string other = (data_dir / file).string(); exists(other)) found = other;
        if (!exists(found) || is_folder(found)) missing.push_back(cat(place, ": ", file.string()));
        out.push_back(found);
    }
    return out;
}

// What any record may bear beside its text: features (a file, from the data file's folder unless absolute)
// with n_images, weight and loss_mean (tokens | example).
void read_extras(const json& record, const std::string& path, const std::string& place, TrainingPair& pair) {
    if (given(record, "features")) {
        const std::filesystem::path features = string_field(record, "features", place);
        pair.media.features = (std::filesystem::path(path).parent_path() / features).string();
    }
    if (given(record, "n_images")) {
        const json& count = record["n_images"];
        if (!count.is_number_integer() || count.get<double>() < 1 || count.get<double>() > 1024)
            throw Error::data(place, ": n_images: expected an integer in [1, 1024], got ", count.dump());
        pair.media.n_images = count.get<int64_t>();
    }
    if (given(record, "weight")) {
        const json& weight = record["weight"];
        if (!weight.is_number() || !(weight.get<double>() >= 0) || weight.get<double>() > 1e6)
            throw Error::data(place, ": weight: expected a number of at least 0, got ", weight.dump());
        pair.weight = weight.get<double>();
    }
    if (given(record, "loss_mean")) {
        const std::string mean = string_field(record, "loss_mean", place);
        if (mean != "tokens" && mean != "example")
            throw Error::data(place, ": loss_mean: expected tokens or example, got \"", mean, "\"");
        pair.loss_mean = mean == "tokens" ? LossMean::tokens : LossMean::example;
    }
}

class TrainingReader {
public:
    explicit TrainingReader(const TrainingTemplates& names) {
        const PromptTemplate* named =
            names.template_name.empty() ? nullptr : &find_template(names.template_name);
        const PromptTemplate* chat =
            names.chat_template.empty() ? nullptr : &find_template(names.chat_template);
        if (chat && !chat->is_chat())
            throw Error::config("chat_template: expected a chat template, got \"", chat->name, "\"");
        if (!chat && named && named->is_chat()) chat = named;
        if (named && named->is_chat()) named = nullptr;
        chat_ = chat;
        instruction_ = named;
    }

    void read(const json& record, const std::string& place, std::vector<TrainingPair>& out) const {
        size_t before = out.size();
        if (record.contains("input_ids")) {
            out.push_back(ids_pair(record, place));
        } else if (record.contains("conversations")) {
            out.push_back(visual_conversation(record, place));
        } else if (record.contains("messages")) {
            out.push_back(conversation(turns_field(record, place)));
        } else if (record.contains("completion")) {
            out.push_back(
                completion(string_field(record, "prompt", place), string_field(record, "completion", place)));
        } else if (record.contains("instances")) {
            instances(record, place, out);
        } else if (record.contains("instruction") || record.contains("output")) {
            out.push_back(instruction(string_field(record, "instruction", place),
                                      optional_string_field(record, "input", place),
                                      string_field(record, "output", place)));
        } else {
            std::vector<std::string> keys;
            for (const auto& [key, value] : record.items()) keys.push_back(key);
            throw Error::data(
                place,
                ": expected instruction and output, prompt and completion, messages, conversations, or "
                "input_ids; "
                "got the keys ",
                keys.empty() ? std::string("(none)") : join(keys, ", "));
        }
        std::string id = record.contains("id") ? as_text(record["id"]) : std::string();
        for (size_t i = before; i < out.size(); ++i) {
            out[i].source = place;
            out[i].id = id.empty() ? cat(i) : out.size() - before > 1 ? cat(id, "/", i - before) : id;
        }
    }

private:
    TrainingPair instruction(const std::string& text, const std::string& input,
                             const std::string& output) const {
        const PromptTemplate& base =
            instruction_ ? *instruction_
                         : find_template(chat_ ? "plain" : "alpaca"); // a chat wraps the bare instruction
        TrainingPair pair;
        if (chat_) {
            pair.prompt = chat_->chat({{"user", base.prompt(text, input, PromptForm::training)}});
            pair.target = chat_->target(base.target(output));
        } else {
            pair.prompt = base.prompt(text, input, PromptForm::training);
            pair.target = base.target(output);
        }
        return pair;
    }

    TrainingPair completion(const std::string& prompt, const std::string& text) const {
        if (chat_) return instruction(prompt, "", text);
        TrainingPair pair;
        pair.prompt = prompt;
        pair.target = text;
        return pair;
    }

    TrainingPair conversation(const std::vector<Turn>& turns) const {
        bool one_question = turns.size() == 2 && turns[0].role == "user";
        if (!chat_ && instruction_ && one_question)
            return instruction(turns[0].content, "", turns[1].content);
        if (!chat_ && instruction_)
            throw Error::config("template \"", instruction_->name,
                                "\" has no place for a conversation of several turns; "
                                "choose a chat template (llama2, llama3, vicuna_v1, chatml)");
        const PromptTemplate& chat = chat_ ? *chat_ : find_template("chatml");
        TrainingPair pair;
        pair.prompt = chat.chat({turns.begin(), turns.end() - 1});
        pair.target = chat.target(turns.back().content);
        return pair;
    }

    // Every answer is a target. A conversation without any is a row without targets, which training drops and
    // counts.
    TrainingPair visual_conversation(const json& record, const std::string& place) const {
        const std::vector<Turn> turns = conversation_turns(record, place);
        TrainingPair pair;
        pair.pieces = (chat_ ? *chat_ : find_template("vicuna_v1")).pieces(turns);
        if (pair.pieces.empty())
            pair.pieces = {{has_images(record) ? kImageWord : std::string(" "), false, false}};
        return pair;
    }

    void instances(const json& record, const std::string& place, std::vector<TrainingPair>& out) const {
        const json& all = record["instances"];
        if (!all.is_array()) throw Error::data(place, ": instances: expected an array, got ", json_kind(all));
        for (size_t i = 0; i < all.size(); ++i) {
            std::string at = cat(place, ": instances[", i, "]");
            if (!all[i].is_object())
                throw Error::data(at, ": expected {input, output}, got ", json_kind(all[i]));
            out.push_back(instruction(string_field(record, "instruction", place),
                                      optional_string_field(all[i], "input", at),
                                      string_field(all[i], "output", at)));
        }
    }

    const PromptTemplate* chat_ = nullptr;        // wraps the prompt; null: none
    const PromptTemplate* instruction_ = nullptr; // null: the default
};

} // namespace

std::vector<TrainingPair> read_training_file(const std::string& path, const TrainingTemplates& templates) {
    TrainingReader reader(templates);
    std::vector<TrainingPair> out;
    std::vector<std::string> missing;
    for_each_record(path, [&](size_t number, const json& record) {
        try {
            const size_t before = out.size();
            reader.read(record, record_place(path, number), out);
            for (size_t i = before; i < out.size(); ++i) {
                read_extras(record, path, record_place(path, number), out[i]);
                if (has_images(record))
                    out[i].media.images =
                        image_files(record, path, templates.data_dir, record_place(path, number), missing);
            }
        } catch (const Error& error) { // of a chat template, which knows no file
            std::string place = record_place(path, number);
            if (starts_with(error.what(), place)) throw;
            throw Error(error.kind(), place + ": " + error.what());
        }
        return true;
    });
    if (!missing.empty()) {
        const size_t count = missing.size();
        missing.resize(std::min<size_t>(count, 5));
        throw Error::data(path, ": expected the images of its records beside it or below data_dir, ", count,
                          " are missing: ", join(missing, "; "), count > 5 ? "; …" : "");
    }
    return out;
}

} // namespace dorabench
