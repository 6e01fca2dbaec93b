"""What the end-to-end tests share: the program, a tiny experiment, and what two stores must have in common."""
import hashlib, json, os, pathlib, sqlite3, subprocess, sys, tempfile, unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ""


def use_binary():
    """Takes the program's path from the command line; the rest is unittest's."""
    global BINARY
    BINARY = str(pathlib.Path(sys.argv.pop(1)).resolve())


def dora(*words, expect=0, **kw):
    p = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=600, **{"cwd": ROOT, **kw})
    assert p.returncode == expect, f"exit {p.returncode}, expected {expect}: {' '.join(map(str, words))}\n{p.stdout[-500:]}\n{p.stderr[-2000:]}"
    return p.stdout, p.stderr


def tiny_experiment(folder, **changes):
    """One run of a second or less on random weights and the synthetic world; changes are merged in a level deep."""
    config = {"name": "tiny", "seed": 3, "results": str(folder / "results"),
              "backend": {"type": "llama", "shape": "quickstart", "tokenizer": "quickstart/world", "dtype": "float32", "device": "cpu"},
              "adapter": {"method": "dora", "rank": 4, "scaling": 2, "target_modules": ["q_proj", "v_proj"]},
              "train": {"data": "quickstart/shifted", "template": "plain", "train_on_inputs": False, "max_steps": 3, "batch_size": 4,
                        "micro_batch_size": 2, "learning_rate": 5e-3, "max_length": 64, "save_every": 1},
              "evaluate": {"tasks": ["quickstart/shifted"], "limit": 4, "num_beams": 1, "max_new_tokens": 2}}
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) and key in config else value
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(config, indent=1))
    return path


class FolderTest(unittest.TestCase):
    """A test with a folder of its own, and the store that tiny_experiment() makes there."""
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temp.name)
        self.results = self.folder / "results"

    def tearDown(self):
        self.temp.cleanup()


def run_folders(results):
    return sorted(p for p in (pathlib.Path(results) / "runs").iterdir() if (p / "metrics.json").exists())


def content(results):
    """What a store says, times left out: by run, the adapter's and samples' hashes, steps, status, metrics."""
    out = {}
    for run in run_folders(results):
        metrics = json.loads((run / "metrics.json").read_text())
        files = [run / "adapter/adapter_model.safetensors", *sorted((run / "samples").glob("*.jsonl"))]
        out[run.name] = {"files": [hashlib.sha256(f.read_bytes()).hexdigest() for f in files], "status": metrics["status"],
                         "tasks": metrics["tasks"], "checks": {k: v["status"] for k, v in metrics["checks"].items()},
                         "steps": [(s["step"], s["loss"], s["grad_norm"]) for s in map(json.loads, (run / "steps.jsonl").read_text().splitlines())]}
    return out


def index_rows(results):
    """The index's runs, after SQLite's own check of the file."""
    with sqlite3.connect(pathlib.Path(results) / "results.sqlite") as index:
        assert index.execute("pragma integrity_check").fetchone() == ("ok",)
        table = "runs"
        columns = [c[1] for c in index.execute(f"pragma table_info({table})")]
        return [dict(zip(columns, row)) for row in index.execute(f"select * from {table}")]
