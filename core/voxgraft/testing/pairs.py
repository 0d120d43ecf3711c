"""The check of a pair: an encoder under a decoder is a network for images of any size, trained from head to stem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .conformance import require

if TYPE_CHECKING:
    from ..components.choice import Selected

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
