"""Spread a batch's reading and writing over threads of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ExecutorSpec, hookimpl

if TYPE_CHECKING:
    from .local import LocalExecutor, LocalOptions


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[LocalOptions]]:
    return [
        ExecutorSpec(
            name="local",
            summary="Threads of this process",
            options=_options,
            build=_build,
        )
    ]


def _options() -> type[LocalOptions]:
    from .local import LocalOptions

    return LocalOptions


def _build(options: LocalOptions) -> LocalExecutor:
    from .local import LocalExecutor

    return LocalExecutor(options)
