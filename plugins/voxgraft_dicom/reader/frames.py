"""Frames: the single planes of pixels that files hold, each with the attributes that are true of it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .attributes import Attributes
from .header import Header

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frame(Attributes):
    """One plane of pixels.

    Attributes:
        header: The file it lies in.
        values: Its attributes by the keywords that single-frame objects use, wherever in the file they stand.
        index: Which of the file's frames it is, from 0.
        corner: The row and column at which it begins, where several lie side by side in one picture.
    """

    header: Header
    values: Mapping[str, str]
    index: int = 0
    corner: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        return self.whole("Rows")

    @property
    def columns(self) -> int:
        return self.whole("Columns")

    @property
    def order(self) -> tuple[int, str, int, tuple[int, int]]:
        """A key that sorts frames as their makers counted them."""
        return self.whole("InstanceNumber"), str(self.header.path), self.index, self.corner


def single(header: Header) -> Frame:
    """The one frame of a classic object."""
    return Frame(header, header.values)


def headers_of(frames: Sequence[Frame]) -> list[Header]:
    """The files of frames, each once, in the order of their first frames."""
    return list({frame.header.path: frame.header for frame in frames}.values())


def alike(things: Iterable[T], key: Callable[[T], object]) -> list[list[T]]:
    """Things in groups of one key, in the order in which the keys come."""
    groups: dict[object, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.values())


def by_file(frames: Sequence[Frame]) -> Iterator[tuple[Header, list[tuple[int, Frame]]]]:
    """Each file with its frames and their places in the sequence."""
    placed = sorted(enumerate(frames), key=lambda pair: (str(pair[1].header.path), pair[1].index))
    for pairs in alike(placed, lambda pair: pair[1].header.path):
        yield pairs[0][1].header, pairs
