"""Dice over the number of labelled patients, with and without transfer, and how many labels transfer saves.

    python benchmarks/curves.py polyps [--labels 4,8,16,33] [--draws 3] [--steps 400] [--arms scratch,imagenet]

Each draw takes other labelled patients (nested: the 4 of a draw are among its 8) and another seed; held out are the
same patients everywhere. The 95 % intervals are from a bootstrap over draws and over held-out patients, paired between
the arms. The labels saved at n are those that scratch needs for the Dice that transfer has with n, read from the line
through scratch's points over log2 of the number of labels, less n. `--long STEPS` trains the first and the last arm
once with all labels for so many steps and keeps the validation curves, which say whether the budget was long enough;
with `--draws 0` it is added to the file that is there.
Runs that are in --folder are not done again, with `--finished` not even those of another version of VoxGraft, and the
long trainings of the file that is there are kept. Writes results/curves_NAME.json and docs/images/curves_NAME.svg.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arms import RESULTS, ROOT, keep, options_of, train
from curves_picture import picture
from numpy.typing import NDArray

from voxgraft.scoring.comparison import read_run

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
L2SP = [{"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}]
ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"model.encoder.weights": "none", "transfer": []},
    "imagenet": {"model.encoder.weights": "imagenet", "transfer": L2SP},
    "inflated": {
        "model.encoder": {"use": "efficientnet-lite0", "weights": "imagenet"},
        "transfer": [{"use": "fine-tune", "encoder_lr": 0.3}],
    },
    "mean-teacher": {
        "model.encoder.weights": "none",
        "transfer": [{"use": "mean-teacher", "weight": 0.1, "ramp": 0.5, "threshold": True}],
    },
}


@dataclass(frozen=True)
class DataSet:
    """What is trained: the workflow, its numbers of labelled patients and the split."""

    workflow: str
    labels: tuple[int, ...]
    folds: int
    arms: tuple[str, ...]
    title: str


SETS = {
    "polyps": DataSet("polyps_2d", (4, 8, 16, 33), 2, ("scratch", "imagenet"), "Polyps, 2D pictures"),
    "heart": DataSet("heart_2d", (1, 2, 4, 8), 3, ("scratch", "imagenet"), "Heart, 2D slices"),
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


def analysed(tables: Mapping[tuple[str, int], Array], labels: Sequence[int], arms: Sequence[str]) -> dict[str, Any]:
    """Points, differences from the first arm and labels saved, each with its interval."""
    indices = resampling(tables[arms[0], labels[0]].shape, np.random.default_rng(7))
    means = {key: resampled(table, indices) for key, table in tables.items()}
    base = arms[0]
    points, differences = [], []
    for (arm, n), table in tables.items():
        point = {"arm": arm, "labels": n, "dice": round(float(table.mean()), 4), "ci95": interval(means[arm, n])}
        points.append({**point, "by_draw": [round(float(value), 4) for value in table.mean(axis=1)]})
        if arm == base:
            continue
        gain = means[arm, n] - means[base, n]
        rows = zip(means[arm, n], *(means[base, m] for m in labels), strict=True)
        needed = np.array([labels_for(row[0], labels, row[1:]) for row in rows])
        here = labels_for(float(table.mean()), labels, [float(tables[base, m].mean()) for m in labels])
        low, high = np.percentile(needed - n, [2.5, 97.5], method="lower")
        differences.append(
            {
                "arm": arm,
                "labels": n,
                "difference": round(float(table.mean() - tables[base, n].mean()), 4),
                "ci95": interval(gain),
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
    found, steps = [], options.steps
    options.steps = options.long
    for arm in (arms[0], arms[-1]):
        run = train(
            ROOT / "workflows" / f"{data.workflow}.yaml", folder / f"{arm}-long", changes_of(data, arm), 7, options
        )
        summary = json.loads((run / "train" / "summary.json").read_text())
        curve = [{"step": look["step"], "dice": look["dice"]} for look in summary["curve"]]
        whole = read_run(run).document()["summary"]["dice"]["mean"]
        found.append({"arm": arm, "steps": options.long, "dice": whole["mean"], "curve": curve})
    options.steps = steps
    return found


def changes_of(data: DataSet, arm: str, labels: int | None = None, draw: int = 0) -> dict[str, Any]:
    split: dict[str, Any] = {"folds": data.folds, "fold": 0, "seed": 7}
    if labels is not None and labels < max(data.labels):
        split |= {"labelled": labels, "repeat": draw, **({"repeats": draw + 1} if draw else {})}
    return {"data.split": split, "evaluation.metrics": ["dice"], **ARMS[arm]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--labels", help="numbers of labelled patients, such as 4,8,16")
    parser.add_argument("--arms", help="the first is compared with")
    parser.add_argument("--draws", type=int, default=3, help="of labelled patients, each with its own seed")
    parser.add_argument("--long", type=int, metavar="STEPS", help="a long training with all labels as well")
    parser.add_argument("--finished", action="store_true", help="take scores whatever version made them")
    options_of(parser, "curves", steps=400, seeds="7")
    options = parser.parse_args()
    data = SETS[options.name]
    labels = [int(n) for n in options.labels.split(",")] if options.labels else list(data.labels)
    arms = options.arms.split(",") if options.arms else list(data.arms)
    workflow = ROOT / "workflows" / f"{data.workflow}.yaml"
    out = RESULTS / f"curves_{options.name}.json"
    if options.long and not options.draws:
        with tempfile.TemporaryDirectory() as scratch:
            document = json.loads(out.read_text())
            document["longer"] = longer(data, arms, options.folder or Path(scratch), options)
        out.write_text(json.dumps(document, indent=1) + "\n")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[tuple[str, int], list[dict[str, float]]] = {(arm, n): [] for n in labels for arm in arms}
        seconds: dict[str, float] = dict.fromkeys(arms, 0.0)
        for draw in range(options.draws):
            for n in labels:
                for arm in arms:
                    changes = changes_of(data, arm, n, draw)
                    run = folder / f"{arm}-{n}-{draw}"
                    if not (options.finished and (run / "evaluate" / "scores.json").is_file()):
                        train(workflow, run, changes, 7 + draw, options)
                    rows[arm, n].append(by_patient(run))
                    seconds[arm] += json.loads((run / "train" / "summary.json").read_text())["seconds"]
        patients = sorted(rows[arms[0], labels[0]][0])
        tables = {key: np.array([[row[p] for p in patients] for row in found]) for key, found in rows.items()}
        document: dict[str, Any] = {
            "data": data.title,
            "workflow": f"workflows/{data.workflow}.yaml",
            "steps": options.steps,
            "draws": options.draws,
            "patients": len(patients),
            "seconds": {arm: round(value) for arm, value in seconds.items()},
            **analysed(tables, labels, arms),
        }
        if options.long:
            document["longer"] = longer(data, arms, folder, options)
        elif options.finished and out.is_file() and (known := json.loads(out.read_text()).get("longer")):
            document["longer"] = known
    keep(out, document)
    (ROOT / "docs" / "images" / f"curves_{options.name}.svg").write_text(picture(document))
    print(json.dumps({key: document[key] for key in ("points", "differences")}, indent=1))


if __name__ == "__main__":
    main()
