"""What tests of tracking and registry share: small packages, and a run that needs no training."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from voxgraft import DecoderSpec, EncoderSpec, LayoutSpec, LossSpec, MetricSpec, ModalitySpec, StepSpec, StrategySpec
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import Options
from voxgraft.datasets.cases import Case, Dataset
from voxgraft.discovery import discover
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import ImageRef
from voxgraft.packages.package import Package, write_package
from voxgraft.packages.references import Resolver
from voxgraft.preprocessing.plan import Plan
from voxgraft.runs.run import Run
from voxgraft.support.files import digest, write_json, write_text
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import from_document
from voxgraft.workflow.yaml import dump

LABELS = Labels((Label(1, "anterior"), Label(2, "posterior")))


class Stub(Options):
    """Options of a component that does nothing."""

    path: str = "data"
    decay: float = 0.1


LEFT = {
    "plan": ("fingerprint.json", "split.json", "plan.json"),
    "train": ("package/model.safetensors", "package/plan.json"),
    "evaluate": ("evaluate/scores.json",),
    "guard": ("guard.json",),
}


@dataclass(frozen=True)
class StubStep:
    """A step whose outputs `do_steps` leaves."""

    name: str

    def outputs(self, run: Run) -> list[Path]:
        return [run.folder / name for name in LEFT[self.name]]

    def do(self, run: Run) -> None: ...


def _nothing(options: Stub) -> Any:
    return options


def stub_catalogue() -> Catalogue:
    """The registry's own components, and stubs where a workflow needs others."""
    catalogue = discover([EntryPoint("registry", "voxgraft_registry.plugin", "voxgraft")], without=())
    assert not catalogue.failures
    catalogue.origins["stub"] = Origin("stub", "json", "stub", "1.0")
    common: dict[str, Any] = {"summary": "nothing", "options": lambda: Stub, "build": _nothing}
    for card in (LayoutSpec, ModalitySpec, EncoderSpec, DecoderSpec, StrategySpec):
        catalogue.add("stub", card(name="stub", **common))
    catalogue.add("stub", LossSpec(name="dice-ce", **common))
    for name, higher in (("dice", True), ("hd95", False)):
        catalogue.add("stub", MetricSpec(name=name, higher_is_better=higher, **common))
    for name in ("plan", "train", "evaluate", "guard"):
        catalogue.add("stub", StepSpec(name=name, **{**common, "build": lambda options, name=name: StubStep(name)}))
    return catalogue


def small_plan() -> Plan:
    return Plan(
        dims=3,
        image_dims=3,
        channels=("t1", "t2"),
        labels=((1, "anterior"), (2, "posterior")),
        modality="mr",
        normalisation=({}, {}),
        spacing=(1.0, 1.0, 1.0),
        patch=(8, 8, 8),
        batch=2,
        strides=((1, 1, 1),),
    )


def small_package(folder: Path, seed: int = 0, facts: Mapping[str, Any] | None = None) -> Package:
    """A package of random weights; another seed gives another model."""
    import torch

    tensors = {"head.weight": torch.randn(3, 2, 1, 1, 1, generator=torch.Generator().manual_seed(seed))}
    base = {"name": "brain", "voxgraft": "0.1.0", "created": "2026-01-01T00:00:00Z", "data": {"hash": "d" * 64}}
    return write_package(
        folder,
        tensors=tensors,
        plan=small_plan(),
        workflow="voxgraft: 1\n",
        labels=LABELS,
        card="# brain\n",
        facts={**base, **(facts or {})},
    )


def scores_document(dice: Mapping[str, float], offset: float = 0.0) -> dict[str, Any]:
    """What the evaluate step leaves: the Dice of each case, the same for both structures, with an offset."""
    cases = {
        case: {"dice": {"anterior": value + offset, "posterior": value - offset}, "hd95": {"anterior": 5 * (1 - value)}}
        for case, value in dice.items()
    }
    mean = sum(dice.values()) / len(dice)
    row = {"mean": mean, "ci95": [mean - 0.01, mean + 0.01], "n": len(dice)}
    return {"cases": cases, "summary": {"dice": {"anterior": row, "posterior": row, "mean": row}}}


def make_run(folder: Path, uri: str, catalogue: Catalogue, **sections: Any) -> Run:
    """A run's folder before its first step, on two tiny files."""
    data = folder.parent / "data"
    data.mkdir(parents=True, exist_ok=True)
    cases = []
    for name in ("case_1", "case_2"):
        (data / f"{name}.nii").write_text(name) if not (data / f"{name}.nii").exists() else None
        cases.append(Case(name, name, (ImageRef(data / f"{name}.nii"),)))
    document = {
        "name": "brain-run",
        "data": {"layout": {"use": "stub", "path": str(data)}, "modality": "stub"},
        "model": {"encoder": "stub", "decoder": "stub"},
        "training": {"budget": "40 steps", "device": "cpu"},
        "evaluation": {"metrics": ["dice", "hd95"]},
        "tracking": {"uri": uri},
        "registry": {"name": "brain"},
        "steps": ["plan", "train", "evaluate", "register"],
        **sections,
    }
    workflow = from_document(document, catalogue)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "workflow.yaml", dump(workflow.document()))
    plugins = {"stub": {"distribution": "stub", "version": "1.0", "sha256": "a" * 64}}
    write_json(folder / "environment.json", {"voxgraft": "0.1.0", "python": "3.11", "plugins": plugins})
    run = Run(
        folder, workflow, Resolver(catalogue, uri), Progress(stream=io.StringIO()), _dataset=Dataset(tuple(cases))
    )
    if (folder / "run.json").exists():
        run.identity.update(json.loads((folder / "run.json").read_text()))
    return run


def do_steps(run: Run, dice: Mapping[str, float], seed: int = 0, counts: Mapping[str, list[int]] | None = None) -> None:
    """Leave what the steps before `register` leave; the voxel counts of each structure are the same in every case."""
    hashes = {case: digest(["bytes of", case]) for case in dice}
    run.write("fingerprint.json", {"cases": {case: {"hash": value} for case, value in hashes.items()}})
    run.write("split.json", {"train": [], "validation": list(dice)})
    run.write("plan.json", small_plan().model_dump(mode="json"))
    scores = scores_document(dice)
    if counts is not None:
        scores["counts"] = {case: dict(counts) for case in dice}
    run.write("evaluate/scores.json", scores)
    small_package(run.package, seed, {"scores": scores["summary"]})


def said(run: Run) -> str:
    """What the user was told."""
    assert isinstance(run.progress.stream, io.StringIO)
    return run.progress.stream.getvalue()
