"""Pretrained tensors: where they come from, and what became of each when they were loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors under the names of the module they are for.

    Attributes:
        origin: Where they come from, for the load report: a package and version, a file's name, a model reference.
        sha256: Of the file they were read from.
    """

    tensors: Mapping[str, Tensor]
    origin: str
    licence: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of each tensor.

    Attributes:
        loaded: Taken as they are.
        adapted: Taken after the first convolution was fitted to the number of channels.
        new: Parameters and buffers of the module that the weights do not hold, or hold in another shape.
        dropped: Tensors that the module has no place for.
    """

    origin: str
    licence: str = ""
    sha256: str = ""
    loaded: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    share: float = 0.0

    def __str__(self) -> str:
        return (
            f"weights {self.origin} ({self.licence or 'licence not stated'}): {len(self.loaded)} tensors loaded, "
            f"{len(self.adapted)} adapted, {len(self.new)} new, {len(self.dropped)} dropped; "
            f"{self.share:.1%} of the encoder's parameters are pretrained"
        )

    def document(self) -> dict[str, Any]:
        """Plain values, as the run keeps them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def pretrained(self) -> frozenset[str]:
        return frozenset(self.loaded) | frozenset(self.adapted)


@dataclass(slots=True)
class _Fate:
    loaded: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def load_weights(module: nn.Module, weights: Weights, at_least: float = 0.9) -> LoadReport:
    """Put pretrained tensors into a module, and say what became of each.

    A first convolution of another number of input channels is fitted: one channel is the sum over the pretrained ones
    (exactly what a grey image fed to each of them gives), more are repeated and scaled.

    Args:
        at_least: The share of the module's parameters, counted in numbers, below which nothing counts as pretrained.

    Raises:
        ModelError: Less than `at_least` of the parameters could be loaded.
    """
    state = module.state_dict()
    fate = _Fate()
    matched = 0
    parameters = dict(module.named_parameters())
    for name, value in state.items():
        source = weights.tensors.get(name)
        if source is not None and source.shape == value.shape:
            value.copy_(source)
            fate.loaded.append(name)
        elif source is not None and _is_first_convolution(source, value):
            value.copy_(fit_channels(source, value.shape[1]))
            fate.adapted.append(name)
        else:
            fate.new.append(name)
            continue
        matched += parameters[name].numel() if name in parameters else 0
    total = sum(parameter.numel() for parameter in parameters.values())
    share = matched / total if total else 1.0
    report = LoadReport(
        origin=weights.origin,
        licence=weights.licence,
        sha256=weights.sha256,
        loaded=tuple(fate.loaded),
        adapted=tuple(fate.adapted),
        new=tuple(fate.new),
        dropped=tuple(name for name in weights.tensors if name not in state),
        share=share,
    )
    if share < at_least:
        raise ModelError(
            f"weights {weights.origin}: only {share:.0%} of the encoder's parameters were found in them, "
            f"{at_least:.0%} are needed; they are not for this encoder (first missing: {', '.join(fate.new[:3])})"
        )
    return report


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight (out, in, *kernel) for another number of input channels."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeated = weight.repeat(1, -(-channels // weight.shape[1]), *[1] * (weight.ndim - 2))[:, :channels]
    return repeated * (weight.shape[1] / channels)


def _is_first_convolution(source: Tensor, value: Tensor) -> bool:
    same = source.ndim == value.ndim and source.ndim >= 4
    others = source.shape[0] == value.shape[0] and source.shape[2:] == value.shape[2:]
    return same and others and source.shape[1] in (1, 3)


def read_tensors(path: Any) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` or a `.pth`/`.pt` file, read as data only.

    Raises:
        ModelError: It is damaged, or holds anything but tensors.
    """
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file of weights") from None
    except Exception as error:
        raise ModelError(f"{path}: cannot be read as weights without running code: {type(error).__name__}") from error
    for key in ("state_dict", "model", "network_weights"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path}: does not hold a plain dictionary of tensors")
    return dict(state)
