"""What this package offers: MLflow as tracker and as store of model versions, folders as a store, and `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgraft.plugin import hookimpl, late, late_call, late_new

if TYPE_CHECKING:
    from voxgraft.plugin import Options, StepSpec, StoreSpec, TrackerSpec

    from .options import MlflowStoreOptions, MlflowTrackerOptions, RegisterOptions


@hookimpl
def voxgraft_trackers() -> list[TrackerSpec[MlflowTrackerOptions]]:
    from voxgraft.plugin import TrackerSpec

    return [
        TrackerSpec(
            name="mlflow",
            summary="Parameters, curves, files and pictures of a run, in a SQLite file or on an MLflow server",
            options=late(__package__, ".options:MlflowTrackerOptions"),
            build=late_call(__package__, ".tracker:MlflowTracker"),
        )
    ]


@hookimpl
def voxgraft_stores() -> list[StoreSpec[MlflowStoreOptions] | StoreSpec[Options]]:
    from voxgraft.plugin import StoreSpec

    return [
        StoreSpec(
            name="mlflow",
            summary="Versions of models with aliases, in an MLflow registry",
            schemes=("models:", "runs:"),
            options=late(__package__, ".options:MlflowStoreOptions"),
            build=late_call(__package__, ".store:MlflowStore"),
        ),
        StoreSpec(
            name="folder",
            summary="Package folders and package files on this disk",
            build=late_new(__package__, ".folder:FolderStore"),
        ),
    ]


@hookimpl
def voxgraft_steps() -> list[StepSpec[RegisterOptions]]:
    from voxgraft.plugin import StepSpec
    from voxgraft.runs.steps import independent

    return [
        StepSpec(
            name="register",
            summary="Register the model as a version, and decide whether it becomes champion",
            options=late(__package__, ".options:RegisterOptions"),
            build=late_new(__package__, ".register:Register"),
            after=("train", "evaluate"),
            scope="whole",
            independent_of=independent.REGISTER,
            elsewhere=late_call(__package__, ".register:registry_there"),
        )
    ]
