#include "tasks/image_items.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/media_items.h"
#include "tasks/metrics/delimited_table.h"
#include "tasks/metrics/records.h"
#include "tasks/metrics/words.h"
#include "tasks/records.h"
#include "tasks/templates.h"
#include <algorithm>
#include <filesystem>
#include <set>
#include <unordered_map>

namespace dorabench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const std::string kOcrLine = "Reference OCR token: ";

// What the annotations say of a question.
struct Truth {
    std::string answer;
    std::vector<std::string> humans;
    std::map<std::string, std::string> fields, options;
};

std::string letter(size_t i) { return {static_cast<char>('A' + i)}; }

std::string stem(const std::string& file) { return fs::path(file).stem().string(); }

std::string category_of(const std::string& file) {
    const std::string name = fs::path(file).filename().string();
    for (const char* split : {"random", "popular", "adversarial"})
        if (name.find(split) != std::string::npos) return split;
    return "";
}

// MMBench's rule for an empty cell.
bool is_none(const std::string& cell) {
    const std::string text = lower(cell);
    return text.empty() || text == "nan" || text == "none";
}

void read_answers(const Record& record, Truth& truth) {
    if (record.has("answers"))
        for (const Record& answer : record.list("answers"))
            truth.humans.push_back(answer.value().is_object() ? answer.text("answer") : answer.as_text());
    for (const char* key : {"answer_type", "question_type"})
        if (record.has(key)) truth.fields[key] = record.text(key);
}

void read_gqa(const Record& record, Truth& truth) {
    truth.answer = record.text("answer");
    if (record.has("types")) truth.fields["structural"] = record.at("types").text("structural");
}

void read_problem(const Record& record, Truth& truth) {
    const auto choices = record.texts("choices");
    for (size_t i = 0; i < choices.size(); ++i) truth.options[letter(i)] = choices[i];
    const int64_t right = record.whole("answer");
    if (right < 0 || right >= static_cast<int64_t>(choices.size()))
        throw Error::data(record.place(), ": answer: the index of one of ", choices.size(),
                          " choices expected, got ", right);
    truth.answer = letter(static_cast<size_t>(right));
}

class Reader {
public:
    Reader(const TaskSpec& spec, const std::string& data_dir, const std::function<bool(ImageItem&&)>& f)
        : spec_(spec), media_(*spec.media), data_dir_(data_dir), roots_(media_roots(spec, data_dir)), f_(f) {}

    void read() {
        const std::vector<std::string> files = media_data_files(spec_, MediaSplit::test, data_dir_);
        for (const std::string& names : media_.annotations)
            if (const std::string path = look_for_media_data(spec_, names, data_dir_); !path.empty())
                read_annotations(path);
        read_ocr();
        if (media_.frames > 0 && media_.scoring == "option") {
            videos();
        } else {
            for (const std::string& file : files) {
                category_ = category_of(file);
                if (!(ends_with(file, ".tsv") || ends_with(file, ".tsv.gz") ? table(file) : records(file)))
                    break;
            }
        }
        if (missing_.empty()) return;
        const size_t count = missing_.size();
        missing_.resize(std::min<size_t>(count, 5));
        throw Error::data(spec_.name, ": expected the pictures of its questions at ",
                          join(media_.images, " or "), " below ", data_dir_, ", ", count,
                          " are missing: ", join(missing_, "; "), count > 5 ? "; …" : "");
    }

private:
    bool records(const std::string& file) {
        bool more = true;
        for_each_record(file, [&](size_t number, const json& value) {
            return more = top(Record(value, record_place(file, number)));
        });
        return more;
    }

    bool top(const Record& record) {
        for (const char* list : {"questions", "data"})
            if (record.has(list) && record.at(list).value().is_array()) {
                for (const Record& question : record.list(list))
                    if (!one(question)) return false;
                return true;
            }
        const json& value = record.value();
        const bool map = value.is_object() && !value.empty() && value.begin()->is_object() &&
                         value.begin()->contains("imageId");
        if (!map) return one(record);
        bool more = true;
        record.for_each_member([&](const std::string& id, const Record& question) {
            if (!more || !question.flag("isBalanced")) return;
            ImageItem item = start(question, id);
            Truth truth;
            read_gqa(question, truth);
            more = give(std::move(item), question.text("question"), question.id("imageId"), truth);
        });
        return more;
    }

    ImageItem start(const Record& record, const std::string& id) const {
        ImageItem item;
        item.id = id;
        item.place = record.place();
        for (const auto& [key, value] : record.value().items())
            if (!value.is_structured()) item.fields[key] = as_text(value);
        return item;
    }

