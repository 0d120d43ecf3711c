"""The spec by which plugins offer transfer strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..components.component import C, Component

if TYPE_CHECKING:
    from .strategy import TransferStrategy


class Strategy(Protocol):
    """Make one way of transferring."""

    def make(self) -> TransferStrategy: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySpec(Component[C, Strategy]):
    """A way of transferring, with what it needs: `pretrained`, `unlabelled`, `teacher`, `source`."""

    kind = "strategy"

    needs: frozenset[str] = frozenset()
