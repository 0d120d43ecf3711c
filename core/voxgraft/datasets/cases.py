"""Cases: what layouts find, training and prediction work on, and splits part by patient; and the spec of a layout.

The local list of cases says where each lies and what the scanner called it, so that a scan behind a hash is found
again. It may hold what identifies people, so only its owner reads it, and nothing of it goes into logs, MLflow or
packages.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.catalogue import C, Component
from ..support.texts import composed, write_rows

if TYPE_CHECKING:
    from ..imaging.structures import Labels
    from ..imaging.volume import Align, ImageRef, Item, Problem


MOST_STRUCTURES = 1000
"""Structures of one network, at most: their indices and two codes fit into int16, and scores can count them."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one training or prediction item needs.

    Attributes:
        images: One reference for each channel, in the order of `Dataset.channels`; None for an optional channel that
            this case does not have.
        label: The mask; None where there is none. It is read by `voxgraft.labels.masks.read_mask`.
        facts: What is known of the patient and the scan for tables of subgroups: `site`, `scanner`, `sex`, `age` ...
        align: How its channels come onto one grid; None where they must lie on one.
        raters: The masks of several people by their names, where the layout finds them; `data.raters` then says what
            becomes `label`.
        valid: A file beside the mask that is 0 where the case counts neither in training nor in scores, such as a field
            of view, or a `FoundRegion`; None where all voxels count. It is read by `voxgraft.labels.valid_region`.
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
class Described:
    """The rule by which series are chosen, all or those of a channel, in training and in prediction alike.

    Attributes:
        takes: Patterns, of which a description fits one; `*` stands for any characters, case does not matter. Empty for
            any description.
        leaves: Patterns, of which it fits none.
        modality: DICOM modalities; empty for any.
        orientation: How slices may lie (see `voxgraft.imaging.orientation.plane_of`); empty for any way.
    """

    takes: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    orientation: tuple[str, ...] = ()

    def misfits(self, item: Item) -> Iterator[str]:
        """In what a series does not fit; what its header does not say fits."""
        if (
            self.modality
            and item.modality
            and item.modality.upper() not in {modality.upper() for modality in self.modality}
        ):
            yield f"it is {item.modality}, training took {' and '.join(self.modality)}"
        text = item.description or ""
        if text and self.takes and not _fits_one(text, self.takes):
            yield f"its description {text!r} is none of those that training took ({', '.join(self.takes)})"
        if text and _fits_one(text, self.leaves):
            yield f"its description {text!r} is one of those that training left out ({', '.join(self.leaves)})"
        if self.orientation:
            from ..imaging.orientation import plane_of

            if (plane := plane_of(item.affine, len(item.shape))) and plane not in self.orientation:
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
    return any(fnmatchcase(plain, composed(pattern).strip().casefold()) for pattern in patterns)


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


class Layout(Protocol):
    """Turn a folder on disk into cases."""

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder does not have this layout; the message names the place.
        """
        ...


@runtime_checkable
class ReadsFolder(Protocol):
    """Options of a layout that reads one folder, or one table."""

    @property
    def path(self) -> Path:
        """Where it is; relative paths start at the working directory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSpec(Component[C, Layout]):
    """A way in which data sets lie on disk.

    Attributes:
        guess: The options with which it reads a folder whose layout nobody named, None where the folder does not look
            like one of its own. It looks at names and at most at one small file, and raises nothing.
    """

    kind = "layout"

    guess: Callable[[Path], Mapping[str, Any] | None] | None = None


HEAD = ("case", "patient", "part", "place", "description", "series")
NAME = "cases.csv"


def is_traced(dataset: Dataset) -> bool:
    """Whether its cases are series, whose names say nothing of where they are."""
    return any(reference.series for case in dataset.cases for reference in case.present)


def write_trace(target: Path, dataset: Dataset, split: Split | None = None) -> None:
    """Write the list as a CSV table that only its owner reads (mode 0600).

    Args:
        target: The table; it is replaced whole.
        split: Says of each case what it is for; None leaves that empty.
    """
    from ..support.files import write_text  # listing plugins needs no JSON

    parts = {}
    for part, names in (("train", split.train), ("validation", split.validation)) if split is not None else ():
        parts.update(dict.fromkeys(names, part))
    text = io.StringIO()
    write_rows(text, [HEAD, *(_row(case, parts.get(case.id, "")) for case in dataset.cases)])
    write_text(target, text.getvalue(), private=True)


def _row(case: Case, part: str) -> tuple[str, ...]:
    paths = dict.fromkeys(str(reference.path) for reference in case.present)
    series = dict.fromkeys(reference.series or "" for reference in case.present)
    return (case.id, case.patient, part, "; ".join(paths), "; ".join(filter(None, case.described)), "; ".join(series))
