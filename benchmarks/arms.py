"""Train one workflow in several ways (arms) with several seeds, and compare the arms patient by patient.

Used by the benchmarks of transfer. Every arm draws the same patches in the same order for a seed, starts from the same
new weights and takes the same number of steps. A case's score in an arm is its mean over the seeds; the difference of
two arms has a paired bootstrap interval over patients and a p-value corrected by Holm for all comparisons of a table.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measured import RESULTS

import voxgraft as vg
from voxgraft.runs.pooling import pooled
from voxgraft.scoring.comparison import compare_all, read_run
from voxgraft.scoring.scores import Scores

STEPS = "[check, plan, prepare, train, evaluate]"


def options_of(parser: argparse.ArgumentParser, name: str, steps: int, seeds: str) -> None:
    """The options that these benchmarks share."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seeds", default=seeds, help="one run of each arm for each, such as 7,8,9")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and go on with those that are here")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


@contextmanager
def folder_of(options: argparse.Namespace) -> Iterator[Path]:
    """Where runs are kept: the folder that was named, or one that is gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def train(workflow: Path, out: Path, changes: Mapping[str, Any], seed: int, options: argparse.Namespace) -> Path:
    """Run one arm, or go on with it; the folder of the run.

    Args:
        changes: KEY (with dots) -> value, over the workflow.
    """
    overrides = {
        "training.budget": f"{options.steps} steps",
        "training.device": options.device,
        "training.seed": seed,
        "data.cache": (out.parent / "cache").as_posix(),
        "steps": STEPS,
        "tracking": "null",
        "registry": "null",
        **{key: value if isinstance(value, str) else json.dumps(value) for key, value in changes.items()},
        **dict(pair.split("=", 1) for pair in options.set),
    }
    return vg.run(workflow, out=out, **{key.replace(".", "__"): value for key, value in overrides.items()}).folder


def told(run: Path) -> dict[str, Any]:
    """What one run did and scored."""
    summary = json.loads((run / "train" / "summary.json").read_text())
    scores = json.loads((run / "evaluate" / "scores.json").read_text())
    count = {True: 0, False: 0}
    for row in json.loads((run / "train" / "parameters.json").read_text()):
        count[row["train"]] += math.prod(row["shape"])
    return {
        "steps": summary["steps"],
        "seconds": summary["seconds"],
        "trained": count[True],
        "fixed": count[False],
        **{metric: found["mean"] for metric, found in scores["summary"].items()},
        "cases": {case: one["dice"]["mean"] for case, one in scores["cases"].items() if "mean" in one["dice"]},
    }


def pooled_arms(runs: Mapping[tuple[str, int], Path]) -> dict[str, Scores]:
    """The scores of each arm; those of a case are averaged over the seeds."""
    parts: dict[str, list[Scores]] = {}
    for (arm, _), run in runs.items():
        parts.setdefault(arm, []).append(read_run(run))
    return {arm: pooled(found, {}) for arm, found in parts.items()}


def compared(scores: Mapping[str, Scores], metric: str = "dice") -> list[dict[str, Any]]:
    """Each arm against the first."""
    return [one.document() for one in compare_all(scores, {metric: True})] if len(scores) > 1 else []


def table_of(runs: Mapping[tuple[str, int], Path]) -> dict[str, Any]:
    """What all runs of one setting gave: `runs`, `arms` (pooled over seeds) and `comparisons` with the first arm."""
    scores = pooled_arms(runs)
    rows = [{"arm": arm, "seed": seed, **told(run)} for (arm, seed), run in runs.items()]
    arms = []
    for arm, one in scores.items():
        mine = [row for row in rows if row["arm"] == arm]
        arms.append(
            {
                "arm": arm,
                "dice": one.document()["summary"]["dice"]["mean"],
                "by_seed": [round(row["dice"]["mean"], 4) for row in mine],
                "seconds": round(statistics.median(row["seconds"] for row in mine), 1),
                "trained": mine[0]["trained"],
            }
        )
    return {"arms": arms, "comparisons": compared(scores), "runs": rows}


def show(table: Mapping[str, Any]) -> None:
    """Print a table as `table_of` makes it."""
    print(f"{'arm':28} {'Dice':>7} {'95 % interval':>17} {'seconds':>8} {'trained':>10}  by seed")
    for one in table["arms"]:
        low, high = one["dice"]["ci95"]
        print(
            f"{one['arm']:28} {one['dice']['mean']:7.4f} {low:8.4f} {high:8.4f} {one['seconds']:8.1f} "
            f"{one['trained']:10,}  {' '.join(map(str, one['by_seed']))}"
        )
    for one in table["comparisons"]:
        low, high = one["ci95"]
        print(
            f"{one['run'] + ' - ' + one['against']:28} {one['difference']:+7.4f} {low:+8.4f} {high:+8.4f} "
            f"p (Holm) {one['p_holm']:.4f}  {one['verdict']}"
        )
