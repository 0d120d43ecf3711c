"""A stack of strategies that acts as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from torch import Tensor, nn

from ..errors import TrainingError
from ..networks.network import Output, SegmentationNetwork
from .strategy import Context, Crop, Row, TransferStrategy, title


class Stack:
    """Strategies applied in order.

    Raises:
        TrainingError: Two of them want to combine the losses, or cannot stand together for a reason of their own.
    """

    def __init__(self, strategies: Sequence[TransferStrategy]) -> None:
        self.strategies = tuple(strategies)
        owners = [strategy for strategy in self.strategies if strategy.combine is not None]
        if len(owners) > 1:
            names = " and ".join(type(strategy).__name__ for strategy in owners)
            raise TrainingError(f"transfer: {names} both set the weights of the losses; keep one of them")
        self._owner = owners[0] if owners else None
        kept = [strategy for strategy in self.strategies if strategy.replaces_network]
        if len(kept) > 1:
            raise TrainingError(
                f"transfer: {' and '.join(map(title, kept))} each keep a second network; leave one of them out"
            )
        for strategy, other in permutations(self.strategies, 2):
            if reason := strategy.conflict(other):
                raise TrainingError(f"transfer: {title(strategy)} and {title(other)} cannot be combined: {reason}")
        crops = {strategy.crops for strategy in self.strategies} - {None}
        if len(crops) > 1:
            raise TrainingError(f"transfer: the strategies want {sorted(map(str, crops))} fixed patches of a case")
        self.crops: int | None = next(iter(crops), None)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(strategy.needs for strategy in self.strategies))

    @property
    def supervised(self) -> bool:
        return all(strategy.supervised for strategy in self.strategies)

    def prepare(self, context: Context) -> dict[str, nn.Module]:
        return {name: module for strategy in self.strategies for name, module in strategy.prepare(context).items()}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        rows = list(rows)
        for strategy in self.strategies:
            rows = strategy.edit(rows, context)
        context.rows = tuple(rows)
        return rows

    def edit_own(self, rows: Sequence[Row], context: Context) -> list[Row]:
        rows = list(rows)
        for strategy in self.strategies:
            rows = strategy.edit_own(rows, context)
        return rows

    def before_step(self, context: Context) -> None:
        for strategy in self.strategies:
            strategy.before_step(context)

    def schedule(self, progress: float) -> float:
        for strategy in self.strategies:
            progress = strategy.schedule(progress)
        return progress

    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        """The images of a step, as every strategy in turn leaves them.

        Args:
            context: The network, and how far training is.
            image: (batch, channel, *spatial).
            seed: The step's own.
        """
        for strategy in self.strategies:
            image = strategy.inputs(context, image, seed)
        return image

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
        """The encoder's maps from the first strategy that knows them; None where none does.

        Args:
            context: The network, and how far training is.
            image: (batch, channel, *spatial).
            crops: Which fixed patches these are.
        """
        for strategy in self.strategies:
            known = strategy.features(context, image, crops)
            if known is not None:
                return known
        return None

    def train_mode(self, context: Context) -> None:
        for strategy in self.strategies:
            strategy.train_mode(context)

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> dict[str, Tensor]:
        """Every strategy's terms.

        Args:
            context: The network, and how far training is.
            batch: What training read for this step, by name.
            output: What the network gave for it.

        Raises:
            TrainingError: Two strategies give a term one name: one of the two would be lost.
        """
        terms: dict[str, Tensor] = {}
        for strategy in self.strategies:
            for name, term in strategy.losses(context, batch, output).items():
                if name in terms:
                    raise TrainingError(f"transfer: two strategies give a term of the loss the name {name!r}")
                terms[name] = term
        return terms

    def combine(self, context: Context, terms: Mapping[str, Tensor]) -> Tensor:
        if self._owner is not None and self._owner.combine is not None:
            return self._owner.combine(context, terms)
        return sum(terms.values(), start=next(iter(terms.values())).new_zeros(()))

    def after_step(self, context: Context) -> None:
        for strategy in self.strategies:
            strategy.after_step(context)

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        """The network to keep. Where a strategy gives another one, those that keep the one they are handed (merging,
        masks, bounds) come after it: what is kept shows no trace of any of them, in whatever order they stand."""
        for strategy in sorted(self.strategies, key=lambda candidate: not candidate.replaces_network):
            network = strategy.export(context, network)
        return network

    def settled(self, context: Context) -> bool:
        return all(strategy.settled(context) for strategy in self.strategies)

    def state_dict(self) -> dict[str, Any]:
        return {str(index): strategy.state_dict() for index, strategy in enumerate(self.strategies)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for index, strategy in enumerate(self.strategies):
            strategy.load_state_dict(state[str(index)])
