"""What this package offers: MLflow as tracker and as store of model versions, folders as a store, and `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxgraft import StepSpec, StoreSpec, TrackerSpec, hookimpl
from voxgraft.runs.steps import independent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voxgraft.runs.run import Run

    from .config import FolderStoreConfig, MlflowStoreConfig, MlflowTrackerConfig, RegisterConfig
    from .folder import FolderStore
    from .register import Register
    from .store import MlflowStore
    from .tracker import MlflowTracker


@hookimpl
def voxgraft_trackers() -> list[TrackerSpec[MlflowTrackerConfig]]:
    return [
        TrackerSpec(
            name="mlflow",
            summary="Parameters, curves, files and pictures of a run, in a SQLite file or on an MLflow server",
            config=_tracker_config,
            build=_tracker,
        )
    ]


@hookimpl
def voxgraft_stores() -> list[StoreSpec[MlflowStoreConfig] | StoreSpec[FolderStoreConfig]]:
    return [
        StoreSpec(
            name="mlflow",
            summary="Versions of models with aliases, in an MLflow registry",
            schemes=("models:", "runs:"),
            config=_store_config,
            build=_store,
        ),
        StoreSpec(
            name="folder",
            summary="Package folders and package files on this disk",
            config=_folder_config,
            build=_folder,
        ),
    ]


@hookimpl
def voxgraft_steps() -> list[StepSpec[RegisterConfig]]:
    return [
        StepSpec(
            name="register",
            summary="Keep the model as a version in the registry, and judge whether it becomes champion",
            config=_register_config,
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


def _tracker_config() -> type[MlflowTrackerConfig]:
    from .config import MlflowTrackerConfig

    return MlflowTrackerConfig


def _tracker(config: MlflowTrackerConfig) -> MlflowTracker:
    from .tracker import MlflowTracker

    return MlflowTracker(config)


def _store_config() -> type[MlflowStoreConfig]:
    from .config import MlflowStoreConfig

    return MlflowStoreConfig


def _store(config: MlflowStoreConfig) -> MlflowStore:
    from .store import MlflowStore

    return MlflowStore(config)


def _folder_config() -> type[FolderStoreConfig]:
    from .config import FolderStoreConfig

    return FolderStoreConfig


def _folder(config: FolderStoreConfig) -> FolderStore:
    from .folder import FolderStore

    return FolderStore()


def _register_config() -> type[RegisterConfig]:
    from .config import RegisterConfig

    return RegisterConfig


def _register(config: RegisterConfig) -> Register:
    from .register import Register

    return Register()
