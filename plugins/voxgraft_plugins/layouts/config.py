"""Options of the layouts. Relative paths start at the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from pydantic import AfterValidator, model_validator

from voxgraft.config import Config

from .patterns import Pattern


def _readable(text: str) -> str:
    Pattern(text)
    return text


PatternText = Annotated[str, AfterValidator(_readable)]


class DecathlonConfig(Config):
    """Options of the layout `decathlon`."""

    path: Path
    """The folder that holds dataset.json."""

    patient: PatternText | None = None
    """How a case's name tells the patient, such as '{patient}_{rest}'; by default each case is a patient of its own."""


class PairsConfig(Config):
    """Options of the layout `pairs`.

    Images and labels are folders below `path`, or patterns with named places: 'images/{case}_0000.nii.gz' or
    '{patient}/{case}/flair.nii.gz'. A place takes as few letters as it can; `*` stands for any letters.
    """

    path: Path
    """The folder below which everything lies."""

    images: str | Annotated[dict[str, str], MinLen(1)] = "images"
    """A folder or a pattern with {case}; for several channels in files of their own, a name and a pattern of each."""

    labels: str | None = "labels"
    """A folder or a pattern with {case}; null where there are no labels."""

    channels: tuple[str, ...] | None = None
    """Names of the channels where one file holds several."""

    patient: PatternText | None = None
    """How a case's name tells the patient, such as '{patient}_{rest}'; by default each case is a patient of its own."""

    unlabelled: Literal["error", "keep"] = "error"
    """What becomes of images without a mask: refuse the data set, or keep them as unlabelled cases."""

    @model_validator(mode="after")
    def _patterns_name_cases(self) -> PairsConfig:
        several = self.images if isinstance(self.images, dict) else {}
        single = {"images": self.images} if isinstance(self.images, str) else {}
        texts = {**single, **several, **({"labels": self.labels} if self.labels is not None else {})}
        for place, text in texts.items():
            places = Pattern(text).places
            if "case" not in places and (place in several or places or "*" in text):
                raise ValueError(f"the pattern of {place}, {text!r}, needs a place {{case}}")
        if several and self.channels is not None:
            raise ValueError("channels are named twice: under 'images' and under 'channels'")
        return self


class DicomConfig(Config):
    """Options of the layout `dicom`: every series that the rules let through is a case."""

    path: Path
    """The folder below which the series lie, in whatever tree."""

    modality: tuple[str, ...] | None = None
    """Only series of these DICOM modalities, such as [CT]."""

    description: str | None = None
    """Only series whose description fits, such as '*T1*'; `*` stands for any letters, case does not matter."""

    min_slices: int = 1
    """Only series of at least so many slices: leaves out scouts."""

    patient: Literal["id", "folder"] = "id"
    """What tells patients apart: PatientID, or the first folder below `path`."""

    ids: Literal["hash", "folder"] = "hash"
    """Names of cases: from a hash of the series, or from its folder (folders of an export may hold patients' names)."""

    labels: Path | None = None
    """A folder of masks, each a file named by SeriesInstanceUID, by the series' folder, or by the case."""

    unlabelled: Literal["error", "keep"] = "keep"
    """What becomes of series without a mask: refuse the data set, or keep them as unlabelled cases."""

    @model_validator(mode="before")
    @classmethod
    def _one_modality(cls, document: Any) -> Any:
        if isinstance(document, dict) and isinstance(document.get("modality"), str):
            return {**document, "modality": (document["modality"],)}
        return document
