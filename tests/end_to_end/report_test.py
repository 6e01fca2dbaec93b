#!/usr/bin/env python3
"""The report page in a real browser, and the server of `serve`: report_test.py BINARY. Standard library only."""
import http.client, json, pathlib, re, signal, subprocess, sys, tempfile, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from chromium import PROGRAM, Chromium
from made_store import make_run, make_store

BINARY = ""
needs_browser = unittest.skipUnless(PROGRAM, "no Chromium on this machine (scripts/setup --tests installs chromium-headless-shell)")
DRAWN = "document.body?.dataset.drawn !== undefined"


def dora(*words, expect=0):
    p = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert p.returncode == expect, f"exit {p.returncode}, expected {expect}: {' '.join(map(str, words))}\n{p.stderr[-2000:]}"
    return p.stdout


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory()
        cls.store = pathlib.Path(cls.temp.name) / "results"
        for method in ("lora", "dora"):
            for rank in (4, 8, 16):
                for seed in (1, 2):
                    make_run(cls.store, method, rank, seed, 60)
        make_run(cls.store, "ft", 0, 1, 60)
        cls.page = pathlib.Path(cls.temp.name) / "report.html"
        dora("report", "--results", cls.store, "--format", "html", "--to", cls.page)

    @classmethod
    def tearDownClass(cls):
        cls.temp.cleanup()

    def test_the_page_names_nothing_outside_itself(self):
        text = self.page.read_text()
        markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
        self.assertEqual([], [link for link in re.findall(r"(?:src|href)=[\"']?([^\s>\"']+)", markup) if not link.startswith(("#", "data:"))])
        self.assertNotIn("<link", markup)

    def test_every_format_carries_the_same_scores(self):
        whole = json.loads(dora("report", "--results", self.store, "--format", "json"))["backbones"][0]
        rows = whole["rows"]
        forms = {form: dora("report", "--results", self.store, "--format", form) for form in ("text", "markdown", "latex", "csv", "html")}
        for row in (row for row in rows if row["source"] == "measured"):
            shown = "%.1f" % (100 * row["average"]["value"])
            for form in ("text", "markdown", "latex", "html"):
                self.assertIn(shown, forms[form], form)
            self.assertIn(json.dumps(row["average"]["value"]), forms["csv"])
            self.assertEqual(row["average_letters"] != "", True)
        for word in ("letters", "average by rank", "published"):
            for form in ("text", "markdown", "latex", "html"):
                self.assertIn(word, forms[form], (word, form))
        self.assertTrue(whole["published_rank_curves"][0]["source"] == "published")

    @needs_browser
    def test_charts_are_drawn_and_nothing_is_complained_of(self):
        for scheme in ("light", "dark"):
            with Chromium() as browser:
                browser.media(scheme)
                browser.open(self.page.as_uri(), DRAWN)
                self.assertEqual(scheme, browser.value("document.body.dataset.drawn"))
                figures = browser.value("[...document.querySelectorAll('figure')].map(f => [f.id, f.dataset.drawn, f.querySelectorAll('svg path').length, f.querySelector('svg').getBoundingClientRect().width])")
                self.assertGreaterEqual(len(figures), 8)
                for name, drawn, paths, width in figures:
                    self.assertEqual("yes", drawn, name)
                    self.assertGreater(paths, 3, name)
                    self.assertGreater(width, 100, name)
                self.assertEqual([], browser.errors)
                self.assertEqual([self.page.as_uri()], [url for url in browser.requests if not url.startswith(("data:", "about:", "blob:"))])
                ink = browser.value("getComputedStyle(document.body).color")
                self.assertEqual(scheme == "dark", int(re.search(r"\d+", ink)[0]) > 128)

    @needs_browser
    def test_filters_show_what_the_samples_hold(self):
        with Chromium() as browser:
            browser.open(self.page.as_uri(), DRAWN)
            columns = browser.value("[...document.querySelector('[name=a]').options].map(o => o.text)")
            self.assertEqual(7, len(columns))
            lora, dora_ = columns.index("lora r4 (seed 1)"), columns.index("dora r16 (seed 1)")
            task = browser.value("document.querySelector('[name=task]').selectedOptions[0].text")
            samples = {}
            for run in self.store.glob("runs/*"):
                metrics = json.loads((run / "metrics.json").read_text())
                if metrics["seed"] == 1:
                    samples[metrics["method"], metrics["rank"]] = {line["id"]: line["correct"] for line in map(json.loads, (run / "samples" / f"{task}.jsonl").read_text().splitlines())}
            a, b = samples["lora", 4], samples["dora", 16]
            def choose(**fields):
                browser.value("(() => { const f = document.querySelector('.filters'); " + "".join(f"f.{k}.value = {json.dumps(str(v))};" for k, v in fields.items()) + " f.show.dispatchEvent(new Event('input', {bubbles: true})); })()")
                return int(browser.value("document.querySelector('.count').textContent").split()[0])
            self.assertEqual(sum(a[i] != b[i] for i in a), choose(a=lora, b=dora_, show="disagree"))
            self.assertEqual(sum(a[i] and not b[i] for i in a), choose(show="a"))
            self.assertEqual(sum(b[i] and not a[i] for i in a), choose(show="b"))
            differing = next(i for i in a if a[i] != b[i])
            self.assertEqual(1, choose(show="disagree", text=f"{task} question {differing}:"))
            # by keyboard alone: the item's summary takes the focus and opens
            browser.value("document.querySelector('.items summary').focus()")
            browser.press("Enter", 13, "\r")
            self.assertEqual(True, browser.value("document.querySelector('.items details').open"))
            browser.wait("document.querySelectorAll('.items details[open] tbody tr').length >= 2")
            self.assertEqual([], browser.errors)

    @needs_browser
    def test_print_shows_charts_and_no_controls(self):
        with Chromium() as browser:
            browser.open(self.page.as_uri(), DRAWN)
            browser.media(media="print")
            self.assertEqual("none", browser.value("getComputedStyle(document.querySelector('.filters')).display"))
            self.assertEqual("rgb(255, 255, 255)", browser.value("getComputedStyle(document.body).backgroundColor"))
            pdf = browser.call("Page.printToPDF", printBackground=False)["data"]
            self.assertGreater(len(pdf), 100_000)

    @needs_browser
    def test_texts_of_samples_are_never_markup(self):
        with tempfile.TemporaryDirectory() as folder:
            store = pathlib.Path(folder) / "results"
            for method in ("lora", "dora"):
                run = make_run(store, method, 4, 1, 8)
                path = run / "samples" / "boolq.jsonl"
                path.write_text(path.read_text().replace("boolq question", "</script><script>window.bad = 1</script><img src=x onerror='window.bad = 2'>"))
            page = pathlib.Path(folder) / "report.html"
            dora("report", "--results", store, "--format", "html", "--to", page)
            with Chromium() as browser:
                browser.open(page.as_uri(), DRAWN)
                browser.value("(() => { const f = document.querySelector('.filters'); f.show.value = 'all'; f.show.dispatchEvent(new Event('input', {bubbles: true})); document.querySelector('.items details').open = true; })()")
                self.assertEqual(True, browser.value("document.body.textContent.includes('onerror')"))
                self.assertIsNone(browser.value("window.bad"))
                self.assertEqual([], browser.errors)


