"""Options of the layout `dicom`. Relative paths start at the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import BeforeValidator, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from voxgraft.plugin import Options, StoredPath

Plane = Literal["axial", "sagittal", "coronal", "oblique"]


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[
    tuple[str, ...],
    MinLen(1),
    BeforeValidator(_several, json_schema_input_type=str | Annotated[tuple[str, ...], MinLen(1)]),
]
"""One text or several."""
Names = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...])]
Planes = Annotated[
    tuple[Plane, ...],
    MinLen(1),
    BeforeValidator(_several, json_schema_input_type=Plane | Annotated[tuple[Plane, ...], MinLen(1)]),
]


class Range(Options):
    """From a smallest to a largest value, both allowed; written as a mapping, or as a list such as [0.5, 1.5]."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, document: Any) -> Any:
        if isinstance(document, (list, tuple)):
            if len(document) != 2:
                raise ValueError("a range is a list of two values, the smallest and the largest; null leaves one open")
            return {"min": document[0], "max": document[1]}
        return document

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        ends = {"anyOf": [{"type": "number"}, {"type": "null"}]}
        handler.resolve_ref_schema(found).update(type=["object", "array"], items=ends, minItems=2, maxItems=2)
        return found

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("a range needs a smallest or a largest value")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the range ends at {self.max:g}, below its beginning {self.min:g}")
        return self


class Spacing(Options):
    """Ranges in millimetres; all that are given must hold."""

    slice: Range | None = None
    """Between the centres of neighbouring slices."""

    in_plane: Range | None = None
    """Between neighbouring pixels of a slice, along both of its axes."""

    x: Range | None = None
    """Along the axis nearest to left-right."""

    y: Range | None = None
    """Along the axis nearest to back-front."""

    z: Range | None = None
    """Along the axis nearest to foot-head."""


class Rule(Options):
    """What a series must be like; everything that is given must hold."""

    modality: Texts | None = None
    """Only series of these DICOM modalities, such as [CT]."""

    description: Texts | None = None
    """Only series whose description fits one of these, such as '*T1*'; `*` stands for any characters, case does not
    matter."""

    orientation: Planes | None = None
    """Only series whose slices lie like this; oblique are those more than 20 degrees off all three planes."""

    spacing: Spacing | None = None
    """Only series whose voxels have this size."""

    min_slices: Annotated[int, Ge(1)] | None = None
    """Only series of at least this many slices; leaves out scouts."""

    max_slices: Annotated[int, Ge(1)] | None = None
    """Only series of at most this many slices."""

    rows: Range | None = None
    """Only series with this many rows of pixels."""

    columns: Range | None = None
    """Only series with this many columns of pixels."""


class Selection(Rule):
    """A rule with exceptions."""

    exclude: tuple[Rule, ...] = ()
    """Series that fit one of these rules are left out."""


class LabelRules(Options):
    """Where the labels of series come from; a text is the folder of mask files."""

    source: Literal["auto", "seg", "rtstruct", "nifti"] = "auto"
    """DICOM SEG or RTSTRUCT objects in the tree, found by what they refer to; a folder of mask files of any format
    (`nifti`); `auto` takes SEG, and RTSTRUCT for series without one."""

    path: StoredPath | None = None
    """For `nifti`: the folder of masks, each named by SeriesInstanceUID, by the series' folder, or by the case."""

    description: Texts | None = None
    """Only SEG and RTSTRUCT objects whose series description fits one of these."""

    names: Annotated[dict[str, Names], MinLen(1)] | None = None
    """The labels of the data set, in the order of their values from 1, and the names of structures that stand for
    each, such as {liver: [Liver, 'liver*']}; `*` stands for any characters, case does not matter, and a label's own
    name always stands for it. Other structures are left out. By default every structure is a label, in alphabetical
    order."""

    several: Literal["error", "raters"] = "error"
    """Several objects that mark the same structure on one series: an error, or the masks of several raters, which
    `data.raters` combines into the label. Objects that mark different structures are taken together."""

    missing: Literal["error", "skip", "keep"] | None = None
    """What to do with series without a label: refuse the data set, leave them out, or keep them as unlabelled cases;
    by default what `unlabelled` says."""

    @model_validator(mode="before")
    @classmethod
    def _from_folder(cls, document: Any) -> Any:
        return {"source": "nifti", "path": document} if isinstance(document, (str, Path)) else document

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        handler.resolve_ref_schema(found)["type"] = ["object", "string"]
        return found

    @model_validator(mode="after")
    def _fits_together(self) -> LabelRules:
        if (self.source == "nifti") != (self.path is not None):
            raise ValueError("labels: 'path' is the folder of masks of the source 'nifti', and needed there")
        if self.source == "nifti" and (self.names or self.description):
            raise ValueError(
                "labels: 'names' and 'description' are for DICOM objects; a mask's values are named under data.labels"
            )
        return self


