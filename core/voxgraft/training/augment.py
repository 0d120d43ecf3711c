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

    Returns:
        The image (batch, channel, *patch) and the label as int64 (batch, *patch); voxels beyond the image are 0.
    """
    draw = torch.Generator().manual_seed(seed)
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


def _uniform(draw: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=draw) * (high - low) + low


def _space(
    image: Tensor,
    label: Tensor,
    patch: Sequence[int],
    spacing: Sequence[float],
    strengths: Mapping[str, float],
    strength: float,
    draw: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """One gather for all that moves voxels; labels are taken from the nearest voxel."""
    batch, dims = image.shape[0], len(patch)
    matrix = _matrices(batch, dims, spacing, strengths, strength, draw)
    shift = _uniform(draw, -1, 1, batch, 1, dims) * torch.tensor([float(n) for n in patch])
    shift = shift * strengths.get("shift", 0.0) * strength
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dims)
    device = image.device
    moved = points.to(device) @ matrix.transpose(1, 2).to(device) + shift.to(device)
    bend = strengths.get("elastic", 0.0) * strength
    if bend > 0:
        coarse = torch.randn(batch, dims, *[min(n, 4) for n in patch], generator=draw) * bend
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
    draw: torch.Generator,
) -> Tensor:
    """(batch, dims, dims): voxels of the patch to voxels of the block."""
    result = torch.eye(dims).repeat(batch, 1, 1)
    turn = math.radians(strengths.get("rotation", 0.0)) * strength
    for plane in PLANES[dims]:
        angle = _uniform(draw, -turn, turn, batch)
        rotation = torch.eye(dims).repeat(batch, 1, 1)
        rotation[:, plane[0], plane[0]] = rotation[:, plane[1], plane[1]] = angle.cos()
        rotation[:, plane[0], plane[1]] = -angle.sin()
        rotation[:, plane[1], plane[0]] = angle.sin()
        result = result @ rotation
    stretch = strengths.get("scale", 0.0) * strength
    whole = _uniform(draw, -stretch, stretch, batch, 1)
    each = _uniform(draw, -stretch, stretch, batch, dims) * 0.4
    factors = torch.exp(whole + each)
    if mirrored_axes(strengths, strength, dims):
        factors = factors * (1 - 2 * (torch.rand(batch, dims, generator=draw) < 0.5).float())
    step = torch.tensor([float(v) for v in spacing])
    return result * step[None, None, :] / step[None, :, None] * factors[:, None, :]


def _intensities(image: Tensor, strengths: Mapping[str, float], strength: float, draw: torch.Generator) -> Tensor:
    """Blur, contrast, brightness, shading, inversion, gamma and noise, each sample and channel by itself."""
    batch, channels = image.shape[:2]
    dims = image.ndim - 2
    shape = (batch, channels, *[1] * dims)

    def amount(name: str) -> float:
        return strengths.get(name, 0.0) * strength

    def some(share: float) -> Tensor:
        return (torch.rand(batch, 1, *[1] * dims, generator=draw) < share).to(image.device)

    if (coarseness := amount("lowres")) > 0 and float(torch.rand((), generator=draw)) < 0.25:
        factor = float(_uniform(draw, max(0.5, 1 - coarseness), 1.0, 1))
        size = [max(1, round(n * factor)) for n in image.shape[2:]]
        coarse = functional.interpolate(image, size, mode="nearest")
        image = functional.interpolate(coarse, image.shape[2:], mode=LINEAR[dims], align_corners=False)
    if (blur := amount("blur")) > 0 and float(torch.rand((), generator=draw)) < 0.2:
        image = _blurred(image, float(_uniform(draw, 0.3, max(0.31, blur), 1)))
    if (contrast := amount("contrast")) > 0:
        stretch = torch.exp(_uniform(draw, -contrast, contrast, *shape)).to(image.device)
        image = image * stretch
    if (brightness := amount("brightness")) > 0:
        image = image + _uniform(draw, -brightness, brightness, *shape).to(image.device)
    if (shading := amount("shading")) > 0:
        coarse = torch.randn(batch, 1, *[min(n, SHADES) for n in image.shape[2:]], generator=draw) * shading
        image = image + functional.interpolate(
            coarse.to(image.device), image.shape[2:], mode=LINEAR[dims], align_corners=True
        )
    if (inverted := amount("invert")) > 0:
        image = torch.where(some(inverted), -image, image)
    if (gamma := amount("gamma")) > 0:
        exponent = torch.exp(_uniform(draw, -gamma, gamma, *shape)).to(image.device)
        axes = tuple(range(2, image.ndim))
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        span = (high - low).clamp_min(1e-6)
        image = torch.where(some(0.3), ((image - low) / span) ** exponent * span + low, image)
    if (noise := amount("noise")) > 0:
        sigma = _uniform(draw, 0, noise, *shape).to(image.device)
        if image.device.type == "cpu":
            grain = torch.randn(image.shape, generator=draw)
        else:
            seed = int(torch.randint(2**62, (1,), generator=draw))
            grain = torch.randn(
                image.shape, device=image.device, generator=torch.Generator(image.device).manual_seed(seed)
            )
        image = image + grain * sigma
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
