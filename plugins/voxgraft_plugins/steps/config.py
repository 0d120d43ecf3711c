"""Options of the built-in steps: they have none; what they do stands in the workflow's sections."""

from __future__ import annotations

from voxgraft.config import Config


class StepConfig(Config):
    """A step without options."""
