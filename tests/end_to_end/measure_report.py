#!/usr/bin/env python3
"""measure_report.py BINARY [RUNS [ITEMS]]: size of the report page of a made-up store and the seconds in which Chromium opens it."""
import pathlib, subprocess, sys, tempfile, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from chromium import Chromium
from made_store import make_store

runs, items = (*map(int, sys.argv[2:]), 200, 100)[:2] if len(sys.argv) < 4 else map(int, sys.argv[2:4])
for own_rows in (False, True):
    with tempfile.TemporaryDirectory() as folder:
        store, page = pathlib.Path(folder) / "results", pathlib.Path(folder) / "report.html"
        make_store(store, runs, items)
        if own_rows:
            for number, config in enumerate(sorted(store.glob("runs/*/config.yaml"))):
                config.write_text(config.read_text().replace('"learning_rate": 0.0002', '"learning_rate": %g' % (1e-4 + number * 1e-6)))
        start = time.monotonic()
        subprocess.run([sys.argv[1], "--quiet", "report", "--results", store, "--format", "html", "--to", page], check=True)
        written = time.monotonic() - start
        seconds = []
        for _ in range(3):
            with Chromium() as browser:
                seconds.append(browser.open(page.as_uri(), "document.body?.dataset.drawn !== undefined"))
                assert not browser.errors, browser.errors
        print("a row a run" if own_rows else "ten seeds a row", f"{page.stat().st_size / 1e6:.1f} MB, written in {written:.1f} s, opens in", ", ".join(f"{s:.2f}" for s in seconds), "s")
