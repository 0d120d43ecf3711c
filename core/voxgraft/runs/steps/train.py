"""The step `train`: learn, and leave a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...data.checks.sides import judge_mirroring
from ...files import digest
from ...package import write_package
from ...places import without_places
from ...yamlfile import dump
from ..card import model_card
from ..run import Run
from .plan import labels_of_run


class Train:
    """Leaves `train/` (curve, parameter table, load report, weights) and `package/`."""

    def inputs(self, run: Run) -> Mapping[str, Any]:
        document = run.workflow.document()
        return {
            "model": document["model"],
            "transfer": document["transfer"],
            "training": document["training"],
            "inference": document["inference"],
            "plan": run.read("plan.json"),
            "prepared": run.read("prepared.json"),
        }

    def outputs(self, run: Run) -> Sequence[Path]:
        names = ("model.safetensors", "plan.json", "labels.json")
        return [run.folder / "train" / "summary.json", *(run.package / name for name in names)]

    def do(self, run: Run) -> None:
        from ...train.augment import mirrored_axes
        from ...train.session import train

        if all(step.name != "check" for step in run.workflow.steps):  # which says it beside other things
            for problem in judge_mirroring(labels_of_run(run), run.workflow):
                run.progress.say(f"train: {problem.severity}: {problem.message}")
        with run.progress.bar("training", 1.0) as bar:
            summary = train(run.folder, run.workflow, run.models, run.log, bar.reach)
        if summary["weights"]:
            run.progress.say(f"train: start values from {summary['weights']['said']}")
        facts = package_facts(run, summary)
        strengths = run.workflow.data.modality.build().augmentation
        axes = mirrored_axes(strengths, run.workflow.training.augment, run.plan.dims)
        plan = run.plan.model_copy(update={"mirrored": axes})
        write_package(
            run.package,
            tensors=_tensors(run),
            plan=plan,
            workflow=dump(without_places(run.workflow.document())),
            labels=labels_of_run(run),
            card=model_card(facts, plan),
            facts=facts,
        )
        last = summary["curve"][-1] if summary["curve"] else {}
        score = f", validation Dice {last['dice']:.3f} near the structures" if "dice" in last else ""
        run.progress.say(f"train: {summary['steps']} steps in {summary['seconds']:.0f} s{score}")
        if run.workflow.training.patience is not None and not any("dice" in row for row in summary["curve"]):
            run.progress.say(
                "train: no validation case holds a structure: training.patience had nothing to go by, and the last "
                "weights are kept"
            )


def package_facts(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the package's manifest says besides file hashes."""
    environment = run.read("environment.json")
    fingerprint = run.read("fingerprint.json")
    hashes = {name: case["hash"] for name, case in fingerprint["cases"].items()}
    return {
        "name": run.workflow.registry.name if run.workflow.registry else run.workflow.name,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "voxgraft": environment["voxgraft"],
        "packages": environment["packages"],
        "plugins": environment["plugins"],
        "data": {"hash": digest(hashes), "cases": len(hashes)},
        "split": run.read("split.json"),
        "training": {name: value for name, value in summary.items() if name not in ("curve", "weights")},
        "weights": {
            k: v
            for k, v in (summary["weights"] or {}).items()
            if k in ("origin", "licence", "sha256", "share", "contract")
        },
    }


def _tensors(run: Run) -> dict[str, Any]:
    from safetensors.torch import load_file

    tensors: dict[str, Any] = load_file(run.folder / "train" / "weights.safetensors")
    return tensors
