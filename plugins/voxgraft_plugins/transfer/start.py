"""Staying near the start: penalties on the way from the pretrained weights or maps, and a bound on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from voxgraft.plugin import Context, Output, Row, SegmentationNetwork

from .options import ClipOptions, L2SPOptions
from .own import OwnStrategy


class FromStart(OwnStrategy):
    """Remembers the pretrained parameters as they were loaded: as clones, since the live ones move."""

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        self._start = {
            name: parameter.detach().clone()
            for name, parameter in context.network.named_parameters()
            if name in context.pretrained
        }
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._start = dict(state["start"])

    def _pairs(self, network: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Every pretrained parameter of a network with its start value."""
        for name, parameter in network.named_parameters():
            if name in self._start:
                yield parameter, self._start_of(name, parameter)

    def _start_of(self, name: str, parameter: nn.Parameter) -> Tensor:
        """The start value where the parameter is: it is brought there once, not in every step."""
        if self._start[name].device != parameter.device:
            self._start[name] = self._start[name].to(parameter.device)
        return self._start[name]


class L2SP(FromStart):
    """L2-SP (Li et al. 2018): `alpha * |w - w0|^2` over pretrained parameters, `beta * |w|^2` over the new ones of
    more than one axis; the optimiser's own decay is off on both. BatchNorm's statistics are not parameters.

    Decoupled, each step takes `lr * 2 * alpha * (w - w0)` away instead, whatever the optimiser makes of gradients.
    """

    name = "l2-sp"

    def __init__(self, options: L2SPOptions) -> None:
        super().__init__()
        self._alpha, self._beta, self._decoupled = options.alpha, options.beta, options.decoupled

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(weight_decay=0.0) if row.name in self._start or len(row.shape) > 1 else row for row in rows]

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        if self._decoupled:
            return {}
        shifts = [p - w0 for p, w0 in self._pairs(context.network) if p.requires_grad]
        new = [parameter for _, parameter in self._new(context.network)]
        terms = {"l2_sp": self._alpha * _squares(shifts)} if shifts else {}
        return {**terms, "l2_new": self._beta * _squares(new)} if new else terms

    @torch.no_grad()
    def after_step(self, context: Context) -> None:
        if not self._decoupled:
            return
        rates = {row.name: row.lr * context.factor for row in context.rows}
        for name, parameter in context.network.named_parameters():
            if name in self._start and parameter.requires_grad:
                start = self._start_of(name, parameter)
                parameter.sub_(parameter - start, alpha=2 * self._alpha * rates[name])
        for name, parameter in self._new(context.network):
            parameter.mul_(1 - 2 * self._beta * rates[name])

    def _new(self, network: nn.Module) -> list[tuple[str, nn.Parameter]]:
        return [
            (name, parameter)
            for name, parameter in network.named_parameters()
            if name not in self._start and parameter.requires_grad and parameter.ndim > 1
        ]


class Clip(FromStart):
    """A bound on the way from the start: after every step each pretrained parameter is put back into `w0 - c` to
    `w0 + c`. The running average of the weights is within it as well, and so is what is kept."""

    name = "clip"

    def __init__(self, options: ClipOptions) -> None:
        super().__init__()
        self._c = options.c

    def after_step(self, context: Context) -> None:
        self._bound(context.network)

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        self._bound(network)
        return network

    @torch.no_grad()
    def _bound(self, network: nn.Module) -> None:
        for parameter, start in self._pairs(network):
            parameter.copy_(torch.clamp(parameter, start - self._c, start + self._c))


def _squares(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.pow(2).sum() for tensor in tensors]).sum()
