"""Cases: what training and prediction work on, and how they are split by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..spelling import composed
from ..volume import Item, Problem
from .align import Align
from .grid import plane_of

Source = int | str
"""What a structure is called in masks: a value of a label map, or the name of a segment or contour."""

MOST_STRUCTURES = 1000
"""Structures of one network, at most: their indices and two codes fit into int16, and scores can count them."""

MOST_REGIONS = 23
"""Regions of one network, at most: a voxel's regions are bits of one number that float32 holds exactly."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """Where an image is: a file or a folder, and which of the images in it.

    Attributes:
        files: The files it is read from, where they are known: nothing else in the folder is then looked at. Several
            objects that hold structures are read together.
        structures: For a mask whose structures have names of their own (DICOM SEG, RTSTRUCT): pairs of a name in the
            object and the name of the data set's label it stands for; structures without a pair are left out.
    """

    path: Path
    series: str | None = None
    files: tuple[Path, ...] = ()
    structures: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.path}#{self.series}" if self.series else str(self.path)

    @property
    def parts(self) -> tuple[ImageRef, ...]:
        """Everything that is read: itself, or the parts of a mask that lies in several files."""
        return (self,)


@dataclass(frozen=True, slots=True)
class MaskRef(ImageRef):
    """A mask that lies in several files; `path` is the folder or the first of them, for messages.

    Attributes:
        named: The parts by the name of a structure or of a rater.
        rule: What the parts are: one structure each, or raters' masks that are brought together by a rule.
    """

    named: tuple[tuple[str, ImageRef], ...] = ()
    rule: Literal["structures", "majority", "staple"] = "structures"

    @property
    def parts(self) -> tuple[ImageRef, ...]:
        return tuple(reference for _, reference in self.named)


@dataclass(frozen=True, slots=True)
class Case:
    """What one training or prediction item needs.

    Attributes:
        images: One reference for each channel, in the order of `Dataset.channels`; None for an optional channel that
            this case does not have.
        label: The mask; None where there is none. It is read by `voxgraft.masks.read_mask`.
        facts: What is known of the patient and the scan for tables of subgroups: `site`, `scanner`, `sex`, `age` ...
        align: How its channels come onto one grid; None where they must lie on one.
        raters: The masks of several people by their names, where the layout finds them; `data.raters` then says what
            becomes `label`.
        valid: A file beside the mask that is 0 where the case counts neither in training nor in scores, such as a field
            of view; None where all voxels count. It is read by `voxgraft.valid`.
        described: What the scanner called the series of its images; for the local list of cases alone, never logged.
    """

    id: str
    patient: str
    images: tuple[ImageRef | None, ...]
    label: ImageRef | None = None
    facts: Mapping[str, str | float] = field(default_factory=dict)
    align: Align | None = None
    raters: Mapping[str, ImageRef] = field(default_factory=dict)
    valid: ImageRef | None = None
    described: tuple[str, ...] = field(default=(), repr=False)

    @property
    def present(self) -> tuple[ImageRef, ...]:
        """The images of the channels that are there."""
        return tuple(reference for reference in self.images if reference is not None)

    @property
    def references(self) -> tuple[ImageRef, ...]:
        """Everything that the case is read from: its images, then its mask, then the file of where it counts."""
        return (*self.present, *(self.label.parts if self.label else ()), *((self.valid,) if self.valid else ()))


@dataclass(frozen=True, slots=True)
class Label:
    """A structure: the value it has in masks, its name, and its coded term where one is known.

    Attributes:
        code: (value, scheme, meaning), such as ("10200004", "SCT", "Liver").
        sources: The values and names in masks that make this structure, where they are not its own.
    """

    value: int
    name: str
    code: tuple[str, str, str] | None = None
    sources: tuple[Source, ...] = ()

    @property
    def made_of(self) -> tuple[Source, ...]:
        """The values and names in masks that make this structure."""
        return self.sources or (self.value, self.name)


@dataclass(frozen=True, slots=True)
class Region:
    """What one sigmoid output of a network finds: the union of structures.

    Attributes:
        members: The values of the structures.
    """

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """The structures of a data set, and how masks are read as such; 0 is background and has no entry.

    Attributes:
        others: What becomes of values and names in masks that no structure is made of.
        ignore: The values and names in masks that mark voxels which count neither in training nor in scores.
        overlap: What becomes of voxels in two structures: an error, the higher value wins, or both are kept.
        regions: Where they are given, the network finds these, each by itself; structures may then overlap.
        paint: The value with which each region is painted over those before it, to make one label map of them; empty
            where predictions keep a channel for each region.
        bounded: Cases may have a file that says where they count; voxels elsewhere are ignored as well.
        by_option: They were given by the option --labels of a command, not in a workflow; messages say so.
    """

    items: tuple[Label, ...] = ()
    others: Literal["error", "background", "ignore"] = "error"
    ignore: tuple[Source, ...] = ()
    overlap: Literal["error", "higher", "keep"] = "error"
    regions: tuple[Region, ...] = ()
    paint: tuple[int, ...] = ()
    bounded: bool = False
    by_option: bool = field(default=False, compare=False)

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

    @property
    def ignored(self) -> int | None:
        """The value of voxels that count nowhere, in masks as `voxgraft.masks.read_mask` gives them."""
        if not (self.ignore or self.bounded) and self.others != "ignore":
            return None
        if max(self.values, default=0) < 255:
            return 255
        return next(value for value in range(65535, 0, -1) if value not in self.values)


@dataclass(frozen=True, slots=True)
class Described:
    """The rule by which series are chosen, all or those of a channel, in training and in prediction alike.

    Attributes:
        takes: Patterns, of which a description fits one; `*` stands for any letters, case does not matter. Empty for
            any description.
        leaves: Patterns, of which it fits none.
        modality: DICOM modalities; empty for any.
        orientation: How slices may lie (see `voxgraft.data.grid.plane_of`); empty for any way.
    """

    takes: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    orientation: tuple[str, ...] = ()

    def misfits(self, item: Item) -> Iterator[str]:
        """In what a series does not fit; what its header does not say fits."""
        if self.modality and item.modality and item.modality.upper() not in {one.upper() for one in self.modality}:
            yield f"it is {item.modality}, training took {' and '.join(self.modality)}"
        text = item.description or ""
        if text and self.takes and not _fits_one(text, self.takes):
            yield f"its description {text!r} is none of those that training took ({', '.join(self.takes)})"
        if text and _fits_one(text, self.leaves):
            yield f"its description {text!r} is one of those that training left out ({', '.join(self.leaves)})"
        plane = plane_of(item.affine, len(item.shape)) if self.orientation else ""
        if plane and plane not in self.orientation:
            yield f"its slices are {plane}, training took {' and '.join(self.orientation)} ones"

    def document(self) -> dict[str, Any]:
        """The plain values of a contract."""
        return {name: list(value) for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, document: Mapping[str, Sequence[str]]) -> Described:
        """The rule that `document` gave."""
        return cls(**{name: tuple(value) for name, value in document.items()})


def _fits_one(text: str, patterns: Sequence[str]) -> bool:
    plain = composed(text).strip().casefold()
    return any(fnmatchcase(plain, composed(one).strip().casefold()) for one in patterns)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The cases of a data set, its channels, and the structures that are labelled.

    Attributes:
        labels: None where the layout does not say; they then come from the workflow or the masks.
        notes: What a user should know, such as files that no case uses.
        problems: What is wrong with images that became no case, such as a study in which two series fit one rule.
        optional: The channels that a case may lack.
        splits: The splits that come with the data set, one for each fold.
        chosen: By which rule all series were chosen; None where they were not.
        described: By which rule the series of each channel was chosen; empty where they were not.
        names_patients: The layout says who the patient of a case is, even where each has one case.
    """

    cases: tuple[Case, ...]
    channels: tuple[str, ...] = ("image",)
    labels: Labels | None = None
    notes: tuple[str, ...] = field(default=())
    problems: tuple[Problem, ...] = ()
    optional: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()
    described: tuple[Described, ...] = ()
    chosen: Described | None = None
    names_patients: bool = False

    @property
    def align(self) -> Align | None:
        """How the channels of its cases come onto one grid; a layout gives all cases the same."""
        return self.cases[0].align if self.cases else None

    @property
    def bounded(self) -> bool:
        """Whether any case has a file that says where it counts."""
        return any(case.valid is not None for case in self.cases)


