"""Dice over the number of labelled patients, with and without transfer, and how many labels transfer saves.

    python benchmarks/curves.py polyps [--labels 4,8,16,33] [--draws 3] [--steps 400] [--arms scratch,imagenet]

Each draw takes other labelled patients (nested: the 4 of a draw are among its 8) and another seed; held out are the
same patients everywhere. The 95 % intervals are from a bootstrap over draws and over held-out patients, paired between
the arms. The labels saved at n are those that scratch needs for the Dice that transfer has with n, read from the line
through scratch's points over log2 of the number of labels, less n. `--long TIMES` trains the first and the last arm
once with all labels for so many times the steps and keeps the validation curves, which say whether the budget was long
enough; with `--draws 0` it is added to the file that is there.
The file is written after each draw: results/curves_NAME.json, and docs/images/curves_NAME.svg. It holds the Dice of
each held-out patient, so that a later call with `--finished` takes from it what it holds and adds arms, labels and
draws. Runs that are in --folder are not done again, with `--finished` not even those of another version of VoxGraft,
and the long trainings of the file are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from arms import options_of, train
from curves_picture import picture
from measured import RESULTS, ROOT, computer, keep
from numpy.typing import NDArray

from voxgraft.scoring.comparison import read_run

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
L2SP = [{"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}]
Changes = Mapping[str, Any]
SCRATCH: Changes = {"model.encoder.weights": "none", "transfer": []}
FLAT: dict[str, Changes] = {"scratch": SCRATCH, "imagenet": {"model.encoder.weights": "imagenet", "transfer": L2SP}}
LITE0 = {"use": "efficientnet-lite0", "weights": "none"}
IMAGENET = {**LITE0, "weights": "imagenet"}
MEAN_TEACHER = [{"use": "mean-teacher", "weight": 0.1, "ramp": 0.5, "threshold": True}]
VOLUMES: Changes = {"data.spacing": [2.0] * 3, "training.patch": [48, 40, 24], "training.batch": 2}
SLICES: Changes = {
    "data.spacing": [1.25] * 3,
    "model.dims": 2,
    "model.decoder": {"use": "unet"},
    "training.patch": "auto",
    "training.batch": 12,
}
ATRIUM: dict[str, Changes] = {
    "scratch": {**VOLUMES, "transfer": [], "training.budget": "800 steps"},
    "inflated": {**VOLUMES, "model.encoder": IMAGENET, "transfer": L2SP, "training.budget": "125 steps"},
    "inflated-scratch": {**VOLUMES, "model.encoder": LITE0, "transfer": [], "training.budget": "125 steps"},
    "mean-teacher": {**VOLUMES, "transfer": MEAN_TEACHER, "training.budget": "225 steps"},
    "slices-scratch": {**SLICES, "model.encoder": LITE0, "transfer": [], "training.budget": "460 steps"},
    "slices-imagenet": {**SLICES, "model.encoder": IMAGENET, "transfer": L2SP, "training.budget": "460 steps"},
}
"""Each takes three to four minutes of one core (AMD EPYC with bfloat16 units): what a step costs differs sevenfold."""


@dataclass(frozen=True)
class Trained:
    """What one training gave: the Dice of each held-out patient, and its seconds."""

    dice: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class DataSet:
    """What is trained: the workflow, its numbers of labelled patients, how many there are, the split, and the arms.

    Args:
        common: Changes that all arms share.
        twins: Arms that differ only in their weights at the start: pretrained, from scratch.
    """

    workflow: str
    labels: tuple[int, ...]
    whole: int
    split: Changes
    arms: Mapping[str, Changes]
    title: str
    common: Changes = field(default_factory=dict)
    twins: tuple[tuple[str, str], ...] = ()


SETS = {
    "polyps": DataSet("polyps_2d", (4, 8, 16, 33), 33, {"folds": 2, "fold": 0}, FLAT, "Polyps, 2D pictures"),
    "heart": DataSet("heart_2d", (1, 2, 4, 8), 8, {"folds": 3, "fold": 0}, FLAT, "Heart, 2D slices"),
    "atrium": DataSet(
        "atrium_3d",
        (1, 4, 16),
        20,
        {"by": "dataset"},
        ATRIUM,
        "Left atrium, volumes and slices",
        {
            "data.layout": {"use": "csv", "path": "workflows/atrium_20.csv", "root": "../shared/data/la2018"},
            "training.precision": "bf16",
            "training.validation_cases": 2,
        },
        (("slices-imagenet", "slices-scratch"), ("inflated", "inflated-scratch")),
    ),
}
REPLICATES = 5000


def by_patient(run: Path) -> dict[str, float]:
    """The mean Dice of each held-out patient of a run."""
    scores = read_run(run).document()
    rows: dict[str, list[float]] = {}
    for case, metrics in scores["cases"].items():
        value = metrics["dice"].get("mean")
        if value is not None:
            rows.setdefault(scores["groups"].get(case, case), []).append(value)
    return {patient: float(np.mean(values)) for patient, values in rows.items()}


def resampled(table: Array, indices: tuple[Indices, Indices]) -> Array:
    """The means of a table (draws, patients) with draws and patients drawn again, one for each replicate."""
    rows, columns = indices
    return np.asarray(table[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2)))


def resampling(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[Indices, Indices]:
    """Which draws and which patients each replicate takes; the same for all arms, which keeps them paired."""
    rows = generator.integers(0, shape[0], (REPLICATES, shape[0]))
    return rows, generator.integers(0, shape[1], (REPLICATES, shape[1]))


def interval(values: Array) -> list[float]:
    """The middle 95 %."""
    return [round(float(value), 4) for value in np.percentile(values, [2.5, 97.5])]


def labels_for(dice: float, labels: Sequence[int], scratch: Sequence[float]) -> float:
    """The number of labels that scratch needs for a Dice, by the line over log2 of the labels, made monotone.

    Infinite where scratch never reaches it, the smallest number of labels where it always does."""
    line = np.maximum.accumulate(np.asarray(scratch))
    if dice > line[-1]:
        return float("inf")
    return float(2 ** np.interp(dice, line, np.log2(np.asarray(labels, dtype=float))))


def analysed(
    tables: Mapping[tuple[str, int], Array], labels: Sequence[int], pairs: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Points, and for each pair of arms the differences and the labels saved, each with its interval."""
    indices = resampling(next(iter(tables.values())).shape, np.random.default_rng(7))
    means = {key: resampled(table, indices) for key, table in tables.items()}
    points = []
    for (arm, n), table in tables.items():
        point = {"arm": arm, "labels": n, "dice": round(float(table.mean()), 4), "ci95": interval(means[arm, n])}
        points.append({**point, "by_draw": [round(float(value), 4) for value in table.mean(axis=1)]})
    differences = []
    for (arm, base), n in product(pairs, labels):
        rows = zip(means[arm, n], *(means[base, m] for m in labels), strict=True)
        needed = np.array([labels_for(row[0], labels, row[1:]) for row in rows])
        dice = float(tables[arm, n].mean())
        here = labels_for(dice, labels, [float(tables[base, m].mean()) for m in labels])
        low, high = np.percentile(needed - n, [2.5, 97.5], method="lower")
        differences.append(
            {
                "arm": arm,
                "against": base,
                "labels": n,
                "difference": round(dice - float(tables[base, n].mean()), 4),
                "ci95": interval(means[arm, n] - means[base, n]),
                "saved": _finite(here - n),
                "saved_ci95": [_finite(low), _finite(high)],
            }
        )
    return {"points": points, "differences": differences}


