"""Options of the layouts. Relative paths start at the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from voxgraft.plugin import Options, StoredPath

from .patterns import Pattern


def _readable(text: str) -> str:
    Pattern(text)
    return text


PatternText = Annotated[str, AfterValidator(_readable)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+$")]
"""A key or a value of a BIDS name."""


class DecathlonOptions(Options):
    """Options of the layout `decathlon`."""

    path: StoredPath
    """The folder that holds dataset.json."""

    patient: PatternText | None = None
    """How a case's name contains the patient's, such as '{patient}_{rest}'; by default each case counts as a separate
    patient."""


class NnunetOptions(Options):
    """Options of the layout `nnunet`."""

    path: StoredPath
    """The folder of the data set, which holds dataset.json."""

    patient: PatternText | None = None
    """How a case's name contains the patient's, such as '{patient}_{rest}'; by default each case counts as a separate
    patient."""

    splits: StoredPath | None = None
    """A file of splits as nnU-Net writes it; by default splits_final.json in the folder, where it is there. It is used
    where data.split says by: dataset."""


class BidsOptions(Options):
    """Options of the layout `bids`: each subject and session is a case, each subject a patient."""

    path: StoredPath
    """The folder of the data set, which holds the folders sub-*."""

    suffixes: Annotated[tuple[Word, ...], MinLen(1)] = ("T1w",)
    """The suffixes of the images, one for each channel, such as [T1w, FLAIR]."""

    datatype: Word = "anat"
    """The folder of the images in that of a subject or session."""

    entities: dict[Word, Word] = Field(default={})
    """Entities that the images' names must have, such as {acq: mprage, run: "1"}."""

    masks: Path | None = Path("derivatives")
    """The folder that holds the masks, in subfolders of any structure; relative to the data set. Null where there are
    none."""

    mask_suffix: Literal["dseg", "mask", "any"] = "any"
    """Label maps (dseg), or one file per structure (mask)."""

    mask_entities: dict[Word, Word] = Field(default={})
    """Entities that the masks' names must have, such as {desc: manual, space: orig}."""

    unlabelled: Literal["error", "keep"] = "error"
    """What to do with images without a mask: refuse the data set, or keep them as unlabelled cases."""


class CsvOptions(Options):
    """Options of the layout `csv`: a table with a row for each case.

    Paths in it are relative to the folder of the table. The columns `case`, `patient`, `split` and `valid` are known by
    name; what else stands there and is not a path is told of the case (site, scanner, sex, age ...).
    """

    path: StoredPath
    """The table; comma, semicolon or tab between columns."""

    images: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """The columns of the images, one for each channel; by default `image`, or all columns that begin with `image_`."""

    labels: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """The columns of the masks, one for each rater; by default `label`, or all columns that begin with `label_`."""

    valid: str | None = None
    """The column of files that are 0 where a case counts neither in training nor in scores, such as fields of view; by
    default `valid`, where there is one. Where a row has none, all of its voxels count."""

    channels: tuple[str, ...] | None = None
    """Names of the channels; by default those of the columns, without `image_`."""

    grid: str | None = None
    """The channel whose grid the cases have: the others are interpolated linearly onto it, which requires that they
    are registered. By default all channels must lie on one grid."""

    root: StoredPath | None = None
    """The folder that relative paths start from; by default that of the table."""

    unlabelled: Literal["error", "keep"] = "error"
    """What to do with rows without a mask: refuse the data set, or keep them as unlabelled cases."""


class PairsOptions(Options):
    """Options of the layout `pairs`.

    Images and labels are folders below `path`, or patterns with named places: 'images/{case}_0000.nii.gz' or
    '{patient}/{case}/flair.nii.gz'. A place takes as few letters as it can; `*` stands for any characters.
    """

    path: StoredPath
    """The folder that holds everything."""

    images: str | Annotated[dict[str, str], MinLen(1)] = "images"
    """A folder or a pattern with {case}; for several channels in separate files, a name and a pattern for each."""

    labels: str | None = "labels"
    """A folder or a pattern with {case}; null where there are no labels. With {rater} in the pattern, masks of
    several people; with {structure}, a file for each structure."""

    valid: str | None = None
    """A folder or a pattern with {case} of files that are 0 where a case counts neither in training nor in scores, such
    as a field of view: 'mask/{case}_training_mask.gif'. Every case with a mask needs one."""

    channels: tuple[str, ...] | None = None
    """Names of the channels where one file holds several."""

    patient: PatternText | None = None
    """How a case's name contains the patient's, such as '{patient}_{rest}'; by default each case counts as a separate
    patient."""

    unlabelled: Literal["error", "keep"] = "error"
    """What to do with images without a mask: refuse the data set, or keep them as unlabelled cases."""

    @model_validator(mode="after")
    def _patterns_name_cases(self) -> PairsOptions:
        several = self.images if isinstance(self.images, dict) else {}
        single = {"images": self.images} if isinstance(self.images, str) else {}
        masks = {"labels": self.labels, "valid": self.valid}
        texts = {**single, **several, **{name: text for name, text in masks.items() if text is not None}}
        for option, text in texts.items():
            fields = Pattern(text).places
            if "case" not in fields and (option in several or fields or "*" in text):
                raise ValueError(f"the pattern of {option}, {text!r}, needs a place {{case}}")
        if isinstance(self.labels, str) and {"rater", "structure"} <= set(Pattern(self.labels).places):
            raise ValueError("the pattern of labels has both {rater} and {structure}; only one of them can be read")
        if self.valid is not None and self.labels is None:
            raise ValueError("valid says where masks count, and there are none: name them under labels")
        if several and self.channels is not None:
            raise ValueError("channels are named twice: under 'images' and under 'channels'")
        return self
