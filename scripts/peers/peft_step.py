#!/usr/bin/env python3
"""Times a training step of HF transformers with peft, for `dora-bench bench --peer`.

The same shapes, targets, alpha, initial B and optimizer as `dora-bench bench`; its options and keys are those that a
peer's script has there (--preset, --seqlen, ...; step_s_median, memory_peak_mib, ...). One JSON line.

  dora-bench bench --shape llama-7b-slice --method lora,dora --peer scripts/peers/peft_step.py \\
      --python .venv-peers/bin/python --rounds 3
"""
import argparse
import ctypes
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
import peft  # noqa: E402
import transformers  # noqa: E402

SHAPES = {  # as backends/llama/config.cpp has them
    "tiny": dict(num_hidden_layers=4, hidden_size=256, num_attention_heads=4, num_key_value_heads=4,
                 intermediate_size=688, vocab_size=1024),
    "small": dict(num_hidden_layers=8, hidden_size=768, num_attention_heads=12, num_key_value_heads=12,
                  intermediate_size=2048, vocab_size=32000),
    "slice7b": dict(num_hidden_layers=1, hidden_size=4096, num_attention_heads=32, num_key_value_heads=32,
                    intermediate_size=11008, vocab_size=1024),
    "llama-7b": dict(num_hidden_layers=32, hidden_size=4096, num_attention_heads=32, num_key_value_heads=32,
                     intermediate_size=11008, vocab_size=32000),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def status_bytes(field):
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":")), 0)


class Memory:
    """Peak of the resident set on the CPU, of allocated blocks on CUDA: what dora-bench reports."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def start(self):
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        ctypes.CDLL(None).malloc_trim(0)
        try:
            with open("/proc/self/clear_refs", "w") as refs:
                refs.write("5")
        except OSError:
            pass
        return status_bytes("VmRSS")

    def peak(self):
        return torch.cuda.max_memory_allocated() if self.cuda else status_bytes("VmHWM")


def in_nf4(model, dtype):
    """Every linear layer but the head as bitsandbytes' Linear4bit, double quantised, as transformers loads it."""
    import bitsandbytes as bnb
    model.is_loaded_in_4bit = True
    for module in list(model.modules()):
        for child, linear in list(module.named_children()):
            if type(linear) is torch.nn.Linear and child != "lm_head":
                four = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias=False, compute_dtype=dtype, quant_type="nf4")
                four.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
                setattr(module, child, four.to(linear.weight.device))


def build(args, config):
    """The model and what is trained of it."""
    torch.manual_seed(0)
    torch.set_default_dtype(DTYPES[args.dtype])
    with torch.device(args.device):
        model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if args.method != "ft":
        model.requires_grad_(False)
    if args.quantization == "nf4":
        in_nf4(model, DTYPES[args.dtype])
    if args.method in ("lora", "dora"):
        adapter = peft.LoraConfig(r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0.0, target_modules=TARGETS,
                                  use_dora=args.method == "dora", task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, adapter)
    elif args.method == "vera":
        adapter = peft.VeraConfig(r=args.rank, target_modules=TARGETS, vera_dropout=0.0, projection_prng_key=0,
                                  task_type="CAUSAL_LM")
        model = peft.get_peft_model(model, adapter)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key or "vera_lambda_b" in key:
                p.copy_(0.02 * torch.randn(p.shape, generator=draw))
    model.to(args.device).train()
    if args.preset == "slice7b":  # one layer stands for an inner one, whose input needs a gradient
        model.enable_input_require_grads()
    return model, [p for p in model.parameters() if p.requires_grad]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=sorted(SHAPES), default="slice7b")
    parser.add_argument("--method", choices=["lora", "dora", "vera", "ft"], default="lora")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--seqlen", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32")
    parser.add_argument("--quantization", choices=["none", "nf4"], default="none", help="nf4: by bitsandbytes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--optimizer", choices=["adamw", "adamw-fused"], default="adamw", help="torch's default, or fused")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    config = transformers.LlamaConfig(max_position_embeddings=8192, rms_norm_eps=1e-6, tie_word_embeddings=False,
                                      attn_implementation="sdpa", **SHAPES[args.preset])
    model, trained = build(args, config)
    ids = torch.randint(3, config.vocab_size, (1, args.seqlen), generator=torch.Generator().manual_seed(2)).to(args.device)
    memory, times, before, peak = Memory(ids.device), [], 0, 0
    for turn in range(max(2, args.warmup) + args.steps):
        if turn < 2:  # memory is that of the second step on: libraries are loaded in the first
            before = memory.start()
            optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01,
                                          fused=args.optimizer == "adamw-fused" or None)
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = loss.item()
        del loss
        if ids.is_cuda:
            torch.cuda.synchronize()
        if turn >= max(2, args.warmup):
            times.append(time.perf_counter() - start)
            peak = memory.peak()
    print(json.dumps({
        "tool": "peft", "preset": args.preset, "method": args.method, "rank": None if args.method == "ft" else args.rank,
        "seqlen": args.seqlen, "dtype": args.dtype, "quantization": args.quantization, "device": str(ids.device), "optimizer": args.optimizer,
        "step_s_median": statistics.median(times), "step_s_min": min(times), "step_s_all": times,
        "memory_before_mib": before / 2**20, "memory_peak_mib": peak / 2**20,
        "params_trainable": sum(p.numel() for p in trained), "loss_last": last, "steps": args.steps,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "transformers": transformers.__version__,
        "peft": peft.__version__}))


if __name__ == "__main__":
    main()
