"""Layouts, strategies, steps, trackers, stores, executors and commands pass their checks; faulty ones are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance_faults import caught, subject_of
from test_conformance import components
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Case, Dataset
from voxgraft.hookspecs import KINDS
from voxgraft.imaging.volume import ImageRef
from voxgraft.testing import conformance_checks, run_checks

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_kind_has_checks_of_its_own() -> None:
    reader, loss = ({str(check) for check in conformance_checks(kind)} for kind in ("reader", "loss"))
    shared = reader & loss
    assert len(shared) == 3
    for kind in KINDS:
        assert len({str(check) for check in conformance_checks(kind)} - shared) >= 2


NEWER = ("layout", "strategy", "measurement", "step", "tracker", "store", "executor", "command")
SKIPPED = {"distil": 5, "mlflow": 1, "local": 1, "threads": 1}
"""How many checks cannot be run: without a teacher; on packages that lie in a registry; on threads: they do not die."""


@pytest.mark.parametrize(("kind", "name"), components(*NEWER), ids=lambda value: str(value))
def test_every_component_passes_the_checks_of_its_kind(
    catalogue: Catalogue, tmp_path: Path, kind: str, name: str
) -> None:
    if name == "ray":
        pytest.skip("tests/core/test_executor_ray.py runs them on a cluster")
    outcomes = run_checks(subject_of(kind, name, catalogue, tmp_path), tmp_path / "checks")
    assert [one for one in outcomes if one.state == "failed"] == []
    skipped = [one for one in outcomes if one.state == "skipped"]
    assert len(skipped) <= (SKIPPED.get(name, 0) if kind in ("strategy", "store", "executor") else 0), skipped


class Moody:
    """A layout with a fault; it looks at the folder of another."""

    def __init__(self, inner: Any, fault: Callable[[Dataset], Dataset]) -> None:
        self._inner, self._fault = inner, fault

    def read(self) -> Dataset:
        return self._fault(self._inner.read())


def _in_any_order(dataset: Dataset) -> Dataset:
    order = np.random.default_rng().permutation(1000)[: len(dataset.cases)]
    cases = tuple(replace(case, facts={"drawn": float(n)}) for n, case in zip(order, dataset.cases, strict=True))
    return replace(dataset, cases=cases)


def _nameless(dataset: Dataset) -> Dataset:
    return replace(dataset, cases=tuple(replace(case, patient=" ") for case in dataset.cases))


def _gone(dataset: Dataset) -> Dataset:
    return replace(dataset, cases=tuple(replace(case, label=ImageRef(Path("gone.nii"))) for case in dataset.cases))


def _telling(dataset: Dataset) -> Dataset:
    def told(case: Case) -> Case:
        assert case.images[0] is not None
        return replace(case, patient=str(case.images[0].path))

    return replace(dataset, cases=tuple(map(told, dataset.cases)))


def _writing(dataset: Dataset) -> Dataset:
    assert dataset.cases[0].images[0] is not None
    (dataset.cases[0].images[0].path.parents[1] / "index.txt").write_text("seen")
    return dataset


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (_in_any_order, "twice gives the same"),
        (_nameless, "has a patient"),
        (_gone, "files that are there"),
        (_telling, "no path of this machine"),
        (_writing, "changes nothing"),
    ],
)
def test_a_faulty_layout_is_caught(catalogue: Catalogue, tmp_path: Path, fault: Any, check: str) -> None:
    subject = subject_of("layout", "pairs", catalogue, tmp_path)
    inner = subject.spec.build
    caught(subject, lambda options: Moody(inner(options), fault), tmp_path / "checks", check)


def test_a_layout_that_invents_cases_or_takes_any_folder_is_caught(catalogue: Catalogue, tmp_path: Path) -> None:
    subject = subject_of("layout", "pairs", catalogue, tmp_path)
    found = subject.build().read()
    fixed = Moody(subject.build(), lambda dataset: dataset)
    fixed.read = lambda: found  # type: ignore[method-assign]
    caught(subject, lambda options: fixed, tmp_path / "one", "missing or empty folder")
    caught(subject, subject.spec.build, tmp_path / "two", "takes no folder", guess=lambda path: {"path": path})
