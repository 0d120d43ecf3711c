"""The section `data` of a workflow: which images, what their masks mean, and how the cases are split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt, MinLen
from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema, field_validator, model_validator

from ..components.choice import ByName, ComponentField, Options, Selected
from ..imaging.formats import Reader
from ..imaging.resample import Interpolation
from ..imaging.structures import MOST_REGIONS, Source
from .cases import Layout

Name = Annotated[str, StringConstraints(min_length=1)]
Value = Annotated[int, Ge(1), Le(65535)]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, (int, str)) and not isinstance(value, bool) else value


Sources = Annotated[
    tuple[Value | Name, ...],
    MinLen(1),
    BeforeValidator(_listed, json_schema_input_type=Value | Name | Annotated[tuple[Value | Name, ...], MinLen(1)]),
]
"""One value or name in masks, or several."""


class Structure(Options):
    """A structure that is made of other values or names in the masks."""

    value: Value
    """The value that it has in training and in predictions."""

    sources: Sources = Field(alias="from")
    """The values of label maps, and the names of segments, contours or labels of the data set, that make it."""


_FOLDS = {"type": "integer", "minimum": 2, "maximum": 1000}


class Split(Options):
    """How patients are assigned to training and validation."""

    by: Literal["patient", "dataset"] = "patient"
    """`patient` assigns patients to folds at random; `dataset` takes the data set's own split, fold by fold."""

    folds: Annotated[int, Ge(2), Le(1000), WithJsonSchema({"anyOf": [_FOLDS, {"const": "all"}]})] = 5
    """The number of parts; one of them is for validation. `all` is short for the usual number with `fold: all`."""

    fold: Annotated[int, Ge(0)] | Literal["all"] = 0
    """The part that is for validation, counted from 0. `all` is cross-validation: each part in turn, in its own run."""

    labelled: Annotated[int, Ge(1)] | None = None
    """Learn from only this many patients of the training part, drawn by seed and repeat; the rest count as unlabelled.
    Held-out cases stay the same, and the patients of a smaller number are among those of a larger one."""

    repeats: Annotated[int, Ge(1), Le(1000)] = 1
    """With `labelled`: number of different draws, each its own run."""

    repeat: Annotated[int, Ge(0)] | Literal["all"] = "all"
    """One of the draws, counted from 0; by default all of them."""

    seed: Annotated[int, Ge(-(2**63)), Lt(2**63)] = 7
    """Another seed gives another split."""

    @model_validator(mode="before")
    @classmethod
    def _all_folds(cls, document: Any) -> Any:
        """`folds: all` is short for every one of the usual number of folds."""
        if isinstance(document, dict) and document.get("folds") == "all":
            return {**{key: value for key, value in document.items() if key != "folds"}, "fold": "all"}
        return document

    @model_validator(mode="after")
    def _parts_exist(self) -> Split:
        if self.by == "patient" and self.fold != "all" and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist: {self.folds} folds are counted from 0")
        if self.labelled is None and (self.repeats != 1 or self.repeat not in (0, "all")):
            raise ValueError("repeats are draws of labelled patients: say how many with labelled")
        if self.repeat != "all" and self.repeat >= self.repeats:
            raise ValueError(f"repeat {self.repeat} does not exist: {self.repeats} repeats are counted from 0")
        return self

    @property
    def many(self) -> bool:
        """Whether this stands for several splits, each for a run of its own."""
        return self.fold == "all" or (self.repeats > 1 and self.repeat == "all")


