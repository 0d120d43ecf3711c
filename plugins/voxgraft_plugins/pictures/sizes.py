"""How large the voxels of a TIFF are: by VoxGraft's own note, OME, ImageJ, or the resolution of the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from voxgraft.plugin import Array, Problem

from .place import KEY, dots, no_spacing, screen_affine, written_affine

if TYPE_CHECKING:
    from tifffile import TiffFile

_MILLIMETRES = {
    "nm": 1e-6,
    "µm": 1e-3,
    "μm": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "\\u00b5m": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "m": 1000.0,
    "inch": 25.4,
    "in": 25.4,
}
_INCH, _CENTIMETRE = 2, 3


def affine_of(file: TiffFile) -> tuple[Array | None, tuple[Problem, ...]]:
    """The affine, None where the sizes make none, and what to say of it."""
    own = written_affine(_own(file)) if _own(file) is not None else None
    if own is not None:
        return own, ()
    spacing = _of_ome(file) or _of_imagej(file) or _of_resolution(file)
    affine = screen_affine(spacing or (1.0, 1.0, 1.0))
    return written_affine(affine), no_spacing(spacing)


def _own(file: TiffFile) -> Any:
    """What VoxGraft wrote into the description of the first page."""
    found: Any = file.shaped_metadata
    return found[0].get(KEY) if found and isinstance(found[0], dict) else None


def _of_ome(file: TiffFile) -> tuple[float, float, float] | None:
    """PhysicalSizeX, Y and Z of the first `Pixels` of an OME header; micrometres where no unit is named."""
    text = file.ome_metadata
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text) if text else None
    if pixels is None:
        return None
    sizes = []
    for axis in "XYZ":
        value = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', pixels[0])
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', pixels[0])
        factor = _MILLIMETRES.get(unit[1] if unit else "µm")
        sizes.append(_positive(value[1]) * factor if value and factor else 0.0)
    x, y, z = sizes
    return (x, y, z or 1.0) if x and y else None


def _of_imagej(file: TiffFile) -> tuple[float, float, float] | None:
    found: Any = file.imagej_metadata
    if not found or (factor := _MILLIMETRES.get(str(found.get("unit", "")).strip().lower())) is None:
        return None
    x, y = _resolution(file)
    z = _positive(found.get("spacing", 0)) * factor
    return (factor / x, factor / y, z or 1.0) if x and y else None


def _of_resolution(file: TiffFile) -> tuple[float, float] | None:
    unit = file.pages.first.tags.get(296)
    x, y = _resolution(file)
    per_inch = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(int(unit.value) if unit is not None else _INCH)
    return dots(x * per_inch, y * per_inch) if per_inch and x and y else None


def _resolution(file: TiffFile) -> tuple[float, float]:
    """Pixels for each unit along x and y; 0 where the file does not say."""
    values = []
    for code in (282, 283):
        tag = file.pages.first.tags.get(code)
        above, below = tag.value if tag is not None and isinstance(tag.value, tuple) else (0, 0)
        values.append(above / below if below else 0.0)
    return values[0], values[1]


def _positive(text: object) -> float:
    """A number above 0; 0 where it is none."""
    try:
        value = float(str(text))
    except ValueError:
        return 0.0
    return value if 0 < value < 1e6 else 0.0
