#!/usr/bin/env python3
"""A small random LLaVA through the whole way: tuned on conversations with and without images, and asked the questions of
every evaluation in the field's own file formats. Over ../shared/data where it is there, else over what is made here.

    tests/end_to_end/llava_test.py build/release/dora-bench
"""
import base64
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
import zipfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data"
TOKENIZER = ROOT / "tests/golden/llava/tokenizer"
PROGRAM = None


def png(path, colour, width=40, height=30):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * width for _ in range(height))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def sheet(path):
    """The rows of a workbook's first sheet: text, numbers, None."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as book:
        texts = [re.sub("_x([0-9A-F]{4})_", lambda sign: chr(int(sign[1], 16)), "".join(t.text or "" for t in item.iter(space + "t")))
                 for item in xml.etree.ElementTree.fromstring(book.read("xl/sharedStrings.xml")).iter(space + "si")]
        rows = []
        for row in xml.etree.ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml")).iter(space + "row"):
            cells = {}
            for cell in row.iter(space + "c"):
                value = cell.find(space + "v").text
                column = 0
                for sign in cell.get("r").rstrip("0123456789"):
                    column = 26 * column + ord(sign) - ord("A") + 1
                cells[column - 1] = texts[int(value)] if cell.get("t") == "s" else int(value)
            rows.append([cells.get(i) for i in range(max(len(rows[0]) if rows else 0, 1 + max(cells)))])
    return rows


class Llava(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        self.addCleanup(self.temporary.cleanup)

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    def lines(self, name, records):
        self.put(name, "".join(json.dumps(r) + "\n" for r in records))

    def pictures(self, folder, names):
        media = sorted((SHARED / "media/images").glob("*")) if SHARED.is_dir() else []
        for n, name in enumerate(sorted(set(names))):
            path = self.folder / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if media:
                shutil.copyfile(media[n % len(media)], path)
            else:
                png(path, ((37 * n) % 256, 90, 200))

    def run_config(self, **sections):
        config = {"name": "llava_end_to_end", "seed": 1, "data_dir": str(self.folder), "results": str(self.folder / "results"),
                  "backend": {"type": "llava", "shape": "llava-tiny", "tokenizer": str(TOKENIZER), "device": "cpu"},
                  "adapter": {"method": "none"}, **sections}
        self.put("config.json", config)
        done = subprocess.run([PROGRAM, "run", str(self.folder / "config.json"), "--no-progress"], capture_output=True,
                              text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        runs = [p for p in (self.folder / "results/runs").iterdir() if (p / "metrics.json").exists()]
        run = max(runs, key=lambda p: (p / "metrics.json").stat().st_mtime)
        return run, json.loads((run / "metrics.json").read_text()), done.stderr

    def evaluate(self, *tasks, tokens=4, limit=0):
        run, metrics, _ = self.run_config(evaluate={"tasks": list(tasks), "max_new_tokens": tokens, "limit": limit})
        samples = {}
        for path in sorted((run / "samples").rglob("*.jsonl")):
            name = path.stem.replace("llava", "").strip("._-")
            samples[name] = [json.loads(line) for line in path.read_text().splitlines()]
        return run, metrics["tasks"], samples

    def test_conversations_with_and_without_images_train_adapters_and_projector(self):
        self.pictures("images", ["0.png", "1.png", "2.png"])
        rows = []
        for i in range(24):
            turns = [{"from": "human", "value": "What is on the table?"}, {"from": "gpt", "value": "A cup."}]
            row = {"id": str(i), "conversations": turns}
            if i % 3:
                row["image"] = f"images/{i % 3}.png" if i % 2 else ["images/0.png", "images/1.png"]
                turns[0]["value"] = "<image>\n" * (1 if i % 2 else 2) + turns[0]["value"]
            rows.append(row)
        rows.append({"id": "long", "conversations": [{"from": "human", "value": "cup " * 600},
                                                     {"from": "gpt", "value": "Red"}]})
        self.put("mix.json", rows)
        run, metrics, log = self.run_config(
            adapter={"method": "dora", "rank": 4, "alpha": 8, "target_modules": "all-linear", "train_also": ["*projector*"]},
            train={"data": "mix.json", "template": "vicuna_v1", "train_on_inputs": False, "max_steps": 8, "batch_size": 4,
                   "micro_batch_size": 2, "sampler": "group_by_modality_length", "learning_rate": 1e-2, "max_length": 300,
                   "groups": [{"match": "*projector*", "learning_rate": 1e-4}]})
        steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        self.assertIn("1 of 25 training rows are left without a target", log)

    def test_questions_in_the_formats_of_every_evaluation(self):
        short = "\nAnswer the question using a single word or phrase."
        self.pictures("eval/vqav2/test2015", ["1.jpg", "2.jpg"])
        asked = [{"question_id": 10 + i, "image": f"{1 + i % 2}.jpg", "text": f"What is {i}?" + short} for i in range(4)]
        self.lines("eval/vqav2/llava_vqav2_mscoco_test-dev2015.jsonl", asked)
        self.lines("eval/vqav2/llava_vqav2_mscoco_test2015.jsonl", asked + [{**asked[0], "question_id": 99}])
        self.pictures("eval/vizwiz/test", ["a.jpg"])
        self.lines("eval/vizwiz/llava_test.jsonl", [{"question_id": 0, "image": "a.jpg", "text": "What is it?" + short}])
        self.pictures("eval/gqa/data/images", ["5.jpg"])
        self.lines("eval/gqa/llava_gqa_testdev_balanced.jsonl",
                   [{"question_id": "201", "image": "5.jpg", "text": "Is it red?" + short}])
        self.put("eval/gqa/data/testdev_balanced_questions.json",
                 {"201": {"imageId": "5", "question": "Is it red?", "answer": "yes", "isBalanced": True,
                          "types": {"structural": "verify", "semantic": "attr"}}})
        self.pictures("eval/textvqa/train_images", ["t0.jpg"])
        self.lines("eval/textvqa/llava_textvqa_val_v051_ocr.jsonl",
                   [{"question_id": "t0", "image": "t0.jpg",
                     "text": "What does it say?\nReference OCR token: STOP, NOW" + short}])
        self.put("eval/textvqa/TextVQA_0.5.1_val.json",
                 {"data": [{"question": "what does it say?", "image_id": "t0", "question_id": 7, "answers": ["stop"] * 10}]})
        self.pictures("eval/scienceqa/images/test", ["4/image.png"])
        self.put("eval/scienceqa/llava_test_CQM-A.json",
                 [{"id": "4", "image": "4/image.png", "conversations": [
                     {"from": "human", "value": "<image>\nContext: N/A\nQuestion: Which?\nOptions: (A) x (B) y"},
                     {"from": "gpt", "value": "The answer is A."}]},
                  {"id": "5", "conversations": [{"from": "human", "value": "Question: And here?\nOptions: (A) x (B) y"},
                                                {"from": "gpt", "value": "The answer is B."}]}])
        self.put("eval/scienceqa/problems.json", {"4": {"choices": ["x", "y"], "answer": 0, "split": "test"},
                                                  "5": {"choices": ["x", "y"], "answer": 1, "split": "test"}})
        png(self.folder / "m.png", (200, 10, 10))
        picture = base64.b64encode((self.folder / "m.png").read_bytes()).decode()
        table = ["index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage"]
        for r, options in enumerate((("cup", "table", "tea"), ("table", "tea", "cup"), ("tea", "cup", "table"))):
            table.append("\t".join([str(7 + r * 1000000), "What is it?", "Look.", *options, "", "ACB"[r], "kinds", picture]))
        self.put("eval/mmbench/mmbench_dev_20230712.tsv", "\n".join(table) + "\n")
        run, tasks, samples = self.evaluate("llava/vqav2", "llava/vizwiz", "llava/gqa", "llava/textvqa", "llava/scienceqa",
                                            "llava/mmbench")
        everything = {s["id"]: s for group in samples.values() for s in group}
        self.assertTrue(everything["10"]["prompt"].endswith("USER: <image>\nWhat is 0?" + short + " ASSISTANT:"))
        self.assertIn("What does it say?\nReference OCR token: STOP, NOW" + short, everything["t0"]["prompt"])
        self.assertEqual(everything["t0"]["target"], "stop")
        self.assertTrue(everything["4"]["prompt"].endswith(
            "USER: <image>\nContext: N/A\nQuestion: Which?\nOptions: (A) x (B) y\n"
            "Answer with the option's letter from the given choices directly. ASSISTANT:"))
        self.assertNotIn("<image>", everything["5"]["prompt"])
        self.assertTrue(everything["7"]["prompt"].endswith(
            "USER: <image>\nLook.\nWhat is it?\nA. cup\nB. table\nC. tea\n"
            "Answer with the option's letter from the given choices directly. ASSISTANT:"))
        found = {p.name: p for p in (run / "samples").rglob("*") if p.is_file()}
        answers = json.loads(found["vqav2_answers.json"].read_text())
        self.assertEqual([a["question_id"] for a in answers], [10, 11, 12, 13, 99])
        self.assertEqual(answers[-1]["answer"], "")
        self.assertEqual(json.loads(found["vizwiz_answers.json"].read_text())[0]["image"], "a.jpg")
        rows = sheet(found["mmbench_answers.xlsx"])
        self.assertEqual(rows[0], ["index", "question", "A", "B", "C", "D", "prediction", "answer"])
        self.assertEqual([r[0] for r in rows[1:]], [7, 1000007, 2000007])
        self.assertEqual(rows[1][1:5], ["What is it?", "cup", "table", "tea"])
        self.assertIsNone(rows[1][5])
        raw = {s["id"]: s["raw_output"].strip() for s in samples["mmbench"]}
        self.assertEqual([r[6] or "" for r in rows[1:]], [raw[str(r[0])] for r in rows[1:]])
        values = {name: value for task in tasks.values() for name, value in task.items()}
        for name in ("binary", "image_accuracy", "circular", "vanilla"):
            self.assertIn(name, values)

    @unittest.skipUnless(SHARED.is_dir(), "../shared is absent")
    def test_pope_from_its_own_files(self):
        n = 0
        for split in ("random", "popular", "adversarial"):
            records = [json.loads(s) for s in (SHARED / f"pope/coco_pope_{split}.jsonl").read_text().splitlines()][:12]
            self.lines(f"eval/pope/coco/coco_pope_{split}.json", records)
            self.pictures("eval/pope/val2014", [r["image"] for r in records])
            n += len(records)
        _, tasks, samples = self.evaluate("llava/pope")
        (task,), (rows,) = tasks.values(), samples.values()
        self.assertEqual(len(rows), n)
        for name in ("f1", "accuracy", "random.f1", "popular.f1", "adversarial.yes_ratio"):
            self.assertIn(name, task)
        self.assertTrue(rows[0]["prompt"].endswith(
            "USER: <image>\nIs there a snowboard in the image?\nAnswer the question using a single word or phrase. ASSISTANT:"))

    @unittest.skipUnless(SHARED.is_dir(), "../shared is absent")
    def test_the_seven_sets_and_tvqa_over_real_files(self):
        short = "\nAnswer the question using a single word or phrase."
        letter = "\nAnswer with the option's letter from the given choices directly."
        asked = {}  # by task: question, image folder

        def load(name):
            return json.loads((SHARED / name).read_text())

        def some(name, n):
            return [json.loads(line) for line in (SHARED / name).read_text().splitlines()[:n]]

        for split in ("random", "popular", "adversarial"):
            records = some(f"pope/coco_pope_{split}.jsonl", 6)
            self.lines(f"eval/pope/coco/coco_pope_{split}.json", records)
            self.pictures("eval/pope/val2014", [r["image"] for r in records])
        asked["pope"] = records[0]["text"] + short
        questions = load("vqa/textvqa/questions.json")["questions"][:6]
        humans = {a["question_id"]: a["answers"] for a in load("vqa/textvqa/annotations.json")["annotations"]}
        self.put("eval/textvqa/TextVQA_0.5.1_val.json", {"data": [
            {**q, "answers": [h["answer"] for h in humans[q["question_id"]]]} for q in questions]})
        self.lines("eval/textvqa/llava_textvqa_val_v051_ocr.jsonl", [
            {"question_id": q["image_id"], "image": q["image_id"] + ".jpg",
             "text": q["question"].capitalize() + "\nReference OCR token: A, B" + short} for q in questions])
        self.pictures("eval/textvqa/train_images", [q["image_id"] + ".jpg" for q in questions])
        asked["textvqa"] = questions[-1]["question"].capitalize() + "\nReference OCR token: A, B" + short
        vizwiz = load("vqa/vizwiz/questions.json")["questions"][:6]
        self.lines("eval/vizwiz/llava_test.jsonl", [
            {"question_id": q["question_id"], "image": q["image_id"],
             "text": q["question"] + "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + short}
            for q in vizwiz])
        self.pictures("eval/vizwiz/test", [q["image_id"] for q in vizwiz])
        asked["vizwiz"] = (vizwiz[-1]["question"] +
                           "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + short)
        vqa = load("media/vqa_questions.json")["questions"][:6]
        self.lines("eval/vqav2/llava_vqav2_mscoco_test-dev2015.jsonl", [
            {"question_id": q["question_id"], "image": f"{q['image_id']:012}.jpg", "text": q["question"] + short} for q in vqa])
        self.pictures("eval/vqav2/test2015", [f"{q['image_id']:012}.jpg" for q in vqa])
        asked["vqav2"] = vqa[-1]["question"] + short
        gqa = dict(list(load("made_up/gqa/questions.json").items())[:12])
        self.put("eval/gqa/data/testdev_balanced_questions.json", gqa)
        balanced = {k: q for k, q in gqa.items() if q["isBalanced"]}
        self.lines("eval/gqa/llava_gqa_testdev_balanced.jsonl", [
            {"question_id": k, "image": q["imageId"] + ".jpg", "text": q["question"] + short} for k, q in balanced.items()])
        self.pictures("eval/gqa/data/images", [q["imageId"] + ".jpg" for q in gqa.values()])
        asked["gqa"] = list(balanced.values())[-1]["question"] + short
        rows = (SHARED / "made_up/mmbench/mmbench_dev.tsv").read_text().splitlines()[:10]
        picture = base64.b64encode((SHARED / "media/images/rocket.jpg").read_bytes()).decode()
        self.put("eval/mmbench/mmbench_dev_20230712.tsv", "".join(
            f"{row}\t{'image' if i == 0 else picture}\n" for i, row in enumerate(rows)))
        cells = dict(zip(rows[0].split("\t"), rows[-1].split("\t")))
        asked["mmbench"] = cells["question"] + "".join(
            f"\n{o}. {cells[o]}" for o in "ABCD" if cells[o]) + letter
        self.put("eval/scienceqa/llava_test_CQM-A.json", [
            {"id": str(i), "image": "1/image.png", "conversations": [
                {"from": "human", "value": f"<image>\nContext: N/A\nQuestion {i}?\nA. x\nB. y"}]} for i in range(4)])
        self.put("eval/scienceqa/problems.json", {str(i): {"choices": ["x", "y"], "answer": i % 2} for i in range(4)})
        self.pictures("eval/scienceqa/images/test", ["1/image.png"])
        asked["scienceqa"] = "Context: N/A\nQuestion 3?\nA. x\nB. y" + letter
        solution = load("tvqa/solution.json")["solution"]
        tvqa = some("tvqa/questions.jsonl", 6)
        self.lines("ann/tvqa/tvqa_val.jsonl", [
            {**q, "answer_idx": solution[q["show_name"]][str(q["qid"])]} for q in tvqa])
        for q in tvqa:
            clip = self.folder / f"videos/tv/{q['vid_name']}.mp4"
            clip.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SHARED / "media/videos/nasa_13013.mp4", clip)
        asked["tvqa"] = tvqa[-1]["q"] + "".join(f"\n{'ABCDE'[i]}. {tvqa[-1][f'a{i}']}" for i in range(5)) + letter
        _, tasks, samples = self.evaluate(*(f"llava/{name}" for name in sorted(asked)), tokens=3)
        values = {name.split("/")[-1]: task for name, task in tasks.items()}
        self.assertEqual(sorted(values), sorted(asked))
        for name, question in asked.items():
            frames = 8 if name == "tvqa" else 1
            self.assertTrue(any(s["prompt"].endswith("USER: " + "<image>\n" * frames + question + " ASSISTANT:")
                                for s in samples[name]), (name, question, samples[name][-1]["prompt"]))
        for name, metric in {"pope": "f1", "textvqa": "accuracy", "gqa": "accuracy", "scienceqa": "image_accuracy",
                             "mmbench": "circular", "tvqa": "accuracy"}.items():
            self.assertIsNotNone(values[name][metric]["value"], name)
        for name in ("vqav2", "vizwiz"):
            self.assertIsNone(values[name]["accuracy"]["value"])
        for sample in samples["mmbench"]:  # the picture's bytes stay in their table
            self.assertLess(len(json.dumps(sample)), 4000)

    @unittest.skipUnless(SHARED.is_dir(), "../shared is absent")
    def test_official_questions_and_annotations(self):
        questions = json.loads((SHARED / "media/vqa_questions.json").read_text())
        self.put("eval/vqav2/v2_OpenEnded_mscoco_val2014_questions.json", questions)
        shutil.copyfile(SHARED / "media/vqa_annotations.json", self.folder / "eval/vqav2/v2_mscoco_val2014_annotations.json")
        self.pictures("eval/vqav2/val2014",
                      [f"COCO_val2014_{q['image_id']:012}.jpg" for q in questions["questions"]])
        _, tasks, samples = self.evaluate("llava/vqav2_val")
        (rows,) = samples.values()
        self.assertEqual(len(rows), len(questions["questions"]))
        (task,) = tasks.values()
        self.assertIsNotNone(task["accuracy"]["value"])

    @unittest.skipUnless(SHARED.is_dir(), "../shared is absent")
    def test_questions_about_frames_of_videos(self):
        records = [json.loads(s) for s in (SHARED / "made_up/how2qa/val_release.jsonl").read_text().splitlines()][:6]
        self.lines("ann/how2qa/how2qa_val.jsonl", records)
        for name in {r["vid_name"] for r in records}:
            (self.folder / "videos/how2").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SHARED / "media/videos/bt709_full_range.mp4", self.folder / f"videos/how2/{name}.mp4")
        _, tasks, samples = self.evaluate("llava/how2qa")
        (rows,), (task,) = samples.values(), tasks.values()
        self.assertEqual(len(rows), 6)
        self.assertEqual(rows[0]["prompt"].count("<image>"), 8)
        self.assertEqual(task["chance"], 0.25)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
