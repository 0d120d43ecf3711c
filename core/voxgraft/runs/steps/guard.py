"""The step `guard`: train a twin from scratch on the same data in the same order, and judge whether transfer helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...packages.model_card import model_card
from ...packages.package import amend_package, read_package
from ...scoring.comparison import direction, read_run
from ...scoring.transfer_verdict import judge, overtaken, verdict_sentence
from ...support.lock import remove
from ...workflow.workflow import Workflow, from_document
from ..run import Run

SHARED = ("plan.json", "split.json", "fingerprint.json", "prepared.json")
"""What the twin takes from its run, so that it sees exactly the same."""


class GuardStep:
    """Leaves `twin/` (a run of its own) and `guard.json`, and names the verdict on the package's card."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "guard.json", run.folder / "twin" / "evaluate" / "scores.json"]

    def do(self, run: Run) -> None:
        from ..engine import run_workflow

        summary = run.read("train/summary.json")
        workflow = twin_of(run.workflow, run, int(summary["steps"]))
        folder = run.folder / "twin"
        for name in SHARED:
            run.write(f"twin/{name}", run.read(name))
        judged = "" if run.workflow.model.pretrained else "; nothing is pretrained, so the strategies alone are judged"
        run.progress.say(f"guard: a twin from scratch, on the same data in the same order{judged}")
        steps = ["train", "evaluate"]
        handed: dict[str, Any] = {"registry": run.models.uri, "shared": run.shared}
        with run.progress.part("twin"):
            twin = run_workflow(workflow, run.catalogue, folder, steps=steps, progress=run.progress, **handed)
        remove(folder / "train" / "last.pt")  # as large as the network three times over, and never gone on from
        verdict = verdict_of(run, run.folder, folder, int(summary["steps"]))
        verdict["reached"] = overtaken(summary["curve"], twin.read("train/summary.json")["curve"])
        keep_verdict(run, verdict)


def twin_of(workflow: Workflow, run: Run, steps: int) -> Workflow:
    """The same workflow without pretrained weights and without strategies, for as many steps.

    Args:
        workflow: With the section `guard`.
        run: Where it runs; the twin shares its cache.
        steps: As many as the run itself did.
    """
    document = workflow.document()
    assert workflow.guard is not None, "a workflow with this step has the section `guard`"
    document["name"] = f"{workflow.name} twin"
    document["model"]["start"] = "none"
    if workflow.model.takes_weights:
        document["model"]["encoder"]["weights"] = "none"
    document["transfer"] = []
    document["data"]["cache"] = run.cache.as_posix()
    if workflow.training.budget.unit == "minutes":
        document["training"]["budget"] = f"{steps} steps"
    if workflow.guard.lr is not None:
        document["training"]["optimiser"]["lr"] = workflow.guard.lr
    document.update(guard=None, registry=None, steps=["check", "plan", "prepare", "train", "evaluate"])
    return from_document(document, run.catalogue, f"the twin of {workflow.name}")


def verdict_of(run: Run, folder: Path, twin: Path, steps: int) -> dict[str, Any]:
    """What the scores in two runs' folders say, each trained for so many steps.

    Args:
        run: Its workflow names the metric.
        folder, twin: What the two runs left, each with its scores.
        steps: As many as both did.
    """
    assert run.workflow.guard is not None, "a workflow with this step has the section `guard`"
    metric = run.workflow.guard.metric or run.workflow.evaluation.metrics[0].name
    scores = {"run": read_run(folder), "twin": read_run(twin)}
    return judge(scores["run"], scores["twin"], metric, direction(scores, metric, run.catalogue), steps)


def keep_verdict(run: Run, verdict: Mapping[str, Any]) -> None:
    """Write the verdict into the run, its package and card, and its tags."""
    run.write("guard.json", verdict)
    package = read_package(run.package)
    facts = {**package.facts, "guard": {**verdict, "said": verdict_sentence(verdict)}}
    amend_package(run.package, card=model_card(facts, package.plan), facts={"guard": facts["guard"]})
    run.tag({f"voxgraft.guard{key}": value for key, value in _tags(verdict).items()})
    if verdict["difference"] is not None:
        run.log({"guard_difference": float(verdict["difference"])}, 0)
    run.progress.say(f"guard: {verdict_sentence(verdict)}")


def _tags(verdict: Mapping[str, Any]) -> dict[str, str]:
    each = {f".{name}": str(structure["verdict"]) for name, structure in verdict["structures"].items()}
    return {"": str(verdict["verdict"]), **each}
