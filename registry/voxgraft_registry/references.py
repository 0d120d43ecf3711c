"""References to versions: `models:/NAME@ALIAS`, `models:/NAME/VERSION` and `runs:/ID`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxgraft.errors import ModelError

_NAME = r"[^/@:'\"`\\\s][^/@:'\"`\\]*"
_MODEL = re.compile(rf"models:/+(?P<name>{_NAME})(?:@(?P<alias>[\w\-]+)|/(?P<version>[0-9]+))")
_RUN = re.compile(r"runs:/+(?P<run>[0-9A-Za-z][\w\-]{0,255})")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference names: a model with an alias or a version, or a run."""

    name: str = ""
    alias: str = ""
    version: str = ""
    run: str = ""


def parse(text: str) -> Reference:
    """Read a reference; names and ids hold nothing that could mean something in MLflow's filters.

    Raises:
        ModelError: It is none.
    """
    if match := _MODEL.fullmatch(text):
        return Reference(match["name"], match["alias"] or "", match["version"] or "")
    if match := _RUN.fullmatch(text):
        return Reference(run=match["run"])
    raise ModelError(f"{text}: write models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID")


def check_name(name: str) -> str:
    """A name that a model can have here.

    Raises:
        ModelError: It holds letters that references cannot hold.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ModelError(f"{name!r} cannot be a model's name: use letters, digits, dot, dash and underscore")
    return name