class Serve(unittest.TestCase):
    def setUp(self):
        self.temp = tempfile.TemporaryDirectory()
        self.store = pathlib.Path(self.temp.name) / "results"
        for method in ("lora", "dora"):
            make_run(self.store, method, 4, 1, 20)
        make_run(self.store, "dora", 8, 1, 20, status="running")
        self.server = subprocess.Popen([BINARY, "serve", "--results", str(self.store), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.server.stdout.readline().strip()
        self.port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", self.url)[1])

    def tearDown(self):
        self.server.send_signal(signal.SIGINT)
        self.assertEqual(0, self.server.wait(20))
        self.server.stdout.close()
        self.temp.cleanup()

    def ask(self, path, method="GET", host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def test_only_fixed_paths_answer_and_none_reaches_a_file(self):
        before = sorted((p, p.stat().st_mtime_ns) for p in self.store.rglob("*"))
        status, page = self.ask("/")
        self.assertEqual(200, status)
        self.assertIn(b"data-live", page)
        for path in ("/results.sqlite", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/runs/", "//etc/passwd", "/progress.json/../x", "/progressXjson", "/\\etc\\passwd", "/" + "a" * 3000):
            self.assertEqual(404, self.ask(path)[0], path)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            self.assertEqual(405, self.ask("/", method)[0], method)
        self.assertEqual(403, self.ask("/", host="results.example.org")[0])
        self.assertEqual(403, self.ask("/progress.json", host=f"evil.example:{self.port}")[0])
        self.assertEqual(200, self.ask("/progress.json", host=f"localhost:{self.port}")[0])
        self.assertEqual(before, sorted((p, p.stat().st_mtime_ns) for p in self.store.rglob("*")))

    def test_it_listens_on_this_machine_alone(self):
        listening = []
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            if pathlib.Path(table).exists():
                fields = (line.split() for line in pathlib.Path(table).read_text().splitlines()[1:])
                listening += [f[1].rsplit(":", 1)[0] for f in fields if f[3] == "0A" and int(f[1].rsplit(":", 1)[1], 16) == self.port]
        self.assertEqual(["0100007F"], listening)  # 127.0.0.1, as the kernel writes it

    def test_progress_tells_of_running_runs_and_of_new_results(self):
        first = json.loads(self.ask("/progress.json")[1])
        self.assertEqual((2, 1), (first["done"], len(first["runs"])))
        self.assertEqual(("dora", 20, 60, {"boolq": 10}), tuple(first["runs"][0][k] for k in ("method", "step", "steps", "answers")))
        make_run(self.store, "lora", 8, 1, 20)
        second = json.loads(self.ask("/progress.json")[1])
        self.assertEqual(3, second["done"])
        self.assertNotEqual(first["stamp"], second["stamp"])
        self.assertIn(second["stamp"].encode(), self.ask("/")[1])

    @needs_browser
    def test_the_live_page_shows_progress(self):
        with Chromium() as browser:
            browser.open(self.url, DRAWN)
            browser.open(self.url, "document.querySelector('#progress tbody tr')")
            self.assertIn("20 of 60", browser.value("document.querySelector('#progress tbody').textContent"))
            make_run(self.store, "lora", 8, 1, 20)
            browser.wait("document.querySelector('#progress button')")
            self.assertEqual([], browser.errors)


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main(verbosity=2)
