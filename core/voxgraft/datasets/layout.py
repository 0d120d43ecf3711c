"""What the engine asks of layouts, and the spec by which plugins offer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from .cases import Dataset


class Layout(Protocol):
    """Turn a folder on disk into cases."""

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder does not have this layout; the message names the place.
        """
        ...


@runtime_checkable
class ReadsFolder(Protocol):
    """Options of a layout that reads one folder, or one table."""

    @property
    def path(self) -> Path:
        """Where it is; relative paths start at the working directory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSpec(Component[C, Layout]):
    """A way in which data sets lie on disk.

    Attributes:
        guess: The options with which it reads a folder whose layout nobody named, None where the folder does not look
            like one of its own. It looks at names and at most at one small file, and raises nothing.
    """

    kind = "layout"

    guess: Callable[[Path], Mapping[str, Any] | None] | None = None
