#!/usr/bin/env python3
"""Plug-ins as a user builds them: plugins_test.py BINARY BUILD_FOLDER. Installs the program, configures and builds the CMake
project beside this file against what was installed, loads its objects by YAML, trains; then what the loader refuses."""
import json, os, pathlib, shutil, subprocess, sys, tempfile, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "end_to_end"))
import support

BUILD = ""


def command(*words, **kw):
    p = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600, **kw)
    assert p.returncode == 0, f"{' '.join(map(str, words))}\n{p.stdout[-2000:]}\n{p.stderr[-2000:]}"
    return p.stdout


class Plugins(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temp.name)
        cls.prefix, cls.project = cls.folder / "prefix", cls.folder / "project"
        command("cmake", "--install", BUILD, "--prefix", cls.prefix)
        shutil.copytree(HERE, cls.project, ignore=shutil.ignore_patterns("build", "*.py", "__pycache__"))
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        command("cmake", "-S", cls.project, "-B", cls.project / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={cls.prefix}",
                *launcher)
        env = {**os.environ, "CCACHE_BASEDIR": str(cls.folder), "CCACHE_NOHASHDIR": "1"}
        command("cmake", "--build", cls.project / "build", env=env)
        cls.program = support.BINARY = str(cls.prefix / "bin/dora-bench")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def refused(self, name):
        _, err = support.dora("list", "backends", "--plugin", self.project / "build" / name, expect=2)
        self.assertIn(name, err)
        return err

    def test_the_installed_program_finds_its_libraries_specs_and_configs(self):
        self.assertIn("boolq", support.dora("list", "tasks")[0])
        self.assertIn("quickstart", support.dora("list", "configs")[0])
        support.dora("params", self.prefix / "share/dora-bench/configs/quickstart/base.yaml")

    def test_a_backbone_and_a_task_out_of_the_tree_are_loaded_by_yaml_and_train(self):
        out, _ = support.dora("run", "experiment.yaml", "--no-progress", cwd=self.project)
        self.assertIn("parity", out)
        (run,) = support.run_folders(self.project / "results")
        metrics = json.loads((run / "metrics.json").read_text())
        self.assertEqual(metrics["status"], "done")
        self.assertEqual({c["status"] for c in metrics["checks"].values()} & {"failed"}, set())
        losses = [json.loads(line)["loss"] for line in (run / "steps.jsonl").read_text().splitlines()]
        self.assertLess(sum(losses[-5:]), 0.5 * sum(losses[:5]))
        self.assertGreater(metrics["tasks"]["parity"]["accuracy"]["value"], 0.5)
        provenance = json.loads((run / "provenance.json").read_text())
        self.assertEqual(sorted(pathlib.Path(p).name for p in provenance["plugins"]), ["byte_backbone.so", "parity_task.so"])
        # a run folder alone loads nothing: it may be another's
        _, err = support.dora("export", "parity", "--as", "lora", "--to", self.folder / "as_lora", cwd=self.project, expect=2)
        self.assertIn("--plugin", err)

    def test_every_method_trains_on_the_plugged_in_backbone_and_workers_load_it_too(self):
        support.dora("sweep", "experiment.yaml", "--axis", "adapter.method=ft,lora,dora,vera,dvora", "train.max_steps=5", "results=all",
                     "--jobs", 2, "--quiet", cwd=self.project)
        states = [json.loads((r / "metrics.json").read_text())["status"] for r in support.run_folders(self.project / "all")]
        self.assertEqual(states, ["done"] * 5)

    def test_list_shows_where_names_come_from(self):
        words = ["--plugin", self.project / "build/byte_backbone.so", "--plugin", self.project / "build/parity_task.so", "--format", "json"]
        backends = {r["name"]: r["origin"] for r in json.loads(support.dora("list", "backends", *words)[0])}
        self.assertEqual(backends["llama"], "built in")
        self.assertTrue(backends["bytes"].endswith("build/byte_backbone.so"))
        tasks = {r["name"]: r["origin"] for r in json.loads(support.dora("list", "tasks", *words)[0])}
        self.assertTrue(tasks["arithmetic/parity"].endswith("build/parity_task.so"))

    def test_an_object_without_the_entry_is_refused(self):
        self.assertIn("has no symbol dorabench_plugin_v1", self.refused("no_entry.so"))

    def test_another_compilers_object_is_refused_with_both_sides(self):
        err = self.refused("other_compiler.so")
        self.assertIn("compiler: expected gcc" if "expected gcc" in err else "compiler: expected clang", err)
        self.assertIn("got another compiler, C++ ABI 1", err)

    def test_one_that_throws_while_registering_is_refused_with_its_reason(self):
        self.assertIn("threw while registering: its licence server is asleep", self.refused("throws.so"))

    def test_a_file_that_is_no_object_and_one_that_is_not_there_are_refused(self):
        (self.project / "build/text.so").write_text("not an object")
        self.assertIn("cannot be loaded", self.refused("text.so"))
        self.assertIn("No such file", self.refused("absent.so"))
        (self.project / "bad.yaml").write_text("plugins: [absent.so]\nbackend: {type: llama, shape: quickstart}\nadapter: {method: none}\n")
        _, err = support.dora("validate", "bad.yaml", cwd=self.project, expect=2)
        self.assertIn("bad.yaml:1:11: plugins: no such file: absent.so", err)

    def test_the_installed_completion_is_sourced_by_bash(self):
        script = self.prefix / "share/bash-completion/completions/dora-bench"
        def complete(*words):
            line = " ".join(f"'{w}'" for w in ("dora-bench", *words))
            run = f"source '{script}'; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _dora_bench; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            return command("bash", "-c", run).split()
        self.assertEqual(complete("sw"), ["sweep"])
        self.assertIn("doctor", complete(""))
        self.assertEqual(complete("run", "--launcher", "s"), ["slurm"])
        self.assertEqual(complete("run", "--dry"), ["--dry-run"])
        self.assertIn("--format", complete("compare", "--f"))
        self.assertEqual(complete("--threads", "2", "expo"), ["export"])
        self.assertNotIn("--started", complete("run", "--"))


if __name__ == "__main__":
    BUILD = sys.argv.pop(2)
    support.use_binary()
    unittest.main(verbosity=2)
