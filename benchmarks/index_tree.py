"""How fast a DICOM tree is looked through: without an index, while one is made, and once it is there.

    python benchmarks/index_tree.py [--series 200] [--slices 100] [--flat]

Makes a tree of small CT slices (64x64) of invented patients in a temporary folder, one series a folder, or all in one
folder as some PACS export them. Each figure is the median of `--rounds` runs; `second` is a run in which nothing has
changed, `one added` one after a slice was added to one series.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measured import ROOT, in_turns, parser_of

sys.path.insert(0, str(ROOT / "tests"))

from dicom_series import make_series
from voxgraft.components.choice import choose
from voxgraft.datasets.dataset import read_layout
from voxgraft.discovery import discover


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flat", action="store_true", help="all files in one folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.series, options.slices, options.rounds, options.flat)
    print(json.dumps(found, indent=2))


def measure(folder: Path, series: int, slices: int, rounds: int, flat: bool) -> dict[str, Any]:
    """Seconds and files a second of each kind of run."""
    root = folder / "tree"
    make_tree(root, series, slices, flat)
    time.sleep(2.5)  # younger files are not remembered
    catalogue = discover()
    size = sum(1 for file in root.rglob("*.dcm"))

    def read(index: str) -> None:
        layout = {"use": "dicom", "path": root, "index": index}
        cases = read_layout(choose(catalogue, "layout", layout), catalogue).cases
        assert len(cases) == series, "every series is a case"

    place = folder / "index.sqlite"
    found = {"no index": timed(lambda: read("off"), rounds)}
    first = []
    for _ in range(rounds):
        for file in folder.glob("index.sqlite*"):
            file.unlink()
        first.append(timed(lambda: read(str(place)), 1))
    found["first"] = statistics.median(first)
    found["second"] = timed(lambda: read(str(place)), rounds)
    make_series(root / "added", np.zeros((64, 64, 1), np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    series += 1
    time.sleep(2.5)
    found["one added"] = timed(lambda: read(str(place)), 1)
    index = sum(file.stat().st_size for file in folder.glob("index.sqlite*"))
    rates = {f"files/s, {name}": round(size / seconds) for name, seconds in found.items()}
    seconds = {f"s, {name}": round(value, 3) for name, value in found.items()}
    return {"files": size, "series": series, "flat": flat, **seconds, **rates, "index MB": round(index / 1e6, 2)}


def make_tree(root: Path, series: int, slices: int, flat: bool) -> None:
    array = np.random.default_rng(7).integers(0, 99, (64, 64, slices)).astype(np.int16)
    for number in range(series):
        folder = root if flat else root / f"patient{number // 4}" / f"series{number}"
        uids = {"SeriesInstanceUID": f"1.2.3.{number + 1}", "StudyInstanceUID": f"1.2.{number // 4 + 1}"}
        name = f"{number:05d}-{{:05d}}.dcm"
        make_series(folder, array, np.diag([-1.0, -1.0, 2.0, 1.0]), name=name, PatientID=f"P{number // 4}", **uids)


def timed(work: Callable[[], None], rounds: int) -> float:
    """The median of the seconds that a piece of work takes."""
    return statistics.median(one.seconds for one in in_turns({"": work}, rounds)[""])


if __name__ == "__main__":
    main()
