"""Conformance checks of encoders: sizes of the feature maps, gradients, stages, weights."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from .conformance import ConformanceCheck, Subject, require

SIZES: dict[int, list[tuple[int, ...]]] = {2: [(64, 96), (37, 53)], 3: [(32, 48, 32), (29, 37, 19)]}


def _maps_have_the_size_their_strides_say(subject: Subject, folder: Path) -> None:
    import torch

    for dims, channels in itertools.product(sorted(subject.spec.dims), (1, 2, 3)):
        module = _make(subject, dims, channels).eval()
        for size in SIZES[dims][: 1 if channels > 1 else 2]:
            with torch.no_grad():
                maps = module(torch.zeros(1, channels, *size))
            require(
                [one.shape[1] for one in maps] == list(module.channels), f"{dims}D: its channels are not as it says"
            )
            for one, stride in zip(maps, module.strides, strict=True):
                wanted = [-(-n // step) for n, step in zip(size, stride, strict=True)]
                require(list(one.shape[2:]) == wanted, f"{dims}D, {size}: a map of {list(one.shape[2:])}, not {wanted}")
        flat = [step for stride in module.strides for step in stride[:1]]
        require(flat == sorted(flat), f"{dims}D: its maps do not go from fine to coarse")


def _every_parameter_is_trained_by_every_map_together(subject: Subject, folder: Path) -> None:
    import torch

    for dims in sorted(subject.spec.dims):
        module = _make(subject, dims, 1).train()
        maps = module(torch.randn(2, 1, *SIZES[dims][0]))
        sum((one * torch.randn_like(one)).sum() for one in maps).backward()
        unused = [name for name, one in module.named_parameters() if one.requires_grad and one.grad is None]
        require(not unused, f"{dims}D: no gradient reaches {', '.join(unused[:5])}")


def _every_parameter_belongs_to_one_stage(subject: Subject, folder: Path) -> None:
    for dims in sorted(subject.spec.dims):
        module = _make(subject, dims, 1)
        for name, _ in module.named_parameters():
            holders = [n for n, stage in enumerate(module.stages) if any(_within(name, prefix) for prefix in stage)]
            require(len(holders) == 1, f"{dims}D: the parameter {name} is in {len(holders)} stages")


def _the_same_image_gives_the_same_maps(subject: Subject, folder: Path) -> None:
    import torch

    for dims in sorted(subject.spec.dims):
        module = _make(subject, dims, 1).eval()
        image = torch.randn(1, 1, *SIZES[dims][0])
        with torch.no_grad():
            one, other = module(image), module(image)
        require(all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), f"{dims}D: two passes differ")


def _make(subject: Subject, dims: int, channels: int) -> Any:
    import torch

    from ..networks.network import EncoderModule

    torch.manual_seed(0)
    strides = [(2**level,) * dims for level in range(4)]
    module = subject.build().make(dims, channels, strides)
    require(isinstance(module, EncoderModule), f"it makes a {type(module).__name__}, which is not an EncoderModule")
    return module


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")


CHECKS = {
    "encoder": [
        ConformanceCheck(
            "each map has the size of the image over its stride, rounded up", _maps_have_the_size_their_strides_say
        ),
        ConformanceCheck("a gradient reaches every parameter", _every_parameter_is_trained_by_every_map_together),
        ConformanceCheck("every parameter belongs to exactly one stage", _every_parameter_belongs_to_one_stage),
        ConformanceCheck("the same image gives the same maps", _the_same_image_gives_the_same_maps),
    ]
}
