"""The spec by which plugins offer commands of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .component import C, Component

if TYPE_CHECKING:
    from click import Command  # noqa: F401  # quoted below


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec(Component[C, "Command"]):
    """A command: `voxgraft NAME`. Its summary is the line of the help; `build` imports and gives the click command."""

    kind = "command"
