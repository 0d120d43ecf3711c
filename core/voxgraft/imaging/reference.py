"""References to images and masks on disk, before anything of them is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
class FoundRegion(ImageRef):
    """Where a case counts, as its modality finds it in the image at `path`; there is no file of it.

    Attributes:
        modality: The modality's name and options, as JSON.
    """

    modality: str = ""


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
