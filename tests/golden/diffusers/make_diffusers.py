"""Writes the files beside it with diffusers, transformers and peft: a pipeline's UNet and text encoder, DoRA on linear and
convolution modules as save_lora_weights writes it (with its metadata, without it, in the older spelling), the same in kohya's
names, and the weights that peft merges. Run with diffusers beside the peers of `scripts/setup --peers`."""
import json
import os
import shutil
import sys

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(8)
unet = UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                            cross_attention_dim=8, attention_head_dim=4, norm_num_groups=4)
text = CLIPTextModel(CLIPTextConfig(vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                    max_position_embeddings=8))
for name in ("pipeline", "metadata"):
    shutil.rmtree(os.path.join(here, name), ignore_errors=True)
unet.save_pretrained(os.path.join(here, "pipeline/unet"))
text.save_pretrained(os.path.join(here, "pipeline/text_encoder"))
with open(os.path.join(here, "pipeline/model_index.json"), "w") as file:
    json.dump({"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"],
               "unet": ["diffusers", "UNet2DConditionModel"]}, file, indent=2)

# linear layers, a 3x3 convolution, one with stride 2, one of 1x1, and conv_in of other sizes on each side
unet_config = LoraConfig(r=4, lora_alpha=4, use_dora=True, init_lora_weights="gaussian",
                         target_modules=["to_q", "to_k", "to_v", "to_out.0", "time_embedding.linear_1", "proj_in", "conv1", "conv_shortcut",
                                         "downsamplers.0.conv", "conv_in"])
text_config = LoraConfig(r=2, lora_alpha=2, use_dora=True, target_modules=["q_proj", "k_proj", "v_proj", "out_proj"])
unet.add_adapter(unet_config)
text.add_adapter(text_config)
for model in (unet, text):
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.3)
        if "lora_magnitude_vector" in name:  # so that the gain is not 1
            parameter.data *= 1 + 0.25 * torch.rand_like(parameter)

unet_state, text_state = get_peft_model_state_dict(unet), get_peft_model_state_dict(text)


def save(folder, **more):
    os.makedirs(os.path.join(here, folder), exist_ok=True)
    StableDiffusionPipeline.save_lora_weights(os.path.join(here, folder), unet_lora_layers=unet_state, text_encoder_lora_layers=text_state, **more)


save(".")  # pytorch_lora_weights.safetensors
plain = load_file(os.path.join(here, "pytorch_lora_weights.safetensors"))


def merged(model, prefix, change=None):
    """Every weight of the model by peft's own merge, under the base's names."""
    for module in model.modules():
        if hasattr(module, "lora_A"):
            for key in module.scaling:
                module.scaling[key] *= change or 1
            module.merge(safe_merge=True)
    state = {prefix + "." + name.replace(".base_layer", ""): value.clone().contiguous() for name, value in model.state_dict().items() if "lora_" not in name}
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.unmerge()
            for key in module.scaling:
                module.scaling[key] /= change or 1
    return {k: v for k, v in state.items() if not k.endswith("position_ids")}


base = {name: load_file(os.path.join(here, "pipeline", name, file)) for name, file in
        (("unet", "diffusion_pytorch_model.safetensors"), ("text_encoder", "model.safetensors"))}


def expected(*scales):
    both = {}
    for (name, model), scale in zip((("unet", unet), ("text_encoder", text)), scales):
        for key, value in merged(model, name, scale).items():
            if not torch.equal(value, base[name][key[len(name) + 1:]]) and value.dim() > 1:
                both[key] = value
    return both


save_file(expected(1, 1), os.path.join(here, "expected.safetensors"))

# with metadata: alpha is 6 (UNet, scale 1.5) and 1 (text, scale 0.5)
meta = {"unet_lora_adapter_metadata": {**unet_config.to_dict(), "lora_alpha": 6}, "text_encoder_lora_adapter_metadata": {**text_config.to_dict(), "lora_alpha": 1}}
for part in meta.values():
    for key, value in part.items():
        part[key] = sorted(value) if isinstance(value, set) else value
save("metadata", **meta)
save_file(expected(1.5, 0.5), os.path.join(here, "metadata/expected.safetensors"))

# The spelling before PEFT's: lora.down and lora.up, the text encoder's lora_linear_layer.
older = {}
for key, value in plain.items():
    form = "lora_linear_layer" if key.startswith("text_encoder.") else "lora"
    older[key.replace("lora_A", form + ".down").replace("lora_B", form + ".up")] = value
save_file(older, os.path.join(here, "older.safetensors"))

# kohya's names (the UNet's alone): underscores, alpha beside, dora_scale one an output row.
kohya = {}
for key, value in plain.items():
    if not key.startswith("unet."):
        continue
    module, part = key[len("unet."):].split(".lora_", 1)
    name = "lora_unet_" + module.replace(".", "_")
    if part.startswith("A"):
        kohya[name + ".lora_down.weight"] = value
        kohya[name + ".alpha"] = torch.tensor(float(value.shape[0]))
    elif part.startswith("B"):
        kohya[name + ".lora_up.weight"] = value
    else:
        rows = value.numel()
        conv = plain[key.replace("lora_magnitude_vector.weight", "lora_magnitude_vector").replace("lora_magnitude_vector", "lora_A.weight")].dim() == 4
        kohya[name + ".dora_scale"] = value.reshape((rows, 1, 1, 1) if conv else (rows, 1)).contiguous()
save_file(kohya, os.path.join(here, "kohya.safetensors"))
for name in ("model_index.json",):
    assert os.path.exists(os.path.join(here, "pipeline", name))
sys.stdout.write("written to " + here + "\n")
