"""Which of a network's parameters belong to which of its maps, found from the graph of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


def stages_of(net: nn.Module, maps: Sequence[Tensor]) -> list[list[str]]:
    """Parameter-name prefixes of each map: a parameter belongs to the finest map that depends on it.

    Args:
        maps: What the network gave with gradients on, fine to coarse.
    """
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    stage_of: dict[str, int] = {}
    seen: set[Any] = set()
    for stage, stage_map in enumerate(maps):
        for parameter in _leaves(stage_map.grad_fn, seen):
            if id(parameter) in names:
                stage_of[names[id(parameter)]] = stage
    for name in names.values():
        stage_of.setdefault(name, len(maps) - 1)
    stages: list[list[str]] = [[] for _ in maps]
    _shorten(net, "", stage_of, stages)
    return [prefixes for prefixes in stages if prefixes]


def _leaves(node: Any, seen: set[Any]) -> list[Any]:
    """Parameters in the graph of a result, without those already seen."""
    leaves, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        waiting.extend(following for following, _ in node.next_functions)
    return leaves


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
