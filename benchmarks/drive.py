"""Train workflows/drive_crossvalidation.yaml and drive_deeplab.yaml, each with twins from scratch; F1 of each image.

    python benchmarks/drive.py [--decoders unet,deeplabv3plus] [--steps 100] [--longer 300 --folds 5] [--folder DIR]

Five-fold cross-validation on the twenty training images of DRIVE: each is scored once, within the field of view, by the
network that did not learn from it. F1 is the Dice coefficient of the vessels' pixels. Some folds of the first decoder
are trained with a longer budget, too: a short one favours the start that learns faster. Prints tables and writes JSON
with machine and versions. The official test images are others: figures of the literature are not of the same split.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arms import compared, folder_of, options_of, train
from measured import ROOT, keep, parser_of

from voxgraft.runs.pooling import pooled
from voxgraft.scoring.comparison import read_run
from voxgraft.scoring.scores import Scores

WORKFLOWS = {"unet": "drive_crossvalidation", "deeplabv3plus": "drive_deeplab"}
STARTS = {"imagenet": ".", "scratch": "twin"}
"""Where the run of a start lies in the folder of a fold."""


def told(folds: Sequence[Path], decoder: str, start: str) -> tuple[dict[str, Any], Scores]:
    """What the networks of one decoder and start did, and scored on the images that each held out.

    Args:
        folds: The folders of their runs.
    """
    runs = [fold / STARTS[start] for fold in folds]
    summaries = [json.loads((run / "train" / "summary.json").read_text()) for run in runs]
    scores = pooled([read_run(run) for run in runs], {})
    row = {
        "decoder": decoder,
        "start": start,
        "steps": summaries[0]["steps"],
        "seconds": [one["seconds"] for one in summaries],
        "parameters": summaries[0]["parameters"],
        **{metric: found["mean"] for metric, found in scores.document()["summary"].items()},
        "f1": {case: round(one["dice"]["mean"], 4) for case, one in sorted(scores.cases.items())},
    }
    return row, scores


def gathered(runs: Mapping[str, Path]) -> dict[str, Any]:
    """What cross-validations by decoder gave: `arms`, and the guard's verdicts over all images."""
    arms = []
    for decoder, run in runs.items():
        folds = sorted((run / "members").iterdir())
        arms += [told(folds, decoder, start)[0] for start in STARTS]
    return {"arms": arms, "guard": {name: json.loads((run / "guard.json").read_text()) for name, run in runs.items()}}


def longer(folds: Sequence[Path], decoder: str) -> dict[str, Any]:
    """The same with some folds alone: `arms`, and the difference of the starts on their held-out images."""
    found = {start: told(folds, decoder, start) for start in ("scratch", "imagenet")}
    rows = [row for row, _ in reversed(found.values())]
    return {"arms": rows, "difference": compared({start: scores for start, (_, scores) in found.items()})[0]}


def show(arms: Sequence[Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of arms, and what each pair of starts differs by."""
    print(f"{'decoder':14} {'start':9} {'steps':>5} {'F1':>7} {'95 % interval':>17} {'precision':>9} {'recall':>7}   n")
    for one in arms:
        low, high = one["dice"]["ci95"]
        print(
            f"{one['decoder']:14} {one['start']:9} {one['steps']:5} {one['dice']['mean']:7.4f} {low:8.4f} {high:8.4f} "
            f"{one['precision']['mean']:9.4f} {one['recall']['mean']:7.4f} {len(one['f1']):3}"
        )
    for name, one in differences.items():
        low, high = one["ci95"]
        gain = f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
        print(f"{name}: imagenet - scratch {gain}, p {one['p']:.4f}: {one['verdict']}")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--decoders", default=",".join(WORKFLOWS))
    parser.add_argument("--longer", type=int, default=300, metavar="STEPS", help="of the first decoder once more")
    parser.add_argument("--folds", type=int, default=5, help="so many folds of that; 0 leaves it out")
    options_of(parser, "drive", steps=100, seeds="7")
    options = parser.parse_args()
    more = argparse.Namespace(**{**vars(options), "steps": options.longer})
    decoders, seed = options.decoders.split(","), int(options.seeds)
    files = {decoder: ROOT / "workflows" / f"{WORKFLOWS[decoder]}.yaml" for decoder in decoders}
    with folder_of(options) as folder:
        document = gathered({name: train(file, folder / name, {}, seed, options) for name, file in files.items()})
        first, file = next(iter(files.items()))
        folds = [
            train(file, folder / f"{first}-{options.longer}-{fold}", {"data.split.fold": fold}, seed, more)
            for fold in range(options.folds)
        ]
        document["longer"] = longer(folds, first) if folds else None
    keep(options.out, document)
    show(document["arms"], document["guard"])
    if document["longer"]:
        show(document["longer"]["arms"], {f"{first}, {options.longer} steps": document["longer"]["difference"]})


if __name__ == "__main__":
    main()
