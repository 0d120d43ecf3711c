"""The modules that encoders and decoders make, what the engine reads from them, and blocks to build them of; and which
tensor of another program's file is which of a module's, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .options import Inflation

CONVOLUTION: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, slots=True)
class InputContract:
    """What an encoder was trained to see; its module brings images into this form by itself.

    Attributes:
        mean, std: Of each channel of brightness 0..1, as the pretraining subtracted and divided by; empty where images
            are taken as they come, normalised as the plan says.
        channels: Of the images of the pretraining; 0 where it is not known.
        smallest: Voxels along an edge, below which images are extended with zeros.
        multiple: Images are extended with zeros at their far ends to a multiple of this.
        seen: What the images of the pretraining showed; empty where it is not known.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: int = 0
    smallest: int = 1
    multiple: int = 1
    seen: str = ""

    def given(self, other: InputContract | None) -> InputContract:
        """This contract of a module, with what is known of the weights that were loaded into it."""
        if other is None:
            return self
        return replace(self, channels=other.channels or self.channels, seen=other.seen or self.seen)


class EncoderModule(nn.Module):
    """Turns an image (batch, channel, *spatial) into a list of feature maps, fine to coarse.

    Attributes:
        channels: The number of channels of each map.
        strides: How much coarser than the image each map is along each axis.
        stages: Prefixes of parameter names, shallow to deep; every parameter belongs to exactly one stage.
        contract: What images it expects, and brings them into by itself.
        inflation: How pretrained weights of planes are taken over in three dimensions.
    """

    channels: Sequence[int]
    strides: Sequence[Sequence[int]]
    stages: Sequence[Sequence[str]]
    contract: InputContract = InputContract()
    inflation: Inflation = "centre"

    def keep(self, places: Sequence[int]) -> None:
        """Leave out the weights that only maps at other places have; zeros may stand for those maps.

        Args:
            places: Of the maps that the decoder reads.
        """


class DecoderModule(nn.Module):
    """Turns the encoder's feature maps into a list of decoded maps, fine to coarse; all are (batch, channel, *spatial).

    Attributes:
        channels: The number of channels of each decoded map.
        reads: The places of the encoder's maps whose values it uses; None for all of them.
    """

    channels: Sequence[int]
    reads: Sequence[int] | None = None


Norm = Literal["group", "instance", "batch"]

GROUPS = 8
"""Of GroupNorm, which on a CPU with channels-last memory trains 1.6 times as fast as InstanceNorm."""

SLOPE = 0.01
"""Of the LeakyReLU for negative values."""


def normalisation(norm: Norm, dims: int, channels: int) -> nn.Module:
    """A normalisation with a learnt scale and shift for each channel.

    Args:
        norm: Over what: the batch, each channel, or groups of channels.
        dims: Axes of the maps, 2 or 3.
        channels: Of the maps.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)
    groups = channels if norm == "instance" else next(n for n in (GROUPS, 4, 2, 1) if channels % n == 0)
    return GroupNorm(groups, channels)


class GroupNorm(nn.GroupNorm):
    """torch's own, which refuses a group of a single value; here that becomes the shift alone.

    Small images do shrink to one voxel at coarse levels. With a group for each channel it is InstanceNorm.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def convolution(
    dims: int, inside: int, outside: int, *, kernel: int = 3, stride: int | Sequence[int] = 1
) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the size (divides it by the stride, rounding up), without a bias: a norm follows.

    Args:
        dims: Axes of the maps, 2 or 3.
        inside, outside: Channels before and after.
        kernel: Its size along every axis, odd.
        stride: One for all axes, or one for each.
    """
    steps = (stride,) * dims if isinstance(stride, int) else tuple(stride)
    return CONVOLUTION[dims](inside, outside, kernel, steps, kernel // 2, bias=False)  # type: ignore[arg-type]


def conv_norm_act(
    dims: int, inside: int, outside: int, *, stride: int | Sequence[int] = 1, norm: Norm = "group"
) -> nn.Sequential:
    """A 3x3(x3) convolution, a normalisation, a LeakyReLU.

    Args:
        dims: Axes of the maps, 2 or 3.
        inside, outside: Channels before and after.
        stride: One for all axes, or one for each.
        norm: See `normalisation`.
    """
    return nn.Sequential(
        convolution(dims, inside, outside, stride=stride),
        normalisation(norm, dims, outside),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


Rename = Callable[[str], str]

PREFERRED = ("teacher", "ema", "encoder_q", "base_encoder", "encoder")
"""Of several copies of an encoder in one file (DINO, MoCo, an average), the one that is meant for use."""


def match_names(
    tensors: Mapping[str, Tensor], expected: Collection[str], rename: Rename | None = None
) -> dict[str, Tensor]:
    """Tensors under the encoder's names.

    Programs put their own words before the names: `module.` (data parallel, MedicalNet), `encoder.`
    (segmentation_models_pytorch, VoxGraft), `backbone.` (DINO), `module.encoder_q.` (MoCo), `swinViT.` (MONAI). The
    prefix under which most of the wanted names are found is taken away; tensors without it keep their names.

    Args:
        rename: Gives a name as the encoder has it, from a name (whatever its prefix) as the other program has it.
    """
    named = {(rename(name) if rename else name): value for name, value in tensors.items()}
    expected = frozenset(expected)
    votes: Counter[str] = Counter()
    for name in named:
        for prefix, rest in _splits(name):
            if rest in expected:
                votes[prefix] += 1
    if not votes:
        return named
    most = max(votes.values())
    best = min((prefix for prefix, count in votes.items() if count == most), key=_rank)
    result = {name.removeprefix(best): value for name, value in named.items() if name.startswith(best)}
    for name, value in named.items():
        if not name.startswith(best) and name not in expected:
            result.setdefault(name, value)
    return result


def _splits(name: str) -> list[tuple[str, str]]:
    parts = name.split(".")
    return [("".join(f"{part}." for part in parts[:n]), ".".join(parts[n:])) for n in range(len(parts))]


def _rank(prefix: str) -> tuple[int, int, str]:
    """The shortest first, but a preferred copy before any other."""
    words = prefix.split(".")
    rank = next((n for n, word in enumerate(PREFERRED) if word in words), len(PREFERRED))
    return (0 if not prefix else 1 + rank, len(prefix), prefix)
