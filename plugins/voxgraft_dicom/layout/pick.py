"""Which series become cases: all that fit a rule, one of a study, or one for each channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from voxgraft.plugin import Item, Problem, listed, orientation_of, plane_of

from ..objects.deflated import read_dicom
from ..objects.forgiving import forgiving
from .options import DicomOptions, Range, Rule, Selection, Spacing

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


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """A case before it has a label.

    Attributes:
        items: One series for each channel; None for an optional one that is not there.
        grid: The series whose grid it has.
        channels: The names of the channels.
    """

    id: str
    items: tuple[Item | None, ...]
    grid: Item
    channels: tuple[str, ...] = ("image",)

    @property
    def images(self) -> tuple[Item, ...]:
        """The series that are there."""
        return tuple(item for item in self.items if item is not None)

    def channel_of(self, item: Item) -> str:
        """The name of the channel that a series is."""
        return next(name for name, series in zip(self.channels, self.items, strict=True) if series is item)


class Ambiguous(Exception):
    """Several series fit where one is wanted, or none does."""


def series_of(item: Item) -> str:
    """The SeriesInstanceUID, also of an image that is one of several in its series."""
    return str(item.facts.get("series") or item.series or "")


def studies(items: Sequence[Item]) -> dict[tuple[str, str], list[Item]]:
    """Series by study and patient; where they name no study, by patient and folder."""
    by_study: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        study = str(item.facts.get("study") or "")
        by_study.setdefault((item.patient or "", study or f"@{item.path.parent}"), []).append(item)
    return by_study


def taken(items: Sequence[Item], take: str) -> list[Item]:
    """Of the series of one study that fit, those to take.

    Raises:
        Ambiguous: Several fit where one may, or nothing tells them apart.
    """
    if take == "all" or len(items) == 1:
        return list(items)
    if take == "one":
        raise Ambiguous(f"{listed(_called(items), 'series')} fit")
    measure, last, word = _MEASURES[take]
    values = [measure(item) for item in items]
    best = (max if last else min)(values)
    best_items = [item for item, value in zip(items, values, strict=True) if value == best]
    if len(best_items) > 1:
        raise Ambiguous(f"{listed(_called(best_items), 'series')} fit, and none is {word}")
    return best_items


def channels_of(items: Sequence[Item], options: DicomOptions) -> tuple[Item | None, ...] | None:
    """The series of one study for each channel; None where it has none of them.

    Raises:
        Ambiguous: A channel is missing, several series fit one, or one series fits several.
    """
    rules: Mapping[str, Selection] = options.channels or {}
    fitting = {name: [item for item in items if not misfit(item, rule)] for name, rule in rules.items()}
    if not any(fitting.values()):
        return None
    missing = [name for name, candidates in fitting.items() if not candidates and name not in options.optional]
    if missing:
        raise Ambiguous(f"{listed(missing, 'channel')} missing")
    chosen: dict[str, Item] = {}
    for name, candidates in fitting.items():
        if not candidates:
            continue
        try:
            (chosen[name],) = taken(candidates, options.take or "one")
        except Ambiguous as error:
            raise Ambiguous(f"for the channel {name!r} {error}") from None
    for name, item in chosen.items():
        double = [other for other, series in chosen.items() if series is item and other != name]
        if double:
            raise Ambiguous(f"one series fits the channels {name!r} and {double[0]!r}")
    return tuple(chosen.get(name) for name in rules)


def _called(items: Sequence[Item]) -> list[str]:
    return [repr(item.description or item.modality or "without description") for item in items]


def _time(item: Item) -> tuple[str, str, float]:
    """When it was acquired, as its first file says: date, time, number of the series."""
    tags = ["AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime", "SeriesNumber"]
    files: Sequence[Path] = item.files or (item.path,)
    try:
        with forgiving():
            header = read_dicom(files[0], pixels=False, specific_tags=tags)
            date = str(header.get("AcquisitionDate") or header.get("SeriesDate") or "")
            time = str(header.get("AcquisitionTime") or header.get("SeriesTime") or "")
            return date, time, float(header.get("SeriesNumber") or 0)
    except Exception:  # pydicom fails in many ways on a damaged file
        return "", "", 0.0


def _voxels(item: Item) -> float:
    return float(math.prod(item.shape or (0,)))


def _thickness(item: Item) -> float:
    return round(item.spacing[2], 4) if len(item.shape) == 3 and slices_of(item) > 1 else float("inf")


_MEASURES: dict[str, tuple[Callable[[Item], tuple[str, str, float] | float], bool, str]] = {
    "first": (_time, False, "the first"),
    "last": (_time, True, "the last"),
    "largest": (_voxels, True, "larger than the others"),
    "thinnest": (_thickness, False, "thinner than the others"),
}
"""What is compared, whether the most of it is taken, and what that one is."""
