"""What options strategies have in common, and how pretrained weights are used where nothing else is known."""

from __future__ import annotations

from typing import Any

from ..components.choice import Options


class StrategyOptions(Options):
    """Options of a strategy that say what they ask of the workflow; plain `Options` ask nothing."""

    @property
    def needs(self) -> frozenset[str]:
        """What the strategy cannot do without when set like this, besides the needs of its spec."""
        return frozenset()

    @property
    def supervised(self) -> bool:
        """Whether the network learns from labels."""
        return True

    @property
    def teachers(self) -> tuple[str, ...]:
        """References of the models that it learns from; they are looked up before training starts."""
        return ()


USUAL: dict[str, Any] = {"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}
"""L2-SP (Li 2018), weakly weighed. On the left atrium, with eight labels, it did better than fine-tuning with a smaller
learning rate and than four other ways, and no worse than a frozen encoder (docs/transfer.md); what ImageNet weights
gain over scratch in the curves of polyps and of the heart, with 1 to 33 labels, was measured with it."""
FROZEN: dict[str, Any] = {"use": "freeze"}
"""The encoder as it is: quicker, and what is left to try where fewer than five cases are labelled."""
