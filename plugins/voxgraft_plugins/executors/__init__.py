"""Spread a batch's reading and writing over threads of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft import ExecutorSpec, hookimpl

if TYPE_CHECKING:
    from .config import LocalConfig
    from .local import LocalExecutor


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[LocalConfig]]:
    return [
        ExecutorSpec(
            name="local",
            summary="Threads of this process",
            config=_config,
            build=_build,
        )
    ]


def _config() -> type[LocalConfig]:
    from .config import LocalConfig

    return LocalConfig


def _build(config: LocalConfig) -> LocalExecutor:
    from .local import LocalExecutor

    return LocalExecutor(config)
