"""Seconds of CPU until a command answers, of this tree and of an earlier commit, taken in turn.

    python benchmarks/startup.py --before d1853e59~ --package runs/heads/package --scan head.nii.gz \\
        --write benchmarks/results/startup.json

`segment` is called with an input that is not there: it reads the package and finds every plugin, and then refuses.
CPU seconds are those of the process; they hardly depend on what else the machine does, wall time would.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", required=True, help="A commit.")
    parser.add_argument("--package", required=True)
    parser.add_argument("--scan", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    calls = {
        "--help": ["--help"],
        "plugins list": ["plugins", "list"],
        "inspect": ["inspect", asked.scan],
        "segment": ["segment", asked.package, "not-there.nii.gz", "--out", "not-there"],
    }
    with tempfile.TemporaryDirectory(prefix="startup-") as scratch:
        archive = subprocess.run(["git", "archive", asked.before], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", scratch], input=archive, check=True)
        trees = {"before": Path(scratch), "now": ROOT}
        taken: dict[str, dict[str, list[float]]] = {name: {tree: [] for tree in trees} for name in calls}
        for number in range(asked.rounds + 1):
            for name, words in calls.items():
                for tree, root in trees.items():
                    seconds = cpu(root, words)
                    if number:  # the first round fills the caches
                        taken[name][tree].append(seconds)
    found = {
        "before": asked.before,
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "rounds": asked.rounds,
        "cpu_seconds": {
            name: {tree: round(statistics.median(values), 3) for tree, values in by.items()}
            for name, by in taken.items()
        },
    }
    text = json.dumps(found, indent=2)
    print(text)
    if asked.write is not None:
        asked.write.write_text(text + "\n")


def cpu(root: Path, words: list[str]) -> float:
    """Seconds of CPU of one call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    roots = os.pathsep.join(str(root / part) for part in ("core", "plugins", "registry"))
    call = [sys.executable, "-m", "voxgraft", *words]
    subprocess.run(call, env={**os.environ, "PYTHONPATH": roots}, capture_output=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
