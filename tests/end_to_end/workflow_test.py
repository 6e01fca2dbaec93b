#!/usr/bin/env python3
"""The ready workflow of scripts/ci: that it is one, and that its shell steps do what they say: workflow_test.py BINARY. Needs
PyYAML (Debian's python3-yaml); actionlint looks at it too where it is on PATH. DORA_BENCH_WHOLE_WORKFLOW=1 also executes the steps
that install, build and run the quickstart (minutes; from the checkout, whose build and results they are)."""
import json, os, re, shutil, subprocess, sys, unittest, xml.etree.ElementTree
import support
from support import ROOT, dora, tiny_experiment, run_folders

try:
    import yaml
except ImportError:
    print("skipped: PyYAML is absent (scripts/setup --tests installs python3-yaml)")
    sys.exit(77)

FILE = ROOT / "scripts/ci/dora-bench-check.yml"


def workflow():
    return yaml.load(FILE.read_text(), yaml.BaseLoader)     # "on" stays a word


def steps():
    (job,) = workflow()["jobs"].values()
    return job["steps"]


class Workflow(support.FolderTest):
    def test_the_file_is_a_workflow(self):
        whole = workflow()
        self.assertEqual(set(whole), {"name", "on", "permissions", "concurrency", "env", "jobs"})
        self.assertEqual(whole["permissions"], {"contents": "read"})
        self.assertIn("pull_request", whole["on"])
        (job,) = whole["jobs"].values()
        self.assertLessEqual({"runs-on", "timeout-minutes", "steps"}, set(job))
        self.assertTrue(job["timeout-minutes"].isdigit())
        for step in job["steps"]:
            self.assertLessEqual(set(step), {"name", "uses", "with", "run", "if", "env"})
            self.assertEqual(("uses" in step) + ("run" in step), 1, step)
            self.assertRegex(step.get("uses", "a/b@v1"), r"^[\w-]+/[\w-]+@v\d+$")
            self.assertRegex(step.get("if", "always()"), r"^(always|success|failure)\(\)$")
        for context in re.findall(r"\$\{\{\s*(.*?)\s*\}\}", FILE.read_text()):
            known = context == "github.ref" or context.removeprefix("env.") in whole["env"]
            self.assertTrue(known, context)
        if shutil.which("actionlint"):
            p = subprocess.run(["actionlint", FILE], capture_output=True, text=True)
            self.assertEqual(p.returncode, 0, p.stdout + p.stderr)

    def test_its_shell_steps_name_what_there_is(self):
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["workflowPresets"]
        for step in (s for s in steps() if "run" in s):
            p = subprocess.run(["bash", "-n", "-c", step["run"]], capture_output=True, text=True)
            self.assertEqual(p.returncode, 0, p.stderr)
            for script in re.findall(r"(?:^|\s)(scripts/\S+)", step["run"]):
                self.assertTrue(os.access(ROOT / script, os.X_OK), script)
            for preset in re.findall(r"--preset (\S+)", step["run"]):
                self.assertIn(preset, [p["name"] for p in presets])
            for option in re.findall(r"\s(--[a-z]+)", step["run"]) if "dora-bench check" in step["run"] else []:
                self.assertIn(option, dora("check", "--help")[0])

    def execute(self, name, expect=0):
        """A step as the runner executes it: bash -e in the checkout, the workflow's variables in the environment."""
        step = next(s for s in steps() if s.get("name") == name)
        env = {**os.environ, **workflow()["env"], "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md")}
        p = subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=self.folder, env=env,
                           capture_output=True, text=True, timeout=300)
        self.assertEqual(p.returncode, expect, p.stdout[-1000:] + p.stderr[-2000:])
        return p.stdout, p.stderr

    def test_its_gate_passes_finds_a_regression_and_says_what_is_incomparable(self):
        env = workflow()["env"]
        results = self.folder / env["RESULTS"]
        (self.folder / "build/release").mkdir(parents=True)
        (self.folder / "build/release/dora-bench").symlink_to(support.BINARY)
        path = tiny_experiment(self.folder, results=str(results), evaluate={"limit": 0},
                               train={"max_steps": 120, "batch_size": 16, "micro_batch_size": 16, "learning_rate": 3e-3, "save_every": 0})
        config = json.loads(path.read_text())
        config["adapter"] = {"method": "ft"}
        path.write_text(json.dumps(config))
        dora("run", path, "--quiet", "--no-report")
        dora("check", "--results", results, "--baseline", self.folder / env["BASELINE"], "--update")
        out, _ = self.execute("Check")
        self.execute("Summary")
        self.assertIn("pass", out)
        self.assertIn("quickstart/shifted", (self.folder / "summary.md").read_text())
        suite = xml.etree.ElementTree.parse(self.folder / "check.xml").getroot()
        self.assertEqual({c.tag for case in suite.iter("testcase") for c in case}, set())
        artifact = next(s for s in steps() if "upload-artifact" in s.get("uses", ""))["with"]["path"]
        for pattern in artifact.replace("${{ env.RESULTS }}", env["RESULTS"]).split():
            self.assertTrue(list(self.folder.glob(pattern)), pattern)
        # every second right answer of one run becomes wrong
        (run,) = run_folders(results)
        samples = run / "samples/quickstart.shifted.jsonl"
        before, lines, right = samples.read_text(), [], 0
        for line in map(json.loads, before.splitlines()):
            if line["correct"]:
                right += 1
                if right % 2:
                    line.update(correct=False, score=0.0)
            lines.append(json.dumps(line))
        self.assertGreater(right, 20)
        samples.write_text("\n".join(lines) + "\n")
        _, err = self.execute("Check", expect=3)
        self.assertRegex(err, r"::error .*regressed")
        self.execute("Summary")
        self.assertIn("regressed", (self.folder / "summary.md").read_text())
        # the same answers to other prompts
        samples.write_text(before.replace('"prompt":"', '"prompt":" ').replace('"prompt": "', '"prompt": " '))
        _, err = self.execute("Check", expect=4)
        self.assertIn("prompt_hash", err)

    @unittest.skipUnless(os.environ.get("DORA_BENCH_WHOLE_WORKFLOW"), "DORA_BENCH_WHOLE_WORKFLOW=1 installs, builds and runs the quickstart")
    def test_the_whole_of_it_runs_from_a_checkout(self):
        self.folder = ROOT
        baseline = ROOT / workflow()["env"]["BASELINE"]
        self.assertFalse(baseline.exists(), f"{baseline} would be overwritten")
        for name in ("Build", "Run"):
            self.execute(name)
        dora("check", "--results", ROOT / workflow()["env"]["RESULTS"], "--baseline", baseline, "--update")
        try:
            self.execute("Check")
        finally:
            for made in (baseline, ROOT / "check.xml", ROOT / "check.md", ROOT / "summary.md"):
                made.unlink(missing_ok=True)


if __name__ == "__main__":
    support.use_binary()
    os.environ["OMP_NUM_THREADS"] = "1"
    unittest.main(verbosity=2)
