"""Options of encoders that begin with pretrained weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, Protocol, Self, TypeVar

from ..components.choice import Options

Inflation = Literal["centre", "mean"]
"""How a network of slices is inflated. `centre`: at the start only the middle slice counts; `mean`: all count alike."""

ENCODER = "encoder."
"""What the names of an encoder's tensors begin with in the weights of a whole network."""

FILE = "file:"
MODELS = ("models:/", "runs:/")
HUB = "hf:"
"""What references to weights begin with: a file, a registered model, a repository of the hub."""


class Adjustable(Protocol):
    """Pretrained tensors, see `voxgraft.networks.weights.Weights`: with other values of some fields."""

    def but(self, **changes: Any) -> Self: ...


W = TypeVar("W", bound=Adjustable)


class StartValues(Options):
    """How strictly initial weights are taken; the base of the options of encoders with pretrained weights."""

    allow_partial: bool = False
    """Train even where the weights hold less than 90 % of the encoder's parameters; the rest starts at random."""

    weights: str = "none"
    """Where pretrained weights come from; `none` trains from scratch."""

    def finish(self, weights: W | None) -> W | None:
        """Initial weights as these options want them taken."""
        return weights.but(at_least=0.0) if weights is not None and self.allow_partial else weights


def weights_option(*own: str) -> Callable[[str], str]:
    """A check for the option `weights` of an encoder, for pydantic's AfterValidator.

    Args:
        own: Words that this encoder knows besides files and models, such as `none` or `imagenet`.
    """

    def check(value: str) -> str:
        if value in own or any(value.startswith(start) and value != start for start in (FILE, *MODELS)):
            return value
        if value.startswith(HUB) and all(_hub_parts(value)[:1]):
            return value
        raise ValueError(
            f"weights {value!r} are not known: write {', '.join(own)}, file:PATH or models:/NAME@ALIAS, "
            "or hf:OWNER/REPOSITORY[/FILE] to download them"
        )

    return check


def whole_option(value: str) -> str:
    """A check for the option that names a whole network's initial weights, for pydantic's AfterValidator."""
    if value == "none" or any(value.startswith(start) and value != start for start in MODELS):
        return value
    raise ValueError(f"{value!r} is not a registered model: write none or models:/NAME@ALIAS")


def _hub_parts(reference: str) -> tuple[str, str]:
    """The repository and the file of `hf:OWNER/REPOSITORY[/FILE]`; both empty where it is none."""
    repository_owner, _, rest = reference.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    parts = [repository_owner, repository, *(file.split("/") if file else [])]
    return (
        (f"{repository_owner}/{repository}", file)
        if all(re.fullmatch(r"[\w.-]*\w[\w.-]*", part) for part in parts)
        else ("", "")
    )
