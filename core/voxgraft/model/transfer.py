"""What a transfer strategy may do: small hooks around a training loop that it does not own.

The parameter table is the audit record of a run: one row for each parameter with its learning rate, weight decay,
whether it is trained, and where its start value came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from ..errors import TrainingError
from .network import Output, SegmentationNetwork

if TYPE_CHECKING:
    from ..data.plan import Plan
    from ..models import Resolver


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter of what is trained."""

    name: str
    shape: tuple[int, ...]
    lr: float
    weight_decay: float
    train: bool
    origin: Literal["pretrained", "new"]

    def but(self, **changes: Any) -> Row:
        return replace(self, **changes)


@dataclass(slots=True)
class Context:
    """What the trainer shares with strategies. They read it; they never own the loop.

    Attributes:
        pretrained: Names of the parameters and buffers of `network` whose start values were loaded.
        step: The step about to be done, counted from 0; `total` is the planned number, by the budget's own estimate.
        progress: 0 at the start, 1 at the end of the budget.
        factor: What the schedule multiplies every learning rate with in the step about to be done.
        plan: What the network sees; None where a strategy is tried without one.
        rows: The parameter table, after every strategy has edited it.
        another: Makes a second network like the first, its new parts drawn from a seed; None outside a training.
        criterion: The supervised loss of an output and a batch's `coded` labels; None outside a training.
        models: Where registered models, such as teachers, are looked up; None outside a training.
    """

    network: SegmentationNetwork
    pretrained: frozenset[str] = frozenset()
    step: int = 0
    total: int = 0
    progress: float = 0.0
    extra: dict[str, nn.Module] = field(default_factory=dict)
    factor: float = 1.0
    plan: Plan | None = None
    rows: tuple[Row, ...] = ()
    another: Callable[[int], SegmentationNetwork] | None = None
    criterion: Callable[[Output, Tensor], Tensor] | None = None
    models: Resolver | None = None


Crop = tuple[int, int]
"""A patch that is the same each time it comes: the case's number and the patch's number within the case."""


class TransferStrategy:
    """The base of every strategy; each hook does nothing unless overridden."""

    needs: frozenset[str] = frozenset()

    name: str = ""
    """What a workflow calls it."""

    replaces_network: bool = False
    """`export` gives another network than it was handed, such as a teacher."""

    supervised: bool = True
    """The network learns from labels; otherwise they are not looked at, and the strategy gives every term."""

    crops: int | None = None
    """Train on so many fixed patches of each case, each with its own fixed augmentation; None draws without end."""

    def conflict(self, other: TransferStrategy) -> str | None:
        """Why this strategy cannot stand in one stack with another, as the end of a sentence; None where it can."""
        return None

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Wrap or attach; the returned modules are optimised, moved and checkpointed by the trainer."""
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        """Change learning rates, weight decay or what is trained."""
        return list(rows)

    def edit_own(self, rows: Sequence[Row], context: Context) -> list[Row]:
        """Change the rows of the modules that strategies brought, each under its name in `context.extra`."""
        return list(rows)

    def before_step(self, context: Context) -> None:
        """Called before each step: unfreezing, ramps."""

    def schedule(self, progress: float) -> float:
        """How far the schedule of the learning rate is, when so much of the budget is used up."""
        return progress

    def train_mode(self, context: Context) -> None:
        """Called right after `network.train()`, to put parts back into evaluation mode."""

    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        """The images of a step (batch, channel, *spatial) as the network is to see them; `seed` is the step's own."""
        return image

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
        """The encoder's maps of these images where they are known already, so that the encoder is not run again."""
        return None

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        """More terms of the loss, already weighted, each under the name it is logged by.

        Args:
            batch: `image`, `target` as losses take it, `coded` labels, and `counted` where voxels are left out. Where a
                strategy of the stack needs unlabelled scans also `unlabelled` (batch, channel, *spatial) and `inside`,
                bool (batch, *spatial): the voxels of these that lie in their scan.
        """
        return {}

    combine: Callable[[Context, Mapping[str, Tensor]], Tensor] | None = None
    """At most one strategy of a stack makes one number from the named terms; otherwise they are added."""

    def after_step(self, context: Context) -> None:
        """Called after the optimiser: averaging, clipping, masks."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        """The network to keep, without a trace of the strategy: the one handed in, changed, or a new one.

        It is called at every look at validation cases, with a copy of the network, and at the end: it changes nothing
        that training goes on with.
        """
        return network

    def settled(self, context: Context) -> bool:
        """Whether all that the strategy does at a set time of the budget is done; patience doesn't run out before."""
        return True

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Stack:
    """Strategies applied in order.

    Raises:
        TrainingError: Two of them want to combine the losses, or cannot stand together for a reason of their own.
    """

    def __init__(self, strategies: Sequence[TransferStrategy]) -> None:
        self.strategies = tuple(strategies)
        owners = [strategy for strategy in self.strategies if strategy.combine is not None]
        if len(owners) > 1:
            names = " and ".join(type(owner).__name__ for owner in owners)
            raise TrainingError(f"transfer: {names} both want to weigh the losses; keep one of them")
        self._owner = owners[0] if owners else None
        kept = [strategy for strategy in self.strategies if strategy.replaces_network]
        if len(kept) > 1:
            raise TrainingError(
                f"transfer: {' and '.join(map(title, kept))} each keep another network; keep one of them"
            )
        for one, other in permutations(self.strategies, 2):
            if reason := one.conflict(other):
                raise TrainingError(f"transfer: {title(one)} and {title(other)} cannot stand together: {reason}")
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
        return {name: module for one in self.strategies for name, module in one.prepare(context).items()}

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
        for strategy in self.strategies:
            image = strategy.inputs(context, image, seed)
        return image

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
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
        for strategy in sorted(self.strategies, key=lambda one: not one.replaces_network):
            network = strategy.export(context, network)
        return network

    def settled(self, context: Context) -> bool:
        return all(strategy.settled(context) for strategy in self.strategies)

    def state_dict(self) -> dict[str, Any]:
        return {str(place): strategy.state_dict() for place, strategy in enumerate(self.strategies)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for place, strategy in enumerate(self.strategies):
            strategy.load_state_dict(state[str(place)])


def title(strategy: TransferStrategy) -> str:
    """How messages call a strategy."""
    return repr(strategy.name) if strategy.name else type(strategy).__name__


def parameter_table(
    network: nn.Module, lr: float, weight_decay: float, pretrained: frozenset[str] = frozenset()
) -> list[Row]:
    """One row for each parameter; those of one axis (norms, biases) get no weight decay."""
    return [
        Row(
            name=name,
            shape=tuple(parameter.shape),
            lr=lr,
            weight_decay=weight_decay if parameter.ndim > 1 else 0.0,
            train=True,
            origin="pretrained" if name in pretrained else "new",
        )
        for name, parameter in network.named_parameters()
    ]
