"""Options of the layouts. Relative paths start at the working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
