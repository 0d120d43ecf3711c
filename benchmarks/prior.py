"""Write what is known before a trial, core/voxgraft/transfer/prior.json, from the figures in benchmarks/results.

    python benchmarks/prior.py

`voxgraft new` and `voxgraft advise` propose by it where nothing was found on the data itself. `use` is the encoder and
the strategy of the curves; `gains` are the differences in Dice of pretrained weights from scratch; `shapes` those of
volumes from slices. Each row names its file of figures.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from figures import load
from measured import ROOT

from voxgraft.scoring.bootstrap import mean_intervals
from voxgraft.scoring.comparison import randomisation_p

TARGET = ROOT / "core" / "voxgraft" / "transfer" / "prior.json"
SOURCE_OF_CURVES = "polyps_2d"
CURVES = {"polyps": "polyps", "heart": "heart slices"}


def document() -> dict[str, Any]:
    """What `prior.json` holds."""
    model = _workflow(SOURCE_OF_CURVES)
    recipe = {"dims": 2, "encoder": model["model"]["encoder"], "transfer": model["transfer"]}
    gains = [*map(_curve, CURVES), *_atrium(), *_vessels(), _brain()]
    return {"written by": "python benchmarks/prior.py", "use": [recipe], "gains": gains, "shapes": [_volumes()]}


def _curve(name: str) -> dict[str, Any]:
    """Both curves were taken with the strategy of their workflows."""
    found = load(f"curves_{name}")
    rows = found["differences"]
    return _gain(f"curves_{name}", CURVES[name], Path(found["workflow"]).stem, found["steps"], found["patients"], rows)


def _atrium() -> list[dict[str, Any]]:
    """L2-SP after a short training, fine-tuning after a longer one, and L2-SP over the number of labels."""
    rows = []
    for name, arm in (("strategies", "l2-sp"), ("strategies_long", "fine-tune")):
        found = load(name)
        row = next(one for one in found["comparisons"] if one["run"] == arm)
        labels = {"labels": _trained_on("atrium_8")}
        told = _gain(
            name, "atrium slices", "atrium_2d_strategies", found["runs"][0]["steps"], row["patients"], [row | labels]
        )
        rows.append({**told, "strategy": arm})
    curve = load("curves_atrium")
    found = [
        one for one in curve["differences"] if (one["arm"], one["against"]) == ("slices-imagenet", "slices-scratch")
    ]
    steps, patients = curve["steps"]["slices-imagenet"], curve["patients"]
    told = _gain("curves_atrium", "atrium slices", "atrium_2d_strategies", steps, patients, found)
    return [*rows, {**told, "strategy": "l2-sp"}]


def _vessels() -> list[dict[str, Any]]:
    found = load("drive")
    folds = _workflow("drive_crossvalidation")["data"]["split"]["folds"]
    rows = []
    for row, steps in (
        (found["guard"]["unet"], found["arms"][0]["steps"]),
        (found["longer"]["difference"], found["longer"]["arms"][0]["steps"]),
    ):
        labels = {"labels": row["patients"] * (folds - 1) // folds}
        rows.append(_gain("drive", "vessels", "drive_crossvalidation", steps, row["patients"], [row | labels]))
    return rows


def _brain() -> dict[str, Any]:
    found = load("brain_tissue")
    rows = [row | {"labels": row["labelled"]} for row in found["comparisons"] if row["structure"] == "mean"]
    steps = _workflow("brain_tissue_deepbet")["training"]["budget"].split()[0]
    return _gain("brain_tissue", "brain tissue", "brain_tissue_deepbet", int(steps), 1, rows)  # one head, bent


def _gain(
    source: str, data: str, workflow: str, steps: int, patients: int, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One row of the table: what its workflow says of the data, and its differences."""
    asked = _workflow(workflow)
    modality = asked["data"]["modality"]
    return {
        "data": data,
        "dims": asked["model"]["dims"],
        "modality": modality["use"] if isinstance(modality, dict) else modality,
        "encoder": asked["model"]["encoder"]["use"],
        "weights": asked["model"]["encoder"]["weights"],
        "strategy": asked["transfer"][0]["use"],
        "labels": _ends([row["labels"] for row in rows], 0),
        "steps": steps,
        "patients": patients,
        "gain": _ends([row["difference"] for row in rows], 4),
        "source": f"benchmarks/results/{source}.json",
    }


def _volumes() -> dict[str, Any]:
    """Volumes from scratch against slices from ImageNet weights, on the same scans after about as many seconds."""
    slices = next(run for run in load("strategies_long")["runs"] if run["arm"] == "fine-tune")
    found = load("self_training")
    table = next(table for table in found["tables"] if table["labels"] == _trained_on("atrium_8"))
    volumes = next(run for run in table["runs"] if run["arm"] == "plain")
    cases = sorted(slices["cases"])
    assert cases == sorted(volumes["cases"]), "the same held-out scans"
    paired = np.array([volumes["cases"][case] - slices["cases"][case] for case in cases])
    ((low, high),) = mean_intervals(paired[:, None], range(len(paired)))
    return {
        "data": "atrium",
        "modality": "mr",
        "spacing": [found["spacing_mm"]] * 3,
        "labels": table["labels"],
        "patients": len(cases),
        "seconds": {"volumes": volumes["seconds"], "slices": slices["seconds"]},
        "gain": round(float(paired.mean()), 4),
        "ci95": [round(float(low), 4), round(float(high), 4)],
        "p": round(float(randomisation_p(paired)), 4),
        "sources": ["benchmarks/results/self_training.json", "benchmarks/results/strategies_long.json"],
    }


def _trained_on(table: str) -> int:
    """How many cases of a workflow's table are learnt from."""
    with (ROOT / "workflows" / f"{table}.csv").open(newline="") as file:
        return sum(row["split"] == "train" for row in csv.DictReader(file))


def _ends(values: Sequence[float], digits: int) -> list[float]:
    low, high = (round(float(value), digits) for value in (min(values), max(values)))
    return [low, high] if digits else [int(low), int(high)]


def _workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "workflows" / f"{name}.yaml").read_text())
    return found


def render() -> str:
    """The file as text."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
