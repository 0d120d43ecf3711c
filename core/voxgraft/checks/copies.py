"""Copies: one image under several names, turned, stored anew or scaled; one mask for different images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.cases import Split
from ..support.texts import listed
from .problem import CaseProblem, Severity, alike

if TYPE_CHECKING:
    from .record import Look

ALIKE = 0.999
"""The correlation of two thumbnails from which on they show one scan. Different patients reach 0.83 in crops of the
hippocampus, 0.86 of the left atrium and 0.993 in photographs of the eye's fundus; a copy in 8 bits or with noise of a
twentieth of its deviation stays above 0.9998."""

SIZES = 0.1
"""By what share the extents of two scans may differ for their thumbnails to be compared."""

DISTINCT = 64
"""Values that an image must have at least to be recognised by how often each occurs, or by its thumbnail."""

LEAST = 100
"""Voxels that a mask must mark at least to be recognised in another place."""

ROWS = 512
"""Thumbnails that are compared with all others at once."""


class Same:
    """Which cases are known to show one scan: sets that are joined."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def first(self, case: str) -> str:
        """The case that stands for all of its set."""
        while case in self._above:
            case = self._above[case]
        return case

    def join(self, group: Sequence[Look]) -> bool:
        """Put the cases of a group into one set; whether any were apart."""
        first, *others = dict.fromkeys(self.first(look.case.id) for look in group)
        self._above.update(dict.fromkeys(others, first))
        return bool(others)


def judge_copies(looks: Sequence[Look], split: Split | None) -> Iterator[CaseProblem]:
    """Images and masks that stand in several cases, with what it means for the split."""
    read = [look for look in looks if look.channels and not all(channel.constant for channel in look.channels)]
    rich = [look for look in read if all(channel.distinct >= DISTINCT for channel in look.channels)]
    same = Same()
    for group in alike(read, lambda look: " ".join(channel.content for channel in look.channels)):
        same.join(group)
        yield _copied("same-image", "hold the same image", group, split)
    for group in alike(rich, lambda look: " ".join(channel.turned for channel in look.channels)):
        if same.join(group):
            yield _copied("turned-image", "hold the same voxels, turned, mirrored or with other axes", group, split)
    yield from _near(rich, same, split)
    yield from _same_channels(read)
    yield from _same_masks(looks, same)


def _copied(code: str, what: str, group: Sequence[Look], split: Split | None) -> CaseProblem:
    names = listed(look.case.id for look in group)
    message = f"{len(group)} cases {what}: {names}"
    if len({look.mask.content for look in group if look.mask is not None}) > 1:
        message += "; their masks differ"
    if len({look.case.patient for look in group}) == 1:
        return CaseProblem(code, "warning", group[0].case.id, message)
    severity: Severity = "warning" if code == "near-duplicate" else "error"
    return CaseProblem(code, severity, group[0].case.id, f"{message}; {_leak(group, split)}")


def _leak(group: Sequence[Look], split: Split | None) -> str:
    """What it means that cases of different patients are one."""
    if split is not None:
        train, validation = set(split.train), set(split.validation)
        trained = [look.case.id for look in group if look.case.id in train]
        held_out = [look.case.id for look in group if look.case.id in validation]
        if trained and held_out:
            return f"they count as different patients, and {trained[0]} is trained on while {held_out[0]} validates"
    return "they count as different patients, so training and validation may share it"


def _near(looks: Sequence[Look], same: Same, split: Split | None) -> Iterator[CaseProblem]:
    """Images of different patients whose thumbnails are all but equal."""
    pictured = [look for look in looks if look.thumbnail.size]
    for comparable in alike(pictured, lambda look: look.thumbnail.size):
        near = Same()
        for first, second in _alike(comparable):
            one, other = first.case, second.case
            apart = one.patient != other.patient and same.first(one.id) != same.first(other.id)
            if apart and np.allclose(first.size, second.size, rtol=SIZES):
                near.join((first, second))
        for group in alike(comparable, lambda look, near=near: near.first(look.case.id)):  # type: ignore[misc]
            same.join(group)
            yield _copied("near-duplicate", "show all but the same image", group, split)


def _alike(looks: Sequence[Look]) -> Iterator[tuple[Look, Look]]:
    """Pairs whose thumbnails correlate, the earlier case first."""
    pictures = np.stack([look.thumbnail for look in looks])
    for start in range(0, len(looks), ROWS):
        for row, column in np.argwhere(pictures[start : start + ROWS] @ pictures.T > ALIKE).tolist():
            if start + row < column:
                yield looks[start + row], looks[column]


def _same_channels(looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """One image in two files of a case; grey photographs are often stored as three equal colours in one file."""
    for look in looks:
        contents = [channel.content for channel in look.channels]
        for number, content in enumerate(contents, 1):
            first = contents.index(content) + 1
            if first < number and len(look.case.present) > 1 and not look.channels[number - 1].constant:
                message = f"channels {first} and {number} hold the same image"
                yield CaseProblem("same-channels", "error", look.case.id, message)


def _same_masks(looks: Sequence[Look], same: Same) -> Iterator[CaseProblem]:
    masks = [look for look in looks if look.mask is not None and look.mask.covered >= LEAST and look.channels]
    for group in alike(masks, lambda look: look.mask.content if look.mask else ""):
        if len({same.first(look.case.id) for look in group}) > 1:
            names = listed(look.case.id for look in group)
            message = f"{len(group)} cases with different images hold the same mask: {names}"
            yield CaseProblem("same-label", "warning", group[0].case.id, message)
