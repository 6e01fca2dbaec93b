// The part of an experiment file that makes several runs of it: sweep, zip, select, match and lists of seeds.
#include "harness/base/text.h"
#include "harness/config/impl.h"

namespace dorabench {

namespace {

using Axis = std::pair<std::string, std::vector<std::string>>;

class SweepReader {
public:
    explicit SweepReader(ConfigFile::Impl& impl) : impl_(impl), known_(config_keys()) {}

    // key: [values]; nothing when it is wrong.
    std::optional<Axis> axis(const YamlEntry& entry, const std::string& within) {
        const std::string& key = entry.key;
        if (!known(key)) {
            impl_.report(entry.key_place, within + "." + key, "no such key to sweep over",
                         suggest(key, known_));
            return std::nullopt;
        }
        const YamlNode& list = entry.value;
        if (impl_.is_broken(list.place)) return std::nullopt;
        if (!list.is_list() || list.items.empty()) {
            impl_.report(list.place, within + "." + key,
                         "expected a list of values, got " +
                             (list.is_list() ? "an empty one" : list.describe()),
                         list.is_scalar() ? "write [" + list.text + "]" : "");
            return std::nullopt;
        }
        Axis out{key, {}};
        for (const auto& item : list.items) {
            std::string text = yaml_flow(item);
            // in a zip a value may stand with several partners
            if (within == "sweep" &&
                std::find(out.second.begin(), out.second.end(), text) != out.second.end())
                impl_.report(item.place, within + "." + key, "the value " + text + " stands twice",
                             "leave one out");
            out.second.push_back(text);
            impl_.axis_values[key].emplace_back(text, item);
        }
        return out;
    }

    void sweep(const YamlNode& node) {
        if (node.is_null()) return;
        if (!node.is_map())
            return impl_.report(node.place, "sweep", "expected a map of axes, got " + node.describe());
        for (const auto& entry : node.entries) {
            if (entry.key == "zip")
                zips(entry.value);
            else if (auto values = axis(entry, "sweep"))
                impl_.sweep.axes.push_back(*values);
        }
    }

    void zips(const YamlNode& node) {
        if (node.is_list())
            for (const auto& group : node.items) zip(group);
        else if (!node.is_null())
            zip(node);
    }

    void zip(const YamlNode& node) {
        if (!node.is_map())
            return impl_.report(node.place, "sweep.zip", "expected a map of axes, got " + node.describe());
        std::vector<Axis> group;
        for (const auto& entry : node.entries) {
            auto values = axis(entry, "sweep.zip");
            if (!values) continue;
            if (!group.empty() && values->second.size() != group[0].second.size())
                impl_.report(entry.value.place, "sweep.zip." + entry.key,
                             cat("expected ", group[0].second.size(), " values as ", group[0].first,
                                 " has, got ", values->second.size()));
            else
                group.push_back(*values);
        }
        if (!group.empty()) impl_.sweep.zips.push_back(group);
    }

    // --axis key=a,b,c: takes the place of the file's axis of that name
    void argument(const std::string& text) {
        size_t equals = text.find('=');
        std::string key = trim(text.substr(0, std::min(equals, text.size())));
        if (equals == std::string::npos || key.empty()) {
            int source = impl_.add_source({"command line", {text}, "", Layer::command_line});
            return impl_.report({source, 0, 0}, "--axis", "expected key=a,b,c, got \"" + text + "\"");
        }
        std::string values = trim(text.substr(equals + 1));
        YamlEntry entry{
            key, {}, impl_.parse_argument(text, starts_with(values, "[") ? values : "[" + values + "]", key)};
        entry.key_place = entry.value.place;
        expand_variables(impl_, entry.value, key);
        for (auto* axes : {&impl_.sweep.axes})
            std::erase_if(*axes, [&](const Axis& old) { return old.first == key; });
        impl_.axis_values.erase(key);
        if (auto axis_read = axis(entry, "sweep")) impl_.sweep.axes.push_back(*axis_read);
    }

    void select(const YamlNode& node) {
        if (node.is_null()) return;
        if (!node.is_map())
            return impl_.report(node.place, "select", "expected {over: key}, got " + node.describe());
        SelectSettings out;
        for (const auto& entry : node.entries) {
            const YamlNode& value = entry.value;
            if (entry.key != "over" && entry.key != "by") {
                impl_.report(entry.key_place, "select." + entry.key, "no such key",
                             suggest(entry.key, {"over", "by"}));
            } else if (!value.is_string()) {
                impl_.report(value.place, "select." + entry.key,
                             "expected a string, got " + value.describe());
            } else if (entry.key == "over") {
                out.over = axis_called(value.text);
                if (!known(out.over))
                    impl_.report(value.place, "select.over", "no such key", suggest(out.over, known_));
            } else {
                out.by = value.text;
                if (out.by != "validation.loss")
                    impl_.report(value.place, "select.by",
                                 "expected validation.loss, got " + value.describe(),
                                 "the test set is scored once, for the winner");
            }
        }
        if (out.over.empty() && !node.find("over"))
            impl_.report(node.place, "select.over", "missing", "name the axis to settle");
        impl_.sweep.select = out;
    }

