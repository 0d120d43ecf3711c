"""What the facts of a package are: anybody may have written them, and pages, cards and messages are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, ValidationError


class _Told(BaseModel):
    """Keys whose kind is known; others are left alone."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Mean(_Told):
    mean: float | None = None
    ci95: Annotated[list[float | None], Len(2, 2)] | None = None
    n: int = 0
    undefined: int = 0


class _Plugin(_Told):
    distribution: str = ""
    version: str = ""
    sha256: str = ""


class _Split(_Told):
    train: list[str] = []
    validation: list[str] = []


class Facts(_Told):
    """Of a package: all may be missing."""

    name: str = ""
    created: str = ""
    voxgraft: str = ""
    reference: str = ""
    version: str | int = ""
    licence: str = ""
    members: int = 0
    packages: dict[str, str] = {}
    plugins: dict[str, _Plugin] = {}
    data: dict[str, Any] = {}
    split: _Split = _Split()
    training: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    scores: dict[str, dict[str, _Mean]] = {}
    guard: dict[str, Any] = {}


def fault_of(facts: Mapping[str, Any]) -> str:
    """What is wrong with the facts of a package, with its place; empty where nothing is."""
    try:
        Facts.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""
