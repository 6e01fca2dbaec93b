#!/usr/bin/env python3
"""Makes tokenizer/, conversations.json and expected.json: which tokens of a conversation bear loss when LLaVA-1.5 is tuned.

The rule is written here from its published description (arXiv:2310.03744 and the notes on its trainer), over HF's tokenizer:
the text of conversation template v1 is encoded with one id -200 an image; every round ends in </s>; of a round the tokens of
the part before the answer, the length of "… ASSISTANT: " less two (the begin token and the blank at its end), bear no loss;
a row is cut at its end. The tokenizer is LLaMA's kind (blanks as a mark in front of a word, bytes for what is unknown),
trained on these very texts.

    .venv-peers/bin/python tests/golden/llava/make_conversations.py
"""
import json
import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).resolve().parent
IMAGE, IGNORE, PATCHES = -200, -100, 16
SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
          "detailed, and polite answers to the user's questions.")

ROWS = [
    {"id": "one", "image": "a.png", "conversations": [
        {"from": "human", "value": "<image>\nWhat is on the table?"}, {"from": "gpt", "value": "A red cup."}]},
    {"id": "mark behind", "image": "a.png", "conversations": [
        {"from": "human", "value": "What colour is the cup?\n<image>"}, {"from": "gpt", "value": "Red"},
        {"from": "human", "value": "And how many are there?\nAnswer the question using a single word or phrase."},
        {"from": "gpt", "value": "2"},
        {"from": "human", "value": "Is it full?"}, {"from": "gpt", "value": "It is full of tea — “green” tea.\nHot, too."}]},
    {"id": "text alone", "conversations": [
        {"from": "human", "value": "Write a poem  of two lines, please."},
        {"from": "gpt", "value": "The cup is red,\nthe tea is green."},
        {"from": "human", "value": "Thanks!"}, {"from": "gpt", "value": "You are welcome! 🙂"}]},
    {"id": "an answer first", "conversations": [
        {"from": "gpt", "value": "Hello."}, {"from": "human", "value": "Where is the cup?"},
        {"from": "gpt", "value": "On the table."}]},
    {"id": "two images", "image": ["a.png", "b.png"], "conversations": [
        {"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A cup."},
        {"from": "human", "value": "<image>\nAnd this?"}, {"from": "gpt", "value": "A table."}]},
]


def make_tokenizer():
    words = set()
    for text in [SYSTEM, "USER: ASSISTANT:"] + [t["value"] for r in ROWS for t in r["conversations"]]:
        for line in text.encode("ascii", "ignore").decode().splitlines():
            words.update("▁" + w for w in line.split())
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=460, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)],
                                  show_progress=False)
    tokenizer.train_from_iterator(sorted(words), trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                                             special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(content=" ", left=1)])
    folder = HERE / "tokenizer"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
         "add_bos_token": True, "add_eos_token": False, "legacy": True}, indent=1) + "\n")
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="</s>",
                                   unk_token="<unk>")


def marked(tokenizer, text):
    out = []
    for n, part in enumerate(text.split("<image>")):
        ids = tokenizer(part).input_ids
        out += ids if n == 0 else [IMAGE] + ids[1:]
    return out


def front(value):
    if "<image>" not in value:
        return value
    return ("<image>\n" + value.replace("<image>", "").strip()).strip()


def render(row):
    turns = row["conversations"]
    if turns[0]["from"] != "human":
        turns = turns[1:]
    text = SYSTEM + " "
    for n, turn in enumerate(turns):
        assert turn["from"] == ("human", "gpt")[n % 2]
        value = front(turn["value"]) if "image" in row else turn["value"]
        text += "USER: " + value + " " if n % 2 == 0 else "ASSISTANT: " + value + "</s>"
    return text


def pieces(row):
    """[text, is it a target, does it end a turn]; the last </s> is left to the one who encodes."""
    out, rounds = [], render(row).split("</s>")[:-1]
    for n, part in enumerate(rounds):
        question, answer = part.split(" ASSISTANT:")
        out += [[question + " ASSISTANT:", False, False], [answer, True, False]]
        if n + 1 < len(rounds):
            out.append(["</s>", True, True])
    return out


def labelled(tokenizer, row, most):
    text = render(row)
    encode = (lambda t: marked(tokenizer, t)) if "image" in row else (lambda t: tokenizer(t).input_ids)
    ids = encode(text)
    labels = list(ids)
    at = 1
    labels[0] = IGNORE
    for part in text.split("</s>"):
        if not part:
            break
        question, _ = part.split(" ASSISTANT: ")
        length, silent = len(encode(part)), len(encode(question + " ASSISTANT: ")) - 2
        labels[at:at + silent] = [IGNORE] * silent
        at += length  # the begin token of this part's own encoding stands for its </s>
    assert at == len(ids), (at, len(ids))
    labels = [IGNORE if i == IMAGE else label for i, label in zip(ids, labels)]
    kept, length = 0, 0
    while kept < len(ids) and length + (PATCHES if ids[kept] == IMAGE else 1) <= most:
        length += PATCHES if ids[kept] == IMAGE else 1
        kept += 1
    return {"id": row["id"], "max_length": most, "input_ids": ids[:kept], "labels": labels[:kept],
            "pieces": pieces(row), "images": render(row).count("<image>"), "cut": len(ids) - kept}


def main():
    tokenizer = make_tokenizer()
    (HERE / "conversations.json").write_text(json.dumps(ROWS, indent=1, ensure_ascii=False) + "\n")
    cases = [labelled(tokenizer, row, most) for row in ROWS for most in (2048, 110)]
    (HERE / "expected.json").write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
    print([(c["id"], len(c["input_ids"]), sum(l >= 0 for l in c["labels"]), c["cut"]) for c in cases])


if __name__ == "__main__":
    main()
