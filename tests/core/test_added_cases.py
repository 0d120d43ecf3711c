"""Labelled scans of `data.added` are learnt from beside the layout's, and never those of a patient who is held out."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.datasets.cases import Case, Dataset, Split
from voxgraft.datasets.companions import ADDED, Roles, assign_roles, cases_by_key, common_labels
from voxgraft.errors import DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import ImageRef


def case(name: str, patient: str = "", labelled: bool = True) -> Case:
    label = ImageRef(Path(f"{name}.label.nii")) if labelled else None
    return Case(name, patient or name, (ImageRef(Path(f"{name}.nii")),), label)


OLD = Dataset((case("a"), case("b"), case("c")), labels=Labels.of({"liver": 1}))
SPLIT = Split(("a", "b"), ("c",))


def test_added_cases_are_learnt_from_and_held_out_patients_are_not() -> None:
    added = Dataset((case("x"), case("y", "c"), case("z", labelled=False)))
    split = assign_roles(Roles(), OLD, {ADDED: added}, SPLIT)
    assert split == Split(("a", "b", "added/x"), ("c",))
    assert cases_by_key(OLD, {ADDED: added}, split)["added/x"].id == "x"


def test_only_held_out_patients_are_nothing_to_add() -> None:
    with pytest.raises(DataError, match=r"data\.added: there is no labelled case of a patient who is not held out"):
        assign_roles(Roles(), OLD, {ADDED: Dataset((case("y", "c"),))}, SPLIT)


def test_added_cases_keep_their_labels_beside_strategies_that_need_none() -> None:
    others = {ADDED: Dataset((case("x"),)), "unlabelled": Dataset((case("u"),))}
    split = assign_roles(Roles(learners=("mean-teacher",)), OLD, others, SPLIT)
    assert split == Split(("a", "b", "added/x"), ("c",), ("unlabelled/u",))


def test_structures_must_be_the_same() -> None:
    assert common_labels(OLD, {ADDED: Dataset((case("x"),))}) == OLD.labels
    with pytest.raises(DataError, match=r"data\.added: its structures are .*spleen"):
        common_labels(OLD, {ADDED: Dataset((case("x"),), labels=Labels.of({"spleen": 1}))})
