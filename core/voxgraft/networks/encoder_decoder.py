"""What the engine asks of encoders and decoders, and the specs by which plugins offer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..components.catalogue import C, Component

if TYPE_CHECKING:
    from .modules import DecoderModule, EncoderModule
    from .sources import Models
    from .weights import Weights


class Encoder(Protocol):
    """Make the pretrained part of a network."""

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> EncoderModule:
        """A module that turns (batch, channel, *spatial) into a list of feature maps, fine to coarse.

        Args:
            dims: 2 for planes, 3 for volumes.
            channels: Of the image.
            strides: What the plan proposes for each level, cumulative; an encoder of fixed shape ignores it.
        """
        ...

    def weights(self, models: Models | None = None) -> Weights | None:
        """The pretrained tensors under the names of `make`'s module; None to train from scratch.

        It is asked only where the encoder's options are `StartValues` and a workflow sets `weights` to another word
        than `none`; so every network has a twin from scratch.

        Args:
            models: Where registered models are looked up; a workflow's own registry, in every process.

        Raises:
            ModelError: The weights that the options name are not here; the message says how to get them.
        """
        ...


class Decoder(Protocol):
    """Make the part of a network that turns features into maps at the image's resolution."""

    def make(self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]]) -> DecoderModule:
        """A module that turns the encoder's feature maps into a list of decoded maps, fine to coarse.

        Args:
            dims: Axes of the maps, 2 or 3.
            channels: Of each of the encoder's maps, fine to coarse.
            strides: Of each of them along each axis, against the image.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec(Component[C, Encoder]):
    """An encoder, with the spatial dimensions it accepts, and what the images of its own pretrained weights were like.

    Attributes:
        modality: The modality that gives it such images; `check` tells where a workflow that starts from those weights
            names another. Empty where any will do.
        spacing: Millimetres between their voxels, in RAS order; what the network sees then, unless `data.spacing` says
            otherwise, which `check` tells. Empty where any will do.
    """

    kind = "encoder"

    dims: frozenset[int] = frozenset({2, 3})
    modality: str = ""
    spacing: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec(Component[C, Decoder]):
    """A decoder."""

    kind = "decoder"
