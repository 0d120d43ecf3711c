"""An entry of the worklist: one scan, or one set of channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..imaging.volume import Item
from .quality import Flag


@dataclass(frozen=True, slots=True)
class Entry:
    """One scan of a batch, before anything is done with it.

    Attributes:
        items: The images to read, one for each channel that is there or one with all; none where there is nothing to
            read.
        given: The scan's path as the caller would write it.
        input: The same path relative to the batch's folder: the scan's identity, with `series`.
        root: The INPUT below which it was found.
        case: The name of its folder and of its row; until ids are given, only what a CSV worklist calls it.
        hint: What it might be called, where its files have a name in common.
        state: `waiting`, `left-out` or `failed`.
        missing: The numbers of the optional channels that are not there.
        forced: A person said that it is to be segmented, whatever the contract says of it.
    """

    items: tuple[Item, ...]
    given: Path
    input: str
    series: str = ""
    root: Path = Path()
    case: str = ""
    hint: str = ""
    description: str = ""
    state: str = "waiting"
    code: str = ""
    reason: str = ""
    flags: tuple[Flag, ...] = ()
    missing: tuple[int, ...] = ()
    forced: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.input, self.series

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the scan is read from."""
        paths = [file for item in self.items for file in (item.files or (item.path,))]
        return tuple(file for file in paths or [self.given] if file.is_file())
