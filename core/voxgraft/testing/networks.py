"""Conformance checks of encoders and decoders: sizes of maps, gradients, stages; and of a pair, for any image size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .conformance import Subject, check, require

if TYPE_CHECKING:
    from ..components.choice import Selected

SIZES: dict[int, list[tuple[int, ...]]] = {2: [(64, 96), (37, 53)], 3: [(32, 48, 32), (29, 37, 19)]}


@check("encoder", "each map has the size of the image over its stride, rounded up")
def _maps_have_the_size_their_strides_say(subject: Subject, folder: Path) -> None:
    import torch

    for dims, channels in itertools.product(sorted(subject.spec.dims), (1, 2, 3)):
        module = _encoder(subject, dims, channels).eval()
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


@check("encoder", "a gradient reaches every parameter")
def _every_parameter_is_trained_by_every_map_together(subject: Subject, folder: Path) -> None:
    import torch

    for dims in sorted(subject.spec.dims):
        module = _encoder(subject, dims, 1).train()
        maps = module(torch.randn(2, 1, *SIZES[dims][0]))
        sum((one * torch.randn_like(one)).sum() for one in maps).backward()
        unused = [name for name, one in module.named_parameters() if one.requires_grad and one.grad is None]
        require(not unused, f"{dims}D: no gradient reaches {', '.join(unused[:5])}")


@check("encoder", "every parameter belongs to exactly one stage")
def _every_parameter_belongs_to_one_stage(subject: Subject, folder: Path) -> None:
    for dims in sorted(subject.spec.dims):
        module = _encoder(subject, dims, 1)
        for name, _ in module.named_parameters():
            holders = [n for n, stage in enumerate(module.stages) if any(_within(name, prefix) for prefix in stage)]
            require(len(holders) == 1, f"{dims}D: the parameter {name} is in {len(holders)} stages")


@check("encoder", "the same image gives the same maps")
def _the_same_image_gives_the_same_maps(subject: Subject, folder: Path) -> None:
    import torch

    for dims in sorted(subject.spec.dims):
        module = _encoder(subject, dims, 1).eval()
        image = torch.randn(1, 1, *SIZES[dims][0])
        with torch.no_grad():
            one, other = module(image), module(image)
        require(all(torch.equal(a, b) for a, b in zip(one, other, strict=True)), f"{dims}D: two passes differ")


def _encoder(subject: Subject, dims: int, channels: int) -> Any:
    import torch

    from ..networks.modules import EncoderModule

    torch.manual_seed(0)
    strides = [(2**level,) * dims for level in range(4)]
    module = subject.build().make(dims, channels, strides)
    require(isinstance(module, EncoderModule), f"it makes a {type(module).__name__}, which is not an EncoderModule")
    return module


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else f"{prefix}.")


PYRAMIDS = [
    ((8, 16), ((1,), (2,))),
    ((8, 16, 24, 32), ((1,), (2,), (4,), (8,))),
    ((12, 24, 48), ((2,), (4,), (8,))),
    ((4, 8, 8, 16, 16), ((1,), (2,), (4,), (4,), (8,))),
]
"""Channels and strides (of each axis) of encoders that a decoder may meet."""


@check("decoder", "its first map is as fine as the encoder's finest, for any pyramid and odd sizes")
def _the_first_map_is_the_finest(subject: Subject, folder: Path) -> None:
    for dims, channels, strides, maps in _inputs():
        module = _decoder(subject, dims, channels, strides).eval()
        decoded = module(maps)
        wanted = list(maps[0].shape[2:])
        place = f"{dims}D, strides {strides}"
        require(list(decoded[0].shape[2:]) == wanted, f"{place}: {list(decoded[0].shape[2:])}, not {wanted}")
        found = [one.shape[1] for one in decoded]
        require(found == list(module.channels)[: len(found)], f"{place}: channels {found}, not {list(module.channels)}")


@check("decoder", "a gradient reaches every parameter and the coarsest map, and no map that it says it leaves unread")
def _a_gradient_reaches_every_parameter_and_every_map(subject: Subject, folder: Path) -> None:
    for dims, channels, strides, maps in _inputs():
        module = _decoder(subject, dims, channels, strides).train()
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


def _decoder(subject: Subject, dims: int, channels: Any, strides: Any) -> Any:
    from ..networks.modules import DecoderModule

    module = subject.build().make(dims, channels, strides)
    require(isinstance(module, DecoderModule), f"it makes a {type(module).__name__}, which is not a DecoderModule")
    return module


STRIDES = ((1, 1, 1), (2, 2, 2), (4, 4, 2), (8, 8, 4))
"""What a plan may propose, with thick slices; encoders of fixed shape ignore it."""


def check_pair(
    encoder: Selected[Any], decoder: Selected[Any], dims: int, size: Sequence[int], *, channels: int = 1
) -> int:
    """Try a pair on one image size; gives the number of the decoder's parameters.

    Logits are as large as the image; training reaches every parameter and the first convolution, with the coarser
    heads and without; evaluation gives the same twice, and so does another network with the same tensors.

    Args:
        encoder, decoder: Each with its options.
        dims: Axes of the image, 2 or 3.
        size: Voxels along each of them.
        channels: Of the image.

    Raises:
        AssertionError: The pair breaks this; the message says how.
    """
    import torch

    net, other = (_network(encoder, decoder, dims, channels) for _ in range(2))
    image = torch.randn(2, channels, *size)
    output = net.train()(image)
    for one in (output.logits, *output.deep):
        require(bool(torch.isfinite(one).all()), "its logits are not finite")
    require(len(output.deep) == len(net.heads) - 1, f"{len(output.deep)} of {len(net.heads) - 1} coarser heads answer")
    require(tuple(output.logits.shape) == (2, 3, *size), f"{tuple(output.logits.shape)} for an image of {tuple(size)}")
    torch.autograd.backward(output.logits.square().mean(), retain_graph=bool(output.deep))
    coarse = {name for name, _ in net.named_parameters() if name.startswith("heads.") and name.split(".")[1] != "0"}
    unused = [name for name, one in net.named_parameters() if one.grad is None and name not in coarse]
    require(not unused, f"no gradient reaches {', '.join(unused[:5])}")
    if output.deep:
        torch.autograd.backward(torch.stack([one.square().mean() for one in output.deep]).sum())
        unused = [name for name, one in net.named_parameters() if one.grad is None]
        require(not unused, f"no gradient reaches {', '.join(unused[:5])}")
    stem: Any = next(one for one in net.encoder.parameters() if one.ndim > 2)
    require(float(stem.grad.abs().max()) > 0, "nothing reaches the first convolution")
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        first, again, copied = (one.eval()(image[:1]).logits for one in (net, net, other))
    require(torch.equal(first, again), "two passes differ")
    require(torch.equal(first, copied), "another network with the same tensors gives something else")
    return sum(one.numel() for one in net.decoder.parameters())


def _network(encoder: Selected[Any], decoder: Selected[Any], dims: int, channels: int) -> Any:
    from ..networks.network import build_network

    return build_network(
        encoder.build(),
        decoder.build(),
        dims=dims,
        channels=channels,
        classes=3,
        strides=[stride[:dims] for stride in STRIDES],
    )
