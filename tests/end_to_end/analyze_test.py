#!/usr/bin/env python3
"""The weight decomposition at several checkpoints of one run: analyze_test.py BINARY. Standard library only."""
import json, unittest
import support
from support import dora, tiny_experiment, run_folders, content


class Analyze(support.FolderTest):
    def test_adapters_kept_on_the_way_are_checkpoints_of_one_run(self):
        train = {"max_steps": 6, "keep_every": 2, "save_every": 0}
        dora("run", tiny_experiment(self.folder, train=train, sweep={"adapter.method": ["ft", "lora", "dora"]}), "--quiet", "--no-report")
        for method in ("ft", "lora", "dora"):
            whole = json.loads(dora("analyze", method, "--results", self.results, "--format", "json")[0])
            self.assertEqual([c["checkpoint"] for c in whole["checkpoints"]], ["2 steps", "4 steps", "6 steps"])
            self.assertEqual(whole["rows"], whole["checkpoints"][-1]["rows"])
            names = [r["name"] for r in whole["rows"]]
            for checkpoint in whole["checkpoints"]:
                self.assertEqual([r["name"] for r in checkpoint["rows"]], names)
                self.assertIn("pearson", checkpoint)
            distance = [sum(r["delta_d"] for r in c["rows"]) for c in whole["checkpoints"]]
            self.assertTrue(0 < distance[0] < distance[1] < distance[2], (method, distance))
            (together,) = whole["methods"]
            self.assertEqual(together["weights"], 3 * len(names))
            self.assertEqual(len(together["pearson_ci95"]), 2)
        one = json.loads(dora("analyze", "dora", "--module", "q_proj", "--results", self.results, "--format", "json")[0])
        self.assertEqual({r["module"] for c in one["checkpoints"] for r in c["rows"]}, {"q_proj"})
        self.assertEqual({r["layer"] for r in one["rows"]}, set(range(len(one["rows"]))))
        text, _ = dora("analyze", "lora", "dora", "--module", "[qv]_proj", "--results", self.results, "--plots", self.folder / "figures")
        self.assertIn("4 steps", text)
        figure = json.loads((self.folder / "figures/decomposition.vl.json").read_text())
        self.assertEqual({p["checkpoint"] for p in figure["data"]["values"]}, {"2 steps", "4 steps", "6 steps"})
        self.assertEqual({p["run"] for p in figure["data"]["values"]}, {"lora r4", "dora r4"})
        _, err = dora("analyze", "dora", "--module", "q_porj", "--results", self.results, expect=2)
        self.assertIn("q_proj", err)

    def test_what_is_kept_changes_no_bit_of_the_run(self):
        other = self.folder / "other"
        other.mkdir()
        dora("run", tiny_experiment(self.folder, train={"max_steps": 4, "keep_every": 1}), "--quiet", "--no-report")
        dora("run", tiny_experiment(other, train={"max_steps": 4}), "--quiet", "--no-report")
        self.assertEqual(content(self.results), content(other / "results"))     # the run's id too
        (run,) = run_folders(self.results)
        self.assertEqual(sorted(p.name for p in (run / "adapters").iterdir()), ["step-1", "step-2", "step-3"])
        plain = json.loads(dora("analyze", "tiny", "--results", other / "results", "--format", "json")[0])
        self.assertNotIn("checkpoints", plain)


if __name__ == "__main__":
    support.use_binary()
    unittest.main(verbosity=2)
