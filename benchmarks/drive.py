"""Train workflows/drive_crossvalidation.yaml and drive_deeplab.yaml, each with twins from scratch; F1 of each image.

    python benchmarks/drive.py [--decoders unet,deeplabv3plus] [--steps 100] [--longer 200] [--folder DIR]

Five-fold cross-validation on the twenty training images of DRIVE: each is scored once, within the field of view, by the
network that did not learn from it. F1 is the Dice coefficient of the vessels' pixels. The first decoder is trained with
a longer budget, too: a short one favours the start that learns faster. Prints a table and writes JSON with machine and
versions. The official test images are others: figures of the literature are not of the same split.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
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


def gathered(runs: Mapping[tuple[str, int], Path]) -> dict[str, Any]:
    """What the runs by decoder and steps gave: `arms`, and of each run the guard's verdict over all images."""
    arms = [told(run, decoder, start) for (decoder, _), run in runs.items() for start in STARTS]
    guards = [
        {"decoder": decoder, "steps": steps, **json.loads((run / "guard.json").read_text())}
        for (decoder, steps), run in runs.items()
    ]
    return {"arms": arms, "guard": guards}


def show(found: Mapping[str, Any]) -> None:
    """Print what `gathered` gave."""
    print(f"{'decoder':14} {'start':9} {'steps':>5} {'F1':>7} {'95 % interval':>17} {'precision':>9} {'recall':>7}")
    for one in found["arms"]:
        low, high = one["dice"]["ci95"]
        print(
            f"{one['decoder']:14} {one['start']:9} {one['steps']:5} {one['dice']['mean']:7.4f} {low:8.4f} {high:8.4f} "
            f"{one['precision']['mean']:9.4f} {one['recall']['mean']:7.4f}"
        )
    for one in found["guard"]:
        low, high = one["ci95"]
        print(
            f"{one['decoder']}, {one['steps']} steps: imagenet - scratch {one['difference']:+.4f} ({low:+.4f} to "
            f"{high:+.4f}), p {one['p']:.4f}: {one['verdict']}; by fold {', '.join(one['members'].values())}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", default=",".join(WORKFLOWS))
    parser.add_argument("--longer", type=int, default=200, metavar="STEPS", help="0 leaves the longer budget out")
    options_of(parser, "drive", steps=100, seeds="7")
    options = parser.parse_args()
    decoders = options.decoders.split(",")
    wanted = [(decoder, options.steps) for decoder in decoders]
    wanted += [(decoders[0], options.longer)] if options.longer else []
    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for decoder, steps in wanted:
            workflow = ROOT / "workflows" / f"{WORKFLOWS[decoder]}.yaml"
            budget = argparse.Namespace(**{**vars(options), "steps": steps})
            runs[decoder, steps] = train(workflow, folder / f"{decoder}-{steps}", {}, int(options.seeds), budget)
        found = gathered(runs)
    keep(options.out, found)
    show(found)


if __name__ == "__main__":
    main()
