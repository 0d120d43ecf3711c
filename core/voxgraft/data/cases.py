"""Cases: what training and prediction work on, and how they are split by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is: a file or a folder, and which of the images in it."""

    path: Path
    series: str | None = None

    def __str__(self) -> str:
        return f"{self.path}#{self.series}" if self.series else str(self.path)


@dataclass(frozen=True, slots=True)
class Case:
    """What one training or prediction item needs.

    Attributes:
        images: One reference for each channel, in the order of `Dataset.channels`.
        label: The mask; None where there is none.
        facts: What is known of the patient and the scan for tables of subgroups: `site`, `scanner`, `sex`, `age` ...
    """

    id: str
    patient: str
    images: tuple[ImageRef, ...]
    label: ImageRef | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Label:
    """A structure: the value it has in masks, its name, and its coded term where one is known.

    Attributes:
        code: (value, scheme, meaning), such as ("10200004", "SCT", "Liver").
    """

    value: int
    name: str
    code: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """The structures of a data set; 0 is background and has no entry."""

    items: tuple[Label, ...] = ()

    @classmethod
    def of(cls, names: dict[str, int]) -> Labels:
        """From names and values; background, if it is named, is left out.

        Raises:
            DataError: A value stands twice or is not a whole number from 1 to 65535, or a label is called `mean`.
        """
        found = [Label(value, name) for name, value in names.items() if value != 0]
        for label in found:
            if label.name == "mean":
                raise DataError("a label is called 'mean', the name that scores give to their average; rename it")
            if not 0 < label.value <= 65535:
                raise DataError(f"label {label.name!r} has the value {label.value}; values go from 1 to 65535")
        if len({label.value for label in found}) != len(found):
            raise DataError(f"two labels have one value: {names}")
        return cls(tuple(sorted(found, key=lambda label: label.value)))

    @classmethod
    def from_document(cls, document: Iterable[dict[str, Any]]) -> Labels:
        return cls(
            tuple(
                Label(int(row["value"]), str(row["name"]), tuple(row["code"]) if row.get("code") else None)
                for row in document
            )
        )

    def document(self) -> list[dict[str, Any]]:
        """Plain values, as `labels.json` holds them."""
        return [
            {"value": label.value, "name": label.name, **({"code": list(label.code)} if label.code else {})}
            for label in self.items
        ]

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(label.value for label in self.items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.items)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The cases of a data set, its channels, and the structures that are labelled.

    Attributes:
        labels: None where the layout does not say; they then come from the workflow or the masks.
        notes: What a user should know, such as files that no case uses.
    """

    cases: tuple[Case, ...]
    channels: tuple[str, ...] = ("image",)
    labels: Labels | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Split:
    """The cases of training and of validation, by id. No patient is in both."""

    train: tuple[str, ...]
    validation: tuple[str, ...]

    def document(self) -> dict[str, list[str]]:
        return {"train": list(self.train), "validation": list(self.validation)}


def split_by_patient(cases: Sequence[Case], folds: int, fold: int, seed: int) -> Split:
    """Deal the patients into folds; one fold is for validation.

    The patients are ordered by a keyed hash of their identifiers, so that the split does not depend on the order in
    which a file system lists files, and folds differ by at most one patient in size.

    Raises:
        DataError: There are fewer patients than folds.
    """
    patients = sorted({case.patient for case in cases}, key=lambda patient: draw(seed, patient))
    if len(patients) < folds:
        raise DataError(
            f"{len(patients)} patients cannot be dealt into {folds} folds; ask for at most {len(patients)} folds"
        )
    held_out = set(patients[fold::folds])
    return Split(
        train=tuple(case.id for case in cases if case.patient not in held_out),
        validation=tuple(case.id for case in cases if case.patient in held_out),
    )


def draw(seed: int, patient: str) -> bytes:
    """What patients are ordered by: the same on every machine, and unlike the order of their names."""
    return hashlib.sha256(f"{seed}:{patient}".encode()).digest()
