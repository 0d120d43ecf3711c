"""References to versions, `models:/NAME@ALIAS`, `models:/NAME/VERSION` and `runs:/ID`; and aliases that move.

Who was champion is remembered in a tag of the registered model.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxgraft.errors import ModelError, NoSuchModel
from voxgraft.packages.references import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Container

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel


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
    raise NoSuchModel(f"{text}: write models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID")


def check_name(name: str) -> str:
    """A name that a model can have here.

    Raises:
        ModelError: It holds letters that references cannot hold.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise NoSuchModel(f"{name!r} cannot be a model's name: use letters, digits, dot, dash and underscore")
    return name


HISTORY = "voxgraft.champions"
"""The tag: versions that were champion, in order, the present one last."""

LONGEST = 100


def promoted(client: MlflowClient, model: RegisteredModel, version: str, alias: str) -> None:
    """Set an alias; for `champion`, write down who is champion now and drop the version's other role.

    Args:
        client: Of the registry.
        model: As the registry has it before.
        version: Its number, as a text.
        alias: Such as `champion` or `challenger`.
    """
    if alias == CHAMPION:
        past = _champions(model)
        if past[-1:] != [version]:
            client.set_registered_model_tag(model.name, HISTORY, json.dumps([*past, version][-LONGEST:]))
        if str(model.aliases.get(CHALLENGER)) == version:
            client.delete_registered_model_alias(model.name, CHALLENGER)
    client.set_registered_model_alias(model.name, alias, version)


def demoted(client: MlflowClient, model: RegisteredModel, there: Container[str]) -> str:
    """Let the champion before this one be champion again; the one that was taken back is forgotten as champion.

    Args:
        there: The versions that still exist.

    Returns:
        The version that is champion now.

    Raises:
        ModelError: There was none before.
    """
    past = _champions(model)
    if CHAMPION not in model.aliases:
        raise ModelError(f"the model {model.name!r} has no champion to roll back")
    past.pop()
    while past and past[-1] not in there:
        past.pop()
    if not past:
        raise ModelError(f"the model {model.name!r} had no champion before version {model.aliases[CHAMPION]}")
    client.set_registered_model_tag(model.name, HISTORY, json.dumps(past))
    client.set_registered_model_alias(model.name, CHAMPION, past[-1])
    return past[-1]


def forgotten(client: MlflowClient, model: RegisteredModel, version: str) -> None:
    """Take a version out of the aliases and out of those that were champion, before it is deleted.

    Args:
        client: Of the registry.
        model: As the registry has it before.
        version: Its number, as a text.
    """
    past = _champions(model)
    if version in past:
        rest = [other for other in past if other != version]
        client.set_registered_model_tag(model.name, HISTORY, json.dumps(rest))
    for alias, pointed in model.aliases.items():
        if str(pointed) == version:
            client.delete_registered_model_alias(model.name, alias)


def _champions(model: RegisteredModel) -> list[str]:
    """The versions that were champion; the alias itself is right where someone moved it by another way."""
    try:
        past = [str(version) for version in json.loads(model.tags.get(HISTORY, "[]"))]
    except (ValueError, TypeError):
        past = []
    now = model.aliases.get(CHAMPION)
    if now is not None and past[-1:] != [str(now)]:
        past.append(str(now))
    return past
