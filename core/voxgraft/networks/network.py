"""The network: an encoder, a decoder, and a head for each decoded map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelError, PluginError
from ..support.torch_dims import LINEAR
from .modules import CONVOLUTION, DecoderModule, EncoderModule

if TYPE_CHECKING:
    from .encoder_decoder import Decoder, Encoder

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
