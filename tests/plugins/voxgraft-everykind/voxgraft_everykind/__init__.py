"""One component of every kind, each called `every` and made of what docs/plugins.md says alone."""

from __future__ import annotations

from typing import Any

from voxgraft import plugin
from voxgraft.plugin import hookimpl


def _options() -> Any:
    from .parts import EveryOptions

    return EveryOptions


def _spec(kind: str, **more: Any) -> list[Any]:
    def build(options: Any) -> Any:
        from . import parts

        return getattr(parts, kind)(options)

    spec = getattr(plugin, f"{kind}Spec")
    return [spec(name="every", summary=f"An example of a {kind.lower()}", options=_options, build=build, **more)]


@hookimpl
def voxgraft_readers() -> Any:
    return _spec("Reader", suffixes=(".every",))


@hookimpl
def voxgraft_writers() -> Any:
    return _spec("Writer", suffixes=(".every",), filename="mask.every")


@hookimpl
def voxgraft_layouts() -> Any:
    return _spec("Layout")


@hookimpl
def voxgraft_modalities() -> Any:
    return _spec("Modality")


@hookimpl
def voxgraft_encoders() -> Any:
    return _spec("Encoder")


@hookimpl
def voxgraft_decoders() -> Any:
    return _spec("Decoder")


@hookimpl
def voxgraft_strategies() -> Any:
    return _spec("Strategy")


@hookimpl
def voxgraft_losses() -> Any:
    return _spec("Loss")


@hookimpl
def voxgraft_metrics() -> Any:
    return _spec("Metric", higher_is_better=True)


@hookimpl
def voxgraft_measurements() -> Any:
    return _spec("Measurement", units=("HU", "every"))


@hookimpl
def voxgraft_steps() -> Any:
    return _spec("Step", after=("train",), scope="both")


@hookimpl
def voxgraft_trackers() -> Any:
    return _spec("Tracker")


@hookimpl
def voxgraft_stores() -> Any:
    return _spec("Store", schemes=("every:",))


@hookimpl
def voxgraft_executors() -> Any:
    return _spec("Executor")


@hookimpl
def voxgraft_commands() -> Any:
    return _spec("Command")
