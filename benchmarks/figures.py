"""What the pages of figures have in common: they are written from the files in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

from measured import RESULTS


def load(name: str) -> dict[str, Any]:
    """A file of figures."""
    document: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return document


def page(parts: Iterable[Iterator[str]]) -> str:
    """The lines of all parts."""
    return "\n".join(text for part in parts for text in part) + "\n"


def section(title: str, command: str) -> Iterator[str]:
    """A heading, and the command that measured what follows."""
    yield from ("", f"## {title}", "", f"`{command}`", "")


def said(text: str, width: int = 118) -> Iterator[str]:
    """A paragraph in lines."""
    yield from wrap(text, width, break_long_words=False, break_on_hyphens=False)


def head(*names: object) -> Iterator[str]:
    """The head of a table after an empty line; rows follow."""
    yield from ("", line(*names), "|" + " --- |" * len(names))


def line(*cells: object) -> str:
    """A row of a table."""
    return "|" + "".join(f" {cell} |" if str(cell) else " |" for cell in cells)


def machine(document: Mapping[str, Any], packages: Sequence[str]) -> tuple[str, str]:
    """The machine that measured, and the versions of Python and of some packages."""
    about = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if name in packages)
    return f"Machine: {about['cores']} cores of {about['processor']}, no GPU", f"Python {about['python']}, {versions}."