def _finite(value: float) -> float | str:
    """A number of labels, or that it is more than any that was tried."""
    return round(float(value), 1) if np.isfinite(value) else "more than tried"


def longer(data: DataSet, arms: Sequence[str], folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The validation curves of long trainings with all labels."""
    found = []
    for arm in (arms[0], arms[-1]):
        changes = changes_of(data, arm, data.whole)
        steps = options.long * steps_of(data, arm, options)
        run = train(
            ROOT / "workflows" / f"{data.workflow}.yaml",
            folder / f"{arm}-long",
            {**changes, "training.budget": f"{steps} steps"},
            7,
            options,
        )
        summary = json.loads((run / "train" / "summary.json").read_text())
        curve = [{"step": look["step"], "dice": look["dice"]} for look in summary["curve"]]
        whole = read_run(run).document()["summary"]["dice"]["mean"]
        processor = computer()["processor"]
        found.append({"arm": arm, "steps": steps, "dice": whole["mean"], "processor": processor, "curve": curve})
    return found


def changes_of(data: DataSet, arm: str, labels: int, draw: int = 0) -> dict[str, Any]:
    """What differs from the workflow for one training."""
    split: dict[str, Any] = {**data.split, "seed": 7}
    if labels < data.whole:
        split |= {"labelled": labels, "repeat": draw, **({"repeats": draw + 1} if draw else {})}
    return {"data.split": split, "evaluation.metrics": ["dice"], **data.common, **data.arms[arm]}


def steps_of(data: DataSet, arm: str, options: argparse.Namespace) -> int:
    """The steps of one training."""
    return options.times * int(str(data.arms[arm].get("training.budget", options.steps)).split()[0])


def pairs_of(data: DataSet, arms: Sequence[str]) -> list[tuple[str, str]]:
    """Which arms are compared: each with the first, and pretrained slices with their twin from scratch."""
    pairs = [(arm, arms[0]) for arm in arms[1:]]
    return [*pairs, *((arm, twin) for arm, twin in data.twins if {arm, twin} <= set(arms) and twin != arms[0])]


def drawn(
    data: DataSet, draw: int, folder: Path, options: argparse.Namespace, known: Mapping[tuple[str, int], Trained]
) -> dict[tuple[str, int], Trained]:
    """All trainings of one draw of labelled patients; the largest number of labels first.

    Args:
        known: Trainings of this draw that an earlier call did.
    """
    found = dict(known)
    for n in sorted(options.labels, reverse=True):
        for arm in options.arms:
            if (arm, n) in known:
                continue
            run = folder / f"{arm}-{n}-{draw}"
            if not (options.finished and (run / "evaluate" / "scores.json").is_file()):
                budget = {"training.budget": f"{steps_of(data, arm, options)} steps"}
                changes = {**changes_of(data, arm, n, draw), **budget}
                train(ROOT / "workflows" / f"{data.workflow}.yaml", run, changes, 7 + draw, options)
            seconds = json.loads((run / "train" / "summary.json").read_text())["seconds"]
            found[arm, n] = Trained(by_patient(run), seconds)
    return found


def trained_of(document: Mapping[str, Any]) -> list[dict[tuple[str, int], Trained]]:
    """The trainings that a file holds, for each draw."""
    return [
        {(row["arm"], row["labels"]): Trained(row["dice"], row["seconds"]) for row in rows}
        for rows in document.get("trainings", [])
    ]


def document_of(data: DataSet, draws: Sequence[Mapping[tuple[str, int], Trained]], options: Any) -> dict[str, Any]:
    """The points, differences and labels saved of the draws that are finished."""
    patients = sorted(draws[0][options.arms[0], options.labels[0]].dice)
    keys = [(arm, n) for n in options.labels for arm in options.arms]
    tables = {key: np.array([[draw[key].dice[p] for p in patients] for draw in draws]) for key in keys}
    each = {arm: steps_of(data, arm, options) for arm in options.arms}
    seconds = {arm: sum(draw[arm, n].seconds for draw in draws for n in options.labels) for arm in options.arms}
    return {
        "data": data.title,
        "workflow": f"workflows/{data.workflow}.yaml",
        "steps": each if len(set(each.values())) > 1 else each[options.arms[0]],
        "draws": len(draws),
        "patients": len(patients),
        "seconds": {arm: round(value) for arm, value in seconds.items()},
        **analysed(tables, options.labels, pairs_of(data, options.arms)),
        "trainings": [
            [{"arm": arm, "labels": n, "seconds": one.seconds, "dice": one.dice} for (arm, n), one in draw.items()]
            for draw in draws
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--labels", help="numbers of labelled patients, such as 4,8,16")
    parser.add_argument("--arms", help="the first is compared with")
    parser.add_argument("--draws", type=int, default=3, help="of labelled patients, each with its own seed")
    parser.add_argument("--times", type=int, default=1, help="each training takes so many times its steps")
    parser.add_argument("--long", type=int, metavar="TIMES", help="a training of so many times the steps as well")
    parser.add_argument("--finished", action="store_true", help="take scores whatever version made them")
    options_of(parser, "curves", steps=400, seeds="7")
    parser.set_defaults(out=None)
    options = parser.parse_args()
    data = SETS[options.name]
    options.labels = [int(n) for n in options.labels.split(",")] if options.labels else list(data.labels)
    options.arms = options.arms.split(",") if options.arms else list(data.arms)
    out = options.out or RESULTS / f"curves_{options.name}.json"
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        before = json.loads(out.read_text()) if out.exists() else {}
        draws: list[dict[tuple[str, int], Trained]] = []
        known = trained_of(before) if options.finished else []
        for draw in range(options.draws):
            draws.append(drawn(data, draw, folder, options, known[draw] if draw < len(known) else {}))
            kept = {"longer": before["longer"]} if "longer" in before else {}
            before = {**document_of(data, draws, options), **kept}
            keep(out, before)
        if options.long:
            before["longer"] = longer(data, options.arms, folder, options)
            keep(out, before) if options.draws else out.write_text(json.dumps(before, indent=1) + "\n")
    (ROOT / "docs" / "images" / f"{out.stem}.svg").write_text(picture(before))


if __name__ == "__main__":
    main()
