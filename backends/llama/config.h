#pragma once
// The shape of a LLaMA-like decoder, out of a Hugging Face config.json (LLaMA 1, 2, 3, 3.1, 3.2; Mistral
// without a sliding window; Qwen2) or by name. What the computation does not cover is refused by name:
// nothing is ignored that would change a logit.
#include "harness/api/backend.h"
#include <string>
#include <vector>

namespace dorabench {

struct RopeScaling {
    enum class Kind { none, linear, llama3, dynamic };
    Kind kind = Kind::none;
    double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
    int64_t original_positions = 0; // llama3
};

struct LlamaConfig {
    std::string model_type = "llama"; // llama | mistral | qwen2
    int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, vocab = 0;
    int64_t positions = 2048; // max_position_embeddings: where prompts are cut
    double rms_eps = 1e-6, rope_theta = 10000;
    RopeScaling rope_scaling;
    bool tied = false; // the output layer is the embedding
    bool qkv_bias = false, o_bias = false, mlp_bias = false;
    int64_t bos = 1, pad = -1;
    std::vector<int64_t> eos{2};
};

// text: the JSON; where: the file's name, for messages. Error::data names file and key.
LlamaConfig parse_llama_config(const std::string& text, const std::string& where);
LlamaConfig read_llama_config(const std::string& folder); // folder/config.json
// llama-7b, llama-13b, llama2-7b, llama3-8b, llama-7b-slice, small, tiny, quickstart
LlamaConfig named_llama_config(const std::string& name);
std::vector<std::string> llama_shape_names();
std::string llama_config_json(const LlamaConfig& config,
                              const std::string& dtype); // in the form that transformers reads

// What a checkpoint calls the decoder's parts: LLaVA keeps it inside a larger model.
struct LlamaNames {
    std::string body = "model."; // before embed_tokens, layers and norm
    std::string head = "lm_head";
};

// Every parameter in the checkpoint's order; a tied output layer stands once (as the embedding).
ModelShapes llama_shapes(const LlamaConfig& config, const std::string& name, const LlamaNames& names = {});

} // namespace dorabench
