#!/usr/bin/env python3
"""Times generation and log-likelihood scoring of HF transformers (with a peft adapter) on ready-made requests.

  hf_eval.py --make FOLDER --shape small     # random weights as a checkpoint, with a LoRA and a DoRA adapter
  hf_eval.py --folder FOLDER --adapter dora --kind beam --batch 8 --items 16

Requests are files of FOLDER as `dora-bench generate` and `score` read them (ids, no text). One JSON line a kind and
batch size: user CPU seconds of the work alone (no loading), with the answers. Rows are padded on the left for
generation and on the right for scoring, batches sorted by length; scoring follows lm-evaluation-harness (every request
is a row of its own, log-softmax over all its positions).
"""
import argparse
import json
import os
import pathlib
import resource
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
import peft  # noqa: E402
import transformers  # noqa: E402
from peft_step import SHAPES, TARGETS  # noqa: E402


def make(folder, shape, rank):
    config = transformers.LlamaConfig(max_position_embeddings=8192, rms_norm_eps=1e-6, tie_word_embeddings=False,
                                      **SHAPES[shape])
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "base")
    for name in ("lora", "dora"):
        model = transformers.LlamaForCausalLM.from_pretrained(folder / "base")
        model = peft.get_peft_model(model, peft.LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=TARGETS, use_dora=name == "dora",
            task_type="CAUSAL_LM"))
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "lora_B" in key:
                    p.copy_(0.02 * torch.randn(p.shape, generator=draw))
                if "magnitude" in key:
                    p.mul_(1 + 0.1 * torch.randn(p.shape, generator=draw))
        model.save_pretrained(folder / name)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def spread(rows, count, size):
    """`count` of them, evenly over their lengths, longest first."""
    rows = sorted(rows, key=lambda row: -size(row))
    count = min(count or len(rows), len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def padded(rows, left):
    width = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for k, row in enumerate(rows):
        at = slice(width - len(row), width) if left else slice(0, len(row))
        ids[k, at], mask[k, at] = torch.tensor(row), 1
    return ids, mask


def generate(model, requests, batch, beams, new):
    answers = {}
    for start in range(0, len(requests), batch):
        part = requests[start:start + batch]
        ids, mask = padded([r["prompt_ids"] for r in part], left=True)
        out = model.generate(input_ids=ids, attention_mask=mask, num_beams=beams, do_sample=False,
                             max_new_tokens=new, eos_token_id=None, pad_token_id=0, use_cache=True)
        for row, request in zip(out[:, ids.shape[1]:].tolist(), part):
            answers[request["id"]] = row
    return answers


def score(model, requests, batch):
    answers = {}
    for start in range(0, len(requests), batch):
        part = requests[start:start + batch]
        rows = [r["context_ids"] + r["continuation_ids"] for r in part]
        ids, mask = padded([row[:-1] for row in rows], left=False)
        logits = torch.log_softmax(model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float(), -1)
        for k, (row, request) in enumerate(zip(rows, part)):
            mine = logits[k, len(request["context_ids"]) - 1:len(row) - 1]
            target = torch.tensor(request["continuation_ids"])
            chosen = mine.gather(1, target[:, None]).sum()
            answers[request["id"]] = [float(chosen), bool((mine.argmax(-1) == target).all())]
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=pathlib.Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="small")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--adapter", choices=["none", "lora", "dora"], default="none")
    parser.add_argument("--kind", nargs="+", choices=["beam", "greedy", "shared", "independent"], default=["beam"])
    parser.add_argument("--batch", nargs="+", type=int, default=[8])
    parser.add_argument("--items", type=int, default=0, help="of a kind, spread over the lengths (0: all)")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--new", type=int, default=32)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if args.make:
        return make(args.make, args.shape, args.rank)
    model = transformers.LlamaForCausalLM.from_pretrained(args.folder / "base", attn_implementation="sdpa")
    if args.adapter != "none":
        model = peft.PeftModel.from_pretrained(model, args.folder / args.adapter)
    model.eval()

    def work(kind, requests, batch):
        if kind in ("beam", "greedy"):
            return generate(model, requests, batch, args.beams if kind == "beam" else 1, args.new)
        return score(model, requests, batch)

    with torch.no_grad():
        for kind in args.kind:
            requests = read(args.folder / f"{'prompts' if kind in ('beam', 'greedy') else kind}.jsonl")
            work(kind, spread(requests, 1, lambda r: -len(json.dumps(r))), 1)  # warm
            for batch in args.batch:
                part = spread(requests, args.items and max(args.items, batch),
                              lambda r: len(r.get("prompt_ids", [])) + len(r.get("context_ids", [])))
                wall, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
                answers = work(kind, part, batch)
                user = resource.getrusage(resource.RUSAGE_SELF).ru_utime - user
                print(json.dumps({"tool": "hf", "kind": kind, "adapter": args.adapter, "batch": batch,
                                  "items": len(part), "cpu_seconds": user, "wall_seconds": time.perf_counter() - wall,
                                  "threads": torch.get_num_threads(), "answers": answers,
                                  "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                                               "peft": peft.__version__}}), flush=True)


if __name__ == "__main__":
    main()
