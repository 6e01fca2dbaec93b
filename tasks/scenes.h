#pragma once
// The data of the media quickstart, made on the spot: pictures of a few coloured shapes drawn with OpenCV,
// and clips in which two shapes cross one after the other, encoded with FFmpeg, with texts about them in
// the files of the field's own data sets. Everything follows from the seed. Below `folder`:
//   images/*.png, videos/*.mp4   192 x 192 and 96 x 96 pixels; the background is CLIP's mean colour
//   vqa/{before,now}_{train,test}.json, vqa/annotations.json   VL-T5's VQA records and the official
//   annotations nlvr/{train,test}.json       NLVR2: statements about two pictures captions/{train,test}.json
//   COCO's caption files video/{before,now}_{train,test}.jsonl, video/subtitles.jsonl   TVQA: five options,
//   subtitles tokenizer/                   BART's form, a token a word
//   llava/{before,now}_train.json, llava/{before,now}_test.jsonl   the same questions as LLaVA's
//   conversations and question lines; llava/tokenizer/   LLaMA 2's form
// `before` is what a base model learns. `now` is what adapters are fitted to: another phrasing, every colour
// goes by the name that another had, and the options stand in another order. Options always stand in the
// order of their phrasing: finding an option's number takes a model of this size several minutes.
#include "tasks/word_tokenizer.h"
#include <cstdint>
#include <string>

namespace dorabench {

struct ScenesSpec {
    uint64_t seed = 1;
    int64_t train_scenes = 3000, test_scenes = 200;
    int64_t train_clips = 1000, test_clips = 150;
};

// Needs media_library(). What stands already is written again, to the same bits.
void write_scenes(const std::string& folder, const ScenesSpec& spec);
WordTokenizer scenes_tokenizer();
WordTokenizer scenes_chat_tokenizer(); // with the words of the template llama2

} // namespace dorabench
