#!/usr/bin/env python3
"""Holds the layers of scripts/layers.txt: lists every include that a folder may not make; exit 1 when there is one."""
import pathlib, re, subprocess, sys

root = pathlib.Path(__file__).resolve().parent.parent
allowed = {}
for line in (root / "scripts/layers.txt").read_text().splitlines():
    if line.strip() and not line.startswith("#"):
        folder, names = line.split(":", 1)
        allowed[folder] = names.split()

files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.h", "*.cpp", "*.cu", "*.cuh"],
                       cwd=root, capture_output=True, text=True, check=True).stdout.split()
bad = []
for name in files:
    path = root / name
    folder = str(pathlib.PurePosixPath(name).parent)
    if folder.startswith("tests") or not path.exists():
        continue
    if folder not in allowed:
        bad.append(f"{name}: folder {folder} is not in scripts/layers.txt")
        continue
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m or "/" not in m.group(1) or m.group(1).startswith("generated/"):
            continue
        if ".." in m.group(1):
            bad.append(f"{name}:{number}: include paths start at the root, got {m.group(1)}")
            continue
        target = str(pathlib.PurePosixPath(m.group(1)).parent)
        if target != folder and "*" not in allowed[folder] and target not in allowed[folder]:
            bad.append(f"{name}:{number}: {folder} may not include {m.group(1)}")
print("\n".join(bad) if bad else f"layers: {len(files)} files hold them")
sys.exit(1 if bad else 0)
