"""Augmentation on the training device: one resampling for rotation, scaling, shift, mirroring and elastic bending,
then intensities. Everything is drawn from the batch's seed on the CPU, so that a step can be repeated exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..support.torch_dims import LINEAR

SHADES = 3
"""Points along each axis between which shading is interpolated: darker corners, or a bright side, not a texture."""

PLANES = {2: ((0, 1),), 3: ((0, 1), (0, 2), (1, 2))}


def augment(
    image: Tensor,
    label: Tensor,
    patch: Sequence[int],
    spacing: Sequence[float],
    strengths: Mapping[str, float],
    seed: int,
    strength: float = 1.0,
    outside: int | None = None,
    part: tuple[int, int] = (0, 1),
) -> tuple[Tensor, Tensor]:
    """A patch for each block of a batch.

    Args:
        image: (batch, channel, *block), float32.
        label: (batch, *block), class indices or bits of regions, see `voxgraft.preprocessing.encoding`.
        patch: Voxels of the result along each axis, at most those of the block.
        spacing: Millimetres along each axis; rotations are rotations in millimetres.
        strengths: `rotation` in degrees, `scale`, `shift` as a share of the patch, `elastic` in voxels, `mirror`,
            `gamma`, `brightness`, `contrast`, `shading` (darker and brighter sides, the same in all channels), `noise`,
            `blur`, `lowres`, and `invert`: the share of samples whose normalised intensities are negated; what is
            missing is not done.
        strength: Multiplies all of them; with 0 the middle of each block is cut out as it is.
        outside: The class index of voxels beyond the image; None where labels are bits.
        part: Which of how many parts of the whole batch this is: the numbers are drawn for the whole, so that several
            processes augment as one does.

    Returns:
        The image (batch, channel, *patch) and the label as int64 (batch, *patch); voxels beyond the image are 0.
    """
    draw = _Draws(seed, *part)
    if strength > 0:
        image, label = _space(image, label, patch, spacing, strengths, strength, draw)
        image = _intensities(image, strengths, strength, draw)
    else:
        image, label = middle(image, patch), middle(label, patch)
    return image, (label if outside is None else label.masked_fill(label == outside, 0)).long()


def mirrored_axes(strengths: Mapping[str, float], strength: float, dims: int) -> tuple[int, ...]:
    """The axes of patches along which `augment` mirrors with these strengths.

    Args:
        strengths: As `augment` takes them.
        strength: Multiplies all of them.
        dims: Axes of a patch, 2 or 3.
    """
    return tuple(range(dims)) if strength > 0 and strengths.get("mirror", 0.0) > 0 else ()


def middle(block: Tensor, patch: Sequence[int]) -> Tensor:
    """The middle of the last axes of a block."""
    for axis, size in enumerate(patch, start=block.ndim - len(patch)):
        block = block.narrow(axis, (block.shape[axis] - size) // 2, size)
    return block


class _Draws:
    """Random numbers of each sample of a whole batch, of which those of one part are given, and of the batch."""

    def __init__(self, seed: int, part: int, parts: int) -> None:
        self._generator, self._part, self._parts = torch.Generator().manual_seed(seed), part, parts

    def uniform(self, low: float, high: float, batch: int, *shape: int) -> Tensor:
        """(batch, *shape), each sample's own."""
        return (
            self._mine(torch.rand(batch * self._parts, *shape, generator=self._generator), batch) * (high - low) + low
        )

    def normal(self, batch: int, *shape: int, device: torch.device | None = None) -> Tensor:
        """(batch, *shape), each sample's own; on another device from a generator there."""
        generator, device = self._generator, device or torch.device("cpu")
        if device.type != "cpu":
            seed = int(torch.randint(2**62, (1,), generator=generator))
            generator = torch.Generator(device).manual_seed(seed)
        return self._mine(torch.randn(batch * self._parts, *shape, device=device, generator=generator), batch)

    def common(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number for the whole batch."""
        return float(torch.rand((), generator=self._generator) * (high - low) + low)

    def _mine(self, whole: Tensor, batch: int) -> Tensor:
        return whole[self._part * batch : (self._part + 1) * batch]


def _space(
    image: Tensor,
    label: Tensor,
    patch: Sequence[int],
    spacing: Sequence[float],
    strengths: Mapping[str, float],
    strength: float,
    draw: _Draws,
) -> tuple[Tensor, Tensor]:
    """One gather for all that moves voxels; labels are taken from the nearest voxel."""
    batch, dims = image.shape[0], len(patch)
    matrix = _matrices(batch, dims, spacing, strengths, strength, draw)
    shift = draw.uniform(-1, 1, batch, 1, dims) * torch.tensor([float(n) for n in patch])
    shift = shift * strengths.get("shift", 0.0) * strength
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dims)
    device = image.device
    moved = points.to(device) @ matrix.transpose(1, 2).to(device) + shift.to(device)
    bend = strengths.get("elastic", 0.0) * strength
    if bend > 0:
        coarse = draw.normal(batch, dims, *[min(n, 4) for n in patch]) * bend
        field = functional.interpolate(coarse.to(device), tuple(patch), mode=LINEAR[dims], align_corners=True)
        moved = moved + field.flatten(2).transpose(1, 2)
    half = torch.tensor([n / 2 for n in image.shape[2:]], device=device)
    grid = (moved / half).flip(-1).reshape(batch, *patch, dims)
    turned = functional.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
    kind, numbers = label.dtype, label.to(torch.float32)[:, None]
    classes = functional.grid_sample(numbers, grid, mode="nearest", padding_mode="border", align_corners=False)
    return turned, classes[:, 0].to(kind)


def _matrices(
    batch: int,
    dims: int,
    spacing: Sequence[float],
    strengths: Mapping[str, float],
    strength: float,
    draw: _Draws,
) -> Tensor:
    """(batch, dims, dims): voxels of the patch to voxels of the block."""
    result = torch.eye(dims).repeat(batch, 1, 1)
    turn = math.radians(strengths.get("rotation", 0.0)) * strength
    for plane in PLANES[dims]:
        angle = draw.uniform(-turn, turn, batch)
        rotation = torch.eye(dims).repeat(batch, 1, 1)
        rotation[:, plane[0], plane[0]] = rotation[:, plane[1], plane[1]] = angle.cos()
        rotation[:, plane[0], plane[1]] = -angle.sin()
        rotation[:, plane[1], plane[0]] = angle.sin()
        result = result @ rotation
    stretch = strengths.get("scale", 0.0) * strength
    whole = draw.uniform(-stretch, stretch, batch, 1)
    each = draw.uniform(-stretch, stretch, batch, dims) * 0.4
    factors = torch.exp(whole + each)
    if mirrored_axes(strengths, strength, dims):
        factors = factors * (1 - 2 * (draw.uniform(0, 1, batch, dims) < 0.5).float())
    step = torch.tensor([float(v) for v in spacing])
    return result * step[None, None, :] / step[None, :, None] * factors[:, None, :]


def _intensities(image: Tensor, strengths: Mapping[str, float], strength: float, draw: _Draws) -> Tensor:
    """Blur, contrast, brightness, shading, inversion, gamma and noise, each sample and channel by itself."""
    batch, channels = image.shape[:2]
    dims = image.ndim - 2
    shape = (batch, channels, *[1] * dims)

    def amount(name: str) -> float:
        return strengths.get(name, 0.0) * strength

    def some(share: float) -> Tensor:
        return (draw.uniform(0, 1, batch, 1, *[1] * dims) < share).to(image.device)

    if (coarseness := amount("lowres")) > 0 and draw.common() < 0.25:
        factor = draw.common(max(0.5, 1 - coarseness), 1.0)
        size = [max(1, round(n * factor)) for n in image.shape[2:]]
        coarse = functional.interpolate(image, size, mode="nearest")
        image = functional.interpolate(coarse, image.shape[2:], mode=LINEAR[dims], align_corners=False)
    if (blur := amount("blur")) > 0 and draw.common() < 0.2:
        image = _blurred(image, draw.common(0.3, max(0.31, blur)))
    if (contrast := amount("contrast")) > 0:
        stretch = torch.exp(draw.uniform(-contrast, contrast, *shape)).to(image.device)
        image = image * stretch
    if (brightness := amount("brightness")) > 0:
        image = image + draw.uniform(-brightness, brightness, *shape).to(image.device)
    if (shading := amount("shading")) > 0:
        coarse = draw.normal(batch, 1, *[min(n, SHADES) for n in image.shape[2:]]) * shading
        image = image + functional.interpolate(
            coarse.to(image.device), image.shape[2:], mode=LINEAR[dims], align_corners=True
        )
    if (inverted := amount("invert")) > 0:
        image = torch.where(some(inverted), -image, image)
    if (gamma := amount("gamma")) > 0:
        exponent = torch.exp(draw.uniform(-gamma, gamma, *shape)).to(image.device)
        axes = tuple(range(2, image.ndim))
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        span = (high - low).clamp_min(1e-6)
        image = torch.where(some(0.3), ((image - low) / span) ** exponent * span + low, image)
    if (noise := amount("noise")) > 0:
        sigma = draw.uniform(0, noise, *shape).to(image.device)
        image = image + draw.normal(*image.shape, device=image.device) * sigma
    return image


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, one axis after another."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=image.device) / sigma) ** 2)
    taps = (taps / taps.sum()).to(image.dtype)
    dims, channels = image.ndim - 2, image.shape[1]
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    for axis in range(dims):
        kernel = taps.reshape([1, 1, *[-1 if a == axis else 1 for a in range(dims)]])
        kernel = kernel.expand(channels, 1, *kernel.shape[2:])
        padding = [radius if a == axis else 0 for a in range(dims)]
        pad = [n for p in reversed(padding) for n in (p, p)]
        image = convolve(functional.pad(image, pad, mode="replicate"), kernel, groups=channels)
    return image
