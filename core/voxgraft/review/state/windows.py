"""Windows by name, and the colours of structures, for the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...imaging.volume import Array
from ...preprocessing.modality import like_hounsfield, modality_for
from ...reports import drawing

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

CT = (
    ("soft tissue", -160.0, 240.0),
    ("lung", -1350.0, 150.0),
    ("bone", -500.0, 1300.0),
    ("brain", 0.0, 80.0),
    ("liver", -20.0, 160.0),
)
"""Hounsfield units that are black and white, in the usual radiological presets."""

DRAWN = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Intensities that are shown as black and as white."""

    name: str
    low: float
    high: float


def windows_of(array: Array, modality: str, catalogue: Catalogue) -> list[Window]:
    """The windows that a reader may choose from, the usual one first.

    Args:
        array: Voxels of one channel, (i, j[, k]).
        modality: Name of a modality component, or a DICOM code; empty where nobody knows.
        catalogue: Offers the modalities.
    """
    drawn = array.ravel(order="K")[:: max(1, array.size // DRAWN) | 1]
    drawn = drawn[np.isfinite(drawn)].astype(np.float64) if drawn.dtype.kind == "f" else drawn
    if not drawn.size:
        return [Window("all", 0.0, 1.0)]
    if _is_ct(drawn, modality):
        return [Window(*window) for window in CT]
    named = []
    if own := _of_modality(array, modality, catalogue):
        named.append(Window("usual", *own))
    for name, low, high in (("1 to 99 %", 1, 99), ("0.1 to 99.9 %", 0.1, 99.9), ("all", 0, 100)):
        first, last = (float(value) for value in np.percentile(drawn, [low, high]))
        named.append(Window(name, first, last if last > first else first + 1))
    return named


def _is_ct(drawn: Array, modality: str) -> bool:
    if modality:
        return modality.upper() == "CT"
    low, high = (float(value) for value in np.percentile(drawn, [0.5, 99.5]))
    return like_hounsfield(low, high, bool((drawn == np.rint(drawn)).all()))


def _of_modality(array: Array, modality: str, catalogue: Catalogue) -> tuple[float, float] | None:
    """The display window of a modality component, where one is known and answers."""
    from ...components.choice import choose
    from ...reports.display import display_window

    specs: list[Any] = [spec for _, spec in catalogue.of("modality")]
    name = modality if any(spec.name == modality for spec in specs) else modality_for(modality, specs)
    if name is None:
        return None
    try:
        return display_window(array, choose(catalogue, "modality", {"use": name}).build())
    except Exception:  # a plugin may fail in any way; the percentiles stand in
        return None


def colour_of(place: int) -> str:
    """The colour of the n-th structure as CSS writes it, the same as in the preview."""
    return "#{:02x}{:02x}{:02x}".format(*drawing.colour_of(place))
