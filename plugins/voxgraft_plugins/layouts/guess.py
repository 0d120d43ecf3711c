"""Whether a folder whose layout nobody named looks like one of these, and the options to read it with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAIRS = (("images", "labels"), ("images", "masks"), ("imagesTr", "labelsTr"), ("image", "label"), ("image", "mask"))
"""Folders of images and of their masks, as people call them."""


def decathlon(folder: Path) -> Mapping[str, Any] | None:
    """A folder with dataset.json."""
    return {"path": folder} if (folder / "dataset.json").is_file() else None


def pairs(folder: Path) -> Mapping[str, Any] | None:
    """Images beside masks, where no dataset.json says more."""
    if (folder / "dataset.json").exists():
        return None
    for images, labels in PAIRS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return {"path": folder, "images": images, "labels": labels, "unlabelled": "keep"}
    return None
