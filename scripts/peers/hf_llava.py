#!/usr/bin/env python3
"""Times HF transformers' LLaVA on questions about pictures, greedily, as bench_llava_vs_hf asks for it.

  hf_llava.py --make FOLDER                     # random weights as a checkpoint in HF's layout, drawn pictures, questions
  hf_llava.py --folder FOLDER --batch 1 4 8     # one JSON line a batch size

The pictures are decoded and preprocessed once and outside the time, which is a help that an evaluation script does not
have; every question then goes through generate() with its picture, batches are padded on the left.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import PIL.Image  # noqa: E402
import PIL.ImageDraw  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from hf_eval import padded, read  # noqa: E402

IMAGE, VOCAB, SIDE = 31999, 32000, 336


def make(folder, images, questions, size):
    """A scale model of LLaVA-1.5: its 576 patches a picture, an image encoder and a decoder of `size`."""
    wide = {"small": (384, 6, 768, 8), "tiny": (128, 2, 256, 2)}[size]
    vision = transformers.CLIPVisionConfig(hidden_size=wide[0], intermediate_size=4 * wide[0], num_hidden_layers=wide[1],
                                           num_attention_heads=wide[0] // 64, image_size=SIDE, patch_size=14)
    text = transformers.LlamaConfig(hidden_size=wide[2], intermediate_size=2048 * wide[2] // 768,
                                    num_hidden_layers=wide[3], num_attention_heads=wide[2] // 64, vocab_size=VOCAB,
                                    max_position_embeddings=4096, tie_word_embeddings=False)
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=(SIDE // 14) ** 2))
    model.save_pretrained(folder / "base")
    draw = random.Random(5)
    (folder / "images").mkdir(exist_ok=True)
    lines = []
    for i in range(images):
        picture = PIL.Image.new("RGB", (SIDE, SIDE), tuple(draw.randrange(256) for _ in range(3)))
        pen = PIL.ImageDraw.Draw(picture)
        for _ in range(12):
            x, y, r = draw.randrange(SIDE), draw.randrange(SIDE), draw.randrange(10, 80)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(draw.randrange(256) for _ in range(3)))
        picture.save(folder / f"images/{i}.png")
        head = [1] + [draw.randrange(3, IMAGE) for _ in range(34)]  # the conversation's frame
        for _ in range(questions):
            ids = head + [IMAGE] + [draw.randrange(3, IMAGE) for _ in range(draw.randint(15, 30))]
            lines.append({"id": len(lines), "prompt_ids": ids, "images": [str(folder / f"images/{i}.png")]})
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "one.jsonl").write_text(json.dumps({**lines[0], "id": 0}) + "\n")


def expanded(ids, patches):
    return [t for i in ids for t in ([i] * patches if i == IMAGE else [i])]


def generate(model, pixels, requests, batch, new):
    answers, patches = {}, model.config.image_seq_length
    for start in range(0, len(requests), batch):
        part = requests[start:start + batch]
        ids, mask = padded([expanded(r["prompt_ids"], patches) for r in part], left=True)
        out = model.generate(input_ids=ids, attention_mask=mask, pixel_values=torch.cat([pixels[r["images"][0]] for r in part]),
                             num_beams=1, do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0,
                             use_cache=True)
        for row, request in zip(out[:, ids.shape[1]:].tolist(), part):
            answers[request["id"]] = row
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=pathlib.Path)
    parser.add_argument("--size", choices=["tiny", "small"], default="small")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--batch", nargs="+", type=int, default=[4])
    parser.add_argument("--new", type=int, default=8)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if args.make:
        return make(args.make, args.images, args.questions, args.size)
    model = transformers.LlavaForConditionalGeneration.from_pretrained(args.folder / "base", attn_implementation="sdpa")
    model.eval()
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    requests = read(args.folder / "questions.jsonl")
    pixels = {name: processor(PIL.Image.open(name), return_tensors="pt")["pixel_values"]
              for name in {r["images"][0] for r in requests}}
    with torch.no_grad():
        generate(model, pixels, requests[:1], 1, 1)  # warm
        for batch in args.batch:
            wall, user = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
            answers = generate(model, pixels, requests, batch, args.new)
            user, wall = resource.getrusage(resource.RUSAGE_SELF).ru_utime - user, time.perf_counter() - wall
            print(json.dumps({"tool": "hf", "batch": batch, "items": len(answers), "cpu_seconds": user,
                              "wall_seconds": wall, "threads": torch.get_num_threads(), "answers": answers}), flush=True)


if __name__ == "__main__":
    main()
