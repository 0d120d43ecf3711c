"""The modules that encoders and decoders make, with what the engine reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from .options import Inflation


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
