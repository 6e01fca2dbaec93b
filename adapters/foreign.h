#pragma once
// Adapters of other projects, turned into HF PEFT's form (y = m (W + s B A) x / ||W + s B A||, one norm an
// output row):
//   peft        both spellings of the magnitude; layers_to_transform and the like resolved to the modules of
//   the file nvlabs      commonsense and LLaVA: "weight_m_wdecomp" [out, 1]; modules with a magnitude alone
//   are kept vl-bart     a whole state: "weight_m", "weight_v", s = 1; biases, layer norms and visual
//   embeddings go along torchtune   lora_a, lora_b, magnitude; q and k rotate neighbouring values there, so
//   their rows are put in HF's order mlx         lora_a [in, r], lora_b [r, out], m; a free scale, so alpha =
//   scale r kohya       lora_down, lora_up, alpha a module, dora_scale [out, 1], or [1, in], which is another
//   method fsdp_qlora  lora_A, lora_B, magnitude_layer; s = 1 with a magnitude
//   diffusers   PEFT's names behind a model's (adapters/diffusers.h); alpha from the header, else the rank
// Of kohya and diffusers convolutions too: A [r, in, h, w] and B [out, r, 1, 1], so that s B A over [out, in
// h w] is the change of the kernel; magnitudes are one an output channel, in PEFT's shape [1, out, 1, 1].
// catid/dora's dim-0 magnitudes (one an input) are another method and refused.
#include "harness/api/backend.h"
#include <map>
#include <set>
#include <string>
#include <vector>

namespace dorabench {

struct ForeignFile {
    std::string path;                            // for messages
    std::vector<NamedTensor> tensors;            // as stored
    std::string config;                          // text of the adapter_config.json beside it; "": none
    std::map<std::string, std::string> metadata; // of a safetensors header
    std::string format;                          // "": told by the keys
};
struct ForeignOptions {
    double alpha = 0;                    // where the file has none; 0: not given
    std::string dora_axis;               // "", out or in: what a dora_scale that fits both means
    std::vector<std::string> base_paths; // linear modules and convolutions of the base; empty: unknown
    std::set<std::string> convolutions;  // those of base_paths that are
    int64_t heads = 0, kv_heads = 0;     // of the base; 0: unknown
    std::string base_name;
};
struct ImportedAdapter {
    std::string format;
    std::vector<NamedTensor> tensors;
    std::string config;   // adapter_config.json in PEFT's form
    int64_t left_out = 0; // tensors of the base that stood in the file
};

// Error::data names file, key and repair.
ImportedAdapter import_adapter(const ForeignFile& file, const ForeignOptions& options);

// VeRA and DVoRA as LoRA and DoRA, exactly: A = diag(d) A0, B = diag(b) B0, alpha = r. `folder` is a saved
// adapter of that method on a base of these shapes; writes a PEFT folder.
void export_as_lora(const std::string& folder, const ModelShapes& shapes, const std::string& to);

} // namespace dorabench
