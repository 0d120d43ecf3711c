"""Options of the built-in steps: they have none; what they do stands in the workflow's sections."""

from __future__ import annotations

from ...components.choice import Options


class StepOptions(Options):
    """A step without options."""
