#!/usr/bin/env python3
"""Whole commands on real input, through the command line alone: program_test.py BINARY.

Standard library only. What needs ../shared skips with a reason where it is absent."""
import hashlib, json, os, pathlib, random, signal, subprocess, sys, tempfile, time, unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
BINARY = ""
METHODS = ["ft", "lora", "dora", "vera", "dvora"]
TASKS = ["boolq", "piqa", "siqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "obqa"]
needs_shared = unittest.skipUnless(SHARED.is_dir(), "../shared is absent (a public clone): its data and models are not here")


def dora(*words, expect=0, **kw):
    p = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=600, cwd=ROOT, **kw)
    assert p.returncode == expect, f"exit {p.returncode}, expected {expect}: {' '.join(map(str, words))}\n{p.stdout[-500:]}\n{p.stderr[-2000:]}"
    return p.stdout, p.stderr


def small_world(folder, **changes):
    """A tiny run of all five methods on random weights and the synthetic world: no file is needed."""
    config = {"name": "small", "seed": 3, "results": str(folder / "results"),
              "backend": {"type": "llama", "shape": "quickstart", "tokenizer": "quickstart/world", "dtype": "float32", "device": "cpu"},
              "adapter": {"method": "dora", "rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj", "v_proj", "up_proj"]},
              "train": {"data": "quickstart/shifted", "template": "plain", "train_on_inputs": False, "max_steps": 30, "batch_size": 8,
                        "micro_batch_size": 4, "learning_rate": 5e-3, "warmup_steps": 2, "max_length": 64, "save_every": 3, "validation": 16, "evaluate_every": 10},
              "evaluate": {"tasks": ["quickstart/shifted"], "limit": 12, "num_beams": 2, "max_new_tokens": 4}}
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
    path = folder / "small.yaml"
    path.write_text(json.dumps(config, indent=1))
    return path


def run_folders(results):
    return sorted(p for p in (pathlib.Path(results) / "runs").iterdir() if (p / "metrics.json").exists())


