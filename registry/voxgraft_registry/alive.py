"""What a killed process left in MLflow: runs that seem to go on, and models of no version. A lock says who is alive."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from voxgraft.support.lock import HELD, locked, remove

from .connection import Address, pages

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS = "voxgraft.process"
"""The tag of runs and logged models by which the process that makes them is known; it holds a lock of this name."""
FOLDER = ".voxgraft-running"
"""The folder of these locks, beside the SQLite file. Of a server nobody knows who else works with it: it has none."""


@contextmanager
def working(at: Address) -> Iterator[str]:
    """Hold the lock of a new token for as long as runs and logged models with its tag are being made."""
    token = secrets.token_hex(8)
    path = _lock_of(at, token)
    if path is None:
        yield token
        return
    path.parent.mkdir(exist_ok=True)
    try:
        with locked(path):
            yield token
    finally:
        remove(path)
        with suppress(OSError):  # others work too
            path.parent.rmdir()


def put_right(client: MlflowClient, at: Address, experiment: str) -> None:
    """End the runs of an experiment whose processes have ended, and remove logged models that became no version.

    Args:
        client: Of the registry.
        at: Where it is; a server is left alone, for its runs may be on other machines.
        experiment: The id.
    """
    if at.database is None:
        return
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=1000):
        if _has_ended(at, run.data.tags.get(PROCESS)):
            client.set_terminated(run.info.run_id, "KILLED")
    orphans = [
        model
        for model in pages(client.search_logged_models, experiment_ids=[experiment])
        if _has_ended(at, model.tags.get(PROCESS))
    ]
    if orphans:
        kept = {version.source for version in pages(client.search_model_versions)}
        for model in orphans:
            if model.artifact_location not in kept:
                client.delete_logged_model(model.model_id)


def _has_ended(at: Address, token: str | None) -> bool:
    """Whether the process of a token is there no more; what has no token is somebody else's. Where there are no locks,
    nobody knows it of a process that has not removed its file."""
    path = _lock_of(at, token) if token else None
    if path is None:
        return False
    if not path.exists():
        return True
    with locked(path) as state:
        ended = state == HELD
    if ended:
        remove(path)
    return ended


def _lock_of(at: Address, token: str) -> Path | None:
    return at.database.parent / FOLDER / f"{token}.lock" if at.database is not None and token.isalnum() else None
