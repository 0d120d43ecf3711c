"""The lengths in a NRRD header in millimetres: which fields give them, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxgraft.plugin import Array, Problem

from .header import HeaderError, numbers

_PREFIXES = {"nm": 1e-6, "um": 1e-3, "mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}
_WORDS = {"nano": 1e-6, "micro": 1e-3, "milli": 1.0, "centi": 10.0, "deci": 100.0, "": 1000.0}
_OTHERS = {"micron": 1e-3, "in": 25.4, "inch": 25.4, "inche": 25.4, "angstrom": 1e-7}
MILLIMETRES = _PREFIXES | {f"{prefix}{m}": n for prefix, n in _WORDS.items() for m in ("metre", "meter")} | _OTHERS
"""Millimetres in a unit, by its name in small letters without the s of the plural."""
_UNKNOWN = {"", "none", "???", "unknown"}
_CELL, _NODE = {"cell"}, {"node"}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of each axis in space of a header without directions, in millimetres: the step, the first sample, a unit."""

    steps: tuple[float, ...]
    starts: tuple[float, ...]
    units: tuple[float, ...]


def check_lengths(fields: Mapping[str, str], axes: int) -> None:
    """Refuse fields of lengths that are not one for each axis; thicknesses are read, and decide nothing.

    Raises:
        HeaderError: One is not.
    """
    for name in ("spacings", "thicknesses", "axis mins", "axis maxs"):
        _row(fields, name, axes)
    _centers(fields, axes)


def words(text: str) -> list[str]:
    """The parts of a field of one text for each axis: in quotes as the format has them, else between blanks."""
    return re.findall(r'"([^"]*)"', text) if '"' in text else text.split()


def factors(text: str, count: int, what: str) -> tuple[list[float], tuple[Problem, ...]]:
    """Millimetres in the unit of each axis, and what to say of units that are others.

    Args:
        text: The units as the header writes them; empty means millimetres.
        count: Of axes that need a unit.
        what: What the units are called in a message, such as `space units`.

    Raises:
        HeaderError: There are not so many units, or one is not a unit of length that is read.
    """
    names = words(text)
    if not names:
        return [1.0] * count, ()
    if len(names) != count:
        raise HeaderError(f"its header gives {len(names)} {what} for {count} axes")
    found = [_factor(name, what) for name in names]
    if all(factor == 1.0 for factor in found):
        return found, ()
    return found, (Problem("units", "its lengths were turned into millimetres", "warning"),)


def _factor(name: str, what: str) -> float:
    plain = name.strip().lower().replace("µ", "u").replace("μ", "u").replace("\ufffd", "u")
    if plain in _UNKNOWN:
        return 1.0
    factor = MILLIMETRES.get(plain, MILLIMETRES.get(plain.removesuffix("s")))
    if factor is None:
        raise HeaderError(f"its header gives {name[:20]!r} under {what!r}, which is not a unit of length that is read")
    return factor


def check_directions(fields: Mapping[str, str], axes: int, vectors: Sequence[Sequence[float] | None]) -> None:
    """Refuse fields that say again, and otherwise, what the directions of an axis say.

    Args:
        fields: Of the header, by their names.
        axes: How many axes the array has.
        vectors: The direction of each axis, as long as its step; None for an axis that has none.

    Raises:
        HeaderError: One does.
    """
    spacings, low, high = (_row(fields, name, axes) for name in ("spacings", "axis mins", "axis maxs"))
    for axis, vector in enumerate(vectors):
        if vector is None:
            continue
        length = float(np.linalg.norm(vector))
        if not np.isnan(spacings[axis]) and abs(abs(spacings[axis]) - length) > 1e-4 * length:
            raise HeaderError(
                f"its header gives the spacing {spacings[axis]:g} to an axis whose direction is {length:g} long"
            )
        if not np.isnan([ends[axis] for ends in (low, high)]).all():
            raise HeaderError("its header gives 'axis mins' or 'axis maxs' to an axis that has a direction")


def lengths_of(
    fields: Mapping[str, str], sizes: Sequence[int], space: Sequence[int]
) -> tuple[Lengths, tuple[Problem, ...]]:
    """The lengths of a header without directions: by `spacings`, else by `axis mins` and `axis maxs`, else 1.

    Args:
        fields: Of the header, by their names.
        sizes: Voxels along each axis of the array.
        space: The numbers of the axes that lie in space.

    Raises:
        HeaderError: The fields contradict each other, or are not one for each axis.
    """
    axes = len(sizes)
    spacings, low, high = (_row(fields, name, axes) for name in ("spacings", "axis mins", "axis maxs"))
    centers = _centers(fields, axes)
    units, problems = _units(fields, axes, space)
    steps, starts = [], []
    for axis, factor in zip(space, units, strict=True):
        node = centers[axis] in _NODE
        parts = sizes[axis] - 1 if node else sizes[axis]
        spanned = (high[axis] - low[axis]) / max(1, parts)
        step = spanned if np.isnan(spacings[axis]) else np.copysign(spacings[axis], np.nan_to_num(spanned, nan=1.0))
        if not np.isnan(spanned) and abs(abs(spanned) - abs(step)) > 1e-3 * abs(step):
            raise HeaderError("its header gives an axis a spacing that 'axis mins' and 'axis maxs' contradict")
        step = 1.0 if np.isnan(step) else float(step)
        start = 0.0 if np.isnan(low[axis]) else float(low[axis]) + (0.0 if node else step / 2)
        steps.append(factor * step)
        starts.append(factor * start)
    return Lengths(tuple(steps), tuple(starts), tuple(units)), problems


def _units(fields: Mapping[str, str], axes: int, space: Sequence[int]) -> tuple[list[float], tuple[Problem, ...]]:
    names = words(fields.get("units", ""))
    if not names:
        return factors(fields.get("space units", ""), len(space), "space units")
    if len(names) != axes:
        raise HeaderError(f"its header gives {len(names)} units for {axes} axes")
    return factors(" ".join(f'"{names[axis]}"' for axis in space), len(space), "units")


def _centers(fields: Mapping[str, str], axes: int) -> list[str]:
    """How the samples of each axis lie in it: in the middle of cells, or on nodes; cells where nothing says so."""
    found = (fields.get("centers") or fields.get("centerings") or " ".join(["cell"] * axes)).lower().split()
    if len(found) != axes or not set(found) <= _CELL | _NODE | _UNKNOWN:
        raise HeaderError(f"its header gives {' '.join(found)[:40]!r} for the centers of {axes} axes")
    return found


def _row(fields: Mapping[str, str], name: str, axes: int) -> Array:
    """The numbers of a field, one for each axis; NaN where nothing is given."""
    text = fields.get(name) or fields.get(name.replace(" ", ""))
    found = numbers(text) if text else [np.nan] * axes
    if len(found) != axes:
        raise HeaderError(f"its header gives {len(found)} {name} for {axes} axes")
    return np.array(found, dtype=np.float64)
