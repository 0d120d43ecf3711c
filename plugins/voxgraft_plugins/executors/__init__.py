"""Spread a batch over threads, processes, and the machines of a cluster."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import ExecutorSpec, hookimpl, late, late_call


@hookimpl
def voxgraft_executors() -> list[ExecutorSpec[Any]]:
    summaries = {
        "local": "This machine: threads or processes",
        "threads": "Threads of this process",
        "processes": "Processes of this machine",
        "ray": "The machines of a Ray cluster",
    }
    makers = {"local": ".local:local", "threads": ".threads:Threads", "processes": ".processes:Processes"}
    return [
        ExecutorSpec(
            name=name,
            summary=summary,
            options=late(__name__, ".ray:RayOptions" if name == "ray" else ".options:ExecutorOptions"),
            build=late_call(__name__, makers.get(name, ".ray:Cluster")),
        )
        for name, summary in summaries.items()
    ]
