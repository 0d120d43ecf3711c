"""Maps of a timm backbone, with the sizes and the order of axes that the decoders count on, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.plugin import (
    EncoderModule,
    Fold,
    Inflation,
    InputContract,
    ModelError,
    Models,
    Weights,
    hub_file,
    inflate,
    match_names,
    named_weights,
    read_tensors,
    sha256,
    slice_axis,
    stages_of,
)

from .backbone import (
    TRIAL,
    Frame,
    Pyramid,
    contract_of,
    frame_of,
    hub_place,
    is_flat,
    make_backbone,
    own_names,
    try_out,
)
from .imagenet import PACKAGED, imagenet_weights
from .options import BackboneOptions

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = (0.449, 0.226)
"""The units in which images come: brightness 0..1 less this mean, over this deviation."""

PHOTOGRAPHS = "colour photographs (ImageNet)"


class TimmEncoder:
    """Makes `TimmMaps`; downloads nothing unless the options say so."""

    def __init__(self, options: BackboneOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> TimmMaps:
        """The module; see `voxgraft.networks.encoder_decoder.Encoder`. A backbone has its own strides; of the plan's
        only the axis across the slices is taken, in 3D.

        Raises:
            ModelError: timm has no such backbone, or it gives no feature maps, or cannot be inflated, or is to see
                neighbouring slices in a network of single slices.
        """
        options = self._options
        if dims == 2 and options.slicewise:
            raise ModelError(
                f"model.encoder.slicewise: {options.slicewise}: a network with dims: 2 sees one slice at a time; "
                "set model.dims to 3, or leave slicewise out"
            )
        fold = Fold(slice_axis(strides), options.slicewise or 0) if dims == 3 else None
        inside = channels * (2 * fold.neighbours + 1) if fold else channels
        net = TimmMaps(
            make_backbone(options.backbone, inside),
            channels,
            full_resolution=options.full_resolution,
            contract=contract_of(options.backbone),
            fold=fold,
        )
        if fold is not None and options.slicewise is None:
            net.inflate(options.inflate, f"timm: {options.backbone}")
        return net

    def weights(self, models: Models | None = None) -> Weights | None:
        """The tensors under the names of `TimmMaps`, as the 2D network has them; files may use timm's own names."""
        weights = (
            self._imagenet() if self._options.weights == "imagenet" else named_weights(self._options.weights, models)
        )
        if weights is None:
            return None
        names = own_names(make_backbone(self._options.backbone, 3).state_dict())
        tensors = {
            f"net.{names[name]}" if name in names else name: value
            for name, value in match_names(weights.tensors, names).items()
        }
        return self._options.finish(weights.but(tensors=tensors))

    def _imagenet(self) -> Weights:
        name = self._options.backbone
        if name in PACKAGED:
            weights = imagenet_weights(name)
        else:
            repository, file, licence = hub_place(name)
            path = hub_file(repository, file, download=self._options.download)
            weights = Weights(read_tensors(path), origin=f"hf:{repository}", licence=licence, sha256=sha256(path))
        return weights.but(contract=InputContract(channels=contract_of(name).channels, seen=PHOTOGRAPHS))


