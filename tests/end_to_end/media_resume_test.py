#!/usr/bin/env python3
"""A VL-BART run with dropout, soft targets and two tasks in turn, killed on the way: media_resume_test.py BINARY."""
import json, os, random, signal, subprocess, unittest
import support
from support import content, dora


class MediaResume(support.FolderTest):
    def experiment(self, name, dropout):
        world = self.folder / "world"
        config = {"name": "media", "seed": 2, "data_dir": str(world), "results": str(self.folder / name),
                  "backend": {"type": "vlbart", "shape": "quickstart", "tokenizer": str(world / "tokenizer"), "dtype": "float32",
                              "device": "cpu", "options": {"dropout": dropout}},
                  "adapter": {"method": "dora", "rank": 4, "alpha": 8, "dropout": dropout, "target_modules": ["q_proj", "v_proj"]},
                  "train": {"data": [{"task": "quickstart/scenes", "batch_size": 4}, {"task": "quickstart/statements", "batch_size": 2}],
                            "max_steps": 80, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-3, "max_length": 100, "save_every": 5},
                  "evaluate": {"tasks": ["quickstart/scenes"], "limit": 4},
                  "features": [{"images": "images", "to": "features/images", "kind": "grid", "encoder": str(world / "encoder")}]}
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(config))
        return path

    def test_a_killed_run_ends_with_the_bits_of_one_that_was_left_alone(self):
        dora("scenes", "--to", self.folder / "world", "--scenes", "24", "--clips", "2", "--quiet")
        whole, broken = self.experiment("whole", 0.1), self.experiment("broken", 0.1)
        dora("features", whole, "--quiet", "--no-progress")
        dora("run", whole, "--quiet", "--no-report")
        dice, resumed = random.Random(3), set()
        for _ in range(40):
            process = subprocess.Popen([support.BINARY, "run", str(broken), "--quiet", "--no-report"], cwd=support.ROOT, start_new_session=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=0.3 + dice.uniform(0, 1.0))
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                resumed |= {p.name for p in (self.folder / "broken").rglob("step-*")}
        dora("run", broken, "--quiet", "--no-report")
        self.assertTrue(resumed, "no kill fell behind a checkpoint")
        self.assertEqual(content(self.folder / "broken"), content(self.folder / "whole"))
        # dropout was in force: without it the losses are others from the first step on
        plain = self.experiment("plain", 0.0)
        dora("run", plain, "--quiet", "--no-report")
        (dropped,), (undropped,) = content(self.folder / "whole").values(), content(self.folder / "plain").values()
        self.assertNotEqual(dropped["steps"][0][1], undropped["steps"][0][1])


if __name__ == "__main__":
    support.use_binary()
    unittest.main()
