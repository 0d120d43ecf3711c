"""Checkpoints: all that a training needs to go on, in one file that is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..support.files import atomic_write


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the previous one stays until this one is complete."""
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """The checkpoint of this very training, None where there is none.

    Args:
        identity: A fingerprint of everything that decides the training.

    Raises:
        TrainingError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        belongs = state["identity"] == identity
    except Exception as error:
        raise TrainingError(
            f"{path}: the checkpoint is damaged; run with --fresh to train again from the start"
        ) from error
    return state if belongs else None
