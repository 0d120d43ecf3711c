"""Self-supervised pretraining: fill in what is masked of a scan; no label is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from voxgraft.plugin import CONVOLUTION, Context, Crop, Output, TrainingError

from .options import SelfSupervisedOptions
from .own import Teaching, resized

HEAD = "reconstruction"


class SelfSupervised(Teaching):
    """Masked reconstruction (SimMIM, Xie et al. 2022): a share of the blocks of each patch is set to 0, the mean of a
    normalised image, and a 1x1 convolution on the decoder's finest map predicts the image; the term is the mean
    absolute error over masked voxels alone. The package it leaves has a trained encoder and decoder, and a head that
    has learnt nothing."""

    name = "self-supervised"
    supervised = False

    def __init__(self, options: SelfSupervisedOptions) -> None:
        self._options = options
        self._whole: Tensor | None = None
        self._masked: Tensor | None = None
        self._done = 0

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        """Bring the convolution that predicts the image.

        Raises:
            TrainingError: A patch is one block: nothing would be left to see.
        """
        if context.plan is not None and all(n <= self._options.block for n in context.plan.patch):
            size = "x".join(map(str, context.plan.patch))
            raise TrainingError(
                f"transfer: self-supervised.block is {self._options.block}, but a patch has {size} voxels: all would "
                "be masked; set a smaller block or a larger training.patch"
            )
        channels = 1 if context.plan is None else len(context.plan.channels)
        width = int(context.network.decoder.channels[0])
        return {HEAD: CONVOLUTION[context.network.dims](width, channels, 1)}

    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        self._whole = image
        self._masked = masks(image.shape, self._options.block, self._options.ratio, seed).to(image.device)
        self._done = 0
        return image.masked_fill(self._masked[:, None], 0.0)

    def features(self, context: Context, image: Tensor, crops: Sequence[Crop]) -> Sequence[Tensor] | None:
        return None

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        if self._whole is None or self._masked is None:
            raise TrainingError("transfer: 'self-supervised' has seen no image")
        part = slice(self._done, self._done + batch["image"].shape[0])
        self._done = part.stop
        whole, masked = self._whole[part], self._masked[part]
        predicted = resized(context.extra[HEAD](output.maps[0]).float(), whole)
        error = (predicted - whole).abs().mean(1)
        return {"reconstruction": (error * masked).sum() / masked.sum().clamp_min(1)}


def masks(shape: Sequence[int], block: int, ratio: float, seed: int) -> Tensor:
    """Of images (batch, channel, *spatial), bool (batch, *spatial): whole blocks, in each image the same number, at
    least one and never all.

    Args:
        shape: Of the images: (batch, channel, *spatial).
        block: Edge of a block, in voxels.
        ratio: The share of blocks that are hidden, between 0 and 1.
        seed: Decides which; the same gives the same.
    """
    draw = torch.Generator().manual_seed(seed)
    spatial = shape[2:]
    blocks = [-(-size // block) for size in spatial]
    number = int(torch.tensor(blocks).prod())
    few = min(max(1, round(ratio * number)), max(1, number - 1))
    order = torch.rand(shape[0], number, generator=draw).argsort(1)
    masked = (order < few).reshape(shape[0], *blocks)
    for axis in range(len(spatial)):
        masked = masked.repeat_interleave(block, axis + 1).narrow(axis + 1, 0, spatial[axis])
    return masked
