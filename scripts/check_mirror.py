#!/usr/bin/env python3
"""Tests mirror the sources: every tests/<folder>/x_test.cpp stands beside a folder of that name; no file is over 600 lines."""
import pathlib, subprocess, sys

root = pathlib.Path(__file__).resolve().parent.parent
files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.cpp", "*.cu", "*.cuh", "*.py"],
                       cwd=root, capture_output=True, text=True, check=True).stdout.split()
bad, sizes = [], []
for name in files:
    path = root / name
    if not path.exists():
        continue
    lines = len(path.read_text(errors="replace").splitlines())
    sizes.append(lines)
    if lines > 600:
        bad.append(f"{name}: {lines} lines, at most 600")
    if name.startswith("tests/") and name.endswith("_test.cpp"):
        folder = root / pathlib.PurePosixPath(name).parent.relative_to("tests")
        if not folder.is_dir():
            bad.append(f"{name}: no folder {folder.relative_to(root)} to mirror")
sizes.sort()
print("\n".join(bad) if bad else f"mirror: {len(sizes)} files, median {sizes[len(sizes) // 2]} lines, longest {sizes[-1]}")
sys.exit(1 if bad else 0)
