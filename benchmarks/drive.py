"""Train workflows/drive_crossvalidation.yaml and drive_deeplab.yaml, each with twins from scratch; F1 of each image.

    python benchmarks/drive.py [--decoders unet,deeplabv3plus] [--steps 100] [--folder DIR]

Five-fold cross-validation on the twenty training images of DRIVE: each is scored once, within the field of view, by the
network that did not learn from it. F1 is the Dice coefficient of the vessels' pixels. Prints a table and writes JSON
with machine and versions. The official test images are others: figures of the literature are not of the same split.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from arms import ROOT, keep, options_of, train

from voxgraft.compare import read_run
from voxgraft.runs.steps.together import pooled

WORKFLOWS = {"unet": "drive_crossvalidation", "deeplabv3plus": "drive_deeplab"}
STARTS = {"imagenet": ".", "scratch": "twin"}
"""Where the runs of a start lie in the folder of a fold."""


def told(run: Path, decoder: str, start: str) -> dict[str, Any]:
    """What the five networks of one decoder and start did, and scored on the images that each held out."""
    folds = [path / STARTS[start] for path in sorted((run / "members").iterdir())]
    summaries = [json.loads((fold / "train" / "summary.json").read_text()) for fold in folds]
    scores = pooled([read_run(fold) for fold in folds], {})
    return {
        "decoder": decoder,
        "start": start,
        "steps": summaries[0]["steps"],
        "seconds": [one["seconds"] for one in summaries],
        "parameters": summaries[0]["parameters"],
        **{metric: found["mean"] for metric, found in scores.document()["summary"].items()},
        "f1": {case: round(one["dice"]["mean"], 4) for case, one in sorted(scores.cases.items())},
    }


def show(arms: list[dict[str, Any]], guards: dict[str, Any]) -> None:
    print(f"{'decoder':14} {'start':9} {'F1':>7} {'95 % interval':>17} {'precision':>9} {'recall':>7} {'seconds':>8}")
    for one in arms:
        low, high = one["dice"]["ci95"]
        print(
            f"{one['decoder']:14} {one['start']:9} {one['dice']['mean']:7.4f} {low:8.4f} {high:8.4f} "
            f"{one['precision']['mean']:9.4f} {one['recall']['mean']:7.4f} {statistics.median(one['seconds']):8.1f}"
        )
    for decoder, one in guards.items():
        low, high = one["ci95"]
        print(
            f"{decoder}: imagenet - scratch {one['difference']:+.4f} ({low:+.4f} to {high:+.4f}), p {one['p']:.4f}: "
            f"{one['verdict']}; by fold {', '.join(one['members'].values())}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", default=",".join(WORKFLOWS))
    options_of(parser, "drive", steps=100, seeds="7")
    options = parser.parse_args()
    arms, guards = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for decoder in options.decoders.split(","):
            workflow = ROOT / "workflows" / f"{WORKFLOWS[decoder]}.yaml"
            run = train(workflow, folder / decoder, {}, int(options.seeds), options)
            arms += [told(run, decoder, start) for start in STARTS]
            guards[decoder] = json.loads((run / "guard.json").read_text())
    keep(options.out, {"arms": arms, "guard": guards})
    show(arms, guards)


if __name__ == "__main__":
    main()
