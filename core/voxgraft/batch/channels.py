"""Scans of several channels that lie in files or series of their own, brought together by their names.

A name says its channel by a word of it (`case_flair.nii.gz`, the description `T1c post`), or by the channel's number
in four digits at its end (`case_0001.nii.gz`). Where training chose series by rules of descriptions and modality, these
rules say which series is which channel. Files of one folder with one image for each channel are one scan;
otherwise, and for files wherever a channel may be missing, the rest of the name says which images belong together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..datasets.cases import Described
from ..support.texts import stem
from .contract import Level, Verdict, judge

if TYPE_CHECKING:
    from ..imaging.volume import Item
    from ..preprocessing.plan import Plan


@dataclass(slots=True)
class Combined:
    """Images of one folder or study, brought together.

    Attributes:
        complete: Case name to its images, in the order of the plan's channels; optional ones may not be there.
        missing: Case name to the numbers of the optional channels that are not there.
        broken: Case name to the images that are there, and what is wrong.
        unnamed: Images whose name says no channel.
    """

    complete: dict[str, tuple[Item, ...]] = field(default_factory=dict)
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    broken: dict[str, tuple[tuple[Item, ...], str]] = field(default_factory=dict)
    unnamed: list[Item] = field(default_factory=list)


def combine(items: Sequence[Item], plan: Plan) -> Combined:
    """Bring the images of one folder, or of one study, together into scans."""
    combined = Combined()
    placed: list[tuple[int, str, Item]] = []
    for item in items:
        channel = _place(item, plan)
        if channel is None:
            combined.unnamed.append(item)
        else:
            placed.append((*channel, item))
    indices = [index for index, _, _ in placed]
    folder = items[0].path.parent.name if items else ""
    # Where a channel may be missing, files of two scans could look like one: only a study is sure to belong together.
    study = len(indices) == len(plan.channels) and all(item.series is not None for item in items)
    if len(set(indices)) == len(indices) and (study or not plan.optional):
        placed = [(index, folder, item) for index, _, item in placed]
    placed = [(index, rest or folder, item) for index, rest, item in placed]
    for name in dict.fromkeys(rest for _, rest, _ in placed):
        _gather(name, [(index, item) for index, rest, item in placed if rest == name], plan, combined)
    return combined


def _place(item: Item, plan: Plan) -> tuple[int, str] | None:
    """The channel that an image is, and the rest of its name; None where nothing says one.

    A series whose description training knew one channel by is that channel; names say the others.
    """
    described = plan.contract.get("described") or []
    if item.series is not None and described:
        known = [Described.of(description) for description in described]
        fitting = [
            number
            for number, channel in enumerate(known)
            if not any(channel.misfits(item)) and (item.description or not channel.takes)
        ]
        return (fitting[0], "") if len(fitting) == 1 else None
    return channel_of(_text(item), plan.channels)


def _gather(name: str, parts: list[tuple[int, Item]], plan: Plan, combined: Combined) -> None:
    by_channel = dict(parts)
    present = tuple(item for _, item in parts)
    absent = tuple(index for index in range(len(plan.channels)) if index not in by_channel)
    missing = [plan.channels[index] for index in absent if plan.channels[index] not in plan.optional]
    if len(by_channel) < len(parts):
        double = next(plan.channels[index] for index in by_channel if [i for i, _ in parts].count(index) > 1)
        combined.broken[name] = (
            present,
            f"several images have a name for the channel {double}; name the right one in a CSV worklist",
        )
    elif missing:
        combined.broken[name] = (present, f"the channel {' and '.join(missing)} is missing")
    else:
        combined.complete[name] = tuple(by_channel[index] for index in sorted(by_channel))
        if absent:
            combined.missing[name] = absent


def channel_of(text: str, names: Sequence[str]) -> tuple[int, str] | None:
    """The channel that a name says, and the rest of the name; None where it says none.

    The longest of several that fit is meant: `T1 post` is the channel `T1 post` before `T1`.
    """
    tokens = _words(text)
    if tokens and (index := re.fullmatch(r"0*(\d+)", tokens[-1])) and len(tokens[-1]) == 4:
        number = int(index[1])
        return (number, "-".join(tokens[:-1])) if number < len(names) else None
    best: tuple[int, int, int] | None = None
    for number, name in enumerate(names):
        channel_words = _words(name)
        for start in range(len(tokens) - len(channel_words) + 1):
            if (
                channel_words
                and tokens[start : start + len(channel_words)] == channel_words
                and (best is None or len(channel_words) > best[1])
            ):
                best = (number, len(channel_words), start)
    if best is None:
        return None
    number, length, start = best
    return number, "-".join(tokens[:start] + tokens[start + length :])


def judge_channels(items: Sequence[Item], plan: Plan, missing: Sequence[int] = ()) -> Verdict:
    """The worst verdict on the channels of a scan that are there, with the reasons of all.

    Args:
        items: The channels that are there, in the order of the plan.
        plan: What the model was trained on.
        missing: The channels that are not there, by their place.
    """
    onto = plan.align.onto if plan.align is not None else None  # the others may be coarser: they are interpolated
    numbers = [number for number in range(len(plan.channels)) if number not in missing]
    verdicts = [
        judge(item, plan, channels=1, grid=onto in (None, number))
        for number, item in zip(numbers, items, strict=False)
        if item.shape
    ]
    reasons = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
    return Verdict(max((verdict.level for verdict in verdicts), default=Level.FITS), tuple(reasons))


def refusal(items: Sequence[Item], verdict: Verdict, force: bool) -> str:
    """Why a scan is refused; empty where it is taken. A damaged one is taken, to fail by itself.

    Args:
        items: The channels of the scan.
        verdict: How well they fit the model.
        force: Take what does not fit all the same, unless it cannot be read.
    """
    if verdict.level <= (Level.UNFIT if force else Level.DOUBTFUL) or any(item.errors for item in items):
        return ""
    hint = " (--ignore-contract segments it anyway)" if verdict.level == Level.UNFIT else ""
    return f"does not fit the model: {verdict}{hint}"


def _text(item: Item) -> str:
    if item.series is None:
        return stem(item.path)
    return item.description or item.path.name


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
