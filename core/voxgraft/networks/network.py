"""The network: an encoder, a decoder, and a head for each decoded map; with the modules that encoders and decoders
make, blocks to build them of, and which tensor of another program's file is which of a module's, by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError, PluginError
from ..support.torch_dims import LINEAR

if TYPE_CHECKING:
    from .encoder_decoder import Decoder, Encoder
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
    """Turns the encoder's feature maps into a list of decoded maps, fine to coarse.

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


SINGLE_VALUE = "Expected more than 1"
"""How torch's norms begin when they complain that a channel has one value only."""


class Output(NamedTuple):
    """What a forward pass gives.

    Attributes:
        logits: (batch, class, *spatial), at the image's resolution.
        deep: Coarser logits, fine to coarse, for deep supervision; empty in evaluation mode.
        maps: The decoded maps, fine to coarse.
        features: The encoder's maps, fine to coarse.
    """

    logits: Tensor
    deep: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


class SegmentationNetwork(nn.Module):
    """Encoder, decoder, head; any encoder fits any decoder by the lists of channels and strides.

    Args:
        classes: The number of classes, background included.
        deep_supervision: While training, coarser decoded maps give logits as well.
    """

    def __init__(
        self,
        encoder: EncoderModule,
        decoder: DecoderModule,
        dims: int,
        classes: int,
        *,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.dims = dims
        self.classes = classes
        levels = decoder.channels if deep_supervision else decoder.channels[:1]
        self.heads = nn.ModuleList(CONVOLUTION[dims](width, classes, 1) for width in levels)

    def forward(self, image: Tensor, features: Sequence[Tensor] | None = None) -> Output:
        """Logits from an image (batch, channel, *spatial) of any size.

        Args:
            features: The encoder's maps of this image, where they are known already.

        Raises:
            ModelError: A norm is to be taken over a single value.
        """
        try:
            return self._output(image, features)
        except ValueError as error:
            if not str(error).startswith(SINGLE_VALUE):
                raise
            size = "x".join(str(n) for n in image.shape[2:])
            raise ModelError(
                f"model: a batch of {image.shape[0]} with {size} voxels leaves a norm a single value on a coarse map; "
                "set a larger training.patch, or training.batch to 2 or more"
            ) from None

    def _output(self, image: Tensor, features: Sequence[Tensor] | None) -> Output:
        if features is None:
            features = self.encoder(image)
        maps = self.decoder(features)
        heads = list(self.heads) if self.training else list(self.heads)[:1]
        logits, *deep = (head(decoded) for head, decoded in zip(heads, maps, strict=False))
        if logits.shape[2:] != image.shape[2:]:
            logits = functional.interpolate(logits, image.shape[2:], mode=LINEAR[self.dims], align_corners=False)
        return Output(logits, tuple(deep), tuple(maps), tuple(features))


def build_network(
    encoder: Encoder,
    decoder: Decoder,
    *,
    dims: int,
    channels: int,
    classes: int,
    strides: Sequence[Sequence[int]],
    deep_supervision: bool = True,
) -> SegmentationNetwork:
    """A network from what the two factories make; what the encoder has for maps that the decoder leaves unread is left
    out, so that every weight is trained.

    Args:
        strides: The plan's proposal for the levels, cumulative, fine to coarse.

    Raises:
        PluginError: One of the two makes another kind of module.
    """
    body = encoder.make(dims, channels, strides)
    if not isinstance(body, EncoderModule):
        raise PluginError(f"{type(encoder).__name__}.make gave a {type(body).__name__}, which is not an EncoderModule")
    top = decoder.make(dims, body.channels, body.strides)
    if not isinstance(top, DecoderModule):
        raise PluginError(f"{type(decoder).__name__}.make gave a {type(top).__name__}, which is not a DecoderModule")
    if top.reads is not None:
        body.keep(top.reads)
    return SegmentationNetwork(body, top, dims, classes, deep_supervision=deep_supervision)
