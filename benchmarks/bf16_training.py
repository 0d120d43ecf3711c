"""Train the hippocampus in float32 and in bfloat16, the same steps from the same seeds, and compare Dice and time.

    python benchmarks/bf16_training.py [--steps 300] [--seeds 3] [--out benchmarks/results/bf16_training.json]

One thread, arms in turns, processor seconds of the training loop without the look at the end, which scores the held-out
cases on the network's grid. The processor needs units for bfloat16. The file is written after each training, so that a
run that is stopped leaves what it found.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from measured import DATA, ROOT, cpu_of, parser_of, record

from voxgraft.discovery import discover
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training import session
from voxgraft.workflow.workflow import read

ARMS: dict[str, Sequence[str]] = {"float32": ["training.precision=32"], "bfloat16": ["training.precision=bf16"]}


def trained(overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """One training: Dice of the last look, processor seconds of the steps and of the look."""
    looks: list[float] = []
    plain = session.validation_dice

    def timed(*words: Any) -> dict[str, float]:
        found: dict[str, float] = {}
        looks.append(cpu_of(lambda: found.update(plain(*words))))
        return found

    catalogue, quiet = discover(), Progress(quiet=True)
    steps = ["tracking=null", "registry=null", "steps=[plan, prepare, train]"]
    workflow = read(ROOT / "workflows" / "hippocampus_mr.yaml", catalogue, [*steps, *overrides])
    run_workflow(workflow, catalogue, folder, steps=["plan", "prepare"], progress=quiet)
    with patch.object(session, "validation_dice", timed):
        whole = cpu_of(lambda: run_workflow(workflow, catalogue, folder, steps=["train"], progress=quiet))
    summary = json.loads((folder / "train" / "summary.json").read_text())
    last = summary["curve"][-1]
    return {
        "dice": {name: round(value, 4) for name, value in last.items() if name.startswith("dice")},
        "cpu_s": round(whole - sum(looks), 1),
        "look_cpu_s": round(sum(looks), 1),
        "arithmetic": summary["arithmetic"],
    }


def compare(doc: str, name: str, arms: Mapping[str, Sequence[str]]) -> None:
    """Train every arm from every seed in turns, and write what was found after each.

    Args:
        doc: The docstring of the script.
        name: Of the file.
        arms: Overrides of the workflow by the name of each arm.
    """
    options = options_of(doc, name)
    torch.set_num_threads(1)
    shared = overrides_of(options)
    more = {"steps": options.steps, "cases": options.cases, "threads": 1}
    rows: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as scratch:
        cache = f"data.cache={scratch}/cache"
        for seed in range(1, options.seeds + 1):
            for arm, overrides in arms.items():
                folder = Path(scratch) / f"{seed}-{len(rows[arm])}-{list(arms).index(arm)}"
                rows[arm].append(trained([*shared, *overrides, cache, f"training.seed={seed}"], folder))
                summary = {name: summed(found) for name, found in rows.items() if found}
                document = {**more, "summary": summary, "trainings": rows}
                record(options.out, document)


def summed(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and spread of an arm's Dice, and its median of processor seconds."""
    dice = [row["dice"]["dice"] for row in found]
    return {
        "dice_mean": round(statistics.mean(dice), 4),
        "dice_deviation": round(statistics.stdev(dice), 4) if len(dice) > 1 else None,
        "cpu_s_median": statistics.median(row["cpu_s"] for row in found),
        "look_cpu_s_median": statistics.median(row["look_cpu_s"] for row in found),
    }


def options_of(doc: str, name: str) -> argparse.Namespace:
    """The words of the command line."""
    parser = parser_of(doc, name)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=40, help="held-out cases that are scored")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the workflow, for all arms")
    parser.add_argument("--data", default=str(DATA / "hippocampus"))
    return parser.parse_args()


def overrides_of(options: argparse.Namespace) -> list[str]:
    """What all arms have in common."""
    budget = f"training.budget={options.steps} steps"
    looks = ["training.validate_every=1", f"training.validation_cases={options.cases}", "training.device=cpu"]
    return [budget, *looks, f"data.layout.path={options.data}", *options.set]


if __name__ == "__main__":
    compare(__doc__, "bf16_training", ARMS)
