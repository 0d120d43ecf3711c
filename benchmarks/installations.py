"""What an installation takes: distributions, megabytes, and whether it answers, each in a fresh virtual environment.

    python benchmarks/installations.py --folder /tmp/installations --write benchmarks/results/installations.json

`pip` installs from the index that it is set to, with `constraints.txt`; each environment is deleted when it has been
measured. Sizes are what files take in `site-packages`, byte code of pip included. A distribution's size is that of the
files which its RECORD names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINED = ("-c", "constraints.txt")
CASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "voxgraft": ((*CONSTRAINED, "."),),
    "voxgraft[demo]": ((*CONSTRAINED, ".[demo]"),),
    "voxgraft[serve]": ((*CONSTRAINED, ".[serve]"),),
    "prediction only": ((*CONSTRAINED, "-r", "docs/requirements-predict.txt"), ("--no-deps", ".")),
}
"""What `pip install` is called with, one call after the other."""
LARGEST = 8
"""Distributions that are named with their size."""
ASK = """\
import json
from importlib.metadata import distributions

def size(one):
    return sum(path.stat().st_size for file in one.files or [] if (path := one.locate_file(file)).is_file())

print(json.dumps({one.name: [one.version, size(one)] for one in distributions()}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="Where the environments are made, one at a time.")
    parser.add_argument("--case", choices=CASES, action="append", help="By default all.")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    machine = {"system": platform.system(), "processor": platform.machine(), "python": platform.python_version()}
    found: dict[str, Any] = {"machine": machine, "cases": {}}
    for name in asked.case or CASES:
        print(f"... {name}", flush=True)
        found["cases"][name] = measured(asked.folder / "venv", CASES[name])
        text = json.dumps(found, indent=2)
        if asked.write is not None:
            asked.write.write_text(text + "\n")
        print(json.dumps(found["cases"][name], indent=2), flush=True)
    asked.folder.rmdir()


def measured(venv: Path, calls: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Install, count, ask `doctor` and `plugins list`, and delete."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    for call in calls:
        subprocess.run([str(python), "-m", "pip", "install", "-q", *call], cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run([str(python), "-c", ASK], env=environment, capture_output=True, text=True, check=True).stdout
    each: dict[str, tuple[str, int]] = {name: row for name, row in json.loads(told).items() if name not in NO_PART}
    doctor = [str(venv / "bin" / "voxgraft"), "doctor", "--json"]
    said = subprocess.run(doctor, cwd=venv, env=environment, capture_output=True, text=True)
    row = {
        "distributions": len(each),
        "megabytes": round(sum(size for _, size in each.values()) / 1e6),
        "torch": each["torch"][0],
        "largest": {name: round(each[name][1] / 1e6) for name in sorted(each, key=lambda one: -each[one][1])[:LARGEST]},
        "install_cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        "doctor": said.returncode,
        "notes": json.loads(said.stdout)["notes"],
        "troubles": json.loads(said.stdout)["troubles"],
    }
    shutil.rmtree(venv)
    return row


NO_PART = {"pip", "setuptools"}
"""What every virtual environment holds."""


if __name__ == "__main__":
    main()
