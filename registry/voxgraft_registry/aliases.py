"""Aliases that move, and the memory of who was champion: a tag of the registered model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from voxgraft.errors import ModelError
from voxgraft.packages.references import CHALLENGER, CHAMPION

if TYPE_CHECKING:
    from collections.abc import Container

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

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
        raise ModelError(f"the model {model.name!r} has no champion to take back")
    past.pop()
    while past and past[-1] not in there:
        past.pop()
    if not past:
        raise ModelError(f"the model {model.name!r} had no champion before version {model.aliases[CHAMPION]}")
    client.set_registered_model_tag(model.name, HISTORY, json.dumps(past))
    client.set_registered_model_alias(model.name, CHAMPION, past[-1])
    return past[-1]


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
