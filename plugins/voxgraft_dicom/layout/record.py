"""Images as records of an index, and back: plain values, paths relative to the tree, and no patient's identifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voxgraft.plugin import Item, Problem

from .names import mark


def nameless(item: Item) -> Item:
    """The same image with a fingerprint in place of the patient's identifier."""
    patient = (item.patient or "").strip()
    return replace(item, patient=mark(patient) if patient else None)


def encode(items: Sequence[Item], tree: Path) -> str:
    """Images that `nameless` gave as a JSON text."""
    return json.dumps([_record(item, tree) for item in items], separators=(",", ":"), default=_plain)


def decode(text: str, tree: Path) -> list[Item]:
    """The images in a text that `encode` made.

    Raises:
        ValueError: It is none.
    """
    try:
        return [_item(record, tree) for record in json.loads(text)]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("these are not records of images") from error


def _record(item: Item, tree: Path) -> dict[str, Any]:
    return {
        "path": _below(item.path, tree),
        "reader": item.reader,
        "kind": item.kind,
        "shape": item.shape,
        "affine": item.affine.ravel().tolist(),
        "channels": item.channels,
        "modality": item.modality,
        "series": item.series,
        "description": item.description,
        "patient": item.patient,
        "problems": [[problem.code, problem.message, problem.severity] for problem in item.problems],
        "files": [_below(file, tree) for file in item.files],
        "facts": dict(item.facts),
    }


def _item(record: dict[str, Any], tree: Path) -> Item:
    return Item(
        path=tree / record["path"],
        reader=record["reader"],
        kind=record["kind"],
        shape=tuple(record["shape"]),
        affine=np.array(record["affine"], dtype=np.float64).reshape(4, 4),
        channels=record["channels"],
        modality=record["modality"],
        series=record["series"],
        description=record["description"],
        patient=record["patient"],
        problems=tuple(Problem(code, message, severity) for code, message, severity in record["problems"]),
        files=tuple(tree / file for file in record["files"]),
        facts=record["facts"],
    )


def _below(path: Path, tree: Path) -> str:
    return path.relative_to(tree).as_posix() if path.is_relative_to(tree) else path.absolute().as_posix()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
