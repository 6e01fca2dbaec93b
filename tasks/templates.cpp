#include "tasks/templates.h"
#include "harness/base/error.h"
#include "harness/base/text.h"

namespace dorabench {

namespace {

const std::string kPreamble =
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.";
const std::string kPreambleInput =
    "Below is an instruction that describes a task, paired with an input that provides "
    "further context. Write a response that appropriately completes the request.";

// The indentation of LLM-Adapters' triple-quoted strings is part of its prompts. Only the first line of a
// value is indented. The two scripts end their first line differently and separate the blocks by an indented
// and by an empty line.
std::string llm_adapters(const std::string& instruction, const std::string& input, PromptForm form) {
    const std::string indent(16, ' ');
    bool training = form == PromptForm::training;
    std::string between = training ? indent + "\n" : "\n";
    std::string out;
    if (input.empty()) {
        out = kPreamble + (training ? "  " : " ") + "\n\n";
        out += indent + "### Instruction:\n" + indent + instruction + "\n" + between;
    } else {
        out = kPreambleInput + (training ? " " : "") + "\n\n";
        out += indent + "### Instruction:\n" + indent + instruction + "\n" + between;
        out += indent + "### Input:\n" + indent + input + "\n" + between;
    }
    return out + indent + "### Response:\n" + indent;
}

std::string alpaca(const std::string& instruction, const std::string& input, const std::string& cue) {
    std::string out =
        (input.empty() ? kPreamble : kPreambleInput) + "\n\n### Instruction:\n" + instruction + "\n\n";
    if (!input.empty()) out += "### Input:\n" + input + "\n\n";
    return out + cue;
}

std::string plain(const std::string& instruction, const std::string& input) {
    return input.empty() ? instruction : instruction + "\n" + input;
}

void check_turns(const std::string& name, const std::vector<Turn>& turns) {
    bool user_next = true;
    for (size_t i = 0; i < turns.size(); ++i) {
        const std::string& role = turns[i].role;
        if (i == 0 && role == "system") continue;
        const char* expected = user_next ? "user" : "assistant";
        if (role != expected)
            throw Error::data("chat template ", name, ": expected a turn of the ", expected, " as number ",
                              i + 1, ", got one of \"", role, "\"");
        user_next = !user_next;
    }
    if (user_next)
        throw Error::data("chat template ", name,
                          ": expected the last turn before the answer to be the user's");
}

std::string llama2_chat(const std::vector<Turn>& turns) {
    check_turns("llama2", turns);
    std::string out, system;
    for (const Turn& turn : turns) {
        if (turn.role == "system") {
            system = "<<SYS>>\n" + turn.content + "\n<</SYS>>\n\n";
        } else if (turn.role == "user") {
            if (!out.empty()) out += "<s>"; // the first is the tokenizer's
            out += "[INST] " + trim(system + turn.content) + " [/INST]";
            system.clear();
        } else {
            out += " " + trim(turn.content) + " </s>";
        }
    }
    return out;
}

std::string llama3_chat(const std::vector<Turn>& turns) {
    check_turns("llama3", turns);
    std::string out;
    for (const Turn& turn : turns)
        out +=
            "<|start_header_id|>" + turn.role + "<|end_header_id|>\n\n" + trim(turn.content) + "<|eot_id|>";
    return out + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

std::string vicuna_chat(const std::vector<Turn>& turns) {
    check_turns("vicuna_v1", turns);
    std::string out =
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
        "helpful, detailed, and polite answers to the user's questions.";
    if (!turns.empty() && turns[0].role == "system") out = turns[0].content;
    out += " ";
    for (const Turn& turn : turns) {
        if (turn.role == "user") out += "USER: " + turn.content + " ";
        if (turn.role == "assistant") out += "ASSISTANT: " + turn.content + "</s>";
    }
    return out + "ASSISTANT:";
}

std::string chatml_chat(const std::vector<Turn>& turns) {
    check_turns("chatml", turns);
    std::string out;
    for (const Turn& turn : turns) out += "<|im_start|>" + turn.role + "\n" + turn.content + "<|im_end|>\n";
    return out + "<|im_start|>assistant\n";
}

PromptTemplate instruction_template(const std::string& name, const std::string& help,
                                    decltype(PromptTemplate::prompt) prompt) {
    PromptTemplate out;
    out.name = name;
    out.help = help;
    out.prompt = std::move(prompt);
    return out;
}

PromptTemplate chat_template(const std::string& name, const std::string& help,
                             decltype(PromptTemplate::chat) chat, const std::string& before,
                             const std::string& after, const std::string& stop) {
    PromptTemplate out;
    out.name = name;
    out.help = help;
    out.chat = chat;
    out.prompt = [chat](const std::string& instruction, const std::string& input, PromptForm) {
        return chat({{"user", plain(instruction, input)}});
    };
    out.target_before = before;
    out.target_after = after;
    out.stop = {stop};
    return out;
}

std::vector<PromptTemplate> make_templates() {
    using S = const std::string&;
    std::vector<PromptTemplate> out{
        instruction_template("plain", "the instruction as it is, the answer right behind it",
                             [](S i, S in, PromptForm) { return plain(i, in); }),
        instruction_template("llm_adapters",
                             "LLM-Adapters: finetune.py's form in training, its evaluation script's in "
                             "evaluation (they differ in white space)",
                             [](S i, S in, PromptForm form) { return llm_adapters(i, in, form); }),
        instruction_template("llm_adapters_train", "LLM-Adapters: finetune.py's form always",
                             [](S i, S in, PromptForm) { return llm_adapters(i, in, PromptForm::training); }),
        instruction_template(
            "llm_adapters_eval", "LLM-Adapters: the evaluation script's form always",
            [](S i, S in, PromptForm) { return llm_adapters(i, in, PromptForm::evaluation); }),
        instruction_template("alpaca", "Alpaca as QLoRA renders it: a space behind \"### Response:\"",
                             [](S i, S in, PromptForm) { return alpaca(i, in, "### Response: "); }),
        instruction_template("alpaca_full", "Alpaca as Stanford renders it",
                             [](S i, S in, PromptForm) { return alpaca(i, in, "### Response:"); }),
        instruction_template(
            "orca_math", "question and answer as fsdp_qlora renders Orca-Math",
            [](S i, S in, PromptForm) { return "###Question:\n" + plain(i, in) + "\n###Answer:\n"; }),
        chat_template("llama2", "Llama 2 chat", llama2_chat, " ", " ", "</s>"),
        chat_template("llama3", "Llama 3 instruct", llama3_chat, "", "<|eot_id|>", "<|eot_id|>"),
        chat_template("vicuna_v1", "Vicuna 1.1 and 1.5, LLaVA 1.5", vicuna_chat, " ", "", "</s>"),
        chat_template("chatml", "ChatML (Qwen and others)", chatml_chat, "", "<|im_end|>", "<|im_end|>"),
    };
    for (PromptTemplate& t : out) t.trims_content = t.name == "llama2" || t.name == "llama3";
    return out;
}

const std::vector<PromptTemplate>& templates() {
    static const std::vector<PromptTemplate> all = make_templates();
    return all;
}

} // namespace

std::string PromptTemplate::target(const std::string& text) const {
    return target_before + (trims_content ? trim(text) : text) + target_after;
}

std::vector<TextPiece> PromptTemplate::pieces(const std::vector<Turn>& turns) const {
    std::vector<TextPiece> out;
    std::string done; // what the pieces hold so far
    auto add = [&](std::string text, bool is_target, bool mark) {
        done += text;
        if (!text.empty()) out.push_back({std::move(text), is_target, mark});
    };
    for (size_t i = 0; i < turns.size(); ++i) {
        if (turns[i].role != "assistant") continue;
        const std::string until = chat({turns.begin(), turns.begin() + static_cast<std::ptrdiff_t>(i)});
        if (!starts_with(until, done))
            throw Error::internal("template ", name,
                                  ": a conversation's text is expected to grow by its turns");
        const std::string rest = until.substr(done.size());
        const std::string end = !done.empty() && !stop.empty() && starts_with(rest, stop[0]) ? stop[0] : "";
        add(end, true, true);
        add(rest.substr(end.size()), false, false);
        std::string own = target(turns[i].content);
        const bool ended = !stop.empty() && ends_with(own, stop[0]);
        if (ended) own.resize(own.size() - stop[0].size());
        add(own, true, false);
        if (ended) add(stop[0], true, true);
    }
    return out;
}

const PromptTemplate& find_template(const std::string& name) {
    for (const PromptTemplate& t : templates())
        if (t.name == name) return t;
    throw Error::config("no template is called \"", name, "\"", did_you_mean(name, all_template_names()),
                        "; there are ", join(all_template_names(), ", "));
}

bool has_template(const std::string& name) {
    for (const PromptTemplate& t : templates())
        if (t.name == name) return true;
    return false;
}

std::vector<std::string> all_template_names() {
    std::vector<std::string> out;
    for (const PromptTemplate& t : templates()) out.push_back(t.name);
    return out;
}

std::string fill_placeholders(const std::string& text,
                              const std::function<bool(const std::string& name, std::string& value)>& look) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
            out += c;
            ++i;
        } else if (c == '{') {
            size_t end = text.find('}', i);
            if (end == std::string::npos)
                throw Error::config("prompt \"", text, "\": expected } behind the { at character ", i + 1,
                                    "; a brace itself is written {{");
            std::string name = text.substr(i + 1, end - i - 1), value;
            if (!look(name, value))
                throw Error::config("prompt \"", text, "\": the record has no field \"", name, "\"");
            out += value;
            i = end;
        } else {
            out += c;
        }
    }
    return out;
}

} // namespace dorabench
