#include "tasks/media_items.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/text.h"
#include "tasks/media_text.h"
#include "tasks/metrics/records.h"
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

// The name without folder and ending: COCO_val2014_000000391895.jpg is the image COCO_val2014_000000391895.
std::string stem(const std::string& file) { return fs::path(file).stem().string(); }

class ItemReader {
public:
    ItemReader(const TaskSpec& spec, MediaSplit split, const std::string& data_dir,
               const std::function<bool(MediaItem&&)>& f)
        : spec_(spec), split_(split), data_dir_(data_dir), f_(f) {}

    void read() {
        const std::vector<std::string> files = media_data_files(spec_, split_, data_dir_);
        if (is_video()) subtitles_ = read_subtitles(spec_, data_dir_);
        if (spec_.kind == TaskKind::vqa && split_ == MediaSplit::test)
            annotations_ = read_vqa_annotations(spec_, data_dir_);
        for (const std::string& file : files) {
            bool more = true;
            for_each_record(file, [&](size_t number, const json& record) {
                return more = top(Record(record, record_place(file, number)));
            });
            if (!more) return;
        }
    }

private:
    bool is_video() const {
        return spec_.kind == TaskKind::video_qa || spec_.kind == TaskKind::video_caption;
    }

    // A record of the file; those of some sets are one object that holds them all.
    bool top(const Record& record) {
        if (spec_.kind == TaskKind::caption) return captions(record);
        if (spec_.kind != TaskKind::vqa || !record.has("questions")) return one(record);
        if (split_ == MediaSplit::train && annotations_.empty())
            annotations_ = read_vqa_annotations(spec_, data_dir_);
        for (const Record& question : record.list("questions"))
            if (!one(question)) return false;
        return true;
    }

    bool one(const Record& record) {
        MediaItem item;
        item.place = record.place();
        if (!record.value().is_object())
            throw Error::data(item.place, ": expected a JSON object, got ", json_kind(record.value()));
        for (const auto& [key, value] : record.value().items())
            if (!value.is_structured()) item.fields[key] = as_text(value);
        switch (spec_.kind) {
        case TaskKind::vqa:
            vqa(record, item);
            break;
        case TaskKind::gqa:
            gqa(record, item);
            break;
        case TaskKind::nlvr2:
            nlvr2(record, item);
            break;
        case TaskKind::video_qa:
            video_question(record, item);
            break;
        default:
            video_captions(record, item);
        }
        return give(std::move(item));
    }

    bool give(MediaItem item) {
        if (!ids_.insert(item.id).second)
            throw Error::data(item.place, ": the id ", item.id, " stands twice");
        if (split_ == MediaSplit::train && item.answers.empty() && spec_.kind != TaskKind::vqa)
            throw Error::data(item.place, ": expected an answer to train on, this record (", item.id,
                              ") has none");
        item.prompt = fill_placeholders(spec_.prompt, [&](const std::string& name, std::string& value) {
            const auto found = item.fields.find(name);
            if (found == item.fields.end()) return false;
            value = found->second;
            return true;
        });
        return f_(std::move(item));
    }

    void vqa(const Record& record, MediaItem& item) {
        const bool official = !record.has("sent");
        item.id = record.id("question_id");
        item.fields["question"] = record.text(official ? "question" : "sent");
        item.media = {{record.id(official ? "image_id" : "img_id")}};
        const auto found = annotations_.find(item.id);
        if (found != annotations_.end()) {
            item.human_answers = found->second.answers;
            for (const auto& [key, value] : found->second.types) item.fields[key] = value;
        } else if (split_ == MediaSplit::test || official) {
            throw Error::data(item.place, ": expected an annotation of question ", item.id, ", the files of ",
                              spec_.name, "'s data.annotations have none");
        }
        if (record.has("label")) {
            soft_labels(record.at("label"), item);
        } else {
            std::vector<std::pair<std::string, int64_t>> counts; // in the order of their first human
            for (const std::string& answer : item.human_answers) {
                auto at = std::find_if(counts.begin(), counts.end(),
                                       [&](const auto& entry) { return entry.first == answer; });
                if (at == counts.end())
                    counts.emplace_back(answer, 1);
                else
                    ++at->second;
            }
            for (const auto& [answer, humans] : counts) item.answers.emplace_back(answer, soft_score(humans));
        }
    }

    void soft_labels(const Record& label, MediaItem& item) {
        if (!label.value().is_object())
            throw Error::data(label.place(), ": expected answers with their scores, got ",
                              json_kind(label.value()));
        label.for_each_member([&](const std::string& answer, const Record& score) {
            if (!score.value().is_number())
                throw Error::data(score.place(), ": expected a score, got ", json_kind(score.value()));
            const double value = score.value().get<double>();
            if (!(value >= 0 && value <= 1))
                throw Error::data(score.place(), ": expected a score from 0 to 1, got ", value);
            item.answers.emplace_back(answer, value);
        });
    }

    void gqa(const Record& record, MediaItem& item) {
        item.id = record.id("question_id");
        item.fields["question"] = record.text("sent");
        item.media = {{record.id("img_id")}};
        if (record.has("label")) soft_labels(record.at("label"), item);
    }

    void nlvr2(const Record& record, MediaItem& item) {
        item.id = record.text("identifier");
        item.fields["statement"] = record.text("sent");
        item.media = {{record.id("img0")}, {record.id("img1")}};
        if (!record.has("label")) return;
        const json& label = record.at("label").value();
        const std::string word = label.is_string() ? lower(label.get<std::string>()) : label.dump();
        if (word == "1" || word == "true")
            item.answers = {{"true", 1}};
        else if (word == "0" || word == "false")
            item.answers = {{"false", 1}};
        else
            throw Error::data(item.place, ": label: expected 0 or 1, got ", word);
    }

