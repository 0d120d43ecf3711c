"""Splits by patient: folds, and repeated draws of labelled patients."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import DataError
from ..support.texts import counted, encodable
from .cases import Case, Split


def split_by_patient(cases: Sequence[Case], folds: int, fold: int, seed: int) -> Split:
    """Deal the patients into folds; one fold is for validation.

    The patients are ordered by a keyed hash of their identifiers, so that the split does not depend on the order in
    which a file system lists files, and folds differ by at most one patient in size.

    Args:
        fold: Which of them is for validation, from 0.
        seed: Another seed orders the patients in another way.

    Raises:
        DataError: There are fewer patients than folds.

    Examples:
        >>> cases = [Case(f"{patient}{visit}", str(patient), images=()) for patient in range(4) for visit in "ab"]
        >>> split = split_by_patient(cases, folds=2, fold=0, seed=7)
        >>> len(split.train), len(split.validation)
        (4, 4)
    """
    patients = sorted({case.patient for case in cases}, key=lambda patient: draw(seed, patient))
    if len(patients) < folds:
        raise DataError(
            f"{counted(len(patients), 'patient')} cannot be split into {counted(folds, 'fold')}; "
            f"ask for at most {len(patients)}"
        )
    held_out = set(patients[fold::folds])
    return Split(
        train=tuple(case.id for case in cases if case.patient not in held_out),
        validation=tuple(case.id for case in cases if case.patient in held_out),
    )


def draw_labelled(split: Split, cases: Sequence[Case], labelled: int, repeat: int, seed: int) -> Split:
    """The same held-out cases, and only so many training patients; the others count as unlabelled.

    Patients are ordered by a keyed hash of seed, repeat and identifier, and the first are taken: a draw of 4 is part of
    the draw of 8 of the same repeat, whatever the order of the files.

    Args:
        labelled: Training patients that keep their labels.

    Raises:
        DataError: There are fewer training patients than are to be drawn.
    """
    patients = {case.id: case.patient for case in cases}
    learnt = {patients[name] for name in split.train}
    order = sorted(learnt, key=lambda patient: draw(seed, f"labelled {repeat}:{patient}"))
    if len(order) < labelled:
        raise DataError(
            f"data.split.labelled is {labelled}, but the split leaves {counted(len(order), 'patient')} to train on; "
            "ask for fewer"
        )
    taken = set(order[:labelled])
    return Split(
        tuple(name for name in split.train if patients[name] in taken),
        split.validation,
        tuple(name for name in split.train if patients[name] not in taken),
    )


def check_folds(splits: Sequence[Split], cases: Sequence[Case]) -> None:
    """Refuse splits in which a patient is learnt from and held out, or held out twice.

    Raises:
        DataError: It is so; scores put together from them would be too good, or count a patient twice.
    """
    patients = {case.id: case.patient for case in cases}
    held_out: set[str] = set()
    for number, split in enumerate(splits):
        validated = {patients[name] for name in split.validation}
        if both := validated & {patients[name] for name in (*split.train, *split.unlabelled)}:
            raise DataError(f"fold {number}: {counted(len(both), 'patient')} both in training and held out")
        if twice := validated & held_out:
            raise DataError(
                f"fold {number}: {len(twice)} of its held-out patients are held out by an earlier fold too; "
                "in a cross-validation each patient is held out once"
            )
        held_out |= validated


def draw(seed: int, patient: str) -> bytes:
    """What patients are ordered by: the same on every machine, and unlike the order of their names."""
    return hashlib.sha256(f"{seed}:{encodable(patient)}".encode()).digest()
