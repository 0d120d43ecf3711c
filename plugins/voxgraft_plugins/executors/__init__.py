"""Spread a batch over threads, processes, and the machines of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import ExecutorSpec, hookimpl, late, late_call

if TYPE_CHECKING:
    from voxgraft.plugin import ExecutorOptions


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[ExecutorOptions]]:
    executors = {
        "local": (".local:local", "This machine: threads or processes"),
        "threads": (".threads:Threads", "Threads of this process"),
        "processes": (".processes:Processes", "Processes of this machine"),
    }
    options = late(__name__, "voxgraft.plugin:ExecutorOptions")
    return [
        ExecutorSpec(name=name, summary=summary, options=options, build=late_call(__name__, place))
        for name, (place, summary) in executors.items()
    ]
