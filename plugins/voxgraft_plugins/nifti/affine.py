"""Where the voxels of a NIfTI image lie: its affine to RAS millimetres, and what is doubtful about it.

The rule, which is nibabel's: the sform where its code is above 0, else the qform where its code is above 0, else voxel
sizes around the centre of the image with the first axis running from right to left, and a warning. A qform that lies
elsewhere than the sform that is used, axes that are not at right angles and lengths no scanner has are warnings; an
affine that is not finite or does not span space is an error. An Analyze header has sizes, and SPM's has an origin.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from voxgraft.plugin import Array, millimetres_apart, spacing_of, spans_space

_MILLIMETRES = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
_LAST_CODE = 5
"""The highest code of an sform or qform that has a meaning."""
_SQUARE = 0.002
"""The cosine up to which two axes count as at right angles (0.1 degrees)."""
_PLAUSIBLE = (1e-4, 200.0)
"""Millimetres between the voxels of scanners and microscopes."""


def affine_of(
    raw: dict[str, Any], shape: tuple[int, ...]
) -> tuple[Array | None, str, int, tuple[tuple[str, str], ...], str]:
    """The affine, where it comes from and its code, what to warn of, and what is wrong with it."""
    warnings: list[tuple[str, str]] = []
    if "origin" in raw:
        affine, source, code = _analyze(raw, shape), "analyze", 0
        warnings.append(("no-orientation", f"its Analyze header says nothing of orientation; {_ASSUMED}"))
    elif int(raw["sform_code"]) > 0:
        affine, source, code = _sform(raw), "sform", int(raw["sform_code"])
    elif int(raw["qform_code"]) > 0:
        affine, source, code = _qform(raw), "qform", int(raw["qform_code"])
    else:
        affine, source, code = _from_sizes(raw, shape), "voxel sizes", 0
        warnings.append(("no-orientation", f"its header says nothing of orientation; {_ASSUMED}"))
    if fault := _fault(affine, source, int(raw.get("orient", 0))):
        return None, source, code, (), fault
    if code > _LAST_CODE:
        warnings.append(("unknown-code", f"the code of its {source} is {code}, which means nothing; it is used"))
    if source == "sform" and int(raw["qform_code"]) > 0:
        warnings.extend(_contradiction(affine, _qform(raw), shape))
    units = int(raw.get("xyzt_units", 0)) & 7
    if units in _MILLIMETRES:
        name, factor = _MILLIMETRES[units]
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
        warnings.append(("units", f"its lengths are in {name} and were turned into millimetres"))
    elif units > 3:
        warnings.append(("units", f"its unit of length has the unknown code {units}; millimetres are assumed"))
    if not spans_space(affine):
        return None, source, code, (), f"the affine of its {source} is singular or its voxels are too small"
    warnings.extend(_doubts(affine, len(shape)))
    return affine, source, code, tuple(warnings), ""


_ASSUMED = "the axes are taken to run to the left, to the front and upwards"


def _fault(affine: Array, source: str, orient: int) -> str:
    """Why this affine cannot be used; empty where it can."""
    if orient:
        return f"its Analyze header has the orientation code {orient}, which programs read differently; convert it"
    if not np.isfinite(affine).all():
        return f"the affine of its {source} holds values that are not finite numbers"
    if not spans_space(affine):
        return f"the affine of its {source} is singular: its axes do not span space"
    return ""


def _contradiction(sform: Array, qform: Array, shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """What to say of a qform that places the voxels elsewhere than the sform, by more than 5 % of a voxel."""
    if not np.isfinite(qform).all():
        return [("sform-qform", "its sform is used; its qform is damaged")]
    apart = millimetres_apart(sform, qform, shape)
    if apart <= max(0.1, 0.05 * min(spacing_of(sform))):
        return []
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    more = " and exchanges left and right: make sure which is true" if mirrored else ""
    return [("sform-qform", f"its sform is used; its qform lies up to {apart:.3g} mm off{more}")]


def _doubts(affine: Array, dims: int) -> list[tuple[str, str]]:
    """Axes that are not at right angles, and voxels of a size that no scanner makes."""
    doubts = []
    spacing = np.array(spacing_of(affine))
    unit = affine[:3, :3] / spacing
    cosine = float(np.abs(np.triu(unit.T @ unit, 1)).max())
    if cosine > _SQUARE:
        degrees = float(np.degrees(np.arcsin(min(cosine, 1.0))))
        doubts.append(("sheared", f"its axes are up to {degrees:.3g} degrees off a right angle"))
    if spacing[:dims].min() < _PLAUSIBLE[0] or spacing[:dims].max() > _PLAUSIBLE[1]:
        size = "x".join(f"{step:.4g}" for step in spacing[:dims])
        doubts.append(("odd-spacing", f"its voxels are said to measure {size} mm"))
    return doubts


def _sform(raw: dict[str, Any]) -> Array:
    affine = np.eye(4)
    affine[:3] = raw["srow"]
    if int(raw["dim"][0]) == 2 and not affine[:3, 2].any():  # a flat image needs no third axis, an affine does
        affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] /= np.sqrt((affine[:3, 2] ** 2).sum()) or 1.0
    return affine


def _qform(raw: dict[str, Any]) -> Array:
    """The affine of a unit quaternion, voxel sizes and an offset; the sign in pixdim[0] turns the third axis round."""
    affine = np.full((4, 4), np.nan)
    b, c, d = (float(v) for v in raw["quatern"])
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -1e-5:
        return affine
    # Near half a turn the scalar part would be made of rounding errors: nifti1.h and nibabel take it for 0.
    rounding = 3 * float(np.finfo(raw["quatern"].dtype).eps)
    a = np.sqrt(rest) if rest > rounding else 0.0
    norm = np.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / norm, b / norm, c / norm, d / norm
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    if int(raw["dim"][0]) == 2 and sizes[2] == 0:
        sizes[2] = 1.0
    sizes[2] *= -1.0 if float(raw["pixdim"][0]) == -1.0 else 1.0
    affine[:3, :3] = rotation * sizes
    affine[:3, 3] = raw["qoffset"]
    affine[3] = [0, 0, 0, 1]
    return affine


def _from_sizes(raw: dict[str, Any], shape: tuple[int, ...]) -> Array:
    sizes = np.abs(np.asarray(raw["pixdim"][1:4], dtype=np.float64))
    if len(shape) == 2:
        sizes[2] = 1.0
    sizes[0] *= -1.0
    middle = (np.array((*shape, 1)[:3], dtype=np.float64) - 1) / 2
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = -sizes * middle
    return affine


def _analyze(raw: dict[str, Any], shape: tuple[int, ...]) -> Array:
    """Sizes around SPM's origin, where there is one inside or near the image, else around the centre."""
    affine = _from_sizes(raw, shape)
    origin = np.asarray(raw["origin"], dtype=np.float64)
    sizes = np.array((*shape, 1)[:3], dtype=np.float64)
    if origin.any() and (origin > -sizes).all() and (origin < 2 * sizes).all():
        affine[:3, 3] = -np.diag(affine)[:3] * (origin - 1)
    return affine
