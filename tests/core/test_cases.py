"""Splits keep patients together, and do not depend on the order of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxgraft.datasets.cases import Case
from voxgraft.datasets.split import split_by_patient
from voxgraft.errors import DataError
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import ImageRef


def cases(patients: list[int]) -> list[Case]:
    ref = ImageRef(Path("x.nii.gz"))
    return [Case(f"case{i}", f"patient{p}", (ref,), ref) for i, p in enumerate(patients)]


@given(patients=st.lists(st.integers(0, 30), min_size=20, max_size=80), seed=st.integers(0, 5), folds=st.integers(2, 5))
def test_no_patient_is_in_two_parts_and_every_case_is_held_out_once(patients, seed, folds) -> None:
    if len(set(patients)) < folds:
        return
    given_cases = cases(patients)
    patient = {case.id: case.patient for case in given_cases}
    held_out: list[str] = []
    sizes = []
    for fold in range(folds):
        split = split_by_patient(given_cases, folds, fold, seed)
        assert not {patient[name] for name in split.train} & {patient[name] for name in split.validation}
        assert sorted((*split.train, *split.validation)) == sorted(patient)
        held_out += split.validation
        sizes.append(len({patient[name] for name in split.validation}))
    assert sorted(held_out) == sorted(patient)
    assert max(sizes) - min(sizes) <= 1


def test_the_split_does_not_depend_on_the_order_of_the_cases() -> None:
    given_cases = cases(list(range(20)))
    one = split_by_patient(given_cases, 5, 1, 7)
    other = split_by_patient(given_cases[::-1], 5, 1, 7)
    assert set(one.validation) == set(other.validation)
    assert set(split_by_patient(given_cases, 5, 1, 8).validation) != set(one.validation)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match="2 patients cannot be split into 5 folds"):
        split_by_patient(cases([0, 1, 1, 1]), 5, 0, 7)


def test_labels_know_their_rules() -> None:
    labels = Labels.of({"background": 0, "tumour": 2, "liver": 1})
    assert labels.names == ("liver", "tumour") and labels.values == (1, 2)
    coded = Labels((Label(1, "liver", ("10200004", "SCT", "Liver")),))
    assert Labels.from_document(coded.document()) == coded
    with pytest.raises(DataError, match="two labels have the same value"):
        Labels.of({"a": 1, "b": 1})
    with pytest.raises(DataError, match="values go from 1 to 65535"):
        Labels.of({"a": -1})
