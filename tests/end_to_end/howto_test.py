#!/usr/bin/env python3
"""Runs the shell blocks of README.md's how-tos as they stand: howto_test.py BINARY BUILD_FOLDER."""
import os, pathlib, re, subprocess, sys, tempfile, unittest
import support

BUILD = ""


class HowTo(unittest.TestCase):
    def test_the_readmes_how_tos_run_as_they_stand(self):
        section = (support.ROOT / "README.md").read_text().split("## How to\n")[1].split("\n## ")[0]
        blocks = re.findall(r"```sh\n(.*?)```", section, re.S)
        self.assertEqual(len(blocks), 4)
        with tempfile.TemporaryDirectory() as folder:
            home = pathlib.Path(folder)
            (home / "tests").symlink_to(support.ROOT / "tests")
            (home / "build").mkdir()
            (home / "build/release").symlink_to(BUILD)
            env = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1", "CMAKE_CXX_COMPILER_LAUNCHER": "ccache",
                   "CCACHE_DIR": os.environ.get("CCACHE_DIR", os.path.expanduser("~/.ccache")), "CCACHE_BASEDIR": str(home), "CCACHE_NOHASHDIR": "1"}
            if subprocess.run(["ccache", "--version"], capture_output=True).returncode != 0:
                del env["CMAKE_CXX_COMPILER_LAUNCHER"]
            p = subprocess.run(["bash", "-e", "-x", "-c", "".join(blocks)], cwd=home, env=env, capture_output=True, text=True, timeout=800)
            self.assertEqual(p.returncode, 0, p.stdout[-2000:] + p.stderr[-4000:])
            self.assertEqual(len(support.run_folders(home / "results")), 7)
            self.assertTrue(list(home.glob("logs/*/events*")) and list(home.glob("lm-eval/*/results_*.json")))


if __name__ == "__main__":
    BUILD = str(pathlib.Path(sys.argv.pop(2)).resolve())
    support.use_binary()
    unittest.main(verbosity=2)
