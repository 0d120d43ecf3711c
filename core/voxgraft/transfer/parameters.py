"""The table of parameters: learning rate, decay, whether it is trained, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn


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
