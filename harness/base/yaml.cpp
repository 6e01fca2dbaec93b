#include "harness/base/yaml.h"
#include "harness/base/error.h"
#include "harness/base/text.h"
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <yaml-cpp/anchor.h>
#include <yaml-cpp/emitterstyle.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace dorabench {

namespace {

constexpr size_t kMaxBytes = size_t(1) << 20;     // of one file
constexpr size_t kMaxNodes = 50'000;              // aliases expanded
constexpr size_t kMaxTextBytes = size_t(4) << 20; // of all scalars, aliases expanded
constexpr size_t kMaxDepth = 64;

struct Refused {
    YAML::Mark mark;
    std::string message;
};

// yaml-cpp's marks are 0-based and count bytes.
class Places {
public:
    Places(std::string_view text, int source) : source_(source) {
        for (size_t from = 0;;) {
            size_t to = text.find('\n', from);
            lines_.push_back(text.substr(from, to == std::string_view::npos ? to : to - from));
            if (to == std::string_view::npos) break;
            from = to + 1;
        }
    }
    YamlPlace at(int line, int column) const {
        if (line < 0) return {source_, 1, 1};
        auto row = std::min<size_t>(static_cast<size_t>(line), lines_.size() - 1);
        auto bytes = static_cast<size_t>(std::max(column, 0));
        if (row < static_cast<size_t>(line)) bytes = lines_[row].size(); // the end of the text
        std::string_view before = lines_[row].substr(0, std::min(bytes, lines_[row].size()));
        auto points = std::count_if(before.begin(), before.end(), [](char c) { return (c & 0xC0) != 0x80; });
        return {source_, static_cast<int>(row) + 1, static_cast<int>(points) + 1};
    }
    YamlPlace at(const YAML::Mark& mark) const { return at(mark.line, mark.column); }
    YamlPlace at_byte(size_t offset) const {
        int line = 0;
        while (offset > lines_[static_cast<size_t>(line)].size())
            offset -= lines_[static_cast<size_t>(line++)].size() + 1;
        return at(line, static_cast<int>(offset));
    }
    bool tab_indented(int line) const {
        if (line < 0 || static_cast<size_t>(line) >= lines_.size()) return false;
        std::string_view text = lines_[static_cast<size_t>(line)];
        return text.substr(0, std::min(text.find_first_not_of(" \t"), text.size())).find('\t') !=
               std::string_view::npos;
    }

private:
    int source_;
    std::vector<std::string_view> lines_;
};

// Builds the tree from yaml-cpp's events; throws Refused where a budget is spent.
class Builder : public YAML::EventHandler {
public:
    Builder(const Places& places, std::vector<YamlError>& errors) : places_(places), errors_(errors) {}

    YamlNode root;

    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor, YamlNode{}); }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        static const std::string kCore = "tag:yaml.org,2002:";
        static const std::set<std::string> kTyped{kCore + "int", kCore + "float", kCore + "bool",
                                                  kCore + "null"};
        YamlNode node;
        node.kind = YamlNode::Kind::scalar;
        node.text = value;
        node.quoted = tag == "!" || tag == kCore + "str";
        if (!node.quoted && tag != "?" && !tag.empty() && !kTyped.count(tag))
            throw Refused{mark, "tags are not supported, got " + tag};
        leaf(mark, anchor, std::move(node));
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        auto at = anchors_.find(anchor);
        if (at == anchors_.end()) throw Refused{mark, "an alias inside the value that it stands for"};
        spend(at->second, mark);
        YamlNode copy = at->second;
        copy.place = places_.at(mark);
        give(std::move(copy), mark);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, anchor, YamlNode::Kind::list);
    }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, anchor, YamlNode::Kind::map);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapEnd() override { close(); }

