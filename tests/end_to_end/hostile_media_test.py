#!/usr/bin/env python3
"""Damaged and unusual pictures and clips through features, training and evaluation: hostile_media_test.py BINARY.

What Pillow writes (CMYK, animated WebP, small JPEG) stands here in base64: Image.new("CMYK", (8, 8), (10, 200, 30, 40)), two
8 x 8 frames, a 32 x 32 picture of one colour with a diagonal. Everything else is made from bytes. Standard library only.
"""
import base64, json, pathlib, struct, tempfile, unittest, zlib
import support
from support import ROOT, dora

CMYK_JPEG = """/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlwZHhcZW
dj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGh
CCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrC
w8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwDu65quxrrK/9k="""
ANIMATED_WEBP = """UklGRoIAAABXRUJQVlA4WAoAAAACAAAABwAABwAAQU5JTQYAAAAAAAAAAABBTk1GJgAAAAAAAAAAAAcAAAcAAAAAAAJWUDhMDgAAAC8HwAEABx
AR/Q9ERP8DQU5NRigAAAAAAAAAAAAHAAAHAAAAAAAAVlA4TA8AAAAvB8ABAAcQlYn+ByKi/wEA"""
JPEG = """/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//
2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAgACADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEA
AAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RF
RkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6
/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcY
GRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk
5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDIJ8//AK6/+h//AF/5/XrDRUhPm/8AXT/0L/6/8/r184+rS9novh/L/gfl6bR0UUUGwUUUUAPJ3/7/APP/AOvTKKUnd9f509xJ
W0R//9k="""