    bool captions(const Record& file) {
        const auto& splits =
            split_ == MediaSplit::train ? spec_.media->train_splits : spec_.media->test_splits;
        std::unordered_map<std::string, std::vector<std::string>> by_image; // COCO's layout
        const bool coco = file.has("annotations");
        if (coco)
            for (const Record& caption : file.list("annotations"))
                by_image[caption.id("image_id")].push_back(caption.text("caption"));
        for (const Record& image : file.list("images")) {
            MediaItem item;
            item.place = image.place();
            item.id = image.id(coco ? "id" : "cocoid");
            const std::string name = image.text(coco ? "file_name" : "filename");
            item.media = {{stem(name), item.id}};
            item.fields["image"] = name;
            if (coco) {
                for (const std::string& text : by_image[item.id]) item.answers.emplace_back(text, 1);
            } else {
                if (!splits.empty() &&
                    std::find(splits.begin(), splits.end(), image.text("split")) == splits.end())
                    continue;
                for (const Record& sentence : image.list("sentences"))
                    item.answers.emplace_back(sentence.text("raw"), 1);
            }
            if (item.answers.empty()) throw Error::data(item.place, ": expected captions of image ", item.id);
            if (!give(std::move(item))) return false;
        }
        return true;
    }

    void video_fields(const Record& record, MediaItem& item) {
        const std::string video = record.id("vid_name");
        item.media = {{video}};
        const auto found = subtitles_.find(video);
        item.fields["subtitles"] = found == subtitles_.end() ? "" : found->second;
        if (record.has("ts")) {
            item.fields["ts"] = time_span_text(record.at("ts").value(), record.place());
            item.fields["ts_json"] = record.at("ts").value().dump();
        }
    }

    void video_question(const Record& record, MediaItem& item) {
        item.id = record.id("qid");
        video_fields(record, item);
        item.fields["question"] = record.text("q");
        std::vector<std::string> options;
        for (int64_t i = 0; i < spec_.media->choices; ++i)
            options.push_back(cat("a", i, ": ", option_text(record.text(cat("a", i)))));
        item.fields["choices"] = join(options, " ");
        if (!record.has("answer_idx")) return;
        const int64_t right = record.whole("answer_idx");
        if (right < 0 || right >= spec_.media->choices)
            throw Error::data(item.place, ": answer_idx: expected 0 to ", spec_.media->choices - 1, ", got ",
                              right);
        item.answers = {{cat("a", right), 1}};
    }

    void video_captions(const Record& record, MediaItem& item) {
        item.id = record.id("clip_id");
        item.fields["clip_id_json"] = record.at("clip_id").value().dump();
        video_fields(record, item);
        if (!record.has("descs")) return;
        for (const Record& desc : record.list("descs"))
            if (desc.has("desc")) item.answers.emplace_back(desc.text("desc"), 1);
    }

    const TaskSpec& spec_;
    MediaSplit split_;
    std::string data_dir_;
    const std::function<bool(MediaItem&&)>& f_;
    std::unordered_map<std::string, std::string> subtitles_;
    std::unordered_map<std::string, VqaAnnotation> annotations_;
    std::set<std::string> ids_;
};

} // namespace

double soft_score(int64_t humans) {
    constexpr double kScores[] = {0, 0.3, 0.6, 0.9, 1};
    return kScores[std::clamp<int64_t>(humans, 0, 4)];
}

std::vector<std::string> media_roots(const TaskSpec& spec, const std::string& data_dir) {
    std::vector<std::string> out;
    for (const char* below : {"", "datasets", "video", "datasets/video", "eval"})
        if (const std::string folder = (fs::path(data_dir) / below).string(); is_folder(folder))
            out.push_back(folder);
    if (const std::string own = fs::path(spec.origin).parent_path().string(); !own.empty())
        out.push_back(own);
    return out;
}

std::string look_for_media_data(const TaskSpec& spec, const std::string& names, const std::string& data_dir) {
    for (const std::string& root : media_roots(spec, data_dir))
        for (const std::string& name : split(names, '|')) {
            const std::string path = (fs::path(root) / name).string();
            for (const std::string& form : {path, path + ".gz"})
                if (exists(form) && !is_folder(form)) return form;
        }
    return "";
}

std::vector<std::string> media_data_files(const TaskSpec& spec, MediaSplit split,
                                          const std::string& data_dir) {
    const bool train = split == MediaSplit::train;
    if ((train ? spec.train : spec.test).empty())
        throw Error::config(train ? "train.data: " : "evaluate.tasks: ", spec.name, " has no ",
                            train ? "training" : "test", " split (", spec.origin, ": data.",
                            train ? "train)" : "test)");
    std::vector<std::string> out, missing;
    for (const std::string& names : train ? spec.train : spec.test) {
        out.push_back(look_for_media_data(spec, names, data_dir));
        if (out.back().empty()) missing.push_back(replace_all(names, "|", " or "));
    }
    if (!missing.empty())
        throw Error::data(
            spec.name, ": expected ", join(missing, " and "), " below ", data_dir,
            " (or in its folders datasets/, video/, datasets/video/; also gzipped), found none; set "
            "data_dir to the folder that holds them");
    return out;
}

void for_each_media_item(const TaskSpec& spec, MediaSplit split, const std::string& data_dir,
                         const std::function<bool(MediaItem&&)>& f) {
    ItemReader(spec, split, data_dir, f).read();
}

} // namespace dorabench
