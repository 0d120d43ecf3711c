"""The stages of an encoder: which parameters and modules of the network belong to each, shallow to deep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from voxgraft.errors import TrainingError
from voxgraft.model.network import SegmentationNetwork

ENCODER = "encoder"


def encoder_stages(network: SegmentationNetwork) -> list[list[str]]:
    """Parameter-name prefixes of each stage, under the names of the whole network.

    Raises:
        TrainingError: The encoder does not say what its stages are.
    """
    stages: Sequence[Sequence[str]] | None = getattr(network.encoder, "stages", None)
    if not stages:
        raise TrainingError(f"transfer: the encoder {type(network.encoder).__name__} does not name its stages")
    return [[f"{ENCODER}.{prefix}" for prefix in prefixes] for prefixes in stages]


def shallow_stages(network: SegmentationNetwork, count: int, option: str) -> list[str]:
    """The prefixes of the first stages.

    Raises:
        TrainingError: The encoder has fewer; the message names the option that asks for them.
    """
    stages = encoder_stages(network)
    if count > len(stages):
        raise TrainingError(f"transfer: {option} is {count}, but the encoder has {len(stages)} stages")
    return [prefix for prefixes in stages[:count] for prefix in prefixes]


def belongs(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a parameter or module is named by one of the prefixes, or lies within one of them."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def stage_of(name: str, stages: Sequence[Sequence[str]]) -> int | None:
    """The stage of a parameter; None where it belongs to no encoder. One that no stage names counts as the deepest."""
    for stage, prefixes in enumerate(stages):
        if belongs(name, prefixes):
            return stage
    return len(stages) - 1 if belongs(name, [ENCODER]) else None


def modules_in(network: nn.Module, prefixes: Sequence[str]) -> Iterator[nn.Module]:
    """The modules that the prefixes name and all within them."""
    for name, module in network.named_modules():
        if belongs(name, prefixes):
            yield module
