"""Dice of the hippocampus over the number of labelled patients, for several ways of using scans without labels.

    python benchmarks/label_curve.py [--labels 4,8,16,32] [--repeats 0,1] [--steps 800] [--arms scratch,...]

First workflows/hippocampus_pretrain.yaml learns from the 160 training scans without labels (--pretraining steps) and is
registered; then workflows/hippocampus_few_labels.yaml is trained with each number of labels, draw of patients and arm.
Draws are nested: the 4 patients of a draw are among its 8. Held out are the same 40 patients everywhere (fold 0). The
scans are crops around the hippocampus.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from arms import folder_of, options_of, show, table_of, train
from measured import ROOT, keep, parser_of

import voxgraft as vg

PRETRAINED = "models:/hippocampus-pretrained@champion"
MEAN_TEACHER = {"use": "mean-teacher", "weight": 0.1, "ramp": 0.5, "threshold": True}
ARMS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "scratch": ("none", []),
    "self-supervised": (PRETRAINED, [{"use": "fine-tune", "encoder_lr": 1.0}]),
    "l2-sp": (PRETRAINED, [{"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}]),
    "lora": (PRETRAINED, [{"use": "lora", "r": 4}]),
    "mean-teacher": ("none", [MEAN_TEACHER]),
    "teacher-kept": ("none", [{**MEAN_TEACHER, "keep": "teacher"}]),
}
"""Initial weights and strategies. L2-SP and LoRA start from the self-supervised encoder."""

COMPARED = [arm for arm in ARMS if arm != "teacher-kept"]


def pretrain(folder: Path, store: str, options: argparse.Namespace) -> dict[str, Any]:
    """Learn to fill in masked blocks, and register what came of it."""
    overrides = {
        "training__budget": f"{options.pretraining} steps",
        "training__device": options.device,
        "training__batch": 2,
        "training__patch": "[32, 48, 32]",
        "data__cache": (folder / "cache").as_posix(),
        "tracking__uri": store,
    }
    run = vg.run(ROOT / "workflows" / "hippocampus_pretrain.yaml", out=folder / "pretraining", **overrides)
    summary = run.read("train/summary.json")
    return {"steps": summary["steps"], "seconds": summary["seconds"]}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "hippocampus_few_labels.yaml")
    parser.add_argument("--labels", default="4,8,16,32")
    parser.add_argument("--repeats", default="0,1", help="draws of labelled patients")
    parser.add_argument("--arms", default=",".join(COMPARED), help="the first is compared with")
    parser.add_argument("--pretraining", type=int, default=2400, metavar="STEPS")
    parser.add_argument("--fold", type=int, default=0, help="which fifth of the patients is held out")
    options_of(parser, "label_curve", steps=800, seeds="7")
    options = parser.parse_args()
    with folder_of(options) as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        before = pretrain(folder, store, options)
        curve = []
        for labels in map(int, options.labels.split(",")):
            runs = {}
            for repeat in map(int, options.repeats.split(",")):
                for arm in options.arms.split(","):
                    weights, transfer = ARMS[arm]
                    split = {"folds": 5, "fold": options.fold, "seed": 7, "labelled": labels, "repeat": repeat}
                    changes = {
                        "data.split": json.dumps(split),
                        "model.encoder.weights": weights,
                        "transfer": transfer,
                        "tracking": {"uri": store},
                        "evaluation.metrics": ["dice"],
                    }
                    out = folder / f"{arm}-{labels}-{repeat}"
                    runs[arm, repeat] = train(options.workflow, out, changes, int(options.seeds), options)
            curve.append({"labels": labels, **table_of(runs)})
    keep(options.out, {"pretraining": before, "curve": curve})
    for table in curve:
        print(f"\n{table['labels']} labelled patients")
        show(table)


if __name__ == "__main__":
    main()