    void match(const YamlNode& node) {
        static const std::vector<std::string> kBudgets{"trainable", "stored_bytes", "memory"};
        if (node.is_null()) return;
        if (!node.is_map())
            return impl_.report(node.place, "match", "expected {trainable: 1%}, got " + node.describe());
        for (const auto& entry : node.entries) {
            std::string key = "match." + entry.key;
            if (std::find(kBudgets.begin(), kBudgets.end(), entry.key) == kBudgets.end())
                impl_.report(entry.key_place, key, "no such budget", suggest(entry.key, kBudgets));
            else if (!entry.value.is_scalar() || !is_budget(entry.value.text))
                impl_.report(entry.value.place, key,
                             "expected a share (1%) or a number above 0 (3000000, 12 MiB), got " +
                                 entry.value.describe());
            else
                impl_.sweep.match.emplace_back(entry.key, entry.value.text);
        }
        if (node.entries.size() > 1) impl_.report(node.place, "match", "expected one budget, got several");
    }

    // A list of seeds is an axis, the slowest; the first of them stays as the file's seed.
    void seeds() {
        YamlEntry* seed = impl_.root.find("seed");
        if (!seed || !seed->value.is_list()) return;
        YamlNode list = seed->value;
        if (list.items.empty()) {
            impl_.report(list.place, "seed", "expected an integer or a list of them, got an empty list");
            impl_.mark_broken(list.place);
            seed->value = YamlNode{};
            return;
        }
        seed->value = list.items[0];
        for (const auto& [key, values] : impl_.sweep.axes)
            if (key == "seed")
                return impl_.report(list.place, "seed", "expected seeds here or under sweep, got both");
        if (auto values = axis({"seed", seed->key_place, list}, "sweep")) {
            if (values->second.size() > 1) impl_.sweep.axes.insert(impl_.sweep.axes.begin(), *values);
        }
    }

    // A key on two axes, or twins on two: which one a run has would be a matter of luck.
    void clashes() {
        std::vector<std::string> keys;
        for (const auto& [key, values] : impl_.sweep.axes) keys.push_back(key);
        for (const auto& group : impl_.sweep.zips)
            for (const auto& [key, values] : group) keys.push_back(key);
        for (size_t i = 0; i < keys.size(); ++i)
            for (size_t k = 0; k < i; ++k)
                if (keys[i] == keys[k] || twin_of(keys[i]) == keys[k])
                    impl_.report(impl_.axis_values[keys[i]].front().second.place, "sweep." + keys[i],
                                 keys[i] == keys[k]
                                     ? "stands on two axes"
                                     : "stands on one axis and its twin " + keys[k] + " on another",
                                 "keep one of the two");
    }

private:
    // "learning_rate" for the axis train.learning_rate
    std::string axis_called(const std::string& word) const {
        for (const auto& [key, values] : impl_.axis_values)
            if (!known(word) && key.ends_with("." + word)) return key;
        return word;
    }

    bool known(const std::string& key) const {
        return std::find(known_.begin(), known_.end(), key) != known_.end() ||
               starts_with(key, "backend.options.");
    }

    static bool is_budget(const std::string& text) { // "1%", "0.5 %", 3000000, "12MiB"
        size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
        YamlNode number;
        number.kind = YamlNode::Kind::scalar;
        number.text = text.substr(0, end);
        auto value = number.as_number();
        static const std::vector<std::string> kUnits{"",    "%",   "B",   "kB",  "KB", "MB", "GB", "TB",
                                                     "KiB", "MiB", "GiB", "TiB", "K",  "M",  "G"};
        return value && *value > 0 &&
               std::find(kUnits.begin(), kUnits.end(), trim(text.substr(end))) != kUnits.end();
    }

    ConfigFile::Impl& impl_;
    std::vector<std::string> known_;
};

} // namespace

void take_sweep(ConfigFile::Impl& impl, const std::vector<std::string>& axes) {
    SweepReader reader(impl);
    auto take = [&](const char* key) {
        YamlEntry* entry = impl.root.find(key);
        return entry && !impl.is_broken(entry->value.place) ? entry->value : YamlNode{};
    };
    reader.sweep(take("sweep"));
    for (const auto& axis : axes) reader.argument(axis);
    reader.seeds();
    reader.clashes();
    reader.select(take("select"));
    reader.match(take("match"));
    for (const char* key : {"sweep", "select", "match"}) {
        if (const YamlEntry* entry = impl.root.find(key)) impl.apart.entries.push_back(*entry);
        erase_key(impl.root, key);
    }
}

} // namespace dorabench
