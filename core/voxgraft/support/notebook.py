"""How results show themselves in a notebook: the look of all of them is in `voxgraft.reports.notebook`."""

from __future__ import annotations

from importlib import import_module


class Shown:
    """Shows itself as HTML in a notebook.

    Volumes and scores stand on floors below the reports. The module that draws them is therefore found by its name, and
    only when one is shown.
    """

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        html: str | None = import_module("voxgraft.reports.notebook").html_of(self)
        return html
