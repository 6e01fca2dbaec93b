#!/usr/bin/env python3
"""TensorBoard's event files and lm-evaluation-harness's result shape: trackers_test.py BINARY [PYTHON]. The event file is read
back by a parser of its own here; where PYTHON has the package tensorboard, by that as well."""
import json, os, pathlib, struct, subprocess, sys, tempfile, unittest
import support
from support import dora, tiny_experiment, run_folders

PYTHON = ""


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """protobuf wire format: (number, value) pairs."""
    at = 0
    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, data[at:at + size]
        at += size


def read_events(path):
    data, at, out = path.read_bytes(), 0, []
    while at < len(data):
        (size,), (crc,) = struct.unpack_from("<Q", data, at), struct.unpack_from("<I", data, at + 8)
        assert crc == masked(data[at:at + 8])
        payload = data[at + 12:at + 12 + size]
        assert struct.unpack_from("<I", data, at + 12 + size) == (masked(payload),)
        at += 16 + size
        event = dict(fields(payload))
        if 3 in event:
            assert not out and event[3] == b"brain.Event:2"
            out.append(None)
            continue
        value = dict(fields(dict(fields(event[5]))[1]))
        out.append((value[1].decode(), event[2], struct.unpack("<f", value[2])[0], struct.unpack("<d", event[1])[0]))
    return out[1:]


class Trackers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        assert crc32c(b"123456789") == 0xE3069283      # the check value of CRC-32C
        cls.temp = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temp.name)
        dora("run", tiny_experiment(cls.folder, seed=[1, 2], train={"validation": 4, "evaluate_every": 1}), "--quiet", "--no-report")
        cls.results = cls.folder / "results"

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def test_event_files_hold_every_step_validation_and_metric(self):
        out, _ = dora("export", "all", "--as", "tensorboard", "--to", self.folder / "logs", "--results", self.results)
        files = [pathlib.Path(line) for line in out.split()]
        self.assertEqual(len(files), 2)
        self.assertEqual(len({f.parent for f in files}), 2)
        for file in files:
            run = next(r for r in run_folders(self.results) if r.name.startswith(file.parent.name.rsplit("-", 1)[1]))
            got = {}
            for tag, step, value, time in read_events(file):
                got.setdefault(tag, []).append((step, value))
                self.assertGreater(time, 1.7e9)
            for key in ("loss", "learning_rate", "grad_norm"):
                steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
                self.assertEqual([s for s, _ in got["train/" + key]], [s["step"] for s in steps])
                for (_, value), step in zip(got["train/" + key], steps):
                    self.assertAlmostEqual(value, step[key], delta=1e-6 * abs(step[key]))
            self.assertEqual(len(got["validation/loss"]), 3)
            metrics = json.loads((run / "metrics.json").read_text())
            accuracy = metrics["tasks"]["quickstart/shifted"]["accuracy"]["value"]
            self.assertEqual(got["test/quickstart/shifted/accuracy"], [(2, accuracy)])

    def test_tensorboards_own_reader_reads_them(self):
        if not os.path.exists(PYTHON) or subprocess.run([PYTHON, "-c", "import tensorboard"], capture_output=True).returncode != 0:
            self.skipTest("the package tensorboard is absent (scripts/setup --peers)")
        dora("export", "all", "--as", "tensorboard", "--to", self.folder / "peer", "--results", self.results)
        script = ("import sys, json\nfrom tensorboard.backend.event_processing.event_accumulator import EventAccumulator as E\n"
                  "e = E(sys.argv[1]); e.Reload()\nprint(json.dumps({t: [[s.step, s.value] for s in e.Scalars(t)] for t in e.Tags()['scalars']}))")
        for file in (self.folder / "peer").glob("*/events*"):
            p = subprocess.run([PYTHON, "-c", script, file.parent], capture_output=True, text=True, check=True)
            theirs = json.loads(p.stdout.splitlines()[-1])
            ours = {}
            for tag, step, value, _ in read_events(file):
                ours.setdefault(tag, []).append([step, value])
            self.assertEqual(theirs, ours)

    def test_results_leave_in_lm_evaluation_harness_shape(self):
        run = run_folders(self.results)[0]
        out, _ = dora("export", run.name, "--as", "lm-eval", "--to", self.folder / "lm", "--results", self.results)
        file = pathlib.Path(out.strip())
        self.assertRegex(file.name, r"^results_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.json$")
        results, task = json.loads(file.read_text()), "quickstart/shifted"
        metrics = json.loads((run / "metrics.json").read_text())["tasks"][task]
        self.assertEqual(results["results"][task]["acc,none"], metrics["accuracy"]["value"])
        self.assertEqual(results["results"][task]["acc_stderr,none"], metrics["accuracy"]["stderr"])
        self.assertEqual(results["n-samples"][task]["effective"], 4)
        for key in ("group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "config", "git_hash", "date", "model_name"):
            self.assertIn(key, results)
        (samples,) = file.parent.glob("samples_*.jsonl")
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        self.assertEqual([line["doc_id"] for line in lines], [0, 1, 2, 3])
        self.assertAlmostEqual(sum(line["acc"] for line in lines) / 4, metrics["accuracy"]["value"])
        for key in ("doc", "target", "arguments", "resps", "filtered_resps", "doc_hash", "prompt_hash", "target_hash"):
            self.assertIn(key, lines[0])


if __name__ == "__main__":
    PYTHON = sys.argv.pop(2)
    support.use_binary()
    unittest.main(verbosity=2)
