"""What a batch leaves for the review of its masks: of each model what the page shows, without the model itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import DataError, WorkflowError
from ..packages.package import Package
from ..support.files import write_json
from ..workflow.yaml import load
from .naming import REVIEW


def leave_for_review(package: Package, out: Path) -> None:
    """Write `review/models/HASH.json` below the batch's folder; a disk that is full is told where a mask is written."""
    document = {
        "name": package.name,
        "version": str(package.facts.get("version") or ""),
        "hash": package.hash,
        "modality": package.plan.modality,
        "channels": list(package.plan.channels),
        "readers": {name: dict(options) for name, options in package.plan.readers.items()},
        "reasons": _reasons(package),
    }
    with suppress(DataError):
        write_json(out / REVIEW / "models" / f"{package.hash[:16]}.json", document)


def _reasons(package: Package) -> list[str]:
    """The reasons of rejection that the workflow names; none where it names none or is not there."""
    try:
        document, _ = load(package.folder / "workflow.yaml")
        reasons: Any = document["review"]["reasons"]
        return [str(reason) for reason in reasons]
    except (OSError, WorkflowError, KeyError, TypeError):
        return []
