"""Maps of a timm backbone, with the sizes and the order of axes that the decoders count on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.errors import ModelError
from voxgraft.model.pretrained import named_weights
from voxgraft.model.weights import Weights

from .config import LiteConfig
from .imagenet import imagenet_weights
from .imports import import_timm

TRIAL = 128
"""Pixels along an edge of the image with which a backbone is tried."""


class TimmEncoder:
    """Makes `TimmMaps`; never downloads anything."""

    def __init__(self, config: LiteConfig) -> None:
        self._config = config

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> TimmMaps:
        """The module; see `voxgraft.interfaces.Encoder`. A backbone has its own strides: the plan's are ignored.

        Raises:
            ModelError: timm has no such backbone, or it gives no maps at several resolutions.
        """
        backbone = make_backbone(self._config.backbone, channels)
        return TimmMaps(backbone, channels, full_resolution=self._config.full_resolution)

    def weights(self) -> Weights | None:
        """The tensors under the names of `TimmMaps`; files may use timm's own names."""
        if self._config.weights == "imagenet":
            weights = imagenet_weights()
        else:
            named = named_weights(self._config.weights)
            if named is None:
                return None
            weights = named
        wanted = make_backbone(self._config.backbone, 3).state_dict()
        tensors = {f"net.{_own_name(name, wanted)}": value for name, value in weights.tensors.items()}
        return Weights(tensors, weights.origin, weights.licence, weights.sha256)


class TimmMaps(nn.Module):
    """The maps of a backbone, fine to coarse.

    An image whose size is no multiple of the coarsest stride is padded with zeros at its far ends (zero is the mean of
    a normalised image), and the maps are cut again: a voxel lies at the same place in every map for every size.
    """

    def __init__(self, net: nn.Module, channels: int, *, full_resolution: bool) -> None:
        super().__init__()
        self.net = net
        info: Any = net.feature_info
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).rsplit(".", 1)[-1] == "NHWC"
        reductions = [int(reduction) for reduction in info.reduction()]
        self._adds_image = full_resolution and reductions[0] > 1
        own = [1] if self._adds_image else []
        self.channels = (*([channels] if own else []), *(int(width) for width in info.channels()))
        self.strides = tuple((step, step) for step in own + reductions)
        self._multiple = max(reductions)
        self.stages = self._find_stages(channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (batch, channel, y, x), fine to coarse; the image is (batch, channel, y, x)."""
        size = image.shape[2:]
        missing = [-n % self._multiple for n in size]
        padded = functional.pad(image, (0, missing[1], 0, missing[0])) if any(missing) else image
        maps = list(self.net(padded))
        if self._channels_last:
            maps = [one.permute(0, 3, 1, 2).contiguous() for one in maps]
        if any(missing):
            maps = [_cut(one, size, step) for one, step in zip(maps, self.strides[-len(maps) :], strict=True)]
        return [image, *maps] if self._adds_image else maps

    def _find_stages(self, channels: int) -> list[list[str]]:
        """Parameter-name prefixes of each stage: a parameter belongs to the finest map that depends on it."""
        training = self.net.training
        self.net.eval()
        with torch.enable_grad():
            try:
                maps = list(self.net(torch.zeros(1, channels, TRIAL, TRIAL)))
            except (RuntimeError, AssertionError) as error:
                raise ModelError(
                    f"timm: {type(self.net).__name__} cannot take images of {TRIAL}x{TRIAL} pixels: {error}"
                ) from None
        self.net.train(training)
        names = {id(parameter): name for name, parameter in self.net.named_parameters()}
        stage_of: dict[str, int] = {}
        seen: set[Any] = set()
        for stage, one in enumerate(maps):
            for parameter in _leaves(one.grad_fn, seen):
                stage_of[names[id(parameter)]] = stage
        for name in names.values():
            stage_of.setdefault(name, len(maps) - 1)
        stages: list[list[str]] = [[] for _ in maps]
        _shorten(self.net, "", stage_of, stages)
        return [[f"net.{prefix}" for prefix in prefixes] for prefixes in stages if prefixes]


def make_backbone(name: str, channels: int) -> nn.Module:
    """A backbone with freshly drawn weights.

    Raises:
        ModelError: timm has no such backbone, or it gives no maps at several resolutions.
    """
    timm = import_timm()
    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ModelError(f"timm has no backbone {name!r}{hint}")
    facts = timm.models.get_pretrained_cfg(name.split(".")[0])
    any_size = {"strict_img_size": False} if getattr(facts, "fixed_input_size", False) else {}
    try:
        net = _create(timm, name, channels, any_size)
    except (RuntimeError, TypeError, AssertionError, AttributeError, IndexError, ValueError) as error:
        raise ModelError(f"timm: {name} cannot be used as an encoder: {error}") from None
    info: Any = net.feature_info
    if len(set(info.reduction())) == 1 and len(info.reduction()) > 1:
        raise ModelError(
            f"timm: {name} gives all its maps at one resolution, as plain vision transformers do; "
            "choose a backbone with several, such as resnet18, convnext_tiny or swin_tiny_patch4_window7_224"
        )
    return net


def _create(timm: Any, name: str, channels: int, any_size: dict[str, bool]) -> nn.Module:
    """The backbone; for images of any size where it has such an option."""
    try:
        net: nn.Module = timm.create_model(name, pretrained=False, features_only=True, in_chans=channels, **any_size)
    except TypeError:
        if not any_size:
            raise
        net = timm.create_model(name, pretrained=False, features_only=True, in_chans=channels)
    return net


def _own_name(name: str, wanted: Iterable[str]) -> str:
    """A tensor's name in the backbone, where its first two parts may be joined (`stages_0` for `stages.0`)."""
    plain = name.removeprefix("net.")
    flat = plain.replace(".", "_", 1)
    return flat if plain not in wanted and flat in wanted else plain


def _cut(one: Tensor, size: Sequence[int], step: Sequence[int]) -> Tensor:
    """The part of a map that an image of this size covers."""
    return one[:, :, : -(-size[0] // step[0]), : -(-size[1] // step[1])]


def _leaves(node: Any, seen: set[Any]) -> list[Any]:
    """Parameters in the graph of a result, without those already seen."""
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting.extend(following for following, _ in node.next_functions)
    return found


def _shorten(module: nn.Module, prefix: str, stage_of: dict[str, int], stages: list[list[str]]) -> None:
    """Name whole modules where all their parameters belong to one stage."""
    start = f"{prefix}." if prefix else ""
    for name, _ in module.named_parameters(recurse=False):
        stages[stage_of[start + name]].append(start + name)
    for name, child in module.named_children():
        within = {stage_of[full] for full, _ in child.named_parameters(f"{start}{name}") if full in stage_of}
        if len(within) == 1:
            stages[within.pop()].append(start + name)
        elif within:
            _shorten(child, start + name, stage_of, stages)
