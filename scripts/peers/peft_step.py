#!/usr/bin/env python3
"""Times training steps of HF transformers with peft as `dora-bench bench` times its own.

The same shapes, targets, alpha, initial B, optimizer and measuring: methods share one base model and take turns step by
step; the memory of each is measured alone beforehand. One JSON line a method, with the keys of `dora-bench bench`.

  .venv-peers/bin/python scripts/peers/peft_step.py --shape llama-7b-slice --method lora dora --rank 16 --tokens 512
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

SHAPES = {  # as backends/llama/config.cpp names them
    "tiny": dict(num_hidden_layers=4, hidden_size=256, num_attention_heads=4, num_key_value_heads=4,
                 intermediate_size=688, vocab_size=1024),
    "small": dict(num_hidden_layers=8, hidden_size=768, num_attention_heads=12, num_key_value_heads=12,
                  intermediate_size=2048, vocab_size=32000),
    "llama-7b-slice": dict(num_hidden_layers=1, hidden_size=4096, num_attention_heads=32, num_key_value_heads=32,
                           intermediate_size=11008, vocab_size=1024),
    "llama-7b": dict(num_hidden_layers=32, hidden_size=4096, num_attention_heads=32, num_key_value_heads=32,
                     intermediate_size=11008, vocab_size=32000),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]
ALLOCATOR = ["MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX",
             "GLIBC_TUNABLES", "LD_PRELOAD", "PYTORCH_CUDA_ALLOC_CONF"]


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


class Method:
    def __init__(self, name, base, args):
        self.name, self.args, self.times = name, args, []
        # a model of its own over the one set of base weights
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(base.config)
        model.load_state_dict(base.state_dict(), assign=True)
        model.model.rotary_emb = base.model.rotary_emb  # its frequencies are no part of the state
        if name in ("lora", "dora"):
            config = peft.LoraConfig(r=args.rank, lora_alpha=2 * args.rank, lora_dropout=0.0, target_modules=TARGETS,
                                     use_dora=name == "dora", task_type="CAUSAL_LM")
        elif name == "vera":
            config = peft.VeraConfig(r=args.rank, target_modules=TARGETS, vera_dropout=0.0, projection_prng_key=0,
                                     task_type="CAUSAL_LM")
        if name != "ft":
            model = peft.get_peft_model(model, config)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "lora_B" in key or "vera_lambda_b" in key:
                    p.copy_(0.02 * torch.randn(p.shape, generator=draw))
        model.to(args.device).train()
        if args.shape == "llama-7b-slice":  # one layer stands for an inner one, whose input needs a gradient
            model.enable_input_require_grads()
        self.model = model
        self.parameters = list(model.parameters()) if name == "ft" else [p for p in model.parameters() if p.requires_grad]
        self.optimizer = None

    def activate(self, on):
        for p in self.parameters:
            p.requires_grad_(on)

    def new_optimizer(self):
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, weight_decay=0.01, fused=self.args.fused or None)

    def step(self, ids):
        loss = self.model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = loss.item()
        if ids.is_cuda:
            torch.cuda.synchronize()

    def measure_memory(self, ids, first):
        memory = Memory(ids.device)
        for _ in range(2 if first else 1):  # libraries are loaded in the first
            self.optimizer = None
            self.before = memory.start()
            self.new_optimizer()
            self.step(ids), self.step(ids)
            self.peak = memory.peak()

    def line(self, ids):
        a, seconds = self.args, statistics.median(self.times)
        return {"tool": "peft", "shape": a.shape, "method": self.name, "rank": None if self.name == "ft" else a.rank,
                "tokens": a.tokens, "dtype": a.dtype, "device": str(ids.device), "step_seconds": seconds,
                "step_seconds_min": min(self.times), "step_seconds_all": self.times,
                "tokens_per_second": a.tokens / seconds, "peak_memory_bytes": max(0, self.peak - self.before),
                "memory_before_bytes": self.before, "trainable": sum(p.numel() for p in self.parameters),
                "loss": self.loss, "steps": a.steps, "threads": torch.get_num_threads(), "fused_optimizer": a.fused,
                "allocator": {k: os.environ[k] for k in ALLOCATOR if k in os.environ},
                "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                             "peft": peft.__version__}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-7b-slice")
    parser.add_argument("--method", nargs="+", choices=["lora", "dora", "vera", "ft"], default=["lora", "dora"])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--fused", action="store_true", help="torch's fused AdamW (its default is the other)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    config = transformers.LlamaConfig(max_position_embeddings=8192, rms_norm_eps=1e-6, tie_word_embeddings=False,
                                      attn_implementation="sdpa", **SHAPES[args.shape])
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, args.dtype))
    with torch.device(args.device):
        base = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    base.requires_grad_(False)
    ids = torch.randint(3, config.vocab_size, (1, args.tokens), generator=torch.Generator().manual_seed(2)).to(args.device)
    methods = [Method(name, base, args) for name in args.method]
    for method in methods:
        method.activate(False)
    for i, method in enumerate(methods):
        method.activate(True)
        method.measure_memory(ids, first=i == 0)
        method.activate(False)
    for turn in range(args.warmup + args.steps):
        for method in methods:
            method.activate(True)
            start = time.perf_counter()
            method.step(ids)
            if turn >= args.warmup:
                method.times.append(time.perf_counter() - start)
            method.activate(False)
    for method in methods:
        print(json.dumps(method.line(ids)), flush=True)


if __name__ == "__main__":
    main()
