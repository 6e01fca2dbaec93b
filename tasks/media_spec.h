#pragma once
// The part of a spec that tasks over images and video have (tasks/README.md lists the keys): where their
// further files and their features lie, and how a submission is written.
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

class SpecMap;

struct MediaSpec {
    // As data.train and data.test of these kinds: every element is read; "a|b" is the first of the two that
    // there is. Looked for below data_dir and in its folders datasets/, video/ and datasets/video/, gzipped
    // too.
    std::vector<std::string> annotations; // vqa: the humans' answers; the files that there are
    std::vector<std::string> subtitles;   // video: {vid_name, sub: [{text}, …]}

    // Candidates of an item's features, the first found wins: "features/COCO/{id}.safetensors" of our store,
    // "….h5" and "….npz" of the field, which are brought into the first candidate that is a safetensors file
    // when they are met. {id:012}: a number with zeros in front.
    std::vector<std::string> features;
    int64_t rows = 0; // rows that field files are fitted to on the way into the store; 0: as they are
    bool skip_missing =
        false; // missing or damaged features: leave the example out (and say so), or refuse the data

    std::vector<std::string> train_splits, test_splits; // caption, Karpathy's file: which images; empty: all
    int64_t choices = 0;                                // video_qa: options a question, a0, a1, …
    int64_t max_prompt = 0, max_target = 0; // tokens, special ones counted, that sources (in training and
                                            // evaluation) and training targets are cut to; 0: as they are
    std::string submission;                 // video: the file's name; ends in .json or .jsonl
    std::string video_key = "vid_name";     // video_caption: key of the video in a submission's line

    // image_qa (image_task.h): pixels, not features.
    std::vector<std::string> images; // candidates of an item's picture or video, below the same folders:
                                     // "eval/gqa/images/{image}"
    std::vector<std::string> ocr;    // TextVQA's tokens by image; the files that there are
    std::vector<std::string> all_questions; // submission: questions that get "" where they were not asked
    std::string suffix;                     // ends every question that does not end in it already
    std::string scoring;                    // vqa | vqa_m4c | gqa | pope | scienceqa | mmbench | option
    std::string submission_form;            // answers (VQA's) | vizwiz | mmbench
    int64_t frames = 0;                     // of a video, evenly spread; 0: the item shows a picture
};

// The keys features, images, suffix, scoring, frames, splits, limits, submission and options_count;
// data.annotations and data.subtitles are read by the caller's data map.
void read_media_keys(SpecMap& map, MediaSpec& media);

} // namespace dorabench
