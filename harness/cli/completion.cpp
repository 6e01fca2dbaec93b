#include "harness/cli/completion.h"
#include "harness/base/text.h"
#include <CLI/CLI.hpp>

namespace dorabench {
namespace {

// "TEXT:{none,nf4}" → "none nf4"; "" where any value goes.
std::string choices(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    const size_t open = type.find('{'), close = type.find('}');
    if (open == std::string::npos || close == std::string::npos || close < open) return "";
    return replace_all(type.substr(open + 1, close - open - 1), ",", " ");
}

struct Words {
    std::vector<std::string> options;                        // --name
    std::vector<std::string> with_value;                     // of these
    std::vector<std::pair<std::string, std::string>> values; // option, choices
    std::string positional;                                  // choices of the first word
};

Words words_of(const CLI::App& app) {
    Words out;
    for (const CLI::Option* option : app.get_options()) {
        if (option->get_positional()) {
            if (out.positional.empty()) out.positional = choices(*option);
            continue;
        }
        if (option->get_group().empty()) continue; // hidden
        for (const std::string& name : option->get_lnames()) {
            out.options.push_back("--" + name);
            if (option->get_expected_max() == 0) continue;
            out.with_value.push_back("--" + name);
            if (const std::string values = choices(*option); !values.empty())
                out.values.emplace_back("--" + name, values);
        }
    }
    return out;
}

std::string case_of(const std::string& command, const Words& words) {
    std::string out = "    " + command + ")\n";
    if (!words.values.empty()) {
        out += "      case \"$before\" in\n";
        for (const auto& [option, values] : words.values)
            out += "        " + option + ") COMPREPLY=($(compgen -W '" + values +
                   "' -- \"$word\")); return ;;\n";
        out += "      esac\n";
    }
    out += "      options='" + join(words.options, " ") + "'\n";
    out += "      valued=' " + join(words.with_value, " ") + " '\n";
    out += "      first='" + words.positional + "' ;;\n";
    return out;
}

} // namespace

std::string bash_completion(const CLI::App& app) {
    std::vector<std::string> commands;
    std::string cases;
    const Words global = words_of(app);
    for (const CLI::App* sub : app.get_subcommands({})) {
        commands.push_back(sub->get_name());
        Words words = words_of(*sub);
        words.options.insert(words.options.end(), global.options.begin(), global.options.end());
        words.with_value.insert(words.with_value.end(), global.with_value.begin(), global.with_value.end());
        words.values.insert(words.values.end(), global.values.begin(), global.values.end());
        cases += case_of(sub->get_name(), words);
    }
    return "# bash completion of dora-bench, written by `dora-bench completion bash`\n"
           "_dora_bench() {\n"
           "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i at=0\n"
           "  local options= valued= first=\n"
           "  COMPREPLY=()\n"
           "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
           "    case \"${COMP_WORDS[i]}\" in\n"
           "      " +
           join(global.with_value, " | ") +
           ") ((++i)) ;;\n"
           "      -*) ;;\n"
           "      *) command=${COMP_WORDS[i]}; at=$i; break ;;\n"
           "    esac\n"
           "  done\n"
           "  case \"$command\" in\n" +
           case_of("''", global) + cases +
           "  esac\n"
           "  if [[ -z $command ]]; then first='" +
           join(commands, " ") +
           "'; fi\n"
           "  if [[ $valued == *\" $before \"* ]]; then compopt -o default 2>/dev/null; return; fi\n"
           "  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$word\")); return; fi\n"
           "  if [[ -n $first && ( -z $command || $COMP_CWORD -eq $((at + 1)) ) ]]; then\n"
           "    COMPREPLY=($(compgen -W \"$first\" -- \"$word\")); return\n"
           "  fi\n"
           "  compopt -o default 2>/dev/null\n"
           "}\n"
           "complete -F _dora_bench dora-bench\n";
}

} // namespace dorabench