def fingerprint(run):
    """What an undisturbed and a resumed run must share to the bit; times are left out."""
    out = {}
    for name in ("adapter/adapter_model.safetensors", "samples/quickstart.shifted.jsonl"):
        out[name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    out["steps"] = [(s["step"], s["loss"], s["learning_rate"], s["grad_norm"]) for s in map(json.loads, (run / "steps.jsonl").read_text().splitlines())]
    return out


class Program(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temp.name)

    def tearDown(self):
        self.temp.cleanup()

    def test_all_methods_train_and_are_compared(self):
        path = small_world(self.folder, sweep={"adapter.method": METHODS})
        out, _ = dora("run", path, "--no-progress")
        runs = [json.loads((r / "metrics.json").read_text()) for r in run_folders(self.folder / "results")]
        self.assertEqual(sorted(m["method"] for m in runs), sorted(METHODS))
        for metrics in runs:
            self.assertEqual(metrics["status"], "done", metrics.get("error"))
            self.assertIn(metrics["method"], out)
            checks = {name: c["status"] for name, c in metrics["checks"].items()}
            self.assertNotIn("failed", checks.values())
            for name in ("identity", "liveness", "keys", "reload", "merge"):
                self.assertIn(name, checks)
        again, err = dora("run", path, "--no-progress")
        self.assertIn("done before", err)          # nothing is repeated
        self.assertEqual(out.split("report:")[0], again.split("report:")[0])
        for form in ("markdown", "csv", "latex", "json"):
            text, _ = dora("report", "--results", self.folder / "results", "--format", form)
            self.assertIn("dvora", text)

    def test_the_same_configuration_gives_the_same_bits(self):
        prints = []
        for n in range(2):
            folder = self.folder / str(n)
            folder.mkdir()
            dora("run", small_world(folder), "--quiet")
            prints.append(fingerprint(run_folders(folder / "results")[0]))
        self.assertEqual(prints[0], prints[1])

    def test_a_killed_run_goes_on_and_ends_with_the_same_bits(self):
        whole, broken = self.folder / "whole", self.folder / "broken"
        whole.mkdir(), broken.mkdir()
        long = {"train": {"max_steps": 400, "save_every": 20, "evaluate_every": 100}}
        dora("run", small_world(whole, **long), "--quiet")
        path = small_world(broken, **long)
        dice, kills = random.Random(5), 0
        for attempt in range(6):
            p = subprocess.Popen([BINARY, "run", str(path), "--quiet"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0.5, 1.5))
            if p.poll() is None:
                p.send_signal(signal.SIGKILL if attempt % 2 else signal.SIGINT)
                kills += 1
            p.wait()
        dora("run", path, "--quiet")
        self.assertGreater(kills, 0)
        self.assertEqual(fingerprint(run_folders(whole / "results")[0]), fingerprint(run_folders(broken / "results")[0]))

    def test_processes_share_one_store(self):
        path = small_world(self.folder, seed=[1, 2, 3, 4], train={"max_steps": 4})
        dora("run", path, "--jobs", "2", "--no-progress")
        self.assertEqual(len(run_folders(self.folder / "results")), 4)
        listed = json.loads(dora("list", "runs", "--results", self.folder / "results", "--format", "json")[0])
        self.assertEqual(len(listed), 4)

    def test_a_failed_run_is_listed_and_the_others_finish(self):
        path = small_world(self.folder, sweep={"train.learning_rate": [1e-3, 1e30]}, train={"max_steps": 6, "max_grad_norm": 0})
        out, err = dora("run", path, "--no-progress", expect=5)
        states = sorted(json.loads((r / "metrics.json").read_text())["status"] for r in run_folders(self.folder / "results"))
        self.assertEqual(states, ["done", "failed"])
        self.assertIn("loss", err)

    def test_full_fine_tuning_leaves_as_a_checkpoint_that_loads(self):
        config = json.loads(small_world(self.folder, train={"max_steps": 5}).read_text())
        config["adapter"] = {"method": "ft"}
        (self.folder / "ft.yaml").write_text(json.dumps(config))
        dora("run", self.folder / "ft.yaml", "--quiet")
        dora("export", "small", "--results", self.folder / "results", "--to", self.folder / "base")
        (self.folder / "in.jsonl").write_text(json.dumps({"id": "a", "prompt": "question : where does mira live ?"}) + "\n")
        out, _ = dora("generate", "--checkpoint", self.folder / "base", "--input", self.folder / "in.jsonl", "--max-new-tokens", "4")
        self.assertEqual(json.loads(out)["id"], "a")
        dora("export", "small", "--results", self.folder / "results", "--to", self.folder / "base", expect=2)   # not empty

    def test_the_memory_of_a_qdora_step_is_what_params_said(self):
        rows = self.folder / "rows.jsonl"
        draw = random.Random(0)
        with rows.open("w") as file:
            for _ in range(8):
                ids = [draw.randrange(3, 31999) for _ in range(256)]
                file.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
        for dtype in ("float32", "bfloat16"):
            path = self.folder / f"{dtype}.yaml"
            path.write_text(json.dumps({
                "name": dtype, "results": str(self.folder / dtype),
                "backend": {"type": "llama", "shape": "small", "dtype": dtype, "device": "cpu", "quantization": "nf4"},
                "adapter": {"method": "dora", "rank": 16, "alpha": 32, "target_modules":
                            ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
                "train": {"data": str(rows), "max_steps": 2, "batch_size": 4, "micro_batch_size": 4, "max_length": 256, "save_every": 0},
                "evaluate": {"tasks": []}}))
            said = json.loads(dora("params", path, "--format", "json")[0])["memory_bytes"]["total"]
            dora("run", path, "--no-progress", "--no-report", "--quiet")
            measured = json.loads((run_folders(self.folder / dtype)[0] / "metrics.json").read_text())["train"]["peak_bytes"]
            self.assertLess(abs(said / measured - 1), 0.1, f"{dtype}: predicted {said}, measured {measured}")

    def test_a_run_that_cannot_fit_ends_before_it_starts_and_says_what_would(self):
        rows = self.folder / "rows.jsonl"
        rows.write_text(json.dumps({"input_ids": [1, 2, 3], "labels": [1, 2, 3]}) + "\n")
        path = self.folder / "large.yaml"
        path.write_text(json.dumps({
            "name": "large", "results": str(self.folder / "results"), "backend": {"type": "llama", "shape": "llama-13b", "device": "cpu"},
            "adapter": {"method": "dora", "rank": 16, "alpha": 32, "target_modules": ["q_proj"]},
            "train": {"data": str(rows), "max_steps": 1, "batch_size": 4096, "micro_batch_size": 4096, "max_length": 2048}, "evaluate": {"tasks": []}}))
        started = time.time()
        _, err = dora("run", path, "--no-progress", expect=8)
        self.assertLess(time.time() - started, 60)
        for word in ("gradient_checkpointing=true", "micro_batch_size=1", "quantization=nf4", "nothing was started"):
            self.assertIn(word, err)

    def test_the_plan_says_what_each_training_takes(self):
        path = small_world(self.folder)

        def plan(*changes):
            (run,) = json.loads(dora("run", path, *changes, "--dry-run", "--format", "json")[0])["runs"]
            return run["train_seconds_estimate"]
        self.assertGreater(plan(), 0)
        self.assertGreater(plan("train.epochs=0.5"), 0)    # the examples are counted
        self.assertIsNone(plan("train.epochs=0.5", "train.data=" + str(self.folder / "absent.jsonl")))
        self.assertRegex(dora("run", path, "--dry-run")[0], r"about [\d.]+ \w+ ")
        self.assertFalse((self.folder / "results").exists())

    def test_missing_data_ends_before_training_with_its_own_code(self):
        path = small_world(self.folder, evaluate={"tasks": ["boolq"]}, data_dir=str(self.folder / "nowhere"))
        _, err = dora("run", path, expect=6)
        self.assertIn("boolq", err)

    @needs_shared
    def test_a_real_llama_goes_all_the_way_on_the_commonsense_files(self):
        data, model = SHARED / "data/commonsense", SHARED / "data/models/stories260K"
        config = {"name": "real_input", "seed": 1, "data_dir": str(data), "results": str(self.folder / "results"),
                  "backend": {"type": "llama", "checkpoint": str(model), "dtype": "float32", "device": "cpu"},
                  "adapter": {"method": "dora", "rank": 4, "alpha": 8, "dropout": 0.05, "target_modules": ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]},
                  "train": {"data": str(data / "train/commonsense_mix_1k.json"), "template": "llm_adapters", "max_steps": 3, "batch_size": 4,
                            "micro_batch_size": 4, "learning_rate": 1e-3, "warmup_steps": 1, "max_length": 256},
                  "evaluate": {"tasks": TASKS, "limit": 2, "max_new_tokens": 4}, "sweep": {"adapter.method": METHODS}}
        path = self.folder / "real.yaml"
        path.write_text(json.dumps(config))
        out, err = dora("run", path, "--no-progress")
        for metrics in (json.loads((r / "metrics.json").read_text()) for r in run_folders(self.folder / "results")):
            self.assertEqual(metrics["status"], "done", metrics.get("error"))
            self.assertEqual(sorted(metrics["tasks"]), sorted(TASKS))
            self.assertTrue(metrics["partial"])
            self.assertGreater(metrics["train"]["dropped_rows"] + metrics["train"]["cut_rows"], 0)   # counted, not hidden
        self.assertIn("partial", out)
        dora_run = next(r for r in run_folders(self.folder / "results") if json.loads((r / "metrics.json").read_text())["method"] == "dora")
        dora("merge", "--checkpoint", model, "--adapter", dora_run / "adapter", "--to", self.folder / "merged", "--dtype", "float32")
        rows = [{"id": str(i), "context": "Once upon a time", "continuation": c} for i, c in enumerate([", there was", " a boat", " zzz"])]
        (self.folder / "in.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        scores = []
        for words in (["--checkpoint", model, "--adapter", dora_run / "adapter"], ["--checkpoint", self.folder / "merged"]):
            out, _ = dora("score", *words, "--input", self.folder / "in.jsonl")
            scores.append([json.loads(x)["loglikelihood"] for x in out.splitlines()])
        for a, b in zip(*scores):
            self.assertAlmostEqual(a, b, places=3)
        analysis = json.loads(dora("analyze", "--base", model, "--tuned", self.folder / "merged", "--format", "json")[0])
        self.assertTrue(any(r["delta_m"] > 0 for r in analysis["rows"]))

    @needs_shared
    def test_a_real_llama_writes_its_reference_text(self):
        model = SHARED / "data/models/stories260K"
        reference = json.loads((model / "reference.json").read_text())
        (self.folder / "in.jsonl").write_text(json.dumps({"id": "a", "prompt": ""}) + "\n")
        out, _ = dora("generate", "--checkpoint", model, "--input", self.folder / "in.jsonl", "--max-new-tokens", "60", "--eos-token-id", "none")
        text = json.loads(out)["text"].strip()
        self.assertIn(text[:120], json.dumps(reference, ensure_ascii=False).replace("\\n", "\n"))


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    os.environ["OMP_NUM_THREADS"] = "1"
    unittest.main(verbosity=2)
