"""What a batch leaves for the review of its masks: of each model what the page shows, without the model itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import DataError, WorkflowError
from ..packages.package import Package
from ..support.files import write_json
from ..workflow.sections import Review
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
        "codes": {label.name: list(label.code) for label in package.labels.items if label.code},
        **_section(package),
    }
    with suppress(DataError):
        write_json(out / REVIEW / "models" / f"{package.hash[:16]}.json", document)


def _section(package: Package) -> dict[str, Any]:
    """The section `review` of the workflow in a package; the usual values where it is not there."""
    try:
        document, _ = load(package.folder / "workflow.yaml")
        section = Review.model_validate(document.get("review") or {})
    except (OSError, WorkflowError, ValidationError, AttributeError):
        section = Review()
    return {"reasons": list(section.reasons), "tolerance_mm": section.tolerance_mm}
