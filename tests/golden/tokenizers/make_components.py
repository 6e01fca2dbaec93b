#!/usr/bin/env python3
"""components.json: what the HF tokenizers library (PyPI `tokenizers`, written with 0.23.1) makes of small tokenizers that
use each supported component. Models stand once; a variant names one and gives the rest of its tokenizer.json."""
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = """the low rank update of the weight keeps its direction and its magnitude
lower lowest newer newest wider widest 12 345 6789 the cat sat on the mat and the dog sat too
Don't they'll we've I'm it's caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u0434\u043e\u0431\u0440\u044b\u0439 \u4f60\u597d \u4e16\u754c""".split("\n") * 3
TEXTS = ["", " ", "  ", "the lowest rank", " the  cat", "the cat ", "Don't DON'T they'll", "12345 67", "caf\u00e9 cafe\u0301 CAF\u00c9", "\u4f60\u597d\u4e16\u754c",
         "a\u0000b", "\u0130\u03a3 \u1e9e\ufb01", "\u00bd\u00b2\u2460\u0663", "x\u180ey z\u00a0w\u3000v\u2028u", "<s>the</s>", "the <mask> cat", "the<mask>cat", " <mask>  cat", "lowlow", "low low", "alow",
         "<LOW>", "\U0001f600\u200d\U0001f468", "\ufffd\uffff", "\n\n\ta", "newest-widest_12", "\u2581the\u2581", "\u0915\u094d\u0937", "ZZZ qqq ZZ", "  the", "...!?", "the" * 12, "e" * 40]


def bpe(pre, size, alphabet, **options):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, **options))
    return json.loads(t.to_str())["model"]


BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
byte_model = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), 330, BYTES)
suffix_model = bpe(pre_tokenizers.Whitespace(), 150, [], end_of_word_suffix="</w>")
prefix_model = bpe(pre_tokenizers.Whitespace(), 150, [], continuing_subword_prefix="##")
space_model = bpe(pre_tokenizers.Metaspace(), 150, [])
fallback = json.loads(json.dumps(space_model))
order = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + list(space_model["vocab"])
fallback["vocab"] = {t: i for i, t in enumerate(dict.fromkeys(order))}
fallback.update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
unk = json.loads(json.dumps(space_model))
unk["vocab"]["<unk>"] = len(unk["vocab"])
unk["unk_token"] = "<unk>"
for b in range(0, 256, 2):  # half of the bytes: the fallback works for some characters alone
    unk["vocab"][f"<0x{b:02X}>"] = len(unk["vocab"])
MODELS = {"bytes": byte_model, "suffix": suffix_model | {"unk_token": None}, "prefix": prefix_model, "space": space_model, "fallback": fallback, "unk": unk}

GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
S, P, N, D = pre_tokenizers.Split, pre_tokenizers, normalizers, decoders


def added(*names, **options):
    return [AddedToken(n, **options) for n in names]