class Data(Options):
    """The images and their labels."""

    layout: Annotated[Selected[Layout], ComponentField("layout")]
    """How the folder on disk becomes cases."""

    modality: Annotated[Selected[Any], ComponentField("modality")]
    """How the images are normalised, augmented and shown."""

    source: Annotated[Selected[Layout] | None, ComponentField("layout", optional=True)] = None
    """Labelled scans from elsewhere. The network learns from their labels; the layout's training cases are then used
    only by strategies that learn from unlabelled scans. The cases that are held out and scored are the layout's."""

    added: Annotated[Selected[Layout] | None, ComponentField("layout", optional=True)] = None
    """More labelled scans to learn from, such as those that reviewers accepted or corrected. They are neither held
    out nor scored, and scans of a held-out patient are not used."""

    unlabelled: Annotated[Selected[Layout] | None, ComponentField("layout", optional=True)] = None
    """More scans for strategies that learn from unlabelled ones; masks there are ignored."""

    readers: Annotated[dict[Name, Annotated[Selected[Reader], ComponentField("reader")]], ByName("reader")] = Field(
        default={}
    )
    """Options of readers, by the reader's name, such as `{dicom: {pet: stored}}`. They apply to every scan and mask
    that this run reads, are stored with the model, and apply to the scans that it segments."""

    labels: dict[Name, Annotated[int, Ge(0), Le(65535)] | Structure] | None = None
    """Names and values of the structures; by default what the layout says. `{value: 1, from: [2, 3, spleen]}` makes a
    structure of several values or names in the masks."""

    others: Literal["error", "background", "ignore"] | None = None
    """What to do with values and names in masks that belong to no structure: refuse the data set, count them as
    background, or leave their voxels out; by default an error."""

    ignore: Sources | None = None
    """The value or name in masks that marks voxels which count neither in training nor in scores."""

    overlap: Literal["error", "higher"] | None = None
    """What to do with voxels that are in two structures of a mask: refuse the mask, or let the structure with the
    higher value win; by default an error. With `regions` both are kept."""

    regions: dict[Name, Sources] | Literal["each"] | None = None
    """What the network finds, each by an output of its own, so that regions may overlap: a name for the union of some
    structures (by value or name); `each` makes every structure a region."""

    paint: tuple[Value, ...] | None = None
    """The value with which each region is painted over those before it, so that predictions are one label map; without
    it they hold a channel for each region."""

    raters: Name | None = None
    """Which mask to use if several people drew one: `majority`, `staple`, or the name of one of them."""

    channels: dict[Name, Literal["required", "optional"]] | None = None
    """Which channels a case may lack; by default none."""

    split: Split = Split()

    spacing: tuple[Annotated[float, Ge(1e-6), Le(1e4)], ...] | None = None
    """Millimetres between voxels that the network sees; by default those that the encoder's own weights saw, where that
    is known, or the median of the training cases."""

    interpolation: Interpolation = "linear"
    """How images are brought to that spacing: `linear`, or `cubic`, the B-spline of order 3."""

    cache: Path | None = None
    """Folder for the prepared arrays; by default in the run's folder."""

    leave_out: Annotated[
        tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=Name | tuple[Name, ...])
    ] = ()
    """Cases to leave out, by the names that `check` gives them; they are not even read."""

    limit: Annotated[int, Ge(2)] | None = None
    """Use only this many of the training cases (for learning curves); validation keeps all of its cases."""

    @property
    def reader_options(self) -> dict[str, dict[str, Any]]:
        """Plain values: every option of the readers that `readers` names."""
        return {name: chosen.options.model_dump(mode="json") for name, chosen in self.readers.items()}

    @field_validator("labels", mode="before")
    @classmethod
    def _names_come_first(cls, labels: Any) -> Any:
        if isinstance(labels, dict) and labels and all(isinstance(key, int) for key in labels):
            value, name = next(iter(labels.items()))
            raise ValueError(f"names come first: write {{{name}: {value}}}, not {{{value}: {name}}}")
        return labels

    @field_validator("labels")
    @classmethod
    def _each_source_once(cls, labels: dict[str, int | Structure] | None) -> dict[str, int | Structure] | None:
        values: dict[int, str] = {}
        sources: dict[Source, str] = {}
        for name, entry in (labels or {}).items():
            if entry == 0:
                continue
            if name == "mean":
                raise ValueError("a label is called 'mean', the name that scores give to their average; rename it")
            value, made_of = (entry, (entry, name)) if isinstance(entry, int) else (entry.value, entry.sources)
            if values.setdefault(value, name) != name:
                raise ValueError(f"the labels {values[value]!r} and {name!r} have the same value, {value}")
            for source in made_of:
                if sources.setdefault(source, name) != name:
                    raise ValueError(f"{source!r} in masks is both {sources[source]!r} and {name!r}")
        if labels and not values:
            raise ValueError("there is background only; name at least one structure")
        return labels

    @field_validator("regions")
    @classmethod
    def _few_regions(cls, regions: Any) -> Any:
        if isinstance(regions, dict):
            if not regions or len(regions) > MOST_REGIONS:
                raise ValueError(f"there are {len(regions)} regions; there may be 1 to {MOST_REGIONS}")
            if "mean" in regions:
                raise ValueError("a region is called 'mean', the name that scores give to their average; rename it")
        return regions

    @model_validator(mode="after")
    def _labels_fit(self) -> Data:
        if self.paint is not None:
            if not isinstance(self.regions, dict):
                raise ValueError("paint: needs regions, which it gives values to")
            if len(self.paint) != len(self.regions) or len(set(self.paint)) != len(self.paint):
                raise ValueError(f"paint: give each of the {len(self.regions)} regions a value of its own, in order")
        if self.limit is not None and self.split.labelled is not None:
            raise ValueError("limit: split.labelled says already how many are learnt from; leave one of the two out")
        if self.overlap is not None and self.regions is not None:
            raise ValueError("overlap: regions keep both structures where two overlap; leave one of the two keys out")
        return self
