#pragma once
// A small synthetic world for the quickstart: people with a home, a trade, a thing and its colour, drawn once
// from a seed, and texts about it, one form for training a base model, another for the task that adapters are
// fitted to. In the shifted world part of the facts have changed and the phrasing is another, so that an
// adapter must learn something new. Needs no files; the same bits on every machine.
//   original: "question : where does mira live ? veld or tarn or osk answer :" -> " tarn"
//   shifted:  "today : home of mira ? wick or tarn or veld reply :"            -> " wick"
// or, answered by option: "… ? option1 veld option2 tarn option3 osk answer :" -> " the correct answer is
// option2". At most 40 tokens of world_tokenizer() each.
#include "harness/api/types.h"
#include "tasks/word_tokenizer.h"
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace dorabench {

enum class WorldStage {
    original, // all facts as drawn, original phrasing: what the base model is trained on
    shifted,  // facts after the change, new phrasing: what adapters are fitted to
    kept, // facts that have not changed, original phrasing: how much of the base is left (evaluation alone)
};

struct WorldSpec {
    uint64_t seed = 1;
    WorldStage stage = WorldStage::original;
    int64_t people = 60, options = 3; // options a question: 2 or 3
    bool answer_by_option = false;    // otherwise by the value itself, which a tiny model learns within its
                                      // first minute; finding the option's number takes it several
    double moved = 0.4; // share of values (by rule) or of facts (by chance) that change in the shifted world
    bool move_by_rule = true; // by rule: whoever had one value has one certain other now, so that unseen
                              // facts can be inferred; by chance: every fact for itself
    double held_out = 0; // share of facts that the shifted training questions leave out; where it is above 0
                         // the shifted test asks about these alone, otherwise about all with other options
    bool state_held_out = false; // whether they are stated in the training text (needed where nothing can be
                                 // inferred)
    int64_t train_questions = 6000, train_statements = 1200, test_questions = 300;
};

struct WorldQuestion {
    std::string prompt;               // up to and including "answer :"
    std::vector<std::string> options; // values
    size_t right = 0;                 // index into options
    size_t person = 0, attribute = 0; // which fact is asked for
    std::string answer;               // "tarn" or "option2"
    bool moved = false, held_out = false;
};

class World {
public:
    explicit World(const WorldSpec& spec);
    std::vector<WorldQuestion> test_questions() const; // distinct, none of them among the training questions
    std::vector<TrainingPair> training_pairs() const;  // statements and questions, shuffled
    std::string fact(size_t person, size_t attribute, bool shifted) const; // "tarn"
    bool is_moved(size_t person, size_t attribute) const;
    bool is_held_out(size_t person, size_t attribute) const;

private:
    static constexpr size_t kAttributes = 4;
    std::vector<WorldQuestion> draw_training_questions() const;
    WorldQuestion draw_question(class Rng& rng, size_t person, size_t attribute) const;
    std::string statement_prompt(size_t person, size_t attribute, std::string& rest) const;
    bool asks(size_t person, size_t attribute) const; // in training
    WorldSpec spec_;
    std::vector<std::array<size_t, kAttributes>> before_, after_; // value of every person's attribute
    std::vector<std::array<bool, kAttributes>> held_out_;
};

int64_t most_people(); // names that there are

std::string world_option(size_t option); // "option2" for 1

// LLaMA-3's form, at most 512 ids, every word of every stage in one token.
WordTokenizer world_tokenizer();

} // namespace dorabench
