"""Seconds of CPU until a command answers, of this tree and of an earlier commit, taken in turn.

    python benchmarks/startup.py --before d1853e59~ --write benchmarks/results/startup.json

Both are installed with pip, each into a folder of its own, so that each finds the plugins that it declares; and each
trains a model of its own for two steps, for a package belongs to the tree that wrote it. `segment` is called with an
input that is not there (it reads the package and refuses) and with one scan (all that a first scan takes). A call that
does not end as it should stops the measurement. CPU seconds are those of the process; they hardly depend on what else
the machine does, wall time would.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measured import ROOT, computer, keep, parser_of, processes

SHORT = ("training.budget=2 steps", "training.validation_cases=1", "steps=[plan, prepare, train]")


@dataclass(frozen=True)
class Call:
    """A command line, how it must end, and what it must say."""

    words: tuple[str, ...]
    exit_code: int
    says: str


CALLS = {
    "--help": Call(("--help",), 0, "segment"),
    "plugins list": Call(("plugins", "list"), 0, "nifti"),
    "inspect": Call(("inspect", "SCAN"), 0, "nifti"),
    "segment": Call(("segment", "PACKAGE", "not-there.nii.gz", "--out", "not-there"), 2, "there is no such file"),
    "segment PACKAGE SCAN": Call(("segment", "PACKAGE", "SCAN", "--device", "cpu", "--out", "NEW"), 0, "1 done"),
}


@dataclass(frozen=True)
class Tree:
    """An installed tree: the folder of its packages, and one where it works."""

    packages: Path
    place: Path

    def call(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.packages)}
        call = [sys.executable, "-m", "voxgraft", *words]
        return subprocess.run(call, env=environment, cwd=self.place, capture_output=True, text=True, timeout=1200)

    def done(self, *words: str) -> None:
        answer = self.call(list(words))
        if answer.returncode:
            raise SystemExit(f"voxgraft {' '.join(words)} of {self.packages}: {answer.stdout}{answer.stderr}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--before", required=True, help="A commit.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="startup-") as scratch:
        trees = {"before": installed(asked.before, Path(scratch)), "now": installed("HEAD", Path(scratch))}
        for tree in trees.values():
            trained(tree, trees["now"])
        taken: dict[str, dict[str, list[float]]] = {name: {tree: [] for tree in trees} for name in CALLS}
        for number in range(asked.rounds + 1):
            for name, call in CALLS.items():
                for which, tree in trees.items():
                    seconds = cpu(tree, call, f"batch-{number}")
                    if number:  # the first round fills the caches
                        taken[name][which].append(seconds)
    found = {
        "before": asked.before,
        "machine": computer(),
        "rounds": asked.rounds,
        "cpu_seconds": {
            name: {tree: round(statistics.median(values), 3) for tree, values in by.items()}
            for name, by in taken.items()
        },
    }
    print(found["cpu_seconds"])
    if asked.write is not None:
        keep(asked.write, found)


def installed(commit: str, scratch: Path) -> Tree:
    """The packages of a commit, with what says which plugins it has."""
    source, tree = scratch / f"source-{commit}", Tree(scratch / f"packages-{commit}", scratch / f"place-{commit}")
    source.mkdir()
    tree.place.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(tree.packages), str(source)], check=True)
    return tree


def trained(tree: Tree, writer: Tree) -> None:
    """Scans and a workflow, which one tree writes for both, and a package of the tree's own."""
    data, heads = tree.place / "data", tree.place / "heads.yaml"
    writer.done("demo", "--data", str(data))
    writer.done("new", str(data / "labelled"), "--out", str(heads))
    settings = [word for value in SHORT for word in ("--set", value)]
    tree.done("run", "heads.yaml", *settings, "--out", "run")


def cpu(tree: Tree, call: Call, batch: str) -> float:
    """Seconds of CPU of one call."""
    names = {"SCAN": "data/labelled/imagesTr/demo_001.nii.gz", "PACKAGE": "run/package", "NEW": batch}
    words = [names.get(word, word) for word in call.words]
    with processes() as taken:
        answer = tree.call(words)
    if answer.returncode != call.exit_code or call.says not in answer.stdout + answer.stderr:
        raise SystemExit(f"voxgraft {' '.join(words)} of {tree.packages}: {answer.stdout}{answer.stderr}")
    return taken.cpu


if __name__ == "__main__":
    main()