    bool one(const Record& record) {
        if (record.has("conversations")) return science(record);
        const std::string image = record.id(record.has("image") ? "image" : "image_id");
        const std::string id = record.has("question_id") ? record.id("question_id") : image;
        ImageItem item = start(record, id);
        const bool asked = record.has("text"); // LLaVA's and POPE's lines
        std::string question = record.text(asked ? "text" : "question");
        if (!item.fields.count("category") && !category_.empty()) item.fields["category"] = category_;
        Truth truth;
        if (record.has("label")) {
            truth.answer = record.text("label");
        } else if (record.has("answers")) {
            read_answers(record, truth);
        } else if (media_.scoring == "pope") {
            truth.answer = next_label(item);
        } else if (!truths_.empty()) {
            truth = find(id, image, textvqa_question(question), item.place);
        }
        if (media_.scoring == "pope" && !truth.answer.empty() && truth.answer != "yes" &&
            truth.answer != "no")
            throw Error::data(item.place, ": label: expected yes or no, got \"", truth.answer, "\"");
        if (!asked)
            if (const auto tokens = ocr_.find(stem(image)); tokens != ocr_.end())
                question += "\n" + kOcrLine + tokens->second;
        return give(std::move(item), question, image, truth);
    }

    bool science(const Record& record) {
        ImageItem item = start(record, record.id("id"));
        const auto turns = record.list("conversations");
        if (turns.empty()) throw Error::data(item.place, ": conversations: expected a question, got none");
        const std::string question = trim(replace_all(turns[0].text("value"), "<image>", ""));
        Truth truth;
        if (!truths_.empty()) truth = find(item.id, "", "", item.place);
        return give(std::move(item), question, record.has("image") ? record.text("image") : "", truth);
    }

    bool table(const std::string& file) {
        const DelimitedTable table = read_table(file, '\t');
        std::unordered_map<std::string, std::string>
            pictures; // a short cell names the row that has the picture
        for (size_t row = 0; row < table.rows(); ++row) {
            ImageItem item;
            item.id = table.cell(row, "index");
            item.place = table.place(row);
            std::string picture = table.cell(row, "image");
            if (picture.size() > 64)
                pictures[item.id] = picture;
            else if (const auto found = pictures.find(picture); found != pictures.end())
                picture = found->second;
            else
                throw Error::data(item.place,
                                  ": image: expected a picture in base64, or the index of an earlier row "
                                  "that has one, got \"",
                                  picture, "\"");
            item.images = {"data:image;base64," + picture};
            for (const char* column : {"question", "hint", "A", "B", "C", "D", "answer", "category",
                                       "l2-category", "source", "comment", "split"})
                if (table.has(column)) item.fields[column] = table.cell(row, column);
            Truth truth;
            for (const char* option : {"A", "B", "C", "D"}) {
                if (!table.has(option) || is_none(table.cell(row, option))) break;
                truth.options[option] = table.cell(row, option);
            }
            if (table.has("answer") && !is_none(table.cell(row, "answer"))) {
                truth.answer = table.cell(row, "answer");
                if (!truth.options.count(truth.answer))
                    throw Error::data(item.place, ": answer: the letter of an option expected, got \"",
                                      truth.answer, "\"");
            }
            std::string question = table.cell(row, "question");
            if (table.has("hint") && !is_none(table.cell(row, "hint")))
                question = table.cell(row, "hint") + "\n" + question;
            if (!give(std::move(item), question + option_lines(truth), "", truth)) return false;
        }
        return true;
    }

    void videos() {
        TaskSpec inner = spec_;
        inner.kind = TaskKind::video_qa;
        inner.prompt = "-"; // made here
        for_each_media_item(inner, MediaSplit::test, data_dir_, [&](MediaItem&& read) {
            ImageItem item;
            item.id = read.id, item.place = read.place, item.fields = read.fields;
            Truth truth;
            for (int64_t i = 0; i < media_.choices; ++i)
                truth.options[letter(static_cast<size_t>(i))] = read.fields[cat("a", i)];
            if (!read.answers.empty())
                truth.answer = letter(static_cast<size_t>(read.answers[0].first.at(1) - '0'));
            const std::string question = read.fields["question"] + option_lines(truth);
            return give(std::move(item), question, read.media[0][0], truth);
        });
    }

    static std::string option_lines(const Truth& truth) {
        std::string out;
        for (const auto& [name, text] : truth.options) out += "\n" + name + ". " + text;
        return out;
    }

    bool give(ImageItem item, const std::string& question, const std::string& image, const Truth& truth) {
        if (!ids_.insert(item.fields["category"] + "\n" + item.id).second)
            throw Error::data(item.place, ": the id ", item.id, " stands twice");
        if (media_.scoring == "pope") item.id = item.fields["category"] + "/" + item.id;
        for (const auto& [key, value] : truth.fields) item.fields[key] = value;
        item.answer = truth.answer;
        item.humans = truth.humans;
        item.options = truth.options;
        item.fields["image"] = image;
        item.question = question;
        if (!spec_.prompt.empty())
            item.question = fill_placeholders(spec_.prompt, [&](const std::string& name, std::string& value) {
                const auto found = item.fields.find(name);
                if (name != "question" && found == item.fields.end()) return false;
                value = name == "question" ? question : found->second;
                return true;
            });
        if (!ends_with(item.question, media_.suffix)) item.question += media_.suffix;
        if (!image.empty()) {
            const std::string file = find_image(image);
            if (file.empty()) missing_.push_back(cat(item.place, ": ", image));
            if (media_.frames == 0) item.images = {file};
            for (int64_t k = 0; k < media_.frames; ++k)
                item.images.push_back(cat(file, "#frame=", k, "/", media_.frames));
        }
        return f_(std::move(item));
    }

