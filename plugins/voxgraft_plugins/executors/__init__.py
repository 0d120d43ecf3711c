"""Spread a batch over threads, processes, and the machines of a cluster."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ExecutorSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[Any]]:
    executors = {
        "local": (".threads:local", "This machine: threads or processes"),
        "threads": (".threads:Threads", "Threads of this process"),
        "processes": (".processes:Processes", "Processes of this machine"),
        "ray": (".ray:Cluster", "The machines of a Ray cluster"),
    }
    return [
        ExecutorSpec(
            name=name,
            summary=summary,
            options=late(__name__, ".ray:RayOptions" if name == "ray" else "voxgraft.plugin:ExecutorOptions"),
            build=late_call(__name__, place),
        )
        for name, (place, summary) in executors.items()
    ]
