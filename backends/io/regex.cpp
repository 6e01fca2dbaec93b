#define PCRE2_CODE_UNIT_WIDTH 8
#include "backends/io/regex.h"
#include "backends/io/utf8.h"
#include <map>
#include <pcre2.h>

namespace dorabench {
namespace {

// Unicode White_Space, which is Oniguruma's \s; PCRE2's has U+180E besides. And its complement.
constexpr const char* kSpace =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr const char* kNotSpace =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}\x{202A}-\x{202E})"
    R"(\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
// Alphabetic (letters, letter numbers and the circled and squared letters), marks, digits, connectors.
constexpr const char* kWord =
    R"(\p{L}\p{Nl}\p{M}\p{Nd}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

// Oniguruma's expression in PCRE2's words.
class Translator {
public:
    Translator(const std::string& in, const JsonPlace& place) : in_(in), place_(place) {}

    std::string run() {
        while (at_ < in_.size()) {
            char c = in_[at_];
            if (!in_class_ && c != '{' && c != '*' && c != '+' && c != '?' && c != ')') atom_ = out_.size();
            if (c == '\\')
                escape();
            else if (in_class_)
                class_character(c);
            else if (c == '[')
                open_class();
            else if (c == '{')
                interval();
            else
                group_or_character(c);
        }
        return out_;
    }

private:
    void take(size_t n) {
        out_.append(in_, at_, n);
        at_ += n;
    }
    void group_or_character(char c) {
        if (c == '(') groups_.push_back(out_.size());
        if (c == ')' && !groups_.empty()) {
            atom_ = groups_.back();
            groups_.pop_back();
        }
        take(std::min(utf8_length(c), in_.size() - at_));
    }
    // {n,m}+ repeats the interval in Ruby's dialect, where PCRE2 would forbid going back into it; {,m} begins
    // at 0.
    void interval() {
        size_t end = in_.find('}', at_);
        std::string inside = end == std::string::npos ? "" : in_.substr(at_ + 1, end - at_ - 1);
        bool counts =
            !inside.empty() && inside != "," && inside.find_first_not_of("0123456789,") == std::string::npos;
        if (!counts) {
            atom_ = out_.size(); // a plain brace
            return take(1);
        }
        std::string text = "{" + (inside.front() == ',' ? "0" + inside : inside) + "}";
        at_ = end + 1;
        if (at_ < in_.size() && in_[at_] == '+') {
            out_.insert(atom_, "(?:");
            text += ")";
        }
        out_ += text;
    }
    void open_class() {
        in_class_ = true;
        take(1);
        if (at_ < in_.size() && in_[at_] == '^') take(1);
        if (at_ < in_.size() && in_[at_] == ']') take(1); // a literal ] in first place
    }
    void class_character(char c) {
        if (c == ']') {
            in_class_ = false;
        } else if (c == '[') {
            if (at_ + 1 >= in_.size() || in_[at_ + 1] != ':') throw unsupported("a class within a class");
            size_t end = in_.find(":]", at_ + 2);
            if (end == std::string::npos) throw unsupported("an unfinished [: class");
            take(end + 2 - at_);
            return;
        } else if (in_.compare(at_, 2, "&&") == 0) {
            throw unsupported("the intersection && of classes");
        }
        take(1);
    }
    void put(const std::string& inside) { // members of a class, where we are in one or as one
        out_ += in_class_ ? inside : "[" + inside + "]";
        at_ += 2;
    }
    void escape() {
        if (at_ + 1 >= in_.size()) throw unsupported("a backslash at the end");
        switch (in_[at_ + 1]) {
        case 's':
            return put(kSpace);
        case 'S':
            return put(kNotSpace);
        case 'w':
            return put(kWord);
        case 'W':
            if (in_class_) throw unsupported("\\W inside a class");
            out_ += std::string("[^") + kWord + "]";
            at_ += 2;
            return;
        case 'p':
        case 'P':
            return property();
        case 'u':
            return code_point();
        case 'h':
        case 'H':
        case 'K':
        case 'C':
        case 'Q':
        case 'E':
            throw unsupported("\\" + in_.substr(at_ + 1, 1));
        default:
            take(1 + utf8_length(in_[at_ + 1]));
        }
    }
    void property() { // \p{Name}, \p{^Name}, \pL
        if (at_ + 2 >= in_.size()) throw unsupported("\\p without a name");
        if (in_[at_ + 2] != '{') return take(3);
        size_t end = in_.find('}', at_);
        if (end == std::string::npos) throw unsupported("\\p{ without its }");
        std::string name = in_.substr(at_ + 3, end - at_ - 3);
        std::string hat = !name.empty() && name.front() == '^' ? "^" : "";
        name.erase(0, hat.size());
        static const std::map<std::string, std::string> kLong = {
            {"Letter", "L"}, {"Mark", "M"},      {"Number", "N"}, {"Punctuation", "P"},
            {"Symbol", "S"}, {"Separator", "Z"}, {"Other", "C"},  {"Any", "Any"}};
        if (auto known = kLong.find(name); known != kLong.end())
            name = known->second;
        else if (name.size() > 2)
            name = "sc=" + name; // else PCRE2 would take script extensions
        out_ += in_.substr(at_, 2) + "{" + hat + name + "}";
        at_ = end + 1;
    }
    void code_point() { // \u0130
        std::string digits = in_.substr(at_ + 2, 4);
        if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
            throw unsupported("\\u without four digits");
        out_ += "\\x{" + digits + "}";
        at_ += 6;
    }
    Error unsupported(const std::string& what) const {
        return place_.fail("the regular expression ", Json(in_).dump(), " has ", what,
                           ", which is not supported");
    }

