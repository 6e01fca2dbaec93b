#!/usr/bin/env python3
"""Job arrays on a real Slurm, which start_slurm brings up on this machine: slurm_test.py BINARY. Exit 77 (skipped) where
Debian's slurm-wlm is absent."""
import json, os, pathlib, signal, subprocess, sys, tempfile, time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "end_to_end"))
import support
from support import dora, tiny_experiment, run_folders, index_rows

FOLDER = None


def start():
    p = subprocess.run([HERE / "start_slurm", FOLDER / "slurm"], text=True, stdout=subprocess.PIPE, timeout=120)
    if p.returncode == 77:
        print("skipped: Slurm (Debian's slurm-wlm) is absent")
        sys.exit(77)
    assert p.returncode == 0, "start_slurm failed"
    os.environ["SLURM_CONF"] = p.stdout.strip().removeprefix("export SLURM_CONF=")


def stop():
    pids = FOLDER / "slurm/pids"
    for pid in pids.read_text().split() if pids.exists() else []:
        try:
            os.kill(int(pid), signal.SIGTERM)
        except ProcessLookupError:
            pass


class Slurm(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(dir=FOLDER)
        self.folder = pathlib.Path(self.temp.name)

    def tearDown(self):
        self.temp.cleanup()

    def wait(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if not subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout.strip():
                return
            time.sleep(0.2)
        self.fail("the queue did not empty:\n" + subprocess.run(["squeue"], capture_output=True, text=True).stdout)

    def test_a_sweep_runs_as_one_job_array_and_the_same_command_collects(self):
        path = tiny_experiment(self.folder, seed=[1, 2], sweep={"adapter.method": ["lora", "dora"], "adapter.rank": [2, 4]})
        words = ["run", path, "--launcher", "slurm", "--jobs", 2, "--no-progress", "--sbatch=--time=10"]
        out, _ = dora(*words)
        self.assertIn("8 runs", out)
        out, _ = dora(*words, expect=5)             # still at work: nothing is submitted twice
        self.assertIn("at work", out)
        self.assertNotIn("submitted", out)
        self.wait()
        out, _ = dora(*words)
        self.assertIn("dora", out)
        self.assertNotIn("submitted", out)
        runs = run_folders(self.folder / "results")
        self.assertEqual({json.loads((r / "metrics.json").read_text())["status"] for r in runs}, {"done"})
        self.assertEqual(len(runs), 8)
        self.assertEqual(len(index_rows(self.folder / "results")), 8)
        self.assertEqual(len(list((self.folder / "results/slurm").glob("*.log"))), 8)   # one array, a task a run

    def test_what_failed_is_named_and_submitted_again_alone(self):
        path = tiny_experiment(self.folder, sweep={"train.learning_rate": [1e-3, 1e30, 2e-3]}, train={"max_grad_norm": 0, "max_steps": 4})
        words = ["run", path, "--launcher", "slurm", "--no-progress"]
        dora(*words)
        self.wait()
        out, err = dora(*words)
        self.assertIn("failed: run", err)
        self.assertIn(": 1 runs", out)
        self.wait()

    def test_srun_starts_processes_that_train_together(self):
        path = tiny_experiment(self.folder)
        p = subprocess.run(["srun", "-n2", "--overcommit", support.BINARY, "run", str(path), "--launcher", "torchrun", "--quiet", "--no-report"],
                           capture_output=True, text=True, timeout=120, cwd=support.ROOT)
        self.assertEqual(p.returncode, 0, p.stderr[-2000:])
        (run,) = run_folders(self.folder / "results")
        self.assertEqual(json.loads((run / "metrics.json").read_text())["status"], "done")

    def test_a_plan_of_more_than_a_thousand_runs_is_split_into_arrays(self):
        path = tiny_experiment(self.folder, seed=list(range(1002)))
        out, _ = dora("run", path, "--launcher", "slurm", "--sbatch=--hold")
        self.assertIn(": 1000 runs", out)
        self.assertIn(": 2 runs", out)
        subprocess.run(["scancel", "--user", os.environ.get("USER", "root")], check=True)
        self.wait()

    def test_a_refusal_of_sbatch_is_passed_on(self):
        _, err = dora("run", tiny_experiment(self.folder), "--launcher", "slurm", "--sbatch=--partition=nowhere", expect=1)
        self.assertIn("sbatch refused", err)


if __name__ == "__main__":
    support.use_binary()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temp:
        FOLDER = pathlib.Path(temp)
        start()
        try:
            result = unittest.main(verbosity=2, exit=False).result
        finally:
            stop()
    sys.exit(not result.wasSuccessful())
