"""Writes the adapters beside it as the tools of the field save them, for one small LLaMA (base) and one layer of BART (bart),
and for each what the tool's own formula merges to (expected_*.safetensors, in float64 rounded once)."""
import json
import os
import shutil

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(13)
HIDDEN, MIDDLE, HEADS, KV, VOCAB, RANK, ALPHA = 16, 24, 4, 2, 32, 2, 6
HEAD = HIDDEN // HEADS


def put(path, content):
    path = os.path.join(here, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if isinstance(content, str):
        with open(path, "w") as file:
            file.write(content)
    elif path.endswith(".safetensors"):
        save_file({k: v.detach().float().contiguous() for k, v in content.items()}, path)
    else:
        torch.save(content, path)


for folder in ("base", "bart", "nvlabs", "torchtune", "mlx", "vlbart", "fsdp_qlora"):
    shutil.rmtree(os.path.join(here, folder), ignore_errors=True)
layer = "model.layers.0."
shapes = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KV * HEAD, HIDDEN), "self_attn.v_proj": (KV * HEAD, HIDDEN),
          "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (MIDDLE, HIDDEN), "mlp.up_proj": (MIDDLE, HIDDEN),
          "mlp.down_proj": (HIDDEN, MIDDLE)}
base = {layer + name + ".weight": torch.randn(shape) / 3 for name, shape in shapes.items()}
for name in (layer + "input_layernorm", layer + "post_attention_layernorm", "model.norm"):
    base[name + ".weight"] = torch.ones(HIDDEN)
