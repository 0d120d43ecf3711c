"""Where a picture lies: its axes as on the screen, and how large its pixels are.

A picture has no place in a patient. Index i runs to the right on the screen and j downwards, which are the patient's
left and back where he faces the viewer as usual: the affine is diag(-x, -y, z, 1), as SimpleITK has it, the first pixel
at the origin. Pixels measure what microscopes say (OME, ImageJ), else what the resolution of the file says, unless that
is a value for printers and screens; else 1, with the warning `no-spacing`. VoxGraft's own pictures hold their affine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from voxgraft.plugin import Array, Problem, Volume, checked_affine

KEY = "voxgraft.affine"
"""Under this name the affine stands in the texts of PNG and the description of TIFF."""
DIMS = "voxgraft.dims"
"""Under this name the description of a TIFF holds the number of spatial axes."""
_FOR_PRINT = (72, 75, 90, 92, 96, 100, 120, 144, 150, 160, 180, 192, 200, 240, 250, 254, 256, 266, 300, 314, 350, 360)
_FOR_FINE_PRINT = (400, 480, 500, 600, 720, 800, 1000, 1200, 1270, 1440, 2000, 2400, 2540, 2880, 3600, 4000, 4800)


def screen_affine(spacing: Sequence[float]) -> Array:
    """The affine of pixels of these millimetres along i, j (and k)."""
    x, y, z = (*spacing, 1.0)[:3]
    return np.diag([-x, -y, z, 1.0])


def dots(x: float, y: float) -> tuple[float, float] | None:
    """Millimetres from dots per inch; None where they say nothing of what is in the picture."""
    values = np.array([x, y], dtype=np.float64)
    if not np.isfinite(values).all() or (values <= 1).any() or (values > 1e6).any():
        return None
    usual = np.array(_FOR_PRINT + _FOR_FINE_PRINT)
    if all(np.abs(usual - value).min() < 0.6 for value in values):
        return None
    return 25.4 / float(x), 25.4 / float(y)


def written_affine(text: object) -> Array | None:
    """The affine that VoxGraft wrote into a picture; None where there is none that can be used."""
    try:
        return checked_affine(json.loads(text) if isinstance(text, str) else np.asarray(text, dtype=np.float64))
    except (ValueError, TypeError, RecursionError):
        return None


def no_spacing(spacing: tuple[float, ...] | None) -> tuple[Problem, ...]:
    if spacing is not None:
        return ()
    text = "it does not say how large its pixels are; they are taken to measure 1 mm"
    return (Problem("no-spacing", text, "warning"),)


def known_affine(volume: Volume) -> Array | None:
    """The affine to write into a picture; None where the pixels of the volume have no size, and lie as on a screen:
    what was assumed would be read as known."""
    assumed = not volume.sized and np.array_equal(volume.affine, screen_affine((1.0,) * 3))
    return None if assumed else volume.affine


def upright(rows: Array, orientation: int) -> Array:
    """Rows of pixels (y, x[, colour]) turned as their EXIF orientation says: as every viewer shows them."""
    rows = rows.swapaxes(0, 1) if orientation > 4 else rows
    return rows[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]


def turned(orientation: int) -> tuple[Problem, ...]:
    """What to say of a picture that is not stored upright."""
    if orientation not in range(2, 9):
        return ()
    text = f"it was turned upright as its EXIF orientation {orientation} says; see that its mask was drawn on it so"
    return (Problem("exif-orientation", text, "repair"),)
