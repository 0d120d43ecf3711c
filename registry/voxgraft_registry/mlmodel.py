"""The file `MLmodel` that makes a package a model for MLflow: data only, of a flavour that MLflow cannot load."""

from __future__ import annotations

import json
from typing import Any

from voxgraft.packages.package import FORMAT, Package
from voxgraft.preprocessing.plan import Plan
from voxgraft.workflow.yaml import dump

FLAVOUR = "voxgraft"


def mlmodel(package: Package, *, run: str, model: str, mlflow: str) -> str:
    """The text of `MLmodel`: flavour, signature, and ids; no path of this machine and no code to load.

    Args:
        run: The id of the run in MLflow.
        model: The id of the logged model in MLflow.
        mlflow: MLflow's version.
    """
    facts = package.facts
    document = {
        "flavors": {FLAVOUR: {"format": FORMAT, "hash": package.hash, "voxgraft": str(facts.get("voxgraft", ""))}},
        "metadata": {
            "labels": {str(label.value): label.name for label in package.labels.items},
            "modality": package.plan.modality,
            "spacing_mm": list(package.plan.spacing),
        },
        "mlflow_version": mlflow,
        "model_id": model,
        "model_uuid": model,
        "run_id": run,
        "signature": signature(package.plan),
        "utc_time_created": str(facts.get("created", "")),
    }
    return dump(document)


def signature(plan: Plan) -> dict[str, Any]:
    """Of the network: normalised patches (batch, channel, *spatial) in, logits (batch, class, *spatial) out."""
    spatial = [-1] * plan.dims
    return {
        "inputs": _tensor([-1, len(plan.channels), *spatial]),
        "outputs": _tensor([-1, plan.classes, *spatial]),
        "params": None,
    }


def _tensor(shape: list[int]) -> str:
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": shape}}])