def png(width, height, bits, colour, channels, animated=False):
    """A picture of random-looking bytes; colour is PNG's type."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    line = (width * channels * bits + 7) // 8
    rows = b"".join(b"\0" + bytes((x * 37 + y * 11) % 251 for x in range(line)) for y in range(min(height, 64)))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    if colour == 3:
        out += chunk(b"PLTE", bytes(range(256)) * 3)
    if animated:
        out += chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0))
    return out + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


JPEG_BYTES, PLAIN = base64.b64decode(JPEG), png(16, 12, 8, 2, 3)
GOOD = {  # read as they are
    "plain.png": PLAIN, "picture.jpg": JPEG_BYTES, "one_by_one.png": png(1, 1, 8, 2, 3), "sixteen_bits.png": png(8, 8, 16, 2, 3),
    "grey.png": png(8, 8, 8, 0, 1), "grey_sixteen_bits.png": png(8, 8, 16, 0, 1), "alpha.png": png(8, 8, 8, 6, 4),
    "grey_alpha.png": png(8, 8, 8, 4, 2), "palette.png": png(8, 8, 8, 3, 1), "animated_png.png": png(8, 8, 8, 2, 3, animated=True),
    "cmyk.jpg": base64.b64decode(CMYK_JPEG), "a_png_by_another_name.jpg": PLAIN, "rubbish_behind.jpg": JPEG_BYTES + b"more",
}
BAD = {  # and what is said of them
    "empty.jpg": (b"", "the file is empty"),
    "text.png": (b"hello, I am a picture", "not a complete JPEG, PNG, WebP or BMP picture"),
    "gif.gif": (b"GIF89a" + bytes(40), "not a complete JPEG, PNG, WebP or BMP picture"),
    "cut_png.png": (PLAIN[:60], "truncated or damaged"),
    "cut_jpeg.jpg": (JPEG_BYTES[:-60], "truncated: the JPEG's end marker is missing"),
    "header_alone.jpg": (JPEG_BYTES[:200], "end marker is missing"),
    "animated_webp.webp": (base64.b64decode(ANIMATED_WEBP), "an animated WebP"),
    "cut_webp.webp": (base64.b64decode(ANIMATED_WEBP)[:29], "not a complete JPEG, PNG, WebP or BMP picture"),
    "bomb.png": (png(60000, 60000, 8, 2, 3), "the header states 60000 x 60000 pixels"),
    "no_size.png": (png(0, 7, 8, 2, 3), "the header states 0 x 7 pixels"),
}


def box(kind, data=b""):
    return struct.pack(">I", 8 + len(data)) + kind + data


class HostileMedia(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temp.name)
        dora("scenes", "--to", cls.folder / "world", "--scenes", "4", "--clips", "4", "--quiet")

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def experiment(self, name, features, **keys):
        config = {"name": name, "seed": 1, "data_dir": str(self.folder / "world"), "results": str(self.folder / "results"),
                  "backend": {"type": "vlbart", "shape": "quickstart", "tokenizer": str(self.folder / "world/tokenizer"),
                              "dtype": "float32", "device": "cpu"},
                  "features": [{"encoder": str(self.folder / "world/encoder"), **features}], **keys}
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(config))
        return path

    def skipped(self, folder):
        return {pathlib.Path(row["file"]).name: row["reason"]
                for row in map(json.loads, (folder / "skipped.jsonl").read_text().splitlines())}

    def test_pictures_are_read_or_skipped_with_the_reason(self):
        images = self.folder / "images"
        images.mkdir()
        for name, data in [*GOOD.items(), *((name, data) for name, (data, _) in BAD.items())]:
            (images / name).write_bytes(data)
        config = self.experiment("pictures", {"images": str(images), "to": "features/hostile", "kind": "embedding", "on_error": "skip"})
        _, told = dora("features", config, "--no-progress")
        out = self.folder / "world/features/hostile"
        self.assertEqual({p.stem for p in out.glob("*.safetensors")}, {pathlib.Path(name).stem for name in GOOD})
        reasons = self.skipped(out)
        self.assertEqual(set(reasons), set(BAD))
        for name, (_, why) in BAD.items():
            self.assertIn(why, reasons[name], name)
            self.assertIn(name, told)

    def test_clips_are_read_or_skipped_with_the_reason(self):
        videos = self.folder / "clips"
        videos.mkdir()
        real = next((self.folder / "world/videos").glob("*.mp4")).read_bytes()
        for name, data in {"whole.mp4": real, "another_name.avi": real, "empty.mp4": b"", "text.mp4": b"hello, I am a film",
                           "cut.mp4": real[:len(real) // 3], "header.mp4": real[:24],
                           "no_streams.mp4": box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", box(b"mvhd", bytes(100))),
                           "list.mp4": b"ffconcat version 1.0\nfile /etc/hostname\n"}.items():
            (videos / name).write_bytes(data)
        config = self.experiment("clips", {"videos": str(videos), "to": "features/clips", "kind": "embedding", "resize": "stretch",
                                           "every": 1.0, "on_error": "skip"})
        dora("features", config, "--no-progress")
        out = self.folder / "world/features/clips"
        self.assertEqual({p.stem for p in out.glob("*.safetensors")}, {"whole", "another_name"})
        self.assertEqual(set(self.skipped(out)), {"empty.mp4", "text.mp4", "cut.mp4", "header.mp4", "no_streams.mp4", "list.mp4"})

    def test_pictures_of_the_fields_own_tests_get_their_verdicts(self):
        shared = ROOT / "../shared/data/malformed/jpeg_png_special"
        if not shared.is_dir():
            self.skipTest("../shared is absent (a public clone)")
        verdicts = json.loads((shared / "verdicts.json").read_text())
        config = self.experiment("special", {"images": str(shared.resolve()), "to": "features/special", "kind": "embedding", "on_error": "skip"})
        dora("features", config, "--no-progress")
        out = self.folder / "world/features/special"
        refused = set(self.skipped(out)) - {"verdicts.json"}
        # of the one whose Adobe segment is cut off Pillow reads the rest, we refuse it
        self.assertEqual(refused, {n for n, v in verdicts.items() if v["pillow"] == "error"} | {"truncated_app14.jpg"})

    def test_refusing_ends_with_code_6_and_the_files_name(self):
        images = self.folder / "refused"
        images.mkdir()
        (images / "a.png").write_bytes(PLAIN)
        (images / "b.png").write_bytes(PLAIN[:60])
        config = self.experiment("refused", {"images": str(images), "to": "features/refused", "kind": "embedding", "on_error": "refuse"})
        _, told = dora("features", config, "--no-progress", expect=6)
        self.assertIn("b.png", told)
        self.assertIn("on_error: skip", told)

    def test_training_and_evaluation_name_what_lacks_features_or_leave_it_out(self):
        for split in ("train", "test"):
            picture = self.folder / f"world/images/{split}_1.png"
            picture.write_bytes(picture.read_bytes()[:100])
        keys = {"adapter": {"method": "lora", "rank": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]},
                "train": {"data": "quickstart/scenes", "max_steps": 3, "batch_size": 4, "micro_batch_size": 4, "learning_rate": 1e-3,
                          "max_length": 100},
                "evaluate": {"tasks": ["quickstart/scenes"]}}
        features = {"images": "images", "to": "features/images", "kind": "grid", "on_error": "skip"}
        config = self.experiment("training", features, **keys)
        dora("features", config, "--no-progress")
        self.assertEqual(set(self.skipped(self.folder / "world/features/images")), {"train_1.png", "test_1.png"})
        _, told = dora("run", config, "--quiet", "--no-report", expect=6)
        self.assertRegex(told, r"now_(train|test)\.json:record \d+: no features of (train|test)_1")
        self.assertIn("missing: skip", told)
        lenient = self.folder / "lenient.yaml"
        lenient.write_text(json.dumps({"include": str(ROOT / "tasks/specs/quickstart/scenes.yaml"), "name": "lenient_scenes", "features": {"missing": "skip"}}))
        keys["train"]["data"] = str(lenient)
        keys["evaluate"]["tasks"] = [str(lenient)]
        _, told = dora("run", self.experiment("spared", features, **keys), "--no-report", "--no-progress")
        self.assertIn("left out", told)
        self.assertIn("train_1", told)


if __name__ == "__main__":
    support.use_binary()
    unittest.main()
