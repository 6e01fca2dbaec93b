#include "tasks/world.h"
#include "harness/base/error.h"
#include "harness/base/rng.h"
#include "tasks/world_words.h"
#include <algorithm>
#include <set>

namespace dorabench {

namespace {

struct Phrase {
    std::string before, after;
}; // around the person's name

struct Attribute {
    const std::vector<std::string>& values;
    Phrase question, shifted_question;   // without the options
    Phrase statement, shifted_statement; // without the value
};

const Attribute& attribute_of(size_t index) {
    const WorldWords& words = world_words();
    static const std::vector<Attribute> all{
        {words.places,
         {"where does ", " live ?"},
         {"home of ", " ?"},
         {"", " lives in"},
         {"the home of ", " is now"}},
        {words.trades,
         {"what work does ", " do ?"},
         {"trade of ", " ?"},
         {"", " works as a"},
         {"the trade of ", " is now"}},
        {words.things,
         {"what does ", " keep ?"},
         {"thing of ", " ?"},
         {"", " keeps a"},
         {"the thing of ", " is now"}},
        {words.colours,
         {"what colour has the thing of ", " ?"},
         {"colour of ", " ?"},
         {"the thing of ", " is"},
         {"the colour of ", " is now"}},
    };
    return all[index];
}

// A cycle over a part of the values: nobody stays where a moved value was.
std::vector<size_t> draw_rule(Rng& rng, size_t values, double moved) {
    std::vector<size_t> order(values), rule(values);
    for (size_t i = 0; i < values; ++i) order[i] = rule[i] = i;
    rng.shuffle(order);
    auto count = static_cast<size_t>(moved * static_cast<double>(values) + 0.5);
    if (count == 1) count = 2;
    for (size_t i = 0; i < count; ++i) rule[order[i]] = order[(i + 1) % count];
    return rule;
}

size_t draw_other(Rng& rng, size_t values, size_t than) {
    size_t drawn = rng.below(values - 1);
    return drawn + (drawn >= than);
}

} // namespace

World::World(const WorldSpec& spec) : spec_(spec) {
    if (spec.people < 1 || spec.people > most_people() || spec.options < 2 || spec.options > 3)
        throw Error::config("world: expected 1 to ", most_people(), " people and 2 or 3 options, got ",
                            spec.people, " and ", spec.options);
    auto people = static_cast<size_t>(spec.people);
    before_.resize(people);
    after_.resize(people);
    held_out_.resize(people);
    for (size_t a = 0; a < kAttributes; ++a) {
        // one stream a matter, so that a change of one knob leaves the rest of the world as it is
        std::string suffix = std::to_string(a);
        Rng facts(spec.seed, "world facts " + suffix), rules(spec.seed, "world rules " + suffix);
        Rng moves(spec.seed, "world moves " + suffix), holds(spec.seed, "world held out " + suffix);
        size_t values = attribute_of(a).values.size();
        std::vector<size_t> rule = draw_rule(rules, values, spec.moved);
        for (size_t p = 0; p < people; ++p) {
            size_t now = before_[p][a] = facts.below(values);
            bool by_chance = moves.uniform() < spec.moved;
            size_t other = draw_other(moves, values, now);
            after_[p][a] = spec.move_by_rule ? rule[now] : by_chance ? other : now;
            held_out_[p][a] = holds.uniform() < spec.held_out;
        }
    }
}

std::string World::fact(size_t person, size_t attribute, bool shifted) const {
    return attribute_of(attribute).values.at((shifted ? after_ : before_).at(person)[attribute]);
}

bool World::is_moved(size_t person, size_t attribute) const {
    return before_.at(person).at(attribute) != after_.at(person).at(attribute);
}

bool World::is_held_out(size_t person, size_t attribute) const { return held_out_.at(person).at(attribute); }

bool World::asks(size_t person, size_t attribute) const {
    return spec_.stage == WorldStage::original || !is_held_out(person, attribute);
}

WorldQuestion World::draw_question(Rng& rng, size_t person, size_t attribute) const {
    const Attribute& kind = attribute_of(attribute);
    bool shifted = spec_.stage == WorldStage::shifted;
    size_t right = (shifted ? after_ : before_)[person][attribute], old = before_[person][attribute];
    std::vector<size_t> values{right};
    // a fact that has changed is often asked with what it was among the options: the base's own answer is
    // wrong there
    bool tempt = rng.below(2) == 0;
    if (shifted && tempt && old != right) values.push_back(old);
    while (values.size() < static_cast<size_t>(spec_.options)) {
        size_t value = rng.below(kind.values.size());
        if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
    rng.shuffle(values);
    WorldQuestion out;
    out.person = person;
    out.attribute = attribute;
    out.moved = is_moved(person, attribute);
    out.held_out = is_held_out(person, attribute);
    const Phrase& phrase = shifted ? kind.shifted_question : kind.question;
    out.prompt =
        (shifted ? "today : " : "question : ") + phrase.before + world_words().names[person] + phrase.after;
    for (size_t i = 0; i < values.size(); ++i) {
        out.options.push_back(kind.values[values[i]]);
        out.prompt += (spec_.answer_by_option ? " " + world_option(i)
                       : i > 0                ? " or"
                                              : "") +
                      " " + out.options.back();
        if (values[i] == right) out.right = i;
    }
    out.answer = spec_.answer_by_option ? world_option(out.right) : out.options[out.right];
    out.prompt += shifted ? " reply :" : " answer :";
    return out;
}

std::vector<WorldQuestion> World::draw_training_questions() const {
    std::vector<std::pair<size_t, size_t>> facts;
    for (size_t p = 0; p < before_.size(); ++p)
        for (size_t a = 0; a < kAttributes; ++a)
            if (asks(p, a)) facts.emplace_back(p, a);
    std::vector<WorldQuestion> out;
    if (facts.empty() || spec_.stage == WorldStage::kept) return out;
    Rng rng(spec_.seed, "world training questions " + std::to_string(static_cast<int>(spec_.stage)));
    for (size_t i = 0; i < static_cast<size_t>(spec_.train_questions); ++i) {
        if (i % facts.size() == 0) rng.shuffle(facts); // every fact equally often
        auto [person, attribute] = facts[i % facts.size()];
        out.push_back(draw_question(rng, person, attribute));
    }
    return out;
}

std::vector<WorldQuestion> World::test_questions() const {
    std::vector<std::pair<size_t, size_t>> facts;
    for (size_t p = 0; p < before_.size(); ++p)
        for (size_t a = 0; a < kAttributes; ++a) {
            bool wanted = spec_.stage == WorldStage::kept      ? !is_moved(p, a)
                          : spec_.stage == WorldStage::shifted ? spec_.held_out == 0 || is_held_out(p, a)
                                                               : true;
            if (wanted) facts.emplace_back(p, a);
        }
    std::set<std::string> seen;
    for (const WorldQuestion& question : draw_training_questions()) seen.insert(question.prompt);
    std::vector<WorldQuestion> out;
    Rng rng(spec_.seed, "world test questions " + std::to_string(static_cast<int>(spec_.stage)));
    auto wanted = static_cast<size_t>(spec_.test_questions);
    for (size_t tries = 0; out.size() < wanted && !facts.empty() && tries < 100 * wanted; ++tries) {
        if (tries % facts.size() == 0) rng.shuffle(facts);
        auto [person, attribute] = facts[tries % facts.size()];
        WorldQuestion question = draw_question(rng, person, attribute);
        if (seen.insert(question.prompt).second) out.push_back(std::move(question));
    }
    if (out.size() < wanted)
        throw Error::config("world.test_questions: this world has only ", out.size(),
                            " questions of this kind, got ", wanted,
                            "; ask for fewer, or give it more people");
    return out;
}

std::string World::statement_prompt(size_t person, size_t attribute, std::string& rest) const {
    const Attribute& kind = attribute_of(attribute);
    bool shifted = spec_.stage == WorldStage::shifted;
    const Phrase& phrase = shifted ? kind.shifted_statement : kind.statement;
    rest = " " + fact(person, attribute, shifted) + " .";
    return (shifted ? "news : " : "fact : ") + phrase.before + world_words().names[person] + phrase.after;
}

std::vector<TrainingPair> World::training_pairs() const {
    std::vector<TrainingPair> out;
    for (const WorldQuestion& question : draw_training_questions()) {
        TrainingPair pair;
        pair.prompt = question.prompt;
        pair.target = (spec_.answer_by_option ? " the correct answer is " : " ") + question.answer;
        out.push_back(std::move(pair));
    }
    std::vector<std::pair<size_t, size_t>> facts;
    for (size_t p = 0; p < before_.size(); ++p)
        for (size_t a = 0; a < kAttributes; ++a)
            if (asks(p, a) || spec_.state_held_out) facts.emplace_back(p, a);
    Rng rng(spec_.seed, "world training text " + std::to_string(static_cast<int>(spec_.stage)));
    int64_t statements = facts.empty() || spec_.stage == WorldStage::kept ? 0 : spec_.train_statements;
    for (size_t i = 0; i < static_cast<size_t>(statements); ++i) {
        if (i % facts.size() == 0) rng.shuffle(facts);
        TrainingPair pair;
        pair.prompt =
            statement_prompt(facts[i % facts.size()].first, facts[i % facts.size()].second, pair.target);
        out.push_back(std::move(pair));
    }
    rng.shuffle(out);
    for (size_t i = 0; i < out.size(); ++i) {
        out[i].id = std::to_string(i);
        out[i].source = cat("world ", spec_.seed, ":record ", i + 1);
    }
    return out;
}

int64_t most_people() { return static_cast<int64_t>(world_words().names.size()); }

std::string world_option(size_t option) { return "option" + std::to_string(option + 1); }

} // namespace dorabench