    const std::string& in_;
    const JsonPlace& place_;
    std::string out_;
    size_t at_ = 0, atom_ = 0;   // where we are; where in out_ the last thing that can be repeated begins
    std::vector<size_t> groups_; // where in out_ the open groups begin
    bool in_class_ = false;
};

struct MatchState {
    explicit MatchState(const pcre2_code_8* code)
        : data(pcre2_match_data_create_from_pattern_8(code, nullptr)),
          context(pcre2_match_context_create_8(nullptr)) {
        pcre2_set_heap_limit_8(context, 256 * 1024); // KiB, for the interpreter
    }
    ~MatchState() {
        pcre2_match_data_free_8(data);
        pcre2_match_context_free_8(context);
    }
    MatchState(const MatchState&) = delete;
    pcre2_match_data_8* data;
    pcre2_match_context_8* context;
};

} // namespace

Pattern Pattern::literal(std::string text) {
    Pattern out;
    out.text_ = std::move(text);
    return out;
}

Pattern Pattern::regex(const std::string& expression, const JsonPlace& place) {
    if (expression.size() > 65536) throw place.fail("the regular expression is longer than 64 KiB");
    std::string translated = Translator(expression, place).run();
    std::unique_ptr<pcre2_compile_context_8, decltype(&pcre2_compile_context_free_8)> context(
        pcre2_compile_context_create_8(nullptr), pcre2_compile_context_free_8);
    pcre2_set_newline_8(context.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    size_t offset = 0;
    pcre2_code_8* code = pcre2_compile_8(
        reinterpret_cast<const unsigned char*>(translated.data()), translated.size(),
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get());
    if (!code) {
        unsigned char message[256];
        pcre2_get_error_message_8(error, message, sizeof message);
        throw place.fail("the regular expression ", Json(expression).dump(),
                         " cannot be used: ", reinterpret_cast<char*>(message));
    }
    Pattern out;
    out.text_ = expression;
    out.code_.reset(code, pcre2_code_free_8);
    pcre2_jit_compile_8(code, PCRE2_JIT_COMPLETE); // where it fails the interpreter does the work
    return out;
}

Pattern Pattern::parse(const Json& node, const JsonPlace& place) {
    if (node.is_object() && node.contains("String")) return literal(place.text(node, "String"));
    if (node.is_object() && node.contains("Regex")) return regex(place.text(node, "Regex"), place);
    throw place.fail("expected a pattern {\"String\": …} or {\"Regex\": …}");
}

void Pattern::for_each(std::string_view text, const std::function<void(size_t, size_t)>& f) const {
    if (!code_) {
        if (text_.empty()) return;
        for (size_t at = 0; (at = text.find(text_, at)) != std::string_view::npos; at += text_.size())
            f(at, at + text_.size());
        return;
    }
    MatchState state(code_.get());
    const auto* subject = reinterpret_cast<const unsigned char*>(text.data() ? text.data() : "");
    size_t from = 0, last_end = std::string_view::npos;
    while (from <= text.size()) {
        int rc = pcre2_match_8(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.data,
                               state.context);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match_8(code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                               state.data, state.context);
        if (rc == PCRE2_ERROR_NOMATCH) return;
        if (rc < 0)
            throw Error::data("the regular expression ", Json(text_).dump(),
                              " ran past its limits (PCRE2 error ", rc, ")");
        const size_t* found = pcre2_get_ovector_pointer_8(state.data);
        size_t begin = found[0], end = found[1];
        if (begin < from || end < begin)
            throw Error::data("the regular expression ", Json(text_).dump(), " goes backwards");
        if (begin == end && begin == last_end) {
            from += from < text.size() ? utf8_length(text[from]) : 1;
            continue;
        }
        f(begin, end);
        from = last_end = end;
    }
}

std::string Pattern::replace(std::string_view text, std::string_view by) const {
    std::string out;
    size_t last = 0;
    for_each(text, [&](size_t begin, size_t end) {
        out.append(text.substr(last, begin - last)).append(by);
        last = end;
    });
    return out.append(text.substr(last));
}

} // namespace dorabench
