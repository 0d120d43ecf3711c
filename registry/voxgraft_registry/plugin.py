"""What this package offers: MLflow as tracker and as store of model versions, folders as a store, and `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voxgraft import StepSpec, StoreSpec, TrackerSpec
    from voxgraft.runs.run import Run

    from .folder import FolderStore
    from .options import FolderStoreOptions, MlflowStoreOptions, MlflowTrackerOptions, RegisterOptions
    from .register import Register
    from .store import MlflowStore
    from .tracker import MlflowTracker


@hookimpl
def voxgraft_trackers() -> list[TrackerSpec[MlflowTrackerOptions]]:
    from voxgraft import TrackerSpec

    return [
        TrackerSpec(
            name="mlflow",
            summary="Parameters, curves, files and pictures of a run, in a SQLite file or on an MLflow server",
            options=_tracker_options,
            build=_tracker,
        )
    ]


@hookimpl
def voxgraft_stores() -> list[StoreSpec[MlflowStoreOptions] | StoreSpec[FolderStoreOptions]]:
    from voxgraft import StoreSpec

    return [
        StoreSpec(
            name="mlflow",
            summary="Versions of models with aliases, in an MLflow registry",
            schemes=("models:", "runs:"),
            options=_store_options,
            build=_store,
        ),
        StoreSpec(
            name="folder",
            summary="Package folders and package files on this disk",
            options=_folder_options,
            build=_folder,
        ),
    ]


@hookimpl
def voxgraft_steps() -> list[StepSpec[RegisterOptions]]:
    from voxgraft import StepSpec
    from voxgraft.runs.steps import independent

    return [
        StepSpec(
            name="register",
            summary="Keep the model as a version in the registry, and judge whether it becomes champion",
            options=_register_options,
            build=_register,
            after=("train", "evaluate"),
            scope="whole",
            independent_of=independent.REGISTER,
            elsewhere=_registry_there,
        )
    ]


def _registry_there(run: Run) -> Mapping[str, Any]:
    from .register import registry_there

    return registry_there(run)


def _tracker_options() -> type[MlflowTrackerOptions]:
    from .options import MlflowTrackerOptions

    return MlflowTrackerOptions


def _tracker(options: MlflowTrackerOptions) -> MlflowTracker:
    from .tracker import MlflowTracker

    return MlflowTracker(options)


def _store_options() -> type[MlflowStoreOptions]:
    from .options import MlflowStoreOptions

    return MlflowStoreOptions


def _store(options: MlflowStoreOptions) -> MlflowStore:
    from .store import MlflowStore

    return MlflowStore(options)


def _folder_options() -> type[FolderStoreOptions]:
    from .options import FolderStoreOptions

    return FolderStoreOptions


def _folder(options: FolderStoreOptions) -> FolderStore:
    from .folder import FolderStore

    return FolderStore()


def _register_options() -> type[RegisterOptions]:
    from .options import RegisterOptions

    return RegisterOptions


def _register(options: RegisterOptions) -> Register:
    from .register import Register

    return Register()
