"""The base of every options model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Options of a component: frozen, no unknown keys, numbers are finite, docstrings become schema text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TrackingOptions(Options):
    """Options of trackers and stores at a tracking URI."""

    uri: str | None = None
    """Where the tracking server or its database is."""