    // The first of the candidates that there is. A name that would leave the folder is missing.
    std::string find_image(const std::string& image) {
        const auto [at, fresh] = files_.try_emplace(image);
        if (!fresh) return at->second;
        for (const fs::path& part : fs::path(image))
            if (part == "..") return "";
        if (fs::path(image).is_absolute()) return "";
        for (const std::string& pattern : media_.images) {
            const std::string name =
                fill_placeholders(pattern, [&](const std::string& field, std::string& value) {
                    if (field != "image" && field != "image:012") return false;
                    value = image;
                    if (field == "image:012" && value.size() < 12) value.insert(0, 12 - value.size(), '0');
                    return true;
                });
            for (const std::string& root : roots_)
                if (const std::string path = (fs::path(root) / name).string();
                    exists(path) && !is_folder(path))
                    return at->second = path;
        }
        return "";
    }

    // By question id; TextVQA's also by picture and question, VizWiz's by picture.
    void read_annotations(const std::string& path) {
        const json root = read_json(path);
        const Record whole(root, path);
        const bool object = root.is_object();
        if (media_.scoring == "pope") {
            for (const Record& record : whole.items())
                labels_[category_of(path)].push_back(record.text("label"));
            return;
        }
        if (object && !whole.has("annotations") && !whole.has("data")) {
            whole.for_each_member([&](const std::string& id, const Record& record) {
                Truth truth;
                if (media_.scoring == "gqa")
                    read_gqa(record, truth);
                else if (media_.scoring == "scienceqa")
                    read_problem(record, truth);
                else
                    throw Error::data(record.place(), ": expected annotations of ", media_.scoring);
                truths_[id] = std::move(truth);
            });
            return;
        }
        for (const Record& record :
             object ? whole.list(whole.has("data") ? "data" : "annotations") : whole.items()) {
            Truth truth;
            read_answers(record, truth);
            if (record.has("image")) truths_[record.text("image")] = truth;
            if (record.has("question_id")) truths_[record.id("question_id")] = truth;
            if (record.has("question") && record.has("image_id"))
                truths_[record.id("image_id") + "\n" + lower_unicode(record.text("question"))] = truth;
        }
    }

    const Truth& find(const std::string& id, const std::string& image, const std::string& question,
                      const std::string& place) const {
        for (const std::string& key : {stem(image) + "\n" + question, id, image})
            if (const auto found = truths_.find(key); found != truths_.end()) return found->second;
        throw Error::data(place, ": expected an annotation of question ", id, ", the files of ", spec_.name,
                          "'s data.annotations (", join(media_.annotations, ", "), ") have none");
    }

    std::string next_label(const ImageItem& item) {
        if (labels_.empty()) return ""; // hidden
        const std::string category = item.fields.count("category") ? item.fields.at("category") : category_;
        const auto& labels = labels_[category];
        size_t& next = next_label_[category];
        if (next >= labels.size())
            throw Error::data(item.place, ": expected a label for every question of the category \"",
                              category, "\", its annotations have ", labels.size());
        return labels[next++];
    }

    void read_ocr() {
        for (const std::string& names : media_.ocr) {
            const std::string path = look_for_media_data(spec_, names, data_dir_);
            if (path.empty()) continue;
            const json root = read_json(path);
            for (const Record& record : Record(root, path).list("data"))
                ocr_[record.id("image_id")] = join(record.texts("ocr_tokens"), ", ");
        }
    }

    const TaskSpec& spec_;
    const MediaSpec& media_;
    std::string data_dir_;
    std::vector<std::string> roots_;
    const std::function<bool(ImageItem&&)>& f_;
    std::string category_; // of the file that is read
    std::unordered_map<std::string, Truth> truths_;
    std::unordered_map<std::string, std::vector<std::string>> labels_;
    std::unordered_map<std::string, size_t> next_label_;
    std::unordered_map<std::string, std::string> ocr_, files_;
    std::set<std::string> ids_;
    std::vector<std::string> missing_;
};

} // namespace

std::string textvqa_question(const std::string& text) {
    for (const std::string& line : split(text, '\n'))
        if (!starts_with(line, trim(kOcrLine))) return lower_unicode(line);
    return lower_unicode(text);
}

void for_each_image_item(const TaskSpec& spec, const std::string& data_dir,
                         const std::function<bool(ImageItem&&)>& f) {
    Reader(spec, data_dir, f).read();
}

} // namespace dorabench