@dataclass(frozen=True, slots=True)
class Split:
    """The cases of training and of validation, by id. No patient is in both.

    Attributes:
        unlabelled: Cases of the training part whose labels must not be looked at.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()

    def document(self) -> dict[str, list[str]]:
        more = {"unlabelled": list(self.unlabelled)} if self.unlabelled else {}
        return {"train": list(self.train), "validation": list(self.validation), **more}


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


def drawn(split: Split, cases: Sequence[Case], labelled: int, repeat: int, seed: int) -> Split:
    """The same held-out cases, and only so many training patients; the others count as unlabelled.

    Patients are ordered by a keyed hash of seed, repeat and identifier, and the first are taken: a draw of 4 is part of
    the draw of 8 of the same repeat, whatever the order of the files.

    Raises:
        DataError: There are fewer training patients than are to be drawn.
    """
    patients = {case.id: case.patient for case in cases}
    order = sorted({patients[name] for name in split.train}, key=lambda one: draw(seed, f"labelled {repeat}:{one}"))
    if len(order) < labelled:
        raise DataError(
            f"data.split.labelled is {labelled}, but the split leaves {len(order)} patients to train on; ask for fewer"
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
        mine = {patients[name] for name in split.validation}
        if both := mine & {patients[name] for name in (*split.train, *split.unlabelled)}:
            raise DataError(f"fold {number}: {len(both)} patients are both in training and held out")
        if twice := mine & held_out:
            raise DataError(
                f"fold {number}: {len(twice)} of its held-out patients are held out by an earlier fold too; "
                "in a cross-validation each patient is held out once"
            )
        held_out |= mine


def draw(seed: int, patient: str) -> bytes:
    """What patients are ordered by: the same on every machine, and unlike the order of their names."""
    return hashlib.sha256(f"{seed}:{patient}".encode()).digest()
