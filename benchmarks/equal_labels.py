"""Are the labels of every faster way of prediction those of the plain one? On the scans of every benchmark.

    python benchmarks/equal_labels.py [--sets hippocampus,la2018] [--minutes 1] [--seconds 60]

On each data set a model is trained for a minute, on the workflow that `voxgraft new` writes. A model far from
finished is the harder test: many of its voxels hang between two labels. Then all scans, or as many as `--seconds` of
prediction allow, in a fixed random order, are segmented in the plain way (float32, each window of the whole scan
by itself, one slab) and in each faster way, in the scan's own grid. Kept are the voxels that differ, and the Dice
between the two masks, of the worst scan. `body` and `bf16` are used here whether or not the package allows them;
VoxGraft uses them only where a package's own held-out cases agree.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from arms import folder_of
from measured import DATA, keep, parser_of
from numpy.typing import NDArray

import voxgraft as vg
from voxgraft.datasets.dataset import find_dataset
from voxgraft.discovery import discover
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import ImageRef, Volume
from voxgraft.inference.need import FEWEST, REACH, column_bytes
from voxgraft.inference.predictor import Applied, predictor_of
from voxgraft.packages.package import Package, read_package
from voxgraft.preprocessing.plan import Plan
from voxgraft.workflow.workflow import read as read_workflow

SETS = (
    "hippocampus",
    "la2018",
    "sts_ct",
    "sts_mr_t1",
    "sts_pet",
    "brats",
    "acdc_png",
    "kvasir_seg_100",
    "drive",
    "chase_db1",
)
MORE = {"sts_ct": ("ct/example_ct.nii.gz", "ct/spleen_ct.nii.gz")}
"""Scans without a mask of the data set, on which its model is applied as well."""
SPACING = {"la2018": 2.0, "sts_ct": 3.0, "sts_mr_t1": 3.0, "sts_pet": 4.0, "brats": 2.0}
"""In mm, coarser than the scans, so that a CPU segments several of them seven times."""


def _narrow(plan: Plan, shape: tuple[int, ...], seen: tuple[int, ...], held: int) -> int:
    """Bytes for the logits of the fewest columns that are done together, so that a scan is done in several parts."""
    return (FEWEST + REACH + 1) * column_bytes(plan, seen, shape)


def ways_of(package: Package) -> dict[str, Applied]:
    """The plain way first."""
    catalogue = discover()

    def made(precision: str = "32", body: str = "off", change: Callable[[Any], None] = lambda _: None) -> Applied:
        found = predictor_of(package, catalogue, device="cpu", precision=precision, body=body)
        found.skip_empty, found.batch = False, 1
        change(found)
        return found

    return {
        "plain": made(),
        "empty windows once": made(change=lambda one: setattr(one, "skip_empty", True)),
        "four windows at once": made(change=lambda one: setattr(one, "batch", 4)),
        "in columns": made(change=lambda one: setattr(one, "_room", _narrow)),
        "body": made(body="on"),
        "bf16": made(precision="bf16"),
        "bf16, body": made(precision="bf16", body="on"),
    }


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The mean Dice of the labels that either mask holds; 1 where both are empty."""
    values = [value for value in np.union1d(np.unique(one), np.unique(other)) if value]
    shares = [2 * np.sum((one == v) & (other == v)) / (np.sum(one == v) + np.sum(other == v)) for v in values]
    return float(np.mean(shares)) if shares else 1.0


def scans_of(workflow: Path, name: str) -> Iterator[tuple[str, Volume]]:
    """The images of the data set, in a fixed random order, those of `MORE` first."""
    catalogue = discover()
    for more in MORE.get(name, ()):
        yield Path(more).name, read(ImageRef(DATA / more), catalogue)
    dataset = find_dataset(read_workflow(workflow, catalogue).data, catalogue)
    for index in np.random.default_rng(7).permutation(len(dataset.cases)):
        case = dataset.cases[index]
        channels = [read(image, catalogue) for image in case.images if image is not None]
        array = channels[0].array if len(channels) == 1 else np.stack([channel.array for channel in channels])
        yield case.id, Volume(array, channels[0].affine, dims=channels[0].dims)


def compared(workflow: Path, name: str, run: Path, seconds: float) -> dict[str, Any]:
    """What differs between the plain way and the others, on the scans of one data set."""
    package = read_package(run / "package")
    summary = json.loads((run / "train" / "summary.json").read_text())
    plain, *others = ways_of(package).items()
    rows = {way: {"way": way, "scans": 0, "voxels_that_differ": 0, "worst_dice": 1.0} for way, _ in others}
    begun, scans, voxels, labelled = time.monotonic(), 0, 0, 0
    for case, scan in scans_of(workflow, name):
        expected = plain[1].predict(scan).labels.array
        scans, voxels, labelled = scans + 1, voxels + expected.size, labelled + int(np.count_nonzero(expected))
        for way, predictor in others:
            if "body" in way and not predictor.saves(scan):
                continue
            found, row = predictor.predict(scan).labels.array, rows[way]
            row["scans"] += 1
            row["voxels_that_differ"] += int(np.sum(found != expected))
            agreed = round(dice(found, expected), 6)
            if agreed < row["worst_dice"]:
                row |= {"worst_dice": agreed, "worst_scan": case}
        if time.monotonic() - begun > seconds:
            break
    plan = package.plan
    return {
        "data": name,
        "trained_seconds": summary["seconds"],
        "steps": summary["steps"],
        "scans": scans,
        "voxels": voxels,
        "labelled_voxels": labelled,
        "dims": plan.dims,
        "spacing_mm": list(plan.spacing),
        "patch": list(plan.patch),
        "ways": [row for row in rows.values() if row["scans"]],
    }


def one_set(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train, and compare."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    workflow = home / "workflow.yaml"
    if not workflow.exists():
        vg.new(DATA / name, out=workflow)
    run = vg.run(
        workflow,
        out=home / "run",
        training__budget=f"{options.minutes:g} min",
        training__validate_every="1",
        tracking="null",
        registry="null",
        steps="[plan, prepare, train]",
        **({"data__spacing": str([SPACING[name]] * 3)} if name in SPACING else {}),
    )
    return compared(workflow, name, run.folder, options.seconds)


def main() -> None:
    parser = parser_of(__doc__, "equal_labels")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--minutes", type=float, default=1, help="of training on each data set")
    parser.add_argument("--seconds", type=float, default=60, help="of prediction on each data set")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and go on with those that are here")
    options = parser.parse_args()
    chosen = options.sets.split(",")
    found: list[dict[str, Any]] = []
    with folder_of(options) as folder:
        for name in chosen:
            if not (DATA / name).is_dir():
                print(f"{name}: skipped, as {DATA / name} is not here")
                continue
            found.append(one_set(name, folder, options))
            for row in found[-1]["ways"]:
                differ = f"{row['voxels_that_differ']:8} voxels differ, worst Dice {row['worst_dice']:.6f}"
                print(f"{name:16} {row['way']:22} {row['scans']:3} scans {differ}", flush=True)
            known = json.loads(options.out.read_text())["sets"] if options.out.is_file() else []
            names = {row["data"] for row in found}
            others = [row for row in known if row["data"] not in names]  # what is not measured again is kept
            keep(options.out, {"sets": [*others, *found]})


if __name__ == "__main__":
    main()