class TimmMaps(EncoderModule):
    """The maps of a backbone, fine to coarse.

    An image whose size is not a multiple of the coarsest stride is padded with zeros at its far ends (zero is the
    mean of a normalised image), and the maps are cut again: a voxel lies at the same place in every map for every size.
    Backbones without padding (Inception) see zeros on all sides, so that their maps cover the whole image.

    Images are expected in ImageNet's units; for a backbone that was trained in others they are converted here.

    Args:
        channels: Of the image.
        fold: In 3D, how volumes are taken apart into the slices that the backbone sees.
    """

    inflation: Inflation = "centre"
    scale: Tensor | None
    shift: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        channels: int,
        *,
        full_resolution: bool,
        contract: InputContract,
        fold: Fold | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self._fold = fold
        info: Any = net.feature_info
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).rsplit(".", 1)[-1] == "NHWC"
        inside = channels * (2 * fold.neighbours + 1) if fold else channels
        self._convert(channels, inside, contract)
        reductions = [int(reduction) for reduction in info.reduction()]
        widths = [int(width) for width in info.channels()]
        self.pyramid: Pyramid | None = None
        if is_flat(net):
            self.pyramid = Pyramid(widths[-1], reductions[-1])
            widths, reductions = self.pyramid.channels, self.pyramid.reductions
        size, sizes = try_out(net, inside, max(reductions), contract)
        self._frame = Frame(max(reductions) if size == TRIAL else size)
        if self.pyramid is None and sizes != [-(-size // step) for step in reductions]:
            self._frame = frame_of(net, inside, reductions, size)
        self.contract = replace(contract, smallest=self._frame.smallest, multiple=self._frame.multiple)
        self._reductions = reductions
        self._adds_image = full_resolution and reductions[0] > 1
        steps = [1, *reductions] if self._adds_image else reductions
        self.channels = (*([channels] if self._adds_image else []), *widths)
        self.strides = tuple(self._stride(step) for step in steps)
        self.stages = self._find_stages(inside, size)

    def inflate(self, mode: Inflation, name: str) -> None:
        """Let the convolutions see neighbouring slices; see `voxgraft.networks.inflation`."""
        assert self._fold is not None
        inflate(self.net, mode, self._fold, name)
        self.inflation = mode

    def keep(self, stages: Collection[int]) -> None:
        """Leave out the weights of a pyramid's levels that are not read; other maps have none of their own."""
        if self.pyramid is not None:
            self.pyramid.keep({stage - int(self._adds_image) for stage in stages})
            self.stages = self._block_stages()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, *spatial), fine to coarse; the image is (batch, channel, *spatial)."""
        planes = self._fold.fold(image) if self._fold else image
        if self.scale is not None and self.shift is not None:
            planes = planes * self.scale + self.shift
        maps = self._plane_maps(planes)
        if self._fold:
            maps = [self._fold.unfold(feature) for feature in maps]
        return [image, *maps] if self._adds_image else maps

    def _plane_maps(self, planes: Tensor) -> list[Tensor]:
        height, width = planes.shape[2:]
        before, after = self._frame.padding(height), self._frame.padding(width)
        pad = (*after, *before)
        maps = list(self.net(functional.pad(planes, pad) if any(pad) else planes))
        if self._channels_last:
            maps = [feature.permute(0, 3, 1, 2).contiguous() for feature in maps]
        if self.pyramid is not None:
            maps = self.pyramid(maps[-1])
        if any(pad):
            starts = self._frame.starts or (0,) * len(maps)
            maps = [
                feature[:, :, start : start - (-height // step), start : start - (-width // step)]
                for feature, step, start in zip(maps, self._reductions, starts, strict=True)
            ]
        return maps

    def _stride(self, step: int) -> tuple[int, ...]:
        if self._fold is None:
            return (step, step)
        steps = [step, step]
        steps.insert(self._fold.axis, 1)
        return tuple(steps)

    def _convert(self, channels: int, inside: int, contract: InputContract) -> None:
        """Factors and terms from ImageNet's units to those of the pretraining; None where they are the same."""
        self.register_buffer("scale", None, persistent=False)
        self.register_buffer("shift", None, persistent=False)
        mean, deviation = contract.mean, contract.std
        if not mean or (mean, deviation) == (MEAN, DEVIATION):
            return
        if channels == len(mean) == 3:
            each = [(s / d, (m - n) / d) for m, s, n, d in zip(MEAN, DEVIATION, mean, deviation, strict=True)]
        else:
            middle, spread = sum(mean) / len(mean), sum(deviation) / len(deviation)
            each = [(GREY[1] / spread, (GREY[0] - middle) / spread)] * channels
        factors = torch.tensor(each).repeat(inside // channels, 1)[:, :, None, None]
        self.register_buffer("scale", factors[:, 0].clone(), persistent=False)
        self.register_buffer("shift", factors[:, 1].clone(), persistent=False)

    def _find_stages(self, inside: int, size: int) -> list[list[str]]:
        """Stages by the maps; of a plain transformer by its blocks, since each of its maps depends on all of them."""
        if self.pyramid is not None:
            return self._block_stages()
        training = self.training
        self.eval()
        with torch.enable_grad():
            stages = stages_of(self, self._plane_maps(torch.zeros(1, inside, size, size)))
        self.train(training)
        return stages

    def _block_stages(self) -> list[list[str]]:
        names = [name for name, _ in self.named_parameters()]
        blocks = sorted({name.split(".blocks.")[1].split(".")[0] for name in names if ".blocks." in name}, key=int)
        last = [["pyramid"]] if any(name.startswith("pyramid.") for name in names) else []
        if not blocks:
            return [["net"], *last]
        first = [name for name in names if name.startswith("net.") and ".blocks." not in name]
        start = next(name for name in names if ".blocks." in name).split(".blocks.")[0]
        quarter = -(-len(blocks) // 4)
        parts = [blocks[n : n + quarter] for n in range(0, len(blocks), quarter)]
        return [first, *([f"{start}.blocks.{block}" for block in part] for part in parts), *last]
