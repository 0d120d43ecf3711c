"""Tensor names of other programs: which tensor of a file is which of the encoder's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from torch import Tensor

Rename = Callable[[str], str]

PREFERRED = ("teacher", "ema", "encoder_q", "base_encoder", "encoder")
"""Of several copies of an encoder in one file (DINO, MoCo, an average), the one that is meant for use."""


def match_names(
    tensors: Mapping[str, Tensor], expected: Collection[str], rename: Rename | None = None
) -> dict[str, Tensor]:
    """Tensors under the encoder's names.

    Programs put their own words before the names: `module.` (data parallel, MedicalNet), `encoder.`
    (segmentation_models_pytorch, VoxGraft), `backbone.` (DINO), `module.encoder_q.` (MoCo), `swinViT.` (MONAI). The
    prefix under which most of the wanted names are found is taken away; tensors without it keep their names.

    Args:
        rename: Gives a name as the encoder has it, from a name (whatever its prefix) as the other program has it.
    """
    named = {(rename(name) if rename else name): value for name, value in tensors.items()}
    expected = frozenset(expected)
    votes: Counter[str] = Counter()
    for name in named:
        for prefix, rest in _splits(name):
            if rest in expected:
                votes[prefix] += 1
    if not votes:
        return named
    most = max(votes.values())
    best = min((prefix for prefix, count in votes.items() if count == most), key=_rank)
    result = {name.removeprefix(best): value for name, value in named.items() if name.startswith(best)}
    for name, value in named.items():
        if not name.startswith(best) and name not in expected:
            result.setdefault(name, value)
    return result


def _splits(name: str) -> list[tuple[str, str]]:
    parts = name.split(".")
    return [("".join(f"{part}." for part in parts[:n]), ".".join(parts[n:])) for n in range(len(parts))]


def _rank(prefix: str) -> tuple[int, int, str]:
    """The shortest first, but a preferred copy before any other."""
    words = prefix.split(".")
    rank = next((n for n, word in enumerate(PREFERRED) if word in words), len(PREFERRED))
    return (0 if not prefix else 1 + rank, len(prefix), prefix)
