"""How every HTML page of VoxGraft looks: one stylesheet, written into each page, since a page stands by itself."""

from __future__ import annotations

from importlib.resources import files


def style() -> str:
    """The rules that all pages share; a page's own come after them."""
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8").rstrip()
