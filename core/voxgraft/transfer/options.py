"""What the options of strategies have in common."""

from __future__ import annotations

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
