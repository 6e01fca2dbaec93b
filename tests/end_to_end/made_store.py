"""made_store.py DIR [RUNS [ITEMS]]: a results folder in the store's own format with made-up runs of eight tasks, to see
how reports behave with many runs; nothing in it was measured."""
import json, pathlib, random, sys

TASKS = ["boolq", "piqa", "siqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "obqa"]
CHANCE = {"boolq": 0.5, "piqa": 0.5, "siqa": 1 / 3, "hellaswag": 0.25, "winogrande": 0.5, "arc_easy": 0.25, "arc_challenge": 0.25, "obqa": 0.25}
WORDS = "the model reads a short question about everyday things and answers with one of the solutions that it was given".split()


def settings_of(method, rank, seed):
    return {"name": "made_up", "seed": seed, "backend": {"type": "llama", "shape": "tiny", "dtype": "float32"},
            "adapter": {"method": method, "rank": rank}, "train": {"data": "made_up", "learning_rate": 2e-4, "max_steps": 60},
            "evaluate": {"tasks": TASKS, "num_beams": 4}}


def make_run(folder, method, rank, seed, items, status="done", backbone="made-up"):
    rng = random.Random(f"{method} {rank} {seed}")
    name = "%016x" % rng.getrandbits(64)
    run = folder / "runs" / name
    (run / "samples").mkdir(parents=True)
    skill = 0.55 + 0.03 * {"lora": 0, "dora": 2, "vera": -1, "dvora": 1, "ft": 3}[method] + 0.02 * (rank or 8).bit_length() + rng.gauss(0, 0.01)
    tasks, average = {}, 0
    for number, task in enumerate(TASKS if status == "done" else TASKS[:1]):
        right = unparsed = 0
        with open(run / "samples" / f"{task}.jsonl", "w") as out:
            for item in range(items if status == "done" else items // 2):
                hard = random.Random(f"{task} {item}")
                prompt = f"{task} question {item}: " + " ".join(hard.choice(WORDS) for _ in range(40))
                answers = [f"solution{i}" for i in (1, 2, 3, 4)]
                gold = hard.choice(answers)
                good, parsed = rng.random() < min(0.97, max(0.03, skill + 0.4 * (hard.random() - 0.5))), rng.random() > 0.02
                given = gold if good else rng.choice(answers)
                good = parsed and given == gold
                right += good
                unparsed += not parsed
                out.write(json.dumps({"schema_version": 1, "id": str(item), "prompt": prompt, "target": gold, "prediction": given if parsed else "",
                                      "raw_output": f"the correct answer is {given}" if parsed else "I do not know", "parsed": parsed, "correct": good,
                                      "score": float(good), "cut_tokens": 0, "prompt_tokens": 60}, sort_keys=True, separators=(",", ":")) + "\n")
        value = right / items
        average += value / len(TASKS)
        half = 1.96 * (value * (1 - value) / items) ** 0.5
        tasks[task] = {"accuracy": {"value": value, "stderr": half / 1.96, "ci95": [value - half, value + half], "n": items}, "primary": "accuracy", "n": items,
                       "unparsed": unparsed, "chance": CHANCE[task], "below_chance": value < CHANCE[task], "fingerprint": task}
    with open(run / "steps.jsonl", "w") as out:
        for step in range(60 if status == "done" else 20):
            out.write(json.dumps({"step": step, "loss": 2 * 0.96**step + 0.5 + 0.05 * rng.random(), "learning_rate": 2e-4, "grad_norm": 1.0, "tokens": 512, "seconds": 0.1}) + "\n")
    trainable = 8_000_000 if method == "ft" else (rank or 1) * (3000 if method in ("vera", "dvora") else 100_000)
    if status == "done":
        (run / "metrics.json").write_text(json.dumps({
            "schema_version": 1, "run": name, "name": "made_up", "status": "done", "backend": "llama", "backbone": backbone, "method": method, "rank": rank, "seed": seed,
            "learning_rate": 2e-4, "trainable": trainable, "total": 8_000_000 + (0 if method == "ft" else trainable), "stored_bytes": 4 * trainable,
            "train_seconds": 10 + rng.random() + rank / 8, "peak_memory_bytes": (256 << 20) + 8 * trainable, "partial": False, "tasks": tasks, "average": average}))
    (run / "provenance.json").write_text(json.dumps({"commit": "0" * 12, "device": "cpu", "started": f"2026-01-01T00:{seed % 60:02}:00Z", "data": {}}))
    (run / "config.yaml").write_text(json.dumps(settings_of(method, rank, seed)))
    return run


def make_store(folder, runs=200, items=100):
    folder = pathlib.Path(folder)
    cells = [(m, r, s) for s in range(1, 1000) for m in ("lora", "dora", "vera", "dvora") for r in (4, 8, 16, 32, 64)]
    for method, rank, seed in cells[:runs]:
        make_run(folder, method, rank, seed, items)


if __name__ == "__main__":
    make_store(sys.argv[1], *map(int, sys.argv[2:]))
