"""Spread a batch over threads, processes, and the machines of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ExecutorSpec, hookimpl

if TYPE_CHECKING:
    from voxgraft.plugin import Executor, ExecutorOptions


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[ExecutorOptions]]:
    return [
        ExecutorSpec(name="local", summary="This machine: threads or processes", options=_options, build=_local),
        ExecutorSpec(name="threads", summary="Threads of this process", options=_options, build=_threads),
        ExecutorSpec(name="processes", summary="Processes of this machine", options=_options, build=_processes),
    ]


def _options() -> type[ExecutorOptions]:
    from voxgraft.plugin import ExecutorOptions

    return ExecutorOptions


def _local(options: ExecutorOptions) -> Executor:
    from .local import local

    return local(options)


def _threads(options: ExecutorOptions) -> Executor:
    from .threads import Threads

    return Threads(options)


def _processes(options: ExecutorOptions) -> Executor:
    from .processes import Processes

    return Processes(options)