private:
    struct Open {
        YamlNode node;
        YAML::anchor_t anchor = 0;
        YAML::Mark mark;
        bool has_key = false;
        YamlEntry entry;              // its key is read, its value comes
        std::set<std::string> keys;   // seen
        std::vector<YamlNode> merged; // values of `<<`
    };

    void spend(const YamlNode& node, const YAML::Mark& mark) {
        text_bytes_ += node.text.size();
        if (++nodes_ > kMaxNodes || text_bytes_ > kMaxTextBytes)
            throw Refused{mark,
                          cat("expected at most ", kMaxNodes, " values and ", human_bytes(kMaxTextBytes),
                              " of text once aliases are expanded, got more")};
        for (const auto& item : node.items) spend(item, mark);
        for (const auto& entry : node.entries) spend(entry.value, mark);
    }

    void leaf(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode node) {
        spend(node, mark);
        node.place = places_.at(mark);
        keep(anchor, node, mark);
        give(std::move(node), mark);
    }

    void open(const YAML::Mark& mark, YAML::anchor_t anchor, YamlNode::Kind kind) {
        if (stack_.size() >= kMaxDepth)
            throw Refused{mark, cat("expected at most ", kMaxDepth, " levels of nesting, got more")};
        Open level;
        level.node.kind = kind;
        level.node.place = places_.at(mark);
        level.anchor = anchor;
        level.mark = mark;
        if (++nodes_ > kMaxNodes)
            throw Refused{mark, cat("expected at most ", kMaxNodes, " values, got more")};
        stack_.push_back(std::move(level));
    }

    void close() {
        Open level = std::move(stack_.back());
        stack_.pop_back();
        for (const auto& from : level.merged) merge_into(level.node, from);
        keep(level.anchor, level.node, level.mark);
        give(std::move(level.node), level.mark);
    }

    void keep(YAML::anchor_t anchor, const YamlNode& node, const YAML::Mark& mark) {
        if (anchor == 0) return;
        spend(node, mark);
        anchors_[anchor] = node;
    }

    // `<<: *defaults`: keys of the map itself win, then those of earlier maps.
    void merge_into(YamlNode& node, const YamlNode& from) {
        if (from.is_list()) {
            for (const auto& item : from.items) merge_into(node, item);
        } else if (from.is_map()) {
            for (const auto& entry : from.entries)
                if (!node.find(entry.key)) node.entries.push_back(entry);
        } else {
            errors_.push_back(
                {from.place, "<<", "expected a map or a list of maps to merge, got " + from.describe(), ""});
        }
    }

    void give(YamlNode node, const YAML::Mark& mark) {
        if (stack_.empty()) {
            root = std::move(node);
            return;
        }
        Open& level = stack_.back();
        if (level.node.is_list()) {
            level.node.items.push_back(std::move(node));
        } else if (!level.has_key) {
            if (!node.is_scalar()) throw Refused{mark, "expected a key, got " + node.describe()};
            level.entry.key = node.text;
            level.entry.key_place = node.place;
            level.has_key = true;
        } else {
            level.has_key = false;
            add_entry(level, std::move(node));
        }
    }

    void add_entry(Open& level, YamlNode node) {
        const YamlPlace& key = level.entry.key_place;
        // yaml-cpp puts an absent value where the next token stands
        if (node.is_null() && node.place.line != key.line) node.place = key;
        if (level.entry.key == "<<") {
            level.merged.push_back(std::move(node));
            return;
        }
        if (!level.keys.insert(level.entry.key).second) {
            const YamlEntry* first = level.node.find(level.entry.key);
            errors_.push_back({key, path(), cat("duplicate key, first given in line ", first->key_place.line),
                               "keep one of the two"});
            return;
        }
        level.entry.value = std::move(node);
        level.node.entries.push_back(std::move(level.entry));
        level.entry = {};
    }

    std::string path() const {
        std::string out;
        for (const auto& level : stack_)
            if (level.node.is_map()) out += (out.empty() ? "" : ".") + level.entry.key;
        return out;
    }

    const Places& places_;
    std::vector<YamlError>& errors_;
    std::vector<Open> stack_;
    std::map<YAML::anchor_t, YamlNode> anchors_;
    size_t nodes_ = 0, text_bytes_ = 0;
};

// What yaml-cpp should not see at all. "" when there is nothing of the kind.
std::string unreadable(std::string_view text, size_t& offset) {
    offset = 0;
    if (text.size() > kMaxBytes)
        return cat("expected a file of at most ", human_bytes(kMaxBytes), ", got ",
                   human_bytes(static_cast<double>(text.size())));
    offset = invalid_utf8(text);
    if (offset != std::string_view::npos)
        return cat("expected UTF-8, got the byte 0x",
                   "0123456789abcdef"[static_cast<unsigned char>(text[offset]) >> 4],
                   "0123456789abcdef"[text[offset] & 15]);
    auto control = std::find_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    });
    offset = static_cast<size_t>(control - text.begin());
    return control == text.end() ? "" : cat("expected text, got the control character ", int(*control));
}

} // namespace

const YamlEntry* YamlNode::find(std::string_view key) const {
    for (const auto& entry : entries)
        if (entry.key == key) return &entry;
    return nullptr;
}

YamlEntry* YamlNode::find(std::string_view key) {
    return const_cast<YamlEntry*>(static_cast<const YamlNode*>(this)->find(key));
}

YamlNode parse_yaml(std::string_view text, int source, std::vector<YamlError>& errors) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3); // a byte order mark
    Places places(text, source);
    size_t offset = 0;
    if (std::string problem = unreadable(text, offset); !problem.empty()) {
        errors.push_back({places.at_byte(offset), "", problem, ""});
        return {};
    }
    Builder builder(places, errors);
    try {
        std::istringstream in{std::string(text)};
        YAML::Parser parser(in);
        if (!parser.HandleNextDocument(builder)) return {};
        YamlNode first = std::move(builder.root);
        std::vector<YamlError> second;
        if (parser.HandleNextDocument(builder)) {
            errors.push_back({builder.root.place, "", "expected one document, got another behind ---", ""});
            return {};
        }
        return first;
    } catch (const Refused& refused) {
        errors.push_back({places.at(refused.mark), "", refused.message, ""});
    } catch (const YAML::Exception& error) {
        errors.push_back({places.at(error.mark), "", "not YAML: " + error.msg,
                          places.tab_indented(error.mark.line) ? "indent with spaces, not with tabs" : ""});
    }
    return {};
}

} // namespace dorabench
