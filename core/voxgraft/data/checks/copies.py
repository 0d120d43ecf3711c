"""Copies: one image under several names, turned, stored anew or scaled; one mask for different images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..cases import Split
from .problem import CaseProblem, Severity, listed

if TYPE_CHECKING:
    from .look import Look

ALIKE = 0.999
"""The correlation of two thumbnails from which on they show one scan. Different patients of crops that were made alike
reach about 0.9 (hippocampus, left atrium); a copy at half the resolution stays above 0.999."""

DISTINCT = 64
"""Values that an image must have at least to be recognised by how often each occurs."""

LEAST = 100
"""Voxels that a mask must mark at least to be recognised in another place."""

ROWS = 512


def judge_copies(looks: Sequence[Look], split: Split | None) -> Iterator[CaseProblem]:
    """Images and masks that stand in several cases, with what it means for the split."""
    read = [look for look in looks if look.channels and not all(channel.constant for channel in look.channels)]
    told: set[frozenset[str]] = set()
    for group in _groups(read, lambda look: " ".join(channel.content for channel in look.channels)):
        told |= _pairs(group)
        yield _copied("same-image", "hold the same image", group, split)
    rich = [look for look in read if all(channel.distinct >= DISTINCT for channel in look.channels)]
    for group in _groups(rich, lambda look: " ".join(channel.turned for channel in look.channels)):
        if not _pairs(group) <= told:
            told |= _pairs(group)
            yield _copied("turned-image", "hold the same voxels, turned, mirrored or with other axes", group, split)
    yield from _near(read, told, split)
    yield from _same_channels(read)
    yield from _same_masks(looks, told)


def _groups(looks: Sequence[Look], key: Callable[[Look], str]) -> list[list[Look]]:
    groups: dict[str, list[Look]] = {}
    for look in looks:
        groups.setdefault(key(look), []).append(look)
    return [group for group in groups.values() if len(group) > 1]


def _copied(code: str, what: str, group: Sequence[Look], split: Split | None) -> CaseProblem:
    names = listed(look.case.id for look in group)
    message = f"{len(group)} cases {what}: {names}"
    masks = {look.mask.content for look in group if look.mask is not None}
    if len(masks) > 1:
        message += "; their masks differ"
    if len({look.case.patient for look in group}) == 1:
        return CaseProblem(code, "warning", group[0].case.id, message)
    return CaseProblem(code, "error", group[0].case.id, f"{message}; {_leak(group, split)}")


def _leak(group: Sequence[Look], split: Split | None) -> str:
    """What it means that cases of different patients are one."""
    if split is not None:
        train = [look.case.id for look in group if look.case.id in set(split.train)]
        held_out = [look.case.id for look in group if look.case.id in set(split.validation)]
        if train and held_out:
            return f"they count as different patients, and {train[0]} is trained on while {held_out[0]} validates"
    return "they count as different patients, so training and validation may share it"


def _near(looks: Sequence[Look], told: set[frozenset[str]], split: Split | None) -> Iterator[CaseProblem]:
    """Pairs of images of different patients whose thumbnails are all but equal."""
    by_axes: dict[int, list[Look]] = {}
    for look in looks:
        if look.thumbnail.size and look.channels[0].distinct >= DISTINCT:
            by_axes.setdefault(look.thumbnail.size, []).append(look)
    for same in by_axes.values():
        pictures = np.stack([look.thumbnail for look in same])
        for start in range(0, len(same), ROWS):
            alike = pictures[start : start + ROWS] @ pictures.T
            for row, column in np.argwhere(alike > ALIKE).tolist():
                one, other = same[start + row], same[column]
                pair = frozenset({one.case.id, other.case.id})
                if start + row >= column or pair in told or one.case.patient == other.case.patient:
                    continue
                if not np.allclose(one.size, other.size, rtol=0.1):
                    continue
                told.add(pair)
                message = (
                    f"the images of {one.case.id} and {other.case.id} are all but equal (their thumbnails correlate by "
                    f"{alike[row, column]:.5f}); {_leak([one, other], split)}"
                )
                yield CaseProblem("near-duplicate", "warning", one.case.id, message)


def _same_channels(looks: Sequence[Look]) -> Iterator[CaseProblem]:
    for look in looks:
        contents = [channel.content for channel in look.channels]
        for number, content in enumerate(contents, 1):
            first = contents.index(content) + 1
            # grey photographs are often stored as three equal colours
            if first < number and len(look.case.present) > 1 and not look.channels[number - 1].constant:
                message = f"channels {first} and {number} hold the same image"
                severity: Severity = "error"
                yield CaseProblem("same-channels", severity, look.case.id, message)


def _same_masks(looks: Sequence[Look], told: set[frozenset[str]]) -> Iterator[CaseProblem]:
    masks = [look for look in looks if look.mask is not None and look.mask.covered >= LEAST and look.channels]
    for group in _groups(masks, lambda look: look.mask.content if look.mask else ""):
        if not _pairs(group) <= told:
            message = f"{len(group)} cases with different images hold the same mask: {listed(x.case.id for x in group)}"
            yield CaseProblem("same-label", "warning", group[0].case.id, message)


def _pairs(group: Sequence[Look]) -> set[frozenset[str]]:
    """Each case of a group with the first."""
    return {frozenset({group[0].case.id, look.case.id}) for look in group[1:]}
