"""Which series fit a rule, from their headers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np

from voxgraft.plugin import Item, Problem, orientation_of, plane_of

from .options import Range, Rule, Selection, Spacing

TOGETHER = ("shared-uid", "split-series", "localizer", "duplicate-file")
"""Problems of a series that its other files show."""
SLACK = 0.001
"""By which share a spacing may lie outside its range: headers round."""


def misfit(item: Item, selection: Selection) -> str:
    """What about a series does not fit, in a word; empty where it fits."""
    wrong = next(_wrong(item, selection), "")
    if not wrong and any(next(_wrong(item, rule), "") == "" for rule in selection.exclude):
        return "exclude"
    return wrong


def fits_one(text: str | None, patterns: Sequence[str]) -> bool:
    """Whether a text fits one of these patterns; letter case and blanks around it do not matter."""
    plain = (text or "").strip().casefold()
    return any(fnmatchcase(plain, pattern.strip().casefold()) for pattern in patterns)


def slices_of(item: Item) -> int:
    """How many slices it has; of an image that cannot be read, how many files."""
    return item.shape[2] if len(item.shape) == 3 else max(1, len(item.files))


def seen_together(images: Sequence[Item]) -> Iterator[Problem]:
    """What shows only while a whole tree is looked at, not when one case is read from its own files."""
    for code in TOGETHER:
        problems = [problem for item in images for problem in item.problems if problem.code == code]
        if problems:
            several = f"{len(problems)} images, the first: " if len(problems) > 1 else ""
            yield Problem(code, f"{several}{problems[0].message}", problems[0].severity)


def _wrong(item: Item, rule: Rule) -> Iterator[str]:
    if rule.modality is not None and (item.modality or "").upper() not in {
        modality.upper() for modality in rule.modality
    }:
        yield "modality"
    if rule.description is not None and not fits_one(item.description, rule.description):
        yield "description"
    slices = slices_of(item)
    if not (rule.min_slices or 1) <= slices <= (rule.max_slices or slices):
        yield "slices"
    if not (_holds(rule.columns, item.shape[:1]) and _holds(rule.rows, item.shape[1:2])):
        yield "size"
    if rule.orientation is not None and plane_of(item.affine, len(item.shape)) not in rule.orientation:
        yield "orientation"
    if rule.spacing is not None and not _spaced(item, rule.spacing):
        yield "spacing"


def _spaced(item: Item, rule: Spacing) -> bool:
    if not item.shape:
        return False
    steps = item.spacing
    order = orientation_of(item.affine, len(item.shape)).order
    axes = (rule.x, rule.y, rule.z)[: len(order)]
    return (
        _holds(rule.slice, steps[2:])
        and _holds(rule.in_plane, steps[:2])
        and all(_holds(step, (steps[axis],)) for step, axis in zip(axes, order, strict=True))
        and (rule.z is None or len(steps) == 3)
    )


def _holds(limits: Range | None, values: Sequence[float]) -> bool:
    """Whether there are values, and all lie in the range."""
    if limits is None:
        return True
    low = -np.inf if limits.min is None else limits.min * (1 - SLACK)
    high = np.inf if limits.max is None else limits.max * (1 + SLACK)
    return bool(values) and all(low <= value <= high for value in values)
