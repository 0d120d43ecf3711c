"""Train workflows/atrium_2d_strategies.yaml from scratch and with each strategy at one budget; compare case by case.

    python benchmarks/strategies.py [--steps 200] [--seeds 7] [--arms scratch,freeze,...] [--folder DIR]

Eight labelled scans, twenty others to evaluate on; every arm draws the same patches in the same order, starts from the
same new weights, and takes the same number of steps. Prints a table and writes JSON with machine and versions. The
volumes were cropped around their reference masks in x and y: Dice on them is higher than it is on whole scans.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from hippocampus import machine

import voxgraft as vg
from voxgraft.compare import compare_all, read_run

ROOT = Path(__file__).parents[1]
SCRATCH = "scratch"
ARMS: dict[str, list[dict[str, Any]]] = {
    SCRATCH: [],
    "freeze": [{"use": "freeze"}],
    "fine-tune": [{"use": "fine-tune", "encoder_lr": 0.3}],
    "lp-ft": [{"use": "lp-ft", "probe": 0.15, "encoder_lr": 0.3}],
    "layer-decay": [{"use": "layer-decay", "decay": 0.75}],
    "l2-sp": [{"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}],
    "lora": [{"use": "lora", "r": 4}],
}
"""The comparison of the documentation."""

MORE: dict[str, list[dict[str, Any]]] = {
    "freeze-cache": [{"use": "freeze", "cache": True, "crops": 32}],
    "gradual": [{"use": "gradual"}],
    "bn-only": [{"use": "bn-only"}],
    "delta": [{"use": "delta"}],
    "delta-measured": [{"use": "delta", "channels": "measured"}],
    "clip": [{"use": "clip"}],
    "prune": [{"use": "fine-tune"}, {"use": "prune"}],
    "init": [{"use": "fine-tune"}, {"use": "init", "scheme": "he"}],
    "gradual-layer-decay-l2-sp": [{"use": "gradual"}, {"use": "layer-decay"}, {"use": "l2-sp", "alpha": 0.001}],
}
"""Others that --arms may name."""


def train(arm: str, seed: int, options: argparse.Namespace, folder: Path) -> Path:
    """Run one arm, or go on with it; the folder of the run."""
    overrides: dict[str, Any] = {
        "training__budget": f"{options.steps} steps",
        "training__device": options.device,
        "training__seed": seed,
        "data__cache": folder / "cache",
        "transfer": json.dumps({**ARMS, **MORE}[arm]),
        "steps": "[check, plan, prepare, train, evaluate]",
        "tracking": "null",
        "registry": "null",
        **{pair.split("=", 1)[0].replace(".", "__"): pair.split("=", 1)[1] for pair in options.set},
    }
    if arm == SCRATCH:
        overrides["model__encoder__weights"] = "none"
    return vg.run(options.workflow, out=folder / f"{arm}-{seed}", **overrides).folder


def told(arm: str, seed: int, run: Path) -> dict[str, Any]:
    """What one run did and scored."""
    summary = json.loads((run / "train" / "summary.json").read_text())
    scores = json.loads((run / "evaluate" / "scores.json").read_text())
    rows = json.loads((run / "train" / "parameters.json").read_text())
    count = {True: 0, False: 0}
    for row in rows:
        count[row["train"]] += math.prod(row["shape"])
    return {
        "arm": arm,
        "seed": seed,
        "steps": summary["steps"],
        "seconds": summary["seconds"],
        "trained": count[True],
        "fixed": count[False],
        "dice": scores["summary"]["dice"]["mean"],
        "hd95": scores["summary"]["hd95"]["mean"],
        "cases": {case: one["dice"]["mean"] for case, one in scores["cases"].items() if "mean" in one["dice"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "atrium_2d_strategies.yaml")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", default="7", help="one run of each arm for each, such as 7,8,9")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"the first is compared with; also {', '.join(MORE)}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and go on with those that are here")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "strategies.json")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    arms, seeds = options.arms.split(","), [int(seed) for seed in options.seeds.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        runs = {(arm, seed): train(arm, seed, options, folder) for seed in seeds for arm in arms}
        results = [told(arm, seed, run) for (arm, seed), run in runs.items()]
        compared = []
        for seed in seeds:
            scores = {arm: read_run(runs[arm, seed]) for arm in arms}
            found = compare_all(scores, {"dice": True}) if len(arms) > 1 else []
            compared += [{"seed": seed, **one.document()} for one in found]
    document = {
        "command": " ".join(["python benchmarks/strategies.py", *sys.argv[1:]]),
        "machine": machine(),
        "runs": results,
        "comparisons": compared,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{'arm':28} {'seed':>4} {'Dice':>7} {'95 % interval':>17} {'seconds':>8} {'trained':>10}")
    for one in results:
        low, high = one["dice"]["ci95"]
        print(
            f"{one['arm']:28} {one['seed']:4d} {one['dice']['mean']:7.4f} {low:8.4f} {high:8.4f} "
            f"{one['seconds']:8.1f} {one['trained']:10,}"
        )
    print(f"\n{'against ' + arms[0]:28} {'seed':>4} {'gain':>7} {'95 % interval':>17} {'p (Holm)':>8}  verdict")
    for one in compared:
        low, high = one["ci95"]
        print(
            f"{one['run']:28} {one['seed']:4d} {one['difference']:+7.4f} {low:+8.4f} {high:+8.4f} "
            f"{one['p_holm']:8.4f}  {one['verdict']}"
        )


if __name__ == "__main__":
    main()
