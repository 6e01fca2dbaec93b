#!/usr/bin/env python3
"""A learning rate is settled on the validation split, and nobody peeks at the test set: select_test.py BINARY. Standard library
only."""
import json, unittest
import support
from support import dora, tiny_experiment, run_folders

RATES = [1e-4, 1e-3, 5e-3]


class Select(support.FolderTest):
    def experiment(self, **changes):
        return tiny_experiment(self.folder, train={"validation": 8, "max_steps": 6}, sweep={"adapter.method": ["lora", "dora"], "train.learning_rate": RATES}, **changes)

    def runs(self):
        """metrics.json by (method, learning rate)."""
        all = [json.loads((r / "metrics.json").read_text()) for r in run_folders(self.results)]
        return {(m["method"], m["learning_rate"]): m for m in all}

    def best(self, method):
        return min((m["train"]["validation_loss"], rate) for (name, rate), m in self.runs().items() if name == method)[1]

    def report(self, *words):
        return json.loads(dora("report", "--results", self.results, "--format", "json", *words)[0])["backbones"][0]

    def test_the_flag_scores_the_winner_of_the_validation_split_alone(self):
        path = self.experiment()
        out, _ = dora("run", path, "--select", "learning_rate", "--no-progress")
        self.assertIn("chosen of 3 by validation.loss; the test scores of the others are not shown", out)
        for (method, rate), metrics in self.runs().items():
            won = rate == self.best(method)
            self.assertEqual(metrics["status"], "done" if won else "not selected")
            self.assertEqual(bool(metrics["tasks"]), won)
            self.assertEqual(metrics["selected_by"]["test_touches"], 1)
            self.assertFalse(not won and list((self.results / "runs" / metrics["run"]).glob("samples/*")))
        rows = self.report()["rows"]
        self.assertEqual(sorted(r["method"] for r in rows), ["dora", "lora"])
        loser = next(m["run"] for m in self.runs().values() if m["status"] == "not selected")
        # the second score of an unselected candidate is refused, through whichever door
        plain = self.folder / "plain.yaml"
        config = json.loads(path.read_text())
        config["sweep"] = {"train.learning_rate": [self.runs_by_id(loser)["learning_rate"]]}
        config["adapter"]["method"] = self.runs_by_id(loser)["method"]
        plain.write_text(json.dumps(config))
        for words in (["run", plain], ["eval", plain, "--adapter", self.results / "runs" / loser / "adapter"],
                      ["eval", plain, "--adapter", str(self.results / "runs" / loser / "adapter") + "/"]):
            _, err = dora(*words, "--no-progress", expect=2)
            self.assertIn("must not be scored on the test set", err)
            self.assertIn("--allow-peek", err)
        self.assertEqual(self.runs_by_id(loser)["tasks"], {})
        _, err = dora("compare", loser, "dora", "--results", self.results, expect=2)
        self.assertIn("not selected", err)
        # asked for, it is scored, counted, and shown only where that is asked for too
        dora("run", plain, "--allow-peek", "--quiet")
        peeked = self.runs_by_id(loser)
        self.assertEqual((peeked["status"], peeked["selected_by"]["test_touches"]), ("done", 2))
        value = peeked["tasks"]["quickstart/shifted"]["accuracy"]["value"]
        self.assertEqual(len(self.report()["rows"]), 2)
        self.assertEqual(len(self.report("--allow-peek")["rows"]), 3)
        shown = json.loads(dora("show", loser, "--results", self.results, "--format", "json")[0])
        self.assertEqual((shown["metrics"]["tasks"], shown["samples"]), ({}, {}))
        shown = json.loads(dora("show", loser, "--results", self.results, "--format", "json", "--allow-peek")[0])
        self.assertEqual(shown["metrics"]["tasks"]["quickstart/shifted"]["accuracy"]["value"], value)
        before = self.runs()
        for _ in range(2):      # again: nothing is done twice, peeks stay counted
            dora("run", path, "--select", "learning_rate", "--quiet")
            after = self.runs()
            self.assertEqual({k: (m["status"], m["tasks"]) for k, m in before.items()}, {k: (m["status"], m["tasks"]) for k, m in after.items()})
            self.assertEqual({m["selected_by"]["test_touches"] for (name, _), m in after.items() if name == peeked["method"]}, {2})
            self.assertEqual({m["selected_by"]["test_touches"] for (name, _), m in after.items() if name != peeked["method"]}, {1})

    def runs_by_id(self, run):
        return json.loads((self.results / "runs" / run / "metrics.json").read_text())

    def test_a_sweep_that_was_scored_whole_is_settled_by_validation_in_report_and_compare(self):
        path = self.experiment()
        dora("run", path, "--quiet", "--no-report")
        self.assertEqual(len(self.report()["rows"]), 6)
        self.assertTrue(any("a choice by test score is optimistic" in w for w in self.report()["warnings"]))
        _, err = dora("compare", "lora", "dora", "--results", self.results, expect=2)
        self.assertIn("name one of each", err)
        chosen = self.report("--select", "learning_rate")
        self.assertEqual({r["method"]: r["chosen_by"].split(",")[0] for r in chosen["rows"]},
                         {m: "train.learning_rate=" + self.setting(m) for m in ("lora", "dora")})
        self.assertFalse(any("test score" in w for w in chosen["warnings"]))
        self.assertEqual({r["status"] for r in chosen["unfinished"]}, {"not selected"})
        for form in ("text", "markdown", "latex", "html"):
            text = dora("report", "--results", self.results, "--format", form, "--select", "learning_rate")[0].replace("\\_", "_")
            self.assertIn("chosen of 3 by validation.loss", text, form)
            self.assertIn("test scores of the others are withheld", text, form)
        pair = json.loads(dora("compare", "lora", "dora", "--results", self.results, "--select", "learning_rate", "--format", "json")[0])
        for side, method in (("a", "lora"), ("b", "dora")):
            self.assertEqual(pair[side]["learning_rate"], self.best(method))
            self.assertIn("validation.loss", pair[side]["chosen_by"])
        self.assertIn("validation.loss", dora("compare", "lora", "dora", "--results", self.results, "--select", "train.learning_rate")[0])
        _, err = dora("compare", "lora", "dora", "--results", self.results, "--select", "learning_rat", expect=2)
        self.assertIn("learning_rate", err)
        # a selection of the plan over a store that is scored already: the losers' scores are withheld from now on
        dora("run", path, "--select", "train.learning_rate", "--quiet", "--no-report")
        self.assertEqual(len(self.report()["rows"]), 2)
        self.assertEqual({m["selected_by"]["test_touches"] for m in self.runs().values()}, {3})

    def setting(self, method):
        run = next(m["run"] for m in self.runs().values() if (m["method"], m["learning_rate"]) == (method, self.best(method)))
        return json.loads(dora("show", run, "--results", self.results, "--format", "json")[0])["settings"]["train.learning_rate"]

    def test_without_a_validation_split_nothing_can_be_settled(self):
        path = tiny_experiment(self.folder, sweep={"train.learning_rate": [1e-3, 2e-3]})
        _, err = dora("run", path, "--select", "learning_rate", expect=2)
        self.assertIn("train.validation above 0", err)
        dora("run", path, "--quiet", "--no-report")
        _, err = dora("report", "--results", self.results, "--select", "learning_rate", expect=2)
        self.assertIn("train.validation above 0", err)


if __name__ == "__main__":
    support.use_binary()
    unittest.main(verbosity=2)
