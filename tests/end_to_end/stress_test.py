#!/usr/bin/env python3
"""What a store must survive: stress_test.py BINARY. Standard library only."""
import json, os, random, signal, subprocess, time, unittest
import support
from support import dora, tiny_experiment, content, index_rows, run_folders

SWEEP = {"adapter.method": ["lora", "dora"], "adapter.rank": [1, 2, 3, 4, 5]}


class Stress(support.FolderTest):
    def start(self, *words):
        return subprocess.Popen([support.BINARY, *map(str, words)], cwd=support.ROOT, start_new_session=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_a_sweep_whose_group_is_killed_ten_times_ends_with_the_same_store(self):
        whole, broken = self.folder / "whole", self.folder / "broken"
        whole.mkdir(), broken.mkdir()
        changes = {"seed": [1, 2, 3], "sweep": SWEEP}
        begin = time.monotonic()
        dora("run", tiny_experiment(whole, **changes), "--quiet", "--no-report", "--jobs", 2)
        seconds = time.monotonic() - begin
        path, dice, kills = tiny_experiment(broken, **changes), random.Random(7), 0
        for _ in range(60):
            process = self.start("run", path, "--quiet", "--no-report", "--jobs", 2)
            try:
                # a tenth of the undisturbed time each, start-up on top, so that ten kills fall within the sweep
                process.wait(timeout=0.4 + dice.uniform(0.0, 0.2) * seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                process.wait()
            if kills == 10:
                break
            if process.returncode == 0:
                break
        self.assertEqual(kills, 10, "the sweep was over before it had been killed ten times")
        dora("run", path, "--quiet", "--no-report", "--jobs", 2)
        expected, got = content(whole / "results"), content(broken / "results")
        self.assertEqual(len(expected), 30)
        self.assertEqual({r["status"] for r in got.values()}, {"done"})
        self.assertEqual(got, expected)
        self.assertEqual(sorted(r["id"] for r in index_rows(broken / "results")), sorted(expected))

    def test_sixteen_processes_write_one_store_at_once(self):
        paths = []
        for n in range(16):     # each has a run of its own and one that all want
            folder = self.folder / str(n)
            folder.mkdir()
            paths.append(tiny_experiment(folder, results=str(self.folder / "results"), seed=[100, n], evaluate={"limit": 2}))
        processes = [self.start("run", path, "--quiet", "--no-report", "--threads", 1) for path in paths]
        codes = [process.wait(timeout=300) for process in processes]
        self.assertTrue(set(codes) <= {0, 5}, codes)   # 5: another process is at the common run
        runs = run_folders(self.folder / "results")
        self.assertEqual(len(runs), 17)
        self.assertEqual({json.loads((r / "metrics.json").read_text())["status"] for r in runs}, {"done"})
        rows = index_rows(self.folder / "results")
        self.assertEqual(sorted(r["id"] for r in rows), sorted(r.name for r in runs))
        self.assertEqual({r["status"] for r in rows}, {"done"})

    def test_failures_are_listed_with_their_reason_and_run_again_by_the_same_command(self):
        path = tiny_experiment(self.folder, sweep={"train.learning_rate": [1e-3, 1e30, 2e-3]}, train={"max_grad_norm": 0, "max_steps": 4})
        for jobs in (1, 2):
            _, err = dora("run", path, "--no-progress", "--jobs", jobs, expect=5)
            self.assertIn("1 of 3 runs failed; the same command runs them again", err)
            states = [json.loads((r / "metrics.json").read_text()) for r in run_folders(self.folder / "results")]
            self.assertEqual(sorted(m["status"] for m in states), ["done", "done", "failed"])
            failed = next(m for m in states if m["status"] == "failed")
            self.assertEqual(err.count(failed["error"]), 2, err)    # tried once: when it happened, and in the list
        listed = json.loads(dora("list", "runs", "--results", self.folder / "results", "--format", "json")[0])
        self.assertIn(failed["error"], [r["error"] for r in listed])


if __name__ == "__main__":
    support.use_binary()
    unittest.main(verbosity=2)
