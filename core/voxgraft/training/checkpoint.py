"""Checkpoints: all that a training needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError
from ..support.files import atomic_write
from .arithmetic import Arithmetic
from .job import Live, State


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


def arithmetic_of(folder: Path, identity: str) -> Arithmetic | None:
    """What the training used that left a checkpoint to go on from; None where there is none.

    Raises:
        TrainingError: The checkpoint is damaged.
    """
    saved = load_checkpoint(folder / "last.pt", identity)
    return None if saved is None else Arithmetic(**saved["arithmetic"])


def save(live: Live) -> None:
    """Keep a training as it stands, by the first process."""
    job, state = live.job, live.state
    if not live.fabric.is_global_zero:
        return
    save_checkpoint(
        job.folder / "last.pt",
        {
            "identity": job.identity,
            "state": {name: getattr(state, name) for name in state.__slots__},
            "network": job.network.state_dict(),
            "extra": {name: module.state_dict() for name, module in job.extra.items()},
            "average": live.average.state_dict(),
            "optimiser": live.optimiser.state_dict(),
            "stack": job.stack.state_dict(),
            "arithmetic": job.arithmetic.document(),
        },
    )


def resume(live: Live) -> None:
    """Go on from the last checkpoint of this very training, if there is one; all processes from the same.

    Raises:
        TrainingError: It is damaged, or one process does not see what another sees.
    """
    job, fabric = live.job, live.fabric
    saved = load_checkpoint(job.folder / "last.pt", job.identity)
    if saved is not None:
        job.network.load_state_dict(saved["network"])
        for name, module in job.extra.items():
            module.load_state_dict(saved["extra"][name])
        live.average.load_state_dict(saved["average"])
        live.optimiser.load_state_dict(saved["optimiser"])
        job.stack.load_state_dict(saved["stack"])
        live.state = State(**saved["state"])
    state = live.state
    live.begun = time.monotonic() - state.seconds
    if (first := fabric.broadcast(state.step)) != state.step:
        raise TrainingError(
            f"{job.folder}: process {fabric.global_rank} would begin at step {state.step}, the first one at {first}; "
            "the run's folder has to lie on storage that all processes share"
        )
