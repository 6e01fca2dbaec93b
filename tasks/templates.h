#pragma once
// Prompt templates: the exact strings around an instruction and its answer. White space counts: a model is
// tuned on these bytes. Sources: LLM-Adapters' finetune.py and commonsense_evaluate.py (whose two forms
// differ in white space), QLoRA's and Stanford's Alpaca forms, the chat forms of Llama 2, Llama 3, Vicuna 1.1
// (FastChat) and ChatML. The beginning-of-text token is the tokenizer's business and the end-of-text token
// the backend's; marks that end a turn inside a conversation belong to the template.
#include "harness/api/types.h"
#include <functional>
#include <string>
#include <vector>

namespace dorabench {

enum class PromptForm { training, evaluation };

struct Turn {
    std::string role, content;
}; // role: system | user | assistant

struct PromptTemplate {
    std::string name, help;
    // Everything before the answer; input may be empty.
    std::function<std::string(const std::string& instruction, const std::string& input, PromptForm form)>
        prompt;
    // Chat templates alone: a conversation up to the assistant's next turn.
    std::function<std::string(const std::vector<Turn>& turns)> chat;
    std::string target_before, target_after; // around the answer: " " … "<|eot_id|>"
    bool trims_content = false;              // the original strips white space off every turn
    std::vector<std::string> stop;           // strings that end the assistant's turn

    bool is_chat() const { return static_cast<bool>(chat); }
    std::string target(const std::string& text) const;
    // Chat templates alone: the conversation, whose last turn is the assistant's, in pieces; the assistant's
    // turns with the token that ends each are the targets.
    std::vector<TextPiece> pieces(const std::vector<Turn>& turns) const;
};

const PromptTemplate& find_template(const std::string& name); // Error::config with the nearest name
bool has_template(const std::string& name);
std::vector<std::string> all_template_names();

// "{question}\n{options}" with the values that look gives; "{{" and "}}" are braces. Error::config for a name
// that look does not know (it returns false) and for an unclosed brace.
std::string fill_placeholders(const std::string& text,
                              const std::function<bool(const std::string& name, std::string& value)>& look);

} // namespace dorabench
