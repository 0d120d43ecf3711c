"""What one look at a case found: the records that every check reads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..datasets.cases import Case
from ..imaging.formats import Trace
from ..imaging.volume import Colour
from .problem import CaseProblem, Severity
from .voxels import Channel


@dataclass(slots=True)
class Look:
    """What one case showed.

    Attributes:
        shape: Voxels along each axis in RAS order; empty where the image could not be read.
        spacing: Millimetres along the same axes.
        channels: What the voxels of each channel are like.
        modality: The DICOM modality, where the file says it.
        mask: None where there is no mask that could be read.
        thumbnail: A small picture of the first channel; empty where there is none.
        traces: Where its files may tell who the patient is.
    """

    case: Case
    problems: list[CaseProblem] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    channels: tuple[Channel, ...] = ()
    modality: str | None = None
    mask: Mask | None = None
    thumbnail: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    traces: set[Trace] = field(default_factory=set)

    @property
    def size(self) -> tuple[float, ...]:
        """Millimetres that the image covers along each axis."""
        return tuple(n * step for n, step in zip(self.shape, self.spacing, strict=True))

    def add(self, code: str, severity: Severity, message: str) -> None:
        """Note a problem of this case.

        Args:
            code: What kind it is, such as `unreadable-image`.
        """
        self.problems.append(CaseProblem(code, severity, self.case.id, message))


@dataclass(slots=True)
class Structure:
    """One structure in one mask.

    Attributes:
        parts: Connected pieces, counting neighbours across corners.
        smallest: Voxels of the smallest piece.
        faces: The ends of the scan that it reaches.
        across: The middle of its extent along the first axis, in voxels; only where it has a fellow on the other side.
    """

    voxels: int
    parts: int = 0
    smallest: int = 0
    faces: tuple[str, ...] = ()
    across: float | None = None


@dataclass(slots=True)
class Mask:
    """What a mask showed.

    Attributes:
        values: The values in the file, 0 included, before they are matched with the names of labels; None for objects
            whose structures have names.
        structures: By the value that the data set's labels give them.
        size: All voxels.
        covered: Those in any structure.
        ignored: Those that count nowhere.
        rim: The share of the scan's outermost voxels that are in any structure.
        content: A fingerprint of the values and their places.
        palette: The colours of the values in the file, where it is a picture with a palette.
    """

    size: int
    values: frozenset[int] | None = None
    structures: dict[int, Structure] = field(default_factory=dict)
    covered: int = 0
    ignored: int = 0
    rim: float = 0.0
    content: str = ""
    palette: dict[int, Colour] = field(default_factory=dict)
