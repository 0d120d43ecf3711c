"""What the engine asks of losses, and the spec by which plugins offer them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """What training makes small."""

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """One number from logits and labels.

        Args:
            logits: (batch, class, *spatial).
            target: int64 class indices (batch, *spatial), background 0. Or, of a network of regions that may overlap,
                0 and 1 as float32 (batch, class, *spatial): then each class is a sigmoid of its own, and none is
                background.
            counted: bool (batch, *spatial), the voxels that count; it is given only where some do not.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec(Component[C, Loss]):
    """A loss."""

    kind = "loss"
