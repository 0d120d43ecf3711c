"""What a transfer strategy may do: small hooks around a training loop that it does not own.

The parameter table is the audit record of a run: one row for each parameter with its learning rate, weight decay,
whether it is trained, and where its start value came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from ..networks.network import Output, SegmentationNetwork

if TYPE_CHECKING:
    from ..networks.sources import Models
    from ..preprocessing.plan import Plan


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


def parameter_table(
    network: nn.Module, lr: float, weight_decay: float, pretrained: frozenset[str] = frozenset()
) -> list[Row]:
    """One row for each parameter; those of one axis (norms, biases) get no weight decay.

    Args:
        network: Whose parameters are listed, by their full names.
        lr: The learning rate of every row.
        weight_decay: Of every row with two or more axes.
        pretrained: Names of parameters that got pretrained values.
    """
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


@dataclass(slots=True)
class Context:
    """What the trainer shares with strategies. They read it; they never own the loop.

    Attributes:
        pretrained: Names of the parameters and buffers of `network` whose initial weights were loaded.
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
    models: Models | None = None


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
    """Train on this many fixed patches of each case, each with its own fixed augmentation; None draws without end."""

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
        """The images of a step (batch, channel, *spatial) as the network is to see them; `seed` is the step's own.

        Args:
            context: The network, and how far training is.
            image: (batch, channel, *spatial).
            seed: The step's own.
        """
        return image

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
        """The encoder's maps of these images where they are known already, so that the encoder is not run again.

        Args:
            context: The network, and how far training is.
            image: (batch, channel, *spatial).
            crops: Which fixed patches these are, one for each image.
        """
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


def title(strategy: TransferStrategy) -> str:
    """How messages call a strategy."""
    return repr(strategy.name) if strategy.name else type(strategy).__name__
