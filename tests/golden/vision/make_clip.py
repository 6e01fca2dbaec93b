"""Goldens of CLIP's image encoders: open_clip's own ModifiedResNet and VisionTransformer, tiny, with random weights.

    python make_clip.py OPEN_CLIP      OPEN_CLIP: a folder that holds the package (pip download open_clip_torch --no-deps, unpacked)

Needs torch alone: the two modules are loaded without the package's own imports (torchvision, timm). Writes beside itself
clip_resnet.safetensors and clip_vit.safetensors (the encoders' state under "visual.", float16) and clip_expected.safetensors
(pixels, resnet_grid, resnet_embedding, vit_tokens, vit_embedding, float32). Seed 0.
"""
import importlib
import json
import struct
import sys
import types
from pathlib import Path

import torch

HERE = Path(__file__).parent
NAMES = {torch.float16: "F16", torch.float32: "F32"}


def save(path, tensors):
    header, parts, at = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        data = bytes(tensor.detach().contiguous().flatten().view(torch.uint8).tolist())
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    print(path.name, path.stat().st_size, "bytes")


def open_clip_modules(folder):
    package = types.ModuleType("open_clip")
    package.__path__ = [str(Path(folder) / "open_clip")]
    sys.modules["open_clip"] = package
    misc = types.ModuleType("torchvision.ops.misc")
    misc.FrozenBatchNorm2d = torch.nn.Identity
    for name, module in [("torchvision", types.ModuleType("torchvision")), ("torchvision.ops", types.ModuleType("torchvision.ops")),
                         ("torchvision.ops.misc", misc)]:
        sys.modules[name] = module
    positions = types.ModuleType("open_clip.pos_embed")
    positions.get_2d_sincos_pos_embed = None
    sys.modules["open_clip.pos_embed"] = positions
    return importlib.import_module("open_clip.modified_resnet"), importlib.import_module("open_clip.transformer")


def randomise(module):
    """Every weight and running statistic away from its trivial start, and exact in float16."""
    for name, tensor in list(module.named_parameters()) + list(module.named_buffers()):
        if tensor.dtype != torch.float32:
            continue
        with torch.no_grad():
            fan = tensor[0].numel() if tensor.dim() > 1 else 1
            noise = torch.randn(tensor.shape)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif tensor.dim() == 1 and name.endswith("weight"):
                tensor.copy_(1 + 0.2 * noise)
            else:
                tensor.copy_(noise * (1.4 / fan ** 0.5 if tensor.dim() > 1 else 0.1))
            tensor.copy_(tensor.half().float())


def state(module):
    return {"visual." + name: tensor.half() for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def main():
    resnets, transformers = open_clip_modules(sys.argv[1])
    torch.manual_seed(0)
    resnet = resnets.ModifiedResNet(layers=(2, 1, 1, 1), output_dim=16, heads=2, image_size=64, width=4).eval()
    vit = transformers.VisionTransformer(image_size=64, patch_size=8, width=128, layers=2, heads=2, mlp_ratio=1.0, output_dim=16,
                                         act_layer=transformers.QuickGELU).eval()
    randomise(resnet)
    randomise(vit)
    pixels = torch.randn(2, 3, 64, 64).half().float()
    kept = {}
    with torch.no_grad():
        hook = resnet.layer4.register_forward_hook(lambda module, inputs, output: kept.update(grid=output))
        embedding = resnet(pixels)
        hook.remove()
        blocks = []
        vit.transformer.resblocks[-1].register_forward_hook(lambda module, inputs, output: blocks.append(output))
        vit_embedding = vit(pixels)
        tokens = blocks[0]
        if tokens.shape[0] != 2:  # some versions run with the sequence first
            tokens = tokens.transpose(0, 1)
    save(HERE / "clip_resnet.safetensors", state(resnet))
    save(HERE / "clip_vit.safetensors", state(vit))
    save(HERE / "clip_expected.safetensors", {
        "pixels": pixels.half(), "resnet_grid": kept["grid"].flatten(2).transpose(1, 2), "resnet_embedding": embedding,
        "vit_tokens": tokens[:, 1:], "vit_embedding": vit_embedding})
    version = (Path(sys.argv[1]) / "open_clip" / "version.py").read_text().strip()
    print("torch", torch.__version__, "open_clip", version)


main()
