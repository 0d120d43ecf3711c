"""Options of the tracker, the stores and the step of this package."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from annotated_types import MinLen
from pydantic import AfterValidator

from voxgraft.components.choice import Options, TrackingOptions
from voxgraft.errors import UsageError


def _usable(uri: str) -> str:
    try:
        from .connection import address

        address(uri)
    except UsageError as error:
        raise ValueError(str(error)) from None
    if "://" in uri and urlsplit(uri).password:
        raise ValueError("a password does not belong in a file that travels; set MLFLOW_TRACKING_URI instead")
    return uri


Uri = Annotated[str, MinLen(1), AfterValidator(_usable)]


class MlflowTrackerOptions(TrackingOptions):
    """Where a run's parameters, curves and files go."""

    uri: Uri | None = None
    """`sqlite:///FILE`, or a server's `http://...`; by default `MLFLOW_TRACKING_URI`, else sqlite:///voxgraft.db."""

    experiment: Annotated[str, MinLen(1)] | None = None
    """The experiment in MLflow; by default the workflow's name."""

    artifacts: str | None = None
    """Where files of a new experiment go; by default `mlartifacts` next to the SQLite file, or the server's own
    place."""


class MlflowStoreOptions(TrackingOptions):
    """Where versions of models are kept."""

    uri: str | None = None
    """`sqlite:///FILE`, or a server's `http://...`; by default `MLFLOW_TRACKING_URI`, else ./voxgraft.db."""

    create: bool = False
    """Create the SQLite file if it does not exist; otherwise a missing file is an error."""


class RegisterOptions(Options):
    """A step without options; what it does stands in the workflow's section `registry`."""
