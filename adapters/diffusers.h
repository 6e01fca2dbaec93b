#pragma once
// Adapter files of Diffusers (save_lora_weights): one file for several models of a pipeline. A key begins
// with the folder of its model in the pipeline ("unet", "text_encoder", …) and ends in one of three
// spellings: PEFT's (lora_A, lora_B, lora_magnitude_vector), lora.down and lora.up (text encoders:
// lora_linear_layer), or that of attention processors (to_q_lora.down). Convolutions have A [r, in, h, w], B
// [out, r, 1, 1] and a magnitude [1, out, 1, 1], one value an output channel. Options stand in the header's
// lora_adapter_metadata where it has one; without it alpha = r, as Diffusers reads such a file.
#include "adapters/foreign.h"
#include <map>

namespace dorabench {

// The file's parts by model, under PEFT's names, with the options of each as its config where they are known.
// Empty: not a file of Diffusers. Error::data names file, key and repair.
std::map<std::string, ForeignFile> diffusers_parts(const ForeignFile& file);

} // namespace dorabench
