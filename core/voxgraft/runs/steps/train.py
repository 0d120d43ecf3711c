"""The step `train`: learn, and leave a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...checks.sides import judge_mirroring
from ...errors import VoxGraftError
from ...packages.model_card import model_card
from ...packages.package import write_package
from ...support.files import digest, sha256
from ...support.texts import without_paths
from ...workflow.yaml import dump, load
from ..identity import is_independent
from ..run import Run
from .independent import LABELS_OF_PACKAGE as IN_PACKAGE
from .plan import labels_of_run

NOT_IN_PACKAGE = ("curve", "weights", "identity", "sha256", "written")
"""Of a training's summary."""


class Train:
    """Leaves `train/` (curve, parameter table, load report, weights) and `package/`."""

    def outputs(self, run: Run) -> Sequence[Path]:
        names = ("model.safetensors", "plan.json", "labels.json")
        return [run.folder / "train" / "summary.json", *(run.package / name for name in names)]

    def do(self, run: Run) -> None:
        from ...training.augment import mirrored_axes
        from ...training.session import train

        run.shared.kept.clear()
        if all(step.name != "check" for step in run.workflow.steps):  # which says it beside other things
            for problem in judge_mirroring(labels_of_run(run), run.workflow):
                run.progress.say(f"train: {problem.severity}: {problem.message}")
        identity = digest({name: fact for name, fact in run.made_from.items() if not is_independent(name, IN_PACKAGE)})
        _say_replaced(run)
        if (done := _trained(run, identity)) is not None:
            run.progress.say("train: the network is unchanged; its package is written again")
            summary = done
        else:
            with run.progress.bar("training", 1.0) as bar:
                summary = train(
                    run.folder,
                    run.workflow,
                    run.models,
                    run.log,
                    bar.reach,
                    identity=identity,
                    say=run.progress.say,
                )
        if summary["weights"]:
            run.progress.say(f"train: initial weights from {summary['weights']['said']}")
        weights = sha256(run.folder / "train" / "weights.safetensors")
        summary |= {"identity": identity, "sha256": weights, "written": datetime.now(UTC).isoformat()}
        run.write("train/summary.json", summary)
        facts = package_facts(run, summary)
        strengths = run.workflow.data.modality.build().augmentation
        axes = mirrored_axes(strengths, run.workflow.training.augment, run.plan.dims)
        plan = run.plan.model_copy(update={"mirrored": axes})
        write_package(
            run.package,
            tensors=_tensors(run),
            plan=plan,
            workflow=dump(without_paths(run.workflow.document())),
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


def _trained(run: Run, identity: str) -> dict[str, Any] | None:
    """The summary of a training that is finished, of this very identity, and whose weights are there."""
    try:
        summary: dict[str, Any] = run.read("train/summary.json")
        sha = sha256(run.folder / "train" / "weights.safetensors")
    except (VoxGraftError, OSError):
        return None
    return summary if [summary.get("identity"), summary.get("sha256")] == [identity, sha] else None


def _say_replaced(run: Run) -> None:
    """Say which finished model is replaced, where there is one of another budget."""
    try:
        written, _ = load(run.package / "workflow.yaml")
        budget = written["training"]["budget"]
    except (VoxGraftError, OSError, KeyError, TypeError):
        return
    if budget != str(run.workflow.training.budget):
        run.progress.say(f"train: replaces the model trained with budget {budget}")


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
        "training": {name: value for name, value in summary.items() if name not in NOT_IN_PACKAGE},
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