VARIANTS = {
    "byte_level": ("bytes", dict(pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())),
    "byte_level_prefix_space": ("bytes", dict(pre=P.ByteLevel(add_prefix_space=True), dec=D.ByteLevel())),
    "gpt4_pattern": ("bytes", dict(pre=P.Sequence([S(Regex(GPT4), "isolated"), byte_level]), dec=D.ByteLevel())),
    "o200k_pattern": ("bytes", dict(pre=P.Sequence([S(Regex(O200K), "isolated"), byte_level]), dec=D.ByteLevel())),
    "word_class": ("bytes", dict(pre=P.Sequence([S(Regex(r"\w+|[^\w\s]+"), "removed", invert=True), byte_level]), dec=D.ByteLevel())),
    "merged_with_previous": ("bytes", dict(pre=P.Sequence([S(Regex(r"[\s\d]"), "merged_with_previous"), byte_level]), dec=D.ByteLevel())),
    "merged_with_next": ("bytes", dict(pre=P.Sequence([S(" ", "merged_with_next"), byte_level]), dec=D.ByteLevel())),
    "contiguous": ("bytes", dict(pre=P.Sequence([S(Regex(r"\S"), "contiguous"), byte_level]), dec=D.ByteLevel())),
    "zero_width": ("bytes", dict(pre=P.Sequence([S(Regex(r"(?=[A-Z])|(?<=t)"), "isolated"), byte_level]), dec=D.ByteLevel())),
    "line_anchors": ("bytes", dict(pre=P.Sequence([S(Regex(r"^\s*|.$"), "isolated"), byte_level]), dec=D.ByteLevel())),
    "digits": ("bytes", dict(pre=P.Sequence([P.Digits(individual_digits=True), byte_level]), dec=D.ByteLevel())),
    "digit_runs": ("bytes", dict(pre=P.Sequence([P.Digits(individual_digits=False), byte_level]), dec=D.ByteLevel())),
    "nfc_lowercase": ("bytes", dict(norm=N.Sequence([N.NFC(), N.Lowercase(), N.Strip()]), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())),
    "nfkd": ("bytes", dict(norm=N.NFKD(), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())),
    "nfkc": ("bytes", dict(norm=N.NFKC(), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())),
    "nfd_replace": ("bytes", dict(norm=N.Sequence([N.NFD(), N.Replace(Regex(r"\s+"), " "), N.Replace("t", "tt")]), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel())),
    "added_tokens": ("bytes", dict(norm=N.Lowercase(), pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel(), added=added("<s>", "</s>", special=True, normalized=False)
                     + added("<mask>", lstrip=True, special=True, normalized=False) + added("low", single_word=True, normalized=False) + added("<low>", rstrip=True, normalized=True) + added("Don't", normalized=True, rstrip=True))),
    "roberta": ("bytes", dict(pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel(), added=added("<s>", "</s>", special=True), roberta=True)),
    "template": ("bytes", dict(pre=P.ByteLevel(add_prefix_space=False), dec=D.ByteLevel(), added=added("<s>", "</s>", special=True), template="<s> $A </s> </s>")),
    "suffix": ("suffix", dict(pre=P.Whitespace(), dec=D.BPEDecoder(suffix="</w>"), split=True)),
    "prefix": ("prefix", dict(split=True)),
    "metaspace_always": ("space", dict(pre=P.Metaspace(prepend_scheme="always"), dec=D.Metaspace(prepend_scheme="always"))),
    "metaspace_first": ("space", dict(pre=P.Metaspace(prepend_scheme="first", split=False), dec=D.Metaspace(prepend_scheme="first"), added=added("<mask>", "</s>", special=True, normalized=False))),
    "metaspace_never": ("space", dict(pre=P.Metaspace(prepend_scheme="never"), dec=D.Metaspace(prepend_scheme="never"))),
    "byte_fallback": ("fallback", dict(norm=N.Sequence([N.Prepend("\u2581"), N.Replace(" ", "\u2581")]), dec=D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]), added=added("<s>", "</s>", special=True, normalized=False))),
    "half_fallback": ("unk", dict(pre=P.Metaspace(), dec=D.Sequence([D.ByteFallback(), D.Metaspace()]), model=dict(byte_fallback=True))),
    "unk": ("unk", dict(pre=P.Metaspace(), dec=D.Metaspace())),
    "fused_unk": ("unk", dict(pre=P.Metaspace(), dec=D.Metaspace(), model=dict(fuse_unk=True))),
    "ignore_merges": ("space", dict(pre=P.Metaspace(), dec=D.Metaspace(), model=dict(ignore_merges=True))),
    "no_decoder": ("space", dict(pre=P.Metaspace())),
    "strip": ("space", dict(pre=P.Metaspace(), dec=D.Sequence([D.Strip("e", 2, 0), D.Fuse()]))),
}
out = []
for name, (model, v) in VARIANTS.items():
    t = Tokenizer(models.BPE())
    if "norm" in v:
        t.normalizer = v["norm"]
    pre = v.get("pre")
    if v.get("split"):  # the Whitespace pre-tokenizer in the words of Split
        pre = S(Regex(r"\w+|[^\w\s]+"), "removed", invert=True)
    if pre is not None:
        t.pre_tokenizer = pre
    if "dec" in v:
        t.decoder = v["dec"]
    document = json.loads(t.to_str())
    override = v.get("model", {})
    document["model"] = MODELS[model] | override
    t = Tokenizer.from_str(json.dumps(document))
    t.add_tokens(v.get("added", []))
    if "roberta" in v:
        t.post_processor = processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    if "template" in v:
        t.post_processor = processors.TemplateProcessing(single=v["template"], special_tokens=[(s, t.token_to_id(s)) for s in ("<s>", "</s>")])
    document = json.loads(t.to_str())
    del document["model"], document["version"], document["truncation"], document["padding"]
    cases = []
    for text in TEXTS:
        ids = t.encode(text, add_special_tokens=False).ids
        special = t.encode(text).ids
        case = {"text": text, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False)}
        if special != ids:
            case["ids_special"] = special
        if (skipped := t.decode(special)) != case["decoded"]:
            case["decoded_skip_special"] = skipped
        cases.append(case)
    out.append({"name": name, "model": model, "model_override": override, "parts": document, "cases": cases})
models_out = {k: m | {"merges": [" ".join(p) if isinstance(p, list) else p for p in m["merges"]]} for k, m in MODELS.items()}
path = pathlib.Path(__file__).with_name("components.json")
with open(path, "w") as f:
    f.write('{"models":{\n' + ",\n".join(json.dumps(k) + ":" + json.dumps(m, separators=(",", ":")) for k, m in models_out.items()))
    f.write('\n},"variants":[\n' + ",\n".join(json.dumps(v, separators=(",", ":")) for v in out) + "\n]}\n")
print(path, len(out), "variants,", path.stat().st_size, "bytes")
