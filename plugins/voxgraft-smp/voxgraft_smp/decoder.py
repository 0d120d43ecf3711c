"""A decoder of segmentation_models_pytorch over an encoder's maps, where its own rules allow that."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import DecoderModule, ModelError

from .options import SmpOptions

TRIAL = 4
"""Voxels along an edge of the coarsest map with which a decoder is tried."""


class SmpDecoder:
    """Makes `SmpMaps` for an encoder."""

    def __init__(self, options: SmpOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]]) -> SmpMaps:
        """The module; see `voxgraft.networks.encoder_decoder.Decoder`.

        Raises:
            ModelError: The package is not whole, or its decoder takes no such maps.
        """
        if dims != 2:
            raise ModelError(
                "smp: segmentation_models_pytorch decodes 2D images only; "
                "set model.dims to 2 or use a decoder of VoxGraft, such as unet"
            )
        steps = [max(stride) for stride in strides]
        if any(len(set(stride)) > 1 for stride in strides) or steps != [2**n for n in range(len(steps))]:
            raise ModelError(
                f"smp: segmentation_models_pytorch wants maps at strides 1, 2, 4 and so on, not at "
                f"{', '.join(map(str, steps))}; give the encoder full_resolution: true, take one with a map at "
                "every stride (resnet18), or use a decoder of VoxGraft"
            )
        module = SmpMaps(self._options, channels)
        size = TRIAL * steps[-1]
        trial = [torch.zeros(2, width, size // step, size // step) for width, step in zip(channels, steps, strict=True)]
        with torch.no_grad():
            output = module.eval()(trial)
        module.channels = (output[0].shape[1],)
        return module.train()


class SmpMaps(DecoderModule):
    """One decoded map, as fine as the finest of the encoder's, which these decoders leave out for the rest.

    Args:
        channels: Of the encoder's maps, at strides 1, 2, 4 and so on.
    """

    def __init__(self, options: SmpOptions, channels: Sequence[int]) -> None:
        super().__init__()
        self._name = options.model
        self.channels: tuple[int, ...] = ()
        try:
            self.decoder = _decoder(options, list(channels))
        except (ValueError, IndexError) as error:
            raise ModelError(f"smp: its {options.model} cannot be built over {len(channels)} maps: {error}") from None

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The decoded map from the encoder's; both are lists of (batch, channel, y, x).

        Raises:
            ModelError: These sizes are none that the decoder takes.
        """
        size = maps[0].shape[2:]
        try:
            logits: Tensor = self.decoder(list(maps))
        except (RuntimeError, IndexError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            sizes = ", ".join("x".join(str(n) for n in feature.shape[2:]) for feature in maps)
            raise ModelError(
                f"smp: its {self._name} takes no maps of {sizes} pixels; give patches whose sizes are multiples of "
                f"{2 ** (len(maps) - 1)}, or use a decoder of VoxGraft, which takes any"
            ) from error
        if logits.shape[2:] != size:
            logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
        return [logits]


def _decoder(options: SmpOptions, channels: list[int]) -> nn.Module:
    """The package's own module; every class is told the channels of all maps and how many follow the first."""
    _torchvision()
    depth, wide = len(channels) - 1, 8 * options.width
    widths = [options.width * 2 ** min(level, 4) for level in reversed(range(depth))]
    levels: dict[str, Any] = {"decoder_channels": widths, "n_blocks": depth, "use_norm": options.norm}
    decoders: dict[str, tuple[str, dict[str, Any]]] = {
        "unet": ("UnetDecoder", levels),
        "unetplusplus": ("UnetPlusPlusDecoder", levels),
        "manet": ("MAnetDecoder", levels),
        "linknet": (
            "LinknetDecoder",
            {"prefinal_channels": options.width, "n_blocks": depth, "use_norm": options.norm},
        ),
        "fpn": ("FPNDecoder", {"encoder_depth": depth, "pyramid_channels": wide, "segmentation_channels": wide // 2}),
        "upernet": ("UPerNetDecoder", {"encoder_depth": depth, "decoder_channels": wide, "use_norm": options.norm}),
        "segformer": ("SegformerDecoder", {"encoder_depth": depth, "segmentation_channels": wide}),
    }
    name, arguments = decoders[options.model]
    module = import_module(f"segmentation_models_pytorch.decoders.{options.model}.decoder")
    decoder: nn.Module = getattr(module, name)(encoder_channels=channels, **arguments)
    return decoder


def _torchvision() -> None:
    """The package imports torchvision through timm, which VoxGraft can do where torch is for CPUs only."""
    from voxgraft_plugins.timm_encoder.backbone import import_timm

    try:
        import_timm()
        import_module("segmentation_models_pytorch")
    except ImportError as error:
        raise ModelError(
            f"smp: segmentation_models_pytorch cannot be imported ({error}); pip install voxgraft-smp brings it"
        ) from None
