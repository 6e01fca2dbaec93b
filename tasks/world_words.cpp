#include "tasks/world_words.h"
#include "tasks/world.h"

namespace dorabench {

const WorldWords& world_words() {
    static const WorldWords words{
        {"mira",  "tovan", "lesk",  "orin",  "bela",  "kadu",  "mibon", "degir", "logun", "betin", "sefes",
         "veha",  "kejel", "pekek", "konal", "tehi",  "pibuk", "panil", "zijor", "jamak", "robur", "robo",
         "jukan", "virul", "vari",  "takis", "repik", "fipin", "fenon", "dasan", "rivon", "dazin", "huho",
         "jore",  "tihos", "juvok", "pomir", "segos", "jope",  "ziral", "diruk", "momil", "jubos", "mimol",
         "rimik", "tijol", "puhun", "kizik", "fojus", "timan", "juvuk", "jejar", "lede",  "pezes", "dovir",
         "fukek", "rarol", "taras", "nanus", "punin", "toron", "jusur", "kefik", "bogis"},
        {"tarn", "veld", "osk", "wick", "brae", "holm", "fenn", "lund", "morr", "dale", "strand", "thorpe"},
        {"weaver", "baker", "potter", "miller", "smith", "tailor", "sailor", "mason"},
        {"boat", "drum", "lamp", "kite", "bell", "cart", "rug", "horn", "ring", "sled", "flute", "clock"},
        {"red", "blue", "green", "black", "white", "grey", "brown", "pink", "gold", "purple"},
        {"where", "does",  "live", "?",       "what",   "work",  "do",     "keep", "colour", "has",
         "the",   "thing", "of",   "lives",   "in",     "works", "as",     "a",    "keeps",  "is",
         "home",  "trade", "now",  "correct", "answer", "or",    "option", ":",    ".",      "reply"},
        {"question", "today", "fact", "news"},
    };
    return words;
}

WordTokenizer world_tokenizer() {
    const WorldWords& words = world_words();
    WordTokenizer out;
    for (const auto* list :
         {&words.names, &words.places, &words.trades, &words.things, &words.colours, &words.grammar})
        out.words.insert(out.words.end(), list->begin(), list->end());
    out.openers = words.openers;
    return out;
}

} // namespace dorabench
