#include "harness/base/error.h"
#include "tasks/templates.h"
#include "tests/support/paths.h"

namespace dorabench {
namespace {

std::string render(const std::string& name, const std::string& instruction, const std::string& input,
                   PromptForm form) {
    return find_template(name).prompt(instruction, input, form);
}

TEST(PromptTemplates, LlmAdaptersKeepsTheTrainingScriptsWhiteSpace) {
    EXPECT_EQ(render("llm_adapters", "Q?\n\nAnswer format: a/b", "", PromptForm::training),
              "Below is an instruction that describes a task. Write a response that appropriately completes "
              "the request.  \n"
              "\n"
              "                ### Instruction:\n"
              "                Q?\n\nAnswer format: a/b\n"
              "                \n"
              "                ### Response:\n"
              "                ");
    EXPECT_EQ(
        render("llm_adapters", "Q", "I", PromptForm::training),
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request. \n"
        "\n"
        "                ### Instruction:\n"
        "                Q\n"
        "                \n"
        "                ### Input:\n"
        "                I\n"
        "                \n"
        "                ### Response:\n"
        "                ");
}

TEST(PromptTemplates, LlmAdaptersKeepsTheEvaluationScriptsWhiteSpace) {
    EXPECT_EQ(render("llm_adapters", "Q", "", PromptForm::evaluation),
              "Below is an instruction that describes a task. Write a response that appropriately completes "
              "the request. \n"
              "\n"
              "                ### Instruction:\n"
              "                Q\n"
              "\n"
              "                ### Response:\n"
              "                ");
    EXPECT_EQ(
        render("llm_adapters", "Q", "I", PromptForm::evaluation),
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n"
        "\n"
        "                ### Instruction:\n"
        "                Q\n"
        "\n"
        "                ### Input:\n"
        "                I\n"
        "\n"
        "                ### Response:\n"
        "                ");
}

TEST(PromptTemplates, EitherLlmAdaptersFormCanBeHadAlone) {
    for (PromptForm form : {PromptForm::training, PromptForm::evaluation}) {
        EXPECT_EQ(render("llm_adapters_train", "Q", "", form),
                  render("llm_adapters", "Q", "", PromptForm::training));
        EXPECT_EQ(render("llm_adapters_eval", "Q", "", form),
                  render("llm_adapters", "Q", "", PromptForm::evaluation));
    }
    EXPECT_NE(render("llm_adapters_train", "Q", "", PromptForm::training),
              render("llm_adapters_eval", "Q", "", PromptForm::training));
}

TEST(PromptTemplates, AlpacaFormsDifferInTheirLastByte) {
    std::string stanford = render("alpaca_full", "Q", "", PromptForm::training);
    EXPECT_EQ(
        stanford,
        "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nQ\n\n### Response:");
    EXPECT_EQ(render("alpaca", "Q", "", PromptForm::training), stanford + " ");
    EXPECT_EQ(render("alpaca", "Q", "I", PromptForm::training),
              "Below is an instruction that describes a task, paired with an input that provides further "
              "context. Write a "
              "response that appropriately completes the request.\n\n### Instruction:\nQ\n\n### "
              "Input:\nI\n\n### Response: ");
}

TEST(PromptTemplates, OrcaMathAndPlain) {
    EXPECT_EQ(render("orca_math", "2 + 2?", "", PromptForm::evaluation),
              "###Question:\n2 + 2?\n###Answer:\n");
    EXPECT_EQ(render("plain", "ab ", "", PromptForm::evaluation), "ab ");
    EXPECT_EQ(find_template("plain").target("c"), "c");
}

TEST(ChatTemplates, RenderAConversationUpToTheNextAnswer) {
    std::vector<Turn> turns{{"system", "S"}, {"user", " q1 "}, {"assistant", "a1"}, {"user", "q2"}};
    EXPECT_EQ(find_template("llama2").chat(turns),
              "[INST] <<SYS>>\nS\n<</SYS>>\n\n q1 [/INST] a1 </s><s>[INST] q2 [/INST]");
    EXPECT_EQ(find_template("llama3").chat(turns),
              "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_"
              "id|>\n\nq1"
              "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\na1<|eot_id|><|start_header_id|>user"
              "<|end_header_id|>\n\nq2<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
    EXPECT_EQ(find_template("chatml").chat(turns), "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n q1 "
                                                   "<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n"
                                                   "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n");
    std::vector<Turn> bare{{"user", "q1"}, {"assistant", "a1"}, {"user", "q2"}};
    EXPECT_EQ(find_template("vicuna_v1").chat(bare), "A chat between a curious user and an artificial "
                                                     "intelligence assistant. The assistant gives helpful, "
                                                     "detailed, and polite answers to the user's questions. "
                                                     "USER: q1 ASSISTANT: a1</s>USER: q2 ASSISTANT:");
}

TEST(ChatTemplates, PutTheirMarksAroundTheAnswer) {
    EXPECT_EQ(find_template("llama2").target("a "), " a ");
    EXPECT_EQ(find_template("llama3").target("a"), "a<|eot_id|>");
    EXPECT_EQ(find_template("vicuna_v1").target("a"), " a");
    EXPECT_EQ(find_template("chatml").target("a"), "a<|im_end|>");
}

TEST(ChatTemplates, RefuseTurnsOutOfOrder) {
    EXPECT_THROW(find_template("llama3").chat({{"assistant", "a"}}), Error);
    EXPECT_THROW(find_template("llama3").chat({{"user", "a"}, {"user", "b"}}), Error);
    EXPECT_THROW(find_template("llama3").chat({{"user", "a"}, {"assistant", "b"}}), Error);
    EXPECT_THROW(find_template("chatml").chat({}), Error);
}

TEST(PromptTemplates, AnUnknownNameGetsTheNearest) {
    EXPECT_TRUE(has_template("chatml"));
    EXPECT_FALSE(has_template("chatlm"));
    try {
        find_template("llm_adapter");
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("did you mean \"llm_adapters\"?"), std::string::npos)
            << error.what();
    }
}

TEST(FillPlaceholders, TakesFieldsAndKeepsDoubledBraces) {
    auto look = [](const std::string& name, std::string& value) {
        value = "<" + name + ">";
        return name != "none";
    };
    EXPECT_EQ(fill_placeholders("Q: {question}\n{{x}} {a}", look), "Q: <question>\n{x} <a>");
    EXPECT_THROW(fill_placeholders("{none}", look), Error);
    EXPECT_THROW(fill_placeholders("{open", look), Error);
}

} // namespace
} // namespace dorabench
