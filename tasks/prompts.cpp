#include "tasks/prompts.h"
#include "harness/base/error.h"
#include "harness/base/text.h"

namespace dorabench {

PromptMaker::PromptMaker(const TaskSpec& spec, const TaskOptions& options)
    : spec_(spec), inline_prompt_(!spec.prompt.empty()), base_(&find_template(spec.template_name)) {
    if (!options.chat_template.empty()) {
        chat_ = &find_template(options.chat_template);
        if (!chat_->is_chat())
            throw Error::config("chat_template: expected a chat template, got \"", chat_->name, "\"");
        if (options.template_name.empty())
            base_ = &find_template("plain"); // the user's turn is the bare instruction
    }
    if (!options.template_name.empty()) {
        const PromptTemplate& named = find_template(options.template_name);
        if (!named.is_chat()) {
            base_ = &named; // over an inline prompt: that becomes the instruction
        } else if (!chat_) {
            chat_ = &named;
            base_ = &find_template("plain");
        } else if (chat_ != &named) {
            throw Error::config("template \"", named.name,
                                "\" is a chat template itself; chat_template names another, \"", chat_->name,
                                "\"");
        }
    }
    if (base_->is_chat()) { // a spec's own template may be a chat one
        chat_ = base_;
        base_ = &find_template("plain");
    }
    stop_ = spec.stop;
    if (chat_) stop_.insert(stop_.end(), chat_->stop.begin(), chat_->stop.end());
}

std::string PromptMaker::bare(const Item& item, PromptForm form) const {
    if (!inline_prompt_) return base_->prompt(item.instruction, item.input, form);
    std::string text = fill_placeholders(spec_.prompt, [&](const std::string& name, std::string& value) {
        auto at = item.fields.find(name);
        if (at != item.fields.end()) {
            value = at->second;
        } else if (name == "options" && !item.options.empty()) {
            for (size_t i = 0; i < item.options.size(); ++i)
                value += (i ? "\n" : "") + item.labels[i] + ". " + item.options[i];
        } else {
            return false;
        }
        return true;
    });
    return base_->prompt(text, "", form);
}

std::string PromptMaker::prompt(const Item& item, PromptForm form,
                                const std::vector<const Item*>& shots) const {
    std::string out;
    for (const Item* shot : shots)
        out += bare(*shot, form) + spec_.target_prefix + base_->target(shot->target) + "\n\n";
    try {
        out += bare(item, form);
    } catch (const Error& error) {
        throw Error::data(item.place, ": ", error.what());
    }
    return chat_ ? chat_->chat({{"user", out}}) : out;
}

std::string PromptMaker::target(const std::string& text) const {
    if (chat_) return chat_->target(base_->target(text)); // the turn's own start separates it from the prompt
    return spec_.target_prefix + base_->target(text);
}

std::string PromptMaker::continuation_start() const {
    return chat_ ? chat_->target_before : spec_.target_prefix + base_->target_before;
}

std::string PromptMaker::description() const {
    std::vector<std::string> parts{spec_.prompt,
                                   base_->name,
                                   chat_ ? chat_->name : "",
                                   spec_.target_prefix,
                                   spec_.instruction_field,
                                   spec_.input_field,
                                   join(stop_, "\x1f")};
    // the templates' own bytes, so that a changed template changes the fingerprint of every task that uses it
    for (PromptForm form : {PromptForm::training, PromptForm::evaluation}) {
        parts.push_back(base_->prompt("instruction", "", form) + base_->target("answer"));
        parts.push_back(base_->prompt("instruction", "input", form));
    }
    if (chat_) parts.push_back(chat_->chat({{"user", "question"}}) + chat_->target("answer"));
    return join(parts, "\x1e");
}

} // namespace dorabench
