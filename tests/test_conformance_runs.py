"""Tests of the conformance checks of strategies, steps, trackers and stores: faults are caught."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conformance_faults import caught, subject_of
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Options, Selected
from voxgraft.hookspecs import KINDS
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.runs.run import Run
from voxgraft.testing import Subject, run_checks
from voxgraft.transfer.strategy import Context, Row, TransferStrategy


class Forgets(TransferStrategy):
    """Noise that depends on how often it was called, which a checkpoint does not hold."""

    calls = 0

    def after_step(self, context: Context) -> None:
        self.calls += 1
        with torch.no_grad():
            next(context.network.decoder.parameters()).add_(0.01 * self.calls)


class Drops(TransferStrategy):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row for row in rows if "stem" not in row.name]


class Moves(TransferStrategy):
    """Says that the encoder is not trained, and moves it."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(train=not row.name.startswith("encoder.")) for row in rows]

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            next(context.network.encoder.parameters()).mul_(0.9)


class Leaves(TransferStrategy):
    """Leaves a module of its own in the network that is kept."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        network.own = nn.Linear(2, 2)
        return network


class Crashes(TransferStrategy):
    """Two of it clash in a way that is not a sentence."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        context.network.register_buffer("mark", torch.zeros(1))
        del context.network._buffers["mark"]
        if hasattr(context, "seen") or "clash" in context.extra:
            raise KeyError("clash")
        return {"clash": nn.Linear(1, 1)}

    def conflict(self, other: TransferStrategy) -> str | None:
        raise KeyError("clash")


class Asks(TransferStrategy):
    needs = frozenset({"unlabelled"})


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Forgets, "killed training"),
        (Drops, "keeps its row"),
        (Moves, "do not train stays"),
        (Leaves, "no trace"),
        (Crashes, "two of it"),
        (Asks, "said before it is built"),
    ],
)
def test_a_faulty_strategy_is_caught(
    catalogue: Catalogue, tmp_path: Path, fault: type[TransferStrategy], check: str
) -> None:
    subject = subject_of("strategy", "init", catalogue, tmp_path)
    caught(subject, lambda options: fault(), tmp_path / "checks", check)


class Lazy:
    """A step that says outputs and leaves none."""

    def outputs(self, run: Run) -> list[Path]:
        return [run.folder / "lazy.json"]

    def do(self, run: Run) -> None: ...


class Busy(Lazy):
    """Its outputs are never those of the last time."""

    def outputs(self, run: Run) -> list[Path]:
        path = run.folder / "busy.json"
        path.write_text(str(np.random.default_rng().random()))
        return [path]


@pytest.mark.parametrize(
    ("build", "spec", "check"),
    [
        (Lazy, {}, "outputs are there"),
        (Busy, {}, "not done again"),
        (Lazy, {"after": ("plan", "dream")}, "comes after are there"),
        (Lazy, {"independent_of": {"weather": "it is always fine"}}, "cannot matter"),
        (Lazy, {"independent_of": {"name": " "}}, "with a reason"),
    ],
)
def test_a_faulty_step_is_caught(
    catalogue: Catalogue, tmp_path: Path, build: Any, spec: dict[str, Any], check: str
) -> None:
    subject = subject_of("step", "check", catalogue, tmp_path)
    changed = replace(subject.spec, build=lambda options: build(), **spec)
    doctored = doctor(catalogue, subject.spec, changed)
    outcomes = run_checks(
        replace(subject, chosen=Selected(changed, Options()), catalogue=doctored), tmp_path / "checks"
    )
    assert [one.check for one in outcomes if one.state == "failed" and check in one.check], outcomes


def doctor(catalogue: Catalogue, old: Any, new: Any) -> Catalogue:
    """The same offers with one component in another's place."""
    doctored = Catalogue(_origins=dict(catalogue.origins))
    for kind in KINDS:
        for plugin, one in catalogue.of(kind):
            doctored.add(plugin, new if one is old else one)
    return doctored


class Notebook:
    """A tracker that keeps what it is told beside the run, and can be given a fault."""

    def start(self, run: Run) -> None:
        self.run, self.lines = run, []  # type: ignore[var-annotated]

    def params(self, values: Mapping[str, Any]) -> None:
        self.lines.append(dict(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.lines.append(dict(values))

    def tags(self, values: Mapping[str, str]) -> None: ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: str) -> None:
        self.lines = []


class Rewrites(Notebook):
    def finish(self, status: str) -> None:
        (self.run.folder / "environment.json").write_text("{}")


class OnceOnly(Notebook):
    def finish(self, status: str) -> None:
        del self.lines


class NewOnly(Notebook):
    def start(self, run: Run) -> None:
        (run.folder / "tracked").mkdir()
        super().start(run)


class FiniteOnly(Notebook):
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        json.dumps(dict(values), allow_nan=False)


class AsciiOnly(Notebook):
    def file(self, path: Path, folder: str = "") -> None:
        path.name.encode("ascii")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Notebook, "no fault"),
        (Rewrites, "left as it is"),
        (OnceOnly, "finished twice"),
        (NewOnly, "can be continued"),
        (FiniteOnly, "not finite"),
        (AsciiOnly, "odd names"),
    ],
)
def test_a_faulty_tracker_is_caught(catalogue: Catalogue, tmp_path: Path, fault: type[Notebook], check: str) -> None:
    true = Subject.of("tracker", "mlflow", catalogue=catalogue)
    spec = replace(true.spec, options=lambda: Options, build=lambda options: fault())
    outcomes = run_checks(replace(true, chosen=Selected(spec, Options())), tmp_path)
    failed = [one.check for one in outcomes if one.state == "failed"]
    assert len(failed) == (0 if fault is Notebook else 1) and all(check in one for one in failed), outcomes


class Shelf:
    """A store of folders that looks at nothing."""

    def fetch(self, reference: str) -> Path:
        return Path(reference)


@pytest.mark.parametrize("check", ["damaged package is refused", "reference to nothing"])
def test_a_store_that_verifies_nothing_is_caught(catalogue: Catalogue, tmp_path: Path, check: str) -> None:
    caught(subject_of("store", "folder", catalogue, tmp_path), lambda options: Shelf(), tmp_path / "checks", check)


def test_a_store_that_gives_another_package_or_takes_anothers_scheme_is_caught(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    subject = subject_of("store", "folder", catalogue, tmp_path)
    forgetful = replace(subject, keep=lambda folder: str(tmp_path / "nothing"))
    caught(forgetful, subject.spec.build, tmp_path / "one", "what was kept is fetched")
    caught(subject, subject.spec.build, tmp_path / "two", "no other store", schemes=("models:",))
