"""Folders of empty files, and what a layout makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Dataset


def read(catalogue: Catalogue, use: str, **options: Any) -> Dataset:
    found: Dataset = choose(catalogue, "layout", {"use": use, **options}).build().read()
    return found


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