base["model.embed_tokens.weight"] = torch.randn(VOCAB, HIDDEN)
base["lm_head.weight"] = torch.randn(VOCAB, HIDDEN)
put("base/model.safetensors", base)
put("base/config.json", json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN, "intermediate_size": MIDDLE,
                                    "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KV, "vocab_size": VOCAB,
                                    "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "tie_word_embeddings": False, "rope_theta": 10000.0}, indent=1))


def pair(out, inner):
    return torch.randn(RANK, inner) / 2, torch.randn(out, RANK) / 2, torch.rand(out) + 0.5


def dora(weight, a, b, m, scale):
    changed = weight.double() + scale * b.double() @ a.double()
    return m.double()[:, None] * changed / changed.norm(dim=1, keepdim=True)


parts = {name: pair(*shape) for name, shape in shapes.items()}
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# NVlabs, commonsense: a pickle, [out, 1] magnitudes, and modules with a magnitude alone
put("nvlabs/adapter_config.json", json.dumps({"peft_type": "DORA", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.05, "target_modules": targets[:5],
                                              "dora_simple": True, "Wdecompose_target_modules": ["up_proj"], "bias": "none"}))
state, merged = {}, {}
for name, (a, b, m) in parts.items():
    key, weight = "base_model.model." + layer + name, base[layer + name + ".weight"]
    if name == "mlp.down_proj":
        continue
    state[key + ".weight_m_wdecomp.weight"] = m[:, None].clone()
    if name == "mlp.up_proj":  # y = m W x / ||W||
        merged[layer + name + ".weight"] = dora(weight, a * 0, b, m, 1)
        continue
    state[key + ".lora_A.weight"], state[key + ".lora_B.weight"] = a, b
    merged[layer + name + ".weight"] = dora(weight, a, b, m, ALPHA / RANK)
put("nvlabs/adapter_model.bin", state)
put("expected_nvlabs.safetensors", merged)

# torchtune: its own module names; q and k rotate neighbouring values, so their rows lie in another order
names = {"self_attn.q_proj": "attn.q_proj", "self_attn.k_proj": "attn.k_proj", "self_attn.v_proj": "attn.v_proj", "self_attn.o_proj": "attn.output_proj",
         "mlp.gate_proj": "mlp.w1", "mlp.down_proj": "mlp.w2", "mlp.up_proj": "mlp.w3"}


def to_pairs(t, heads):  # rows of HF's order (halves of a head) to torchtune's (pairs)
    return t.reshape(heads, 2, HEAD // 2, -1).transpose(1, 2).reshape(t.shape)


def to_halves(t, heads):
    return t.reshape(heads, HEAD // 2, 2, -1).transpose(1, 2).reshape(t.shape)


state, merged = {}, {}
for name, (a, b, m) in parts.items():
    heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV}.get(name)
    weight = base[layer + name + ".weight"]
    theirs = to_pairs(weight, heads) if heads else weight
    for part, value in (("lora_a.weight", a), ("lora_b.weight", b), ("magnitude", m)):
        state["layers.0." + names[name] + "." + part] = value
    result = dora(theirs, a, b, m, ALPHA / RANK)
    merged[layer + name + ".weight"] = to_halves(result, heads) if heads else result
put("torchtune/adapter_0.pt", state)
put("torchtune/adapter_config.json", json.dumps({"r": RANK, "lora_alpha": ALPHA}))
put("expected_torchtune.safetensors", merged)

# mlx-lm: a [in, r], b [r, out], a free scale
state, merged = {}, {}
for name, (a, b, m) in parts.items():
    state.update({layer + name + ".lora_a": a.t(), layer + name + ".lora_b": b.t(), layer + name + ".m": m})
    merged[layer + name + ".weight"] = dora(base[layer + name + ".weight"], a, b, m, 2.5)
put("mlx/adapters.safetensors", state)
put("mlx/adapter_config.json", json.dumps({"fine_tune_type": "dora", "num_layers": 1, "lora_parameters": {"rank": RANK, "scale": 2.5, "dropout": 0.0}}))
put("expected_mlx.safetensors", merged)

# kohya and LyCORIS: names with underscores; dora_scale [out, 1], or [1, in] for the other method
state, other, merged = {}, {}, {}
for name, (a, b, m) in parts.items():
    flat = "lora_te_" + (layer + name).replace(".", "_")
    state.update({flat + ".lora_down.weight": a, flat + ".lora_up.weight": b, flat + ".alpha": torch.tensor(float(ALPHA)), flat + ".dora_scale": m[:, None]})
    other.update(state)
    other[flat + ".dora_scale"] = torch.rand(1, a.shape[1]) + 0.5
    merged[layer + name + ".weight"] = dora(base[layer + name + ".weight"], a, b, m, ALPHA / RANK)
put("kohya.safetensors", state)
put("kohya_in.safetensors", other)
put("expected_kohya.safetensors", merged)
square = "lora_te_" + (layer + "self_attn.q_proj").replace(".", "_")
state[square + ".dora_scale"] = parts["self_attn.q_proj"][2]  # 16 values on 16 by 16
put("kohya_square.safetensors", state)
del state[square + ".dora_scale"]
state[square + ".lora_mid.weight"] = torch.rand(RANK, RANK, 1, 1)
put("kohya_tucker.safetensors", state)

# fsdp_qlora: scale 1, a flattened base beside
state, merged = {}, {}
for name, (a, b, m) in parts.items():
    key = layer + name
    state.update({key + ".dora_layer.lora_A.weight": a, key + ".dora_layer.lora_B.weight": b, key + ".magnitude_layer.magnitude": m,
                  key + ".base_layer.weight": torch.zeros(8, 1)})
    merged[key + ".weight"] = dora(base[key + ".weight"], a, b, m, 1)
put("fsdp_qlora/model_state_dict.safetensors", state)
put("expected_fsdp_qlora.safetensors", merged)

# catid/dora: one magnitude an input, on dim 0
put("catid.safetensors", {key + part: value for name, (a, b, m) in parts.items() for key in [layer + name]
                          for part, value in ((".lora_A", a.t()), (".lora_B", b.t()), (".m", torch.rand(1, a.shape[1])))})

# VL-BART: the whole state, scale 1 whatever the config says; biases and norms trained along
attention = "model.encoder.layers.0.self_attn."
bart, state, merged = {}, {}, {}
for name in ("q_proj", "k_proj", "v_proj"):
    a, b, m = pair(12, 12)
    weight, bias = torch.randn(12, 12) / 3, torch.randn(12)
    bart.update({attention + name + ".weight": weight, attention + name + ".bias": torch.zeros(12)})
    state[attention + name + ".bias"] = merged[attention + name + ".bias"] = bias
    if name == "k_proj":
        state[attention + name + ".weight"] = weight
        continue
    state.update({attention + name + ".weight_m": m[:, None].clone(), attention + name + ".weight_v": weight, attention + name + ".lora_A": a,
                  attention + name + ".lora_B": b})
    merged[attention + name + ".weight"] = dora(weight, a, b, m, 1)
norm = "model.encoder.layers.0.self_attn_layer_norm.weight"
bart[norm] = torch.ones(12)
state[norm] = merged[norm] = torch.rand(12) + 0.5
put("bart/model.safetensors", bart)
put("vlbart/BEST.pth", {"module." + key: value for key, value in state.items()})
put("expected_vlbart.safetensors", merged)
