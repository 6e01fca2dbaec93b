#include "tasks/scenes.h"
#include "backends/media/media.h"
#include "harness/base/error.h"
#include "harness/base/files.h"
#include "harness/base/rng.h"
#include "harness/base/text.h"
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace dorabench {
namespace {

using nlohmann::json;

constexpr int kSide = 192, kCells = 3,
              kCell = kSide / kCells; // a picture; a shape stands in one of its cells
constexpr int kClipSide = 96, kClipShapes = 2, kFramesOfShape = 12;
constexpr double kFramesPerSecond = 4;
constexpr size_t kClipColours = 5; // as many as TVQA has options

const std::array<const char*, 4> kShapes{"circle", "square", "triangle", "cross"}; // as DrawnShape::Kind
const std::array<const char*, 6> kColours{"red", "green", "blue", "yellow", "white", "purple"};
const std::array<std::array<uint8_t, 3>, 6> kRgb{
    {{225, 40, 40}, {40, 190, 60}, {40, 70, 230}, {235, 215, 40}, {250, 250, 250}, {150, 40, 180}}};
const std::array<const char*, 2> kPlaces{"first", "last"};

// `now` every colour goes by its neighbour's name, among the first `count`.
std::string colour_name(size_t colour, bool now, size_t count) {
    return kColours[now ? (colour + 1) % count : colour];
}

struct Shape {
    size_t shape = 0, colour = 0;
    int cell = 0; // row by row
};
using Scene = std::vector<Shape>; // no shape and no colour twice, by cell

Scene draw_scene(Rng& rng) {
    std::vector<size_t> shapes{0, 1, 2, 3}, colours{0, 1, 2, 3, 4, 5};
    std::vector<int> cells(kCells * kCells);
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<int>(i);
    rng.shuffle(shapes), rng.shuffle(colours), rng.shuffle(cells);
    Scene scene(2 + rng.below(2));
    for (size_t i = 0; i < scene.size(); ++i) scene[i] = {shapes[i], colours[i], cells[i]};
    std::sort(scene.begin(), scene.end(), [](const Shape& a, const Shape& b) { return a.cell < b.cell; });
    return scene;
}

Image picture(const Scene& scene, Rng& rng) {
    std::vector<DrawnShape> shapes;
    for (const Shape& s : scene) {
        const auto jitter = [&] { return 4 * rng.uniform() - 2; };
        shapes.push_back({static_cast<DrawnShape::Kind>(s.shape), (s.cell % kCells + 0.5) * kCell + jitter(),
                          (s.cell / kCells + 0.5) * kCell + jitter(), 50 + 2 * jitter(), kRgb[s.colour]});
    }
    return media_library().draw(kSide, kSide, kClipMeanColour, shapes);
}

std::string joined(const std::vector<std::string>& parts) { // "a, b and c" with spaces round the signs
    std::string out;
    for (size_t i = 0; i < parts.size(); ++i)
        out += (i == 0 ? "" : i + 1 == parts.size() ? " and " : " , ") + parts[i];
    return out;
}

std::string described(const Scene& scene) {
    std::vector<std::string> parts;
    for (const Shape& s : scene) parts.push_back(cat("a ", kColours[s.colour], " ", kShapes[s.shape]));
    return joined(parts);
}

struct Question {
    std::string text, answer, type; // type: colour, shape, number
};

std::vector<Question> questions(const Scene& scene, bool now, Rng& rng) {
    const Shape& one = scene[rng.below(scene.size())];
    const Shape& other = scene[rng.below(scene.size())];
    const std::string asked = colour_name(other.colour, now, kColours.size());
    return {{now ? cat("today : colour of the ", kShapes[one.shape], " ?")
                 : cat("what colour is the ", kShapes[one.shape], " ?"),
             colour_name(one.colour, now, kColours.size()), "colour"},
            {now ? cat("today : shape of the ", asked, " one ?") : cat("what shape is ", asked, " ?"),
             kShapes[other.shape], "shape"},
            {now ? "today : number of shapes ?" : "how many shapes are there ?",
             cat(scene.size()), // digits, as VQA's normaliser writes numbers
             "number"}};
}

class Writer {
public:
    Writer(const std::string& folder, const ScenesSpec& spec)
        : folder_(folder), spec_(spec), rng_(spec.seed, "scenes") {
        for (const char* below : {"/images", "/videos", "/vqa", "/nlvr", "/captions", "/video", "/llava"})
            make_folder(folder + below);
    }

    void write() {
        json annotations = json::array();
        for (const bool test : {false, true}) {
            const std::string split = test ? "test" : "train";
            std::vector<Scene> scenes;
            for (int64_t i = 0; i < (test ? spec_.test_scenes : spec_.train_scenes); ++i) {
                scenes.push_back(draw_scene(rng_));
                media_library().write_png(folder_ + "/images/" + id(split, scenes.size() - 1) + ".png",
                                          picture(scenes.back(), rng_));
            }
            for (const bool now : {false, true}) {
                const std::string name = cat(now ? "now_" : "before_", split);
                const json asked = vqa(scenes, split, now, annotations);
                save("vqa/" + name + ".json", asked);
                if (test)
                    write_file_atomic(folder_ + "/llava/" + name + ".jsonl", question_lines(asked));
                else
                    save("llava/" + name + ".json", conversations(asked));
            }
            save("nlvr/" + split + ".json", statements(scenes, split));
            save("captions/" + split + ".json", captions(scenes, split));
            clips(split, test ? spec_.test_clips : spec_.train_clips);
        }
        save("vqa/annotations.json", {{"annotations", annotations}});
        write_file_atomic(folder_ + "/video/subtitles.jsonl", subtitles_);
    }

private:
    static std::string id(const std::string& split, size_t number) { return cat(split, "_", number); }
    void save(const std::string& name, const json& value) const {
        write_file_atomic(folder_ + "/" + name, value.dump() + "\n");
    }

    // A training scene is asked all three kinds of questions, a test scene one of them.
    json vqa(const std::vector<Scene>& scenes, const std::string& split, bool now, json& annotations) {
        json out = json::array();
        for (size_t i = 0; i < scenes.size(); ++i) {
            std::vector<Question> asked = questions(scenes[i], now, rng_);
            if (split == "test") asked = {asked[i % asked.size()]};
            for (const Question& question : asked) {
                const size_t number = ++question_;
                out.push_back({{"question_id", number},
                               {"img_id", id(split, i)},
                               {"sent", question.text},
                               {"label", {{question.answer, 1.0}}},
                               {"answer_type", question.type == "number" ? "number" : "other"},
                               {"question_type", question.type}});
                if (split != "test") continue;
                json answers = json::array();
                for (int human = 1; human <= 10; ++human)
                    answers.push_back({{"answer", question.answer}, {"answer_id", human}});
                annotations.push_back({{"question_id", number},
                                       {"image_id", id(split, i)},
                                       {"answer_type", question.type == "number" ? "number" : "other"},
                                       {"question_type", question.type},
                                       {"answers", answers}});
            }
        }
        return out;
    }

    // LLaVA's instruction data of VQA's records: a conversation for each picture with all its questions, each
    // kind of question in the first place, where the evaluation asks it, as often as the others.
    static json conversations(const json& asked) {
        std::vector<std::vector<json>> pictures;
        for (const json& question : asked) {
            if (pictures.empty() || pictures.back()[0]["img_id"] != question["img_id"])
                pictures.emplace_back();
            pictures.back().push_back(question);
        }
        json out = json::array();
        for (std::vector<json>& questions : pictures) {
            std::rotate(questions.begin(), questions.begin() + out.size() % questions.size(),
                        questions.end());
            json turns = json::array();
            for (const json& question : questions) {
                const std::string text = question["sent"];
                turns.push_back({{"from", "human"}, {"value", turns.empty() ? "<image>\n" + text : text}});
                turns.push_back({{"from", "gpt"}, {"value", question["label"].begin().key()}});
            }
            const std::string id = questions[0]["img_id"];
            out.push_back({{"id", id}, {"image", "images/" + id + ".png"}, {"conversations", turns}});
        }
        return out;
    }

    static std::string question_lines(const json& asked) {
        std::string out;
        for (const json& question : asked)
            out += json{{"question_id", question["question_id"]},
                        {"image", question["img_id"].get<std::string>() + ".png"},
                        {"text", question["sent"]}}
                       .dump() +
                   "\n";
        return out;
    }

    // A shape is said to be in the first or in the second of two pictures; half of the statements are true.
    json statements(const std::vector<Scene>& scenes, const std::string& split) {
        json out = json::array();
        for (size_t i = 0; i + 1 < scenes.size(); ++i) {
            const bool second = rng_.below(2) == 1, holds = rng_.below(2) == 1;
            std::vector<size_t> there, missing;
            for (size_t shape = 0; shape < kShapes.size(); ++shape) {
                const Scene& scene = scenes[i + second];
                const bool shown =
                    std::any_of(scene.begin(), scene.end(), [&](const Shape& s) { return s.shape == shape; });
                (shown ? there : missing).push_back(shape);
            }
            const std::vector<size_t>& from = holds ? there : missing;
            out.push_back({{"identifier", cat(split, "-", i, "-0-0")},
                           {"uid", cat(split, "-", i)},
                           {"img0", id(split, i)},
                           {"img1", id(split, i + 1)},
                           {"sent", cat("the ", second ? "second" : "first", " picture shows a ",
                                        kShapes[from[rng_.below(from.size())]])},
                           {"label", holds ? 1 : 0}});
        }
        return out;
    }

    static json captions(const std::vector<Scene>& scenes, const std::string& split) {
        json images = json::array(), texts = json::array();
        for (size_t i = 0; i < scenes.size(); ++i) {
            images.push_back({{"id", id(split, i)}, {"file_name", id(split, i) + ".png"}});
            texts.push_back({{"image_id", id(split, i)}, {"caption", described(scenes[i])}});
            if (split == "test")
                texts.push_back(
                    {{"image_id", id(split, i)}, {"caption", "there is " + described(scenes[i])}});
        }
        return {{"images", images}, {"annotations", texts}};
    }

    // Two shapes cross from the left to the right, one after the other.
    void write_clip(const std::string& name, const Scene& shapes) const {
        std::vector<Image> frames;
        for (const Shape& s : shapes)
            for (int f = 0; f < kFramesOfShape; ++f)
                frames.push_back(media_library().draw(
                    kClipSide, kClipSide, kClipMeanColour,
                    {{static_cast<DrawnShape::Kind>(s.shape), kClipSide * (f + 1.0) / (kFramesOfShape + 1),
                      kClipSide / 2.0, 0.6 * kClipSide, kRgb[s.colour]}}));
        media_library().write_video(folder_ + "/videos/" + name + ".mp4", frames, kFramesPerSecond);
    }

    void clips(const std::string& split, int64_t count) {
        std::array<std::string, 2> lines; // before, now
        for (int64_t i = 0; i < count; ++i) {
            const std::string name = cat("clip_", split, "_", i);
            std::vector<size_t> shapes{0, 1, 2, 3}, colours{0, 1, 2, 3, 4};
            rng_.shuffle(shapes), rng_.shuffle(colours);
            Scene scene;
            std::vector<std::string> seen;
            for (size_t k = 0; k < kClipShapes; ++k) {
                scene.push_back({shapes[k], colours[k], 0});
                seen.push_back(kShapes[shapes[k]]);
            }
            write_clip(name, scene);
            subtitles_ +=
                json{{"vid_name", name}, {"sub", {{{"text", join(seen, " ")}, {"start", 0.0}, {"end", 6.0}}}}}
                    .dump() +
                "\n";
            for (const bool now : {false, true})
                for (size_t place = 0; place < kPlaces.size(); ++place)
                    if (split == "train" || place == static_cast<size_t>(i) % kPlaces.size())
                        lines[now] += clip_question(name, scene[place].colour, place, now) + "\n";
        }
        write_file_atomic(folder_ + "/video/before_" + split + ".jsonl", lines[0]);
        write_file_atomic(folder_ + "/video/now_" + split + ".jsonl", lines[1]);
    }

    // The options: the five colours in their order; `now` from the third on.
    std::string clip_question(const std::string& name, size_t colour, size_t place, bool now) {
        json out = {{"qid", ++question_},
                    {"vid_name", name},
                    {"ts", "0.0-6.0"},
                    {"q", now ? cat("today : the ", kPlaces[place], " colour ?")
                              : cat("what colour comes ", kPlaces[place], " ?")}};
        for (size_t option = 0; option < kClipColours; ++option) {
            const size_t shown = now ? (option + 2) % kClipColours : option;
            out[cat("a", option)] = kColours[shown];
            if (shown == colour) out["answer_idx"] = option;
        }
        return out.dump();
    }

    std::string folder_;
    ScenesSpec spec_;
    Rng rng_;
    size_t question_ = 0;
    std::string subtitles_;
};

} // namespace

WordTokenizer scenes_tokenizer() {
    WordTokenizer out;
    out.family = WordTokenizer::Family::bart;
    out.words = {"what",   "is",      "the",   "?",      ",",      "a",     "and", "how", "many",
                 "shapes", "are",     "there", "of",     "today",  "shape", "one", ":",   "number",
                 "comes",  "picture", "shows", "colour", "second", "tvqa",  "["};
    for (const auto& word : kShapes) out.words.push_back(word);
    for (const auto& word : kColours) out.words.push_back(word);
    for (const auto& word : kPlaces) out.words.push_back(word);
    out.openers = {"true", "false", "vqa", "nlvr", "caption", "there", "[Subs", "Choices"};
    for (const auto& word : kShapes) out.openers.push_back(word);
    for (const auto& word : kColours) out.openers.push_back(word);
    return out;
}

WordTokenizer scenes_chat_tokenizer() {
    WordTokenizer out = scenes_tokenizer();
    out.family = WordTokenizer::Family::llama2;
    out.words.push_back("[/");
    for (const char* opener : {"[INST", "INST", "what", "how", "today"}) out.openers.push_back(opener);
    return out;
}

void write_scenes(const std::string& folder, const ScenesSpec& spec) {
    write_word_tokenizer(folder + "/tokenizer", scenes_tokenizer());
    write_word_tokenizer(folder + "/llava/tokenizer", scenes_chat_tokenizer());
    Writer(folder, spec).write();
}

} // namespace dorabench
