"""Conformance checks of decoders: feature maps of any number and odd sizes become maps at the finest resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conformance import ConformanceCheck, Subject, require

PYRAMIDS = [
    ((8, 16), ((1,), (2,))),
    ((8, 16, 24, 32), ((1,), (2,), (4,), (8,))),
    ((12, 24, 48), ((2,), (4,), (8,))),
    ((4, 8, 8, 16, 16), ((1,), (2,), (4,), (4,), (8,))),
]
"""Channels and strides (of each axis) of encoders that a decoder may meet."""


def _the_first_map_is_the_finest(subject: Subject, folder: Path) -> None:
    for dims, channels, strides, maps in _inputs():
        module = _make(subject, dims, channels, strides).eval()
        decoded = module(maps)
        wanted = list(maps[0].shape[2:])
        place = f"{dims}D, strides {strides}"
        require(list(decoded[0].shape[2:]) == wanted, f"{place}: {list(decoded[0].shape[2:])}, not {wanted}")
        found = [one.shape[1] for one in decoded]
        require(found == list(module.channels)[: len(found)], f"{place}: channels {found}, not {list(module.channels)}")


def _a_gradient_reaches_every_parameter_and_every_map(subject: Subject, folder: Path) -> None:
    for dims, channels, strides, maps in _inputs():
        module = _make(subject, dims, channels, strides).train()
        leaves = [one.requires_grad_() for one in maps]
        sum(one.sum() for one in module(leaves)).backward()
        place = f"{dims}D, strides {strides}"
        unused = [name for name, one in module.named_parameters() if one.grad is None]
        require(not unused, f"{place}: no gradient reaches {', '.join(unused[:5])}")
        require(leaves[-1].grad is not None, f"{place}: it does not use the coarsest map")
        said, used = (
            set(places) for places in (range(len(leaves)) if module.reads is None else module.reads, _used(leaves))
        )
        require(used <= said, f"{place}: it uses the maps {sorted(used)} and says {sorted(said)}")


def _used(leaves: Any) -> list[int]:
    return [level for level, one in enumerate(leaves) if one.grad is not None and bool(one.grad.abs().max() > 0)]


def _inputs() -> Any:
    import torch

    torch.manual_seed(0)
    for dims in (2, 3):
        size = (47, 33, 29)[:dims]
        for channels, short in PYRAMIDS:
            strides = [stride * dims for stride in short]
            maps = [
                torch.randn(2, width, *(-(-n // step) for n, step in zip(size, stride, strict=True)))
                for width, stride in zip(channels, strides, strict=True)
            ]
            yield dims, channels, strides, maps


def _make(subject: Subject, dims: int, channels: Any, strides: Any) -> Any:
    from ..networks.network import DecoderModule

    module = subject.build().make(dims, channels, strides)
    require(isinstance(module, DecoderModule), f"it makes a {type(module).__name__}, which is not a DecoderModule")
    return module


CHECKS = {
    "decoder": [
        ConformanceCheck(
            "its first map is as fine as the encoder's finest, for any pyramid and odd sizes",
            _the_first_map_is_the_finest,
        ),
        ConformanceCheck(
            "a gradient reaches every parameter and the coarsest map, and no map that it says it leaves unread",
            _a_gradient_reaches_every_parameter_and_every_map,
        ),
    ]
}
