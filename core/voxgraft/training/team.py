"""Training in processes that `torchrun` or `srun` started, on one node or on several.

All of them are called as `voxgraft run WORKFLOW`. The first does the steps, and alone writes files and talks to the
tracker; the others wait for a training to take part in. They find the prepared arrays in the run's folder, which all
nodes have to share.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TrainingError, UsageError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

    from .arithmetic import Arithmetic

PATIENCE = timedelta(days=30)
"""How long the others wait for the first, which may have to prepare arrays for hours; whoever started them ends them
where one of them dies."""

TORCHRUN = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
SRUN = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")


@dataclass(frozen=True, slots=True)
class Team:
    """The place of this process among those that were started together.

    Attributes:
        launcher: What started them.
        rank: Its number, 0 for the one that does the steps.
        world: How many there are.
        nodes: On how many machines, the same number on each.
    """

    launcher: str
    rank: int
    world: int
    nodes: int

    def environment(self) -> ClusterEnvironment:
        """What Fabric asks for ranks and for the address of the first process.

        Raises:
            UsageError: The tasks are spread over nodes as Fabric cannot have them.
        """
        from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

        if self.launcher == "torchrun":
            return TorchElasticEnvironment()
        try:
            return SLURMEnvironment(auto_requeue=False)
        except RuntimeError as error:
            raise UsageError(f"srun: {error}") from None


def team_of(environment: Mapping[str, str] = os.environ) -> Team | None:
    """The processes among which this one was started; None where it is alone.

    Raises:
        UsageError: The nodes have different numbers of processes.
    """
    if all(name in environment for name in TORCHRUN):
        world, each = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        team = Team("torchrun", int(environment["RANK"]), world, max(1, world // each))
    elif all(name in environment for name in SRUN):  # a batch script without srun has some of them, and is alone
        world, nodes = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment.get("SLURM_STEP_NUM_NODES", "1"))
        team = Team("srun", int(environment["SLURM_PROCID"]), world, nodes)
    else:
        return None
    if team.world % team.nodes:
        raise UsageError(f"{team.launcher}: {team.world} processes on {team.nodes} nodes; start as many on each node")
    return team if team.world > 1 else None


@contextmanager
def leading(team: Team | None) -> Iterator[None]:
    """Do the steps, as the first of a team or alone; the others are sent home at the end, but not after an error:
    they may be in the middle of a training then, and whoever started them ends them."""
    if team is None:
        yield
        return
    _join(team)
    yield
    send(None)
    _part()


def follow(team: Team) -> None:
    """Take part in every training of the first process, until it has no more.

    Raises:
        TrainingError: The first process has ended.
    """
    from .session import train_beside

    _join(team)
    while True:
        try:
            job = _received()
        except (RuntimeError, EOFError) as error:
            raise TrainingError(f"process {team.rank} of {team.world}: the first one has ended; it says why") from error
        if job is None:
            break
        train_beside(*job)
    _part()


def send(job: tuple[Path, dict[str, Any], bytes, Arithmetic, str] | None) -> None:
    """Tell the others what to train, or that there is nothing more; by the first process."""
    import torch.distributed as distributed

    distributed.broadcast_object_list([None if job is None else pickle.dumps(job)], src=0)


def _received() -> tuple[Path, dict[str, Any], bytes, Arithmetic, str] | None:
    import torch.distributed as distributed

    told: list[Any] = [None]
    distributed.broadcast_object_list(told, src=0)
    return None if told[0] is None else pickle.loads(told[0])


def _join(team: Team) -> None:
    import torch
    import torch.distributed as distributed

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher ends a process that waits for others inside torch
    environment = team.environment()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    both = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if both else "gloo", rank=team.rank, world_size=team.world, timeout=PATIENCE
    )


def _part() -> None:
    import torch.distributed as distributed

    distributed.destroy_process_group()
