#!/usr/bin/env python3
"""One run trained by several processes: together_test.py BINARY [TORCHRUN]. Standard library only; torchrun where it is."""
import json, os, signal, struct, subprocess, sys, time, unittest
import support
from support import dora, tiny_experiment, run_folders

TORCHRUN = ""


def tensors(path):
    """A safetensors file's float32 tensors as lists."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32", entry
            a, b = entry["data_offsets"]
            out[name] = struct.unpack(f"<{(b - a) // 4}f", data[a:b])
    return out


class Together(support.FolderTest):
    def experiment(self, name, **changes):
        folder = self.folder / name
        folder.mkdir()
        train = {"max_steps": 12, "batch_size": 8, "micro_batch_size": 2, "learning_rate": 1e-3, "validation": 6, "evaluate_every": 4,
                 "weight_decay": 0.01, **changes.pop("train", {})}
        adapter = {"dropout": 0.1, **changes.pop("adapter", {})}
        return tiny_experiment(folder, train=train, adapter=adapter, **changes), folder / "results"

    def assert_same_training(self, one, other):
        (a,), (b,) = run_folders(one), run_folders(other)
        self.assertEqual(a.name, b.name)    # how it was launched is no part of a run's identity
        x, y = tensors(a / "adapter/adapter_model.safetensors"), tensors(b / "adapter/adapter_model.safetensors")
        self.assertEqual(x.keys(), y.keys())
        for name in x:
            self.assertLess(max(abs(p - q) for p, q in zip(x[name], y[name])), 1e-6, name)
        for log in ("steps.jsonl", "validation.jsonl"):
            lines = [[json.loads(line) for line in (run / log).read_text().splitlines()] for run in (a, b)]
            self.assertEqual(len(lines[0]), len(lines[1]))
            for p, q in zip(*lines):
                self.assertEqual(p["step"], q["step"])
                self.assertAlmostEqual(p["loss"], q["loss"], delta=1e-6 * abs(p["loss"]) + 1e-6)

    def test_two_processes_equal_one_at_the_same_global_batch(self):
        for method in ("dora", "vera", "ft"):
            adapter = {"method": method} if method == "ft" else {"method": method, "rank": 4}
            one, at_one = self.experiment(method + "_one", adapter=adapter)
            two, at_two = self.experiment(method + "_two", adapter=adapter)
            if method != "dora":    # a key that the method does not use is an error
                for path in (one, two):
                    config = json.loads(path.read_text())
                    config["adapter"] = {"method": method} if method == "ft" else {"method": method, "rank": 4, "target_modules": ["q_proj", "v_proj"]}
                    config["train"]["learning_rate"] = 1e-4 if method == "ft" else 1e-3
                    path.write_text(json.dumps(config))
            dora("run", one, "--quiet", "--no-report")
            dora("run", two, "--quiet", "--no-report", "--launcher", "torchrun", "--jobs", 2)
            self.assert_same_training(at_one, at_two)

    def test_three_processes_share_batches_that_do_not_divide_and_a_sweep_with_a_failure(self):
        one, at_one = self.experiment("one", train={"batch_size": 7, "micro_batch_size": 1})
        many, at_many = self.experiment("many", train={"batch_size": 7, "micro_batch_size": 1})
        dora("run", one, "--quiet", "--no-report")
        dora("run", many, "--quiet", "--no-report", "--launcher", "torchrun", "--jobs", 3)
        self.assert_same_training(at_one, at_many)
        sweep, results = self.experiment("sweep", sweep={"train.learning_rate": [1e30, 1e-3]}, train={"max_grad_norm": 0})
        _, err = dora("run", sweep, "--no-progress", "--launcher", "torchrun", "--jobs", 2, expect=5)
        self.assertIn("expected a finite", err)
        states = sorted(json.loads((r / "metrics.json").read_text())["status"] for r in run_folders(results))
        self.assertEqual(states, ["done", "failed"])

    def test_processes_that_were_killed_go_on_together(self):
        one, at_one = self.experiment("one", train={"max_steps": 120, "save_every": 5})
        two, at_two = self.experiment("two", train={"max_steps": 120, "save_every": 5})
        dora("run", one, "--quiet", "--no-report")
        words = [support.BINARY, "run", str(two), "--quiet", "--no-report", "--launcher", "torchrun", "--jobs", "2"]
        process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(at_two.glob("runs/*/checkpoint/step-*")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.assertEqual(len(list(at_two.glob("runs/*/checkpoint"))), 1)
        dora("run", two, "--quiet", "--no-report", "--launcher", "torchrun", "--jobs", 2)
        self.assert_same_training(at_one, at_two)

    def test_a_process_without_the_launchers_variables_says_what_is_missing(self):
        path, _ = self.experiment("x")
        env = {**os.environ, "RANK": "0"}
        _, err = dora("run", path, "--launcher", "torchrun", env=env, expect=2)
        self.assertIn("WORLD_SIZE", err)
        env["WORLD_SIZE"] = "2"
        _, err = dora("run", path, "--launcher", "torchrun", env=env, expect=2)
        self.assertIn("MASTER_ADDR", err)

    def test_torchrun_starts_the_processes(self):
        if not os.access(TORCHRUN, os.X_OK):
            self.skipTest("torchrun is absent (scripts/setup --peers)")
        if subprocess.run([TORCHRUN, "--help"], capture_output=True).returncode != 0:
            self.skipTest("torchrun does not start here (the wheel was installed without its Python dependencies)")
        one, at_one = self.experiment("one")
        two, at_two = self.experiment("two")
        dora("run", one, "--quiet", "--no-report")
        p = subprocess.run([TORCHRUN, "--no-python", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0",
                            support.BINARY, "run", str(two), "--quiet", "--no-report", "--launcher", "torchrun"],
                           capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self.assertEqual(p.returncode, 0, p.stderr[-2000:])
        self.assert_same_training(at_one, at_two)


if __name__ == "__main__":
    TORCHRUN = sys.argv.pop(2)
    support.use_binary()
    os.environ["OMP_NUM_THREADS"] = "1"
    unittest.main(verbosity=2)