class DicomOptions(Selection):
    """Options of the layout `dicom`: every series that the rules let through is a case, or every study with its
    channels."""

    path: StoredPath
    """The folder that holds the files, in subfolders of any structure."""

    take: Literal["one", "first", "last", "largest", "thinnest", "all"] | None = None
    """Which series of a study to take: `one` says that only one may fit, and a study in which several do is a problem;
    `first` and `last` go by the time of acquisition, `largest` by voxels, `thinnest` by the spacing of slices. By
    default all are cases of their own; of a channel, one."""

    channels: Annotated[dict[str, Selection], MinLen(1)] | None = None
    """For several channels: a name and the rule of each, such as {t1: {description: '*T1*'}, flair: {description:
    '*FLAIR*'}}. Every study that has them all is a case."""

    grid: str | None = None
    """The channel whose grid the case has; by default the first. Other channels are interpolated linearly onto it."""

    optional: tuple[str, ...] = ()
    """Channels that a study may lack."""

    align: Literal["frame", "any"] = "frame"
    """Which series count as registered: those of one frame of reference, or all of a study if you are sure that they
    are."""

    incomplete: Literal["error", "skip"] = "error"
    """What to do with a study that lacks a channel, or in which more series fit than may be taken: refuse the data
    set, or leave the study out and report it."""

    damaged: Literal["keep", "skip"] = "keep"
    """What to do with series that cannot be read: keep them as cases, so that `check` says what is wrong with them,
    or leave them out and report them."""

    patient: Literal["id", "folder"] = "id"
    """What identifies a patient: PatientID, or the first folder below `path`."""

    ids: Literal["hash", "folder"] = "hash"
    """Names of cases: from a hash of the series, or from its folder (folders of an export may hold patients' names)."""

    key: StoredPath | None = None
    """A file with a secret key for the hashes of patients and series; without one, somebody who knows a PatientID can
    recognise its hash. The same file gives the same names everywhere."""

    labels: LabelRules | None = None
    """Where labels come from; a folder is short for {source: nifti, path: FOLDER}."""

    unlabelled: Literal["error", "skip", "keep"] = "keep"
    """What to do with series without a label: refuse the data set, leave them out, or keep them as unlabelled cases."""

    index: Literal["auto", "off"] | Path = "auto"
    """Where the content of the headers is stored, so that only new and changed files are read again: a SQLite file
    that only this user can read. It holds UIDs and descriptions of series, and a hash of each PatientID. `auto` keeps
    it in the folder .voxgraft of the working directory, for trees of 2000 files and more, and never inside the tree."""

    @model_validator(mode="after")
    def _channels_fit(self) -> DicomOptions:
        if self.grid is not None and self.grid not in (self.channels or {}):
            raise ValueError(f"grid: there is no channel {self.grid!r}")
        if strange := [name for name in self.optional if name not in (self.channels or {})]:
            raise ValueError(f"optional: there is no channel {strange[0]!r}")
        if self.channels is not None and (self.grid or next(iter(self.channels))) in self.optional:
            raise ValueError("optional: the channel that gives the grid is needed; name another under 'grid'")
        if self.channels is not None and self.take == "all":
            raise ValueError("take: a channel is one series, so 'all' cannot be taken")
        return self
