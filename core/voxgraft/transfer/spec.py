"""The spec by which plugins offer transfer strategies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from .strategy import TransferStrategy  # noqa: F401  # quoted below


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySpec(Component[C, "TransferStrategy"]):
    """A way of transferring; `build` makes the strategy, anew for each training.

    Attributes:
        needs: What it cannot do without: `pretrained`, `unlabelled`, `teacher`, `source`.
    """

    kind = "strategy"

    needs: frozenset[str] = frozenset()
