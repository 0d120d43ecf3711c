"""What a batch left about its models: names of channels, modality, reasons of rejection; nothing of it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...batch.ledger import Row
from ...support.files import read_json
from .records import REASONS


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model.

    Attributes:
        readers: Options of readers by their names, as in training.
        codes: Coded terms of structures by their names: value, scheme, meaning.
        tolerance: Of the surface Dice between two masks, in millimetres; None for the usual one.
    """

    name: str = ""
    version: str = ""
    modality: str = ""
    channels: tuple[str, ...] = ()
    reasons: tuple[str, ...] = REASONS
    readers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    codes: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    tolerance: float | None = None


class Models:
    """The models of a batch by the hashes of their packages.

    Args:
        folder: Where `segment` put a file for each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, ModelFacts] = {}

    def of(self, row: Row) -> ModelFacts:
        """The model of a scan; where the batch left no word of it, what the ledger says."""
        key = row.model_hash[:16]
        if key not in self._known:
            read = _read(self._folder / f"{key}.json") if key else None
            if read is None:
                name, _, version = row.model.rpartition(" ")
                return ModelFacts(name or row.model, version if name else "")
            self._known[key] = read
        return self._known[key]

    def reasons(self, rows: Mapping[str, Row]) -> list[str]:
        """The reasons of rejection of all models of a batch."""
        hashes = {row.model_hash: row for row in rows.values()}
        found = [reason for row in hashes.values() for reason in self.of(row).reasons]
        return list(dict.fromkeys(found or REASONS))


def _read(path: Path) -> ModelFacts | None:
    try:
        values = read_json(path, 2**20)
        readers = values.get("readers") or {}
        return ModelFacts(
            name=str(values.get("name") or ""),
            version=str(values.get("version") or ""),
            modality=str(values.get("modality") or ""),
            channels=tuple(map(str, values.get("channels") or ())),
            reasons=tuple(map(str, values.get("reasons") or ())) or REASONS,
            readers=readers if isinstance(readers, dict) else {},
            codes={str(name): _code(code) for name, code in (values.get("codes") or {}).items()},
            tolerance=None if values.get("tolerance_mm") is None else float(values["tolerance_mm"]),
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _code(values: Any) -> tuple[str, str, str]:
    """A coded term.

    Raises:
        ValueError: It is none.
    """
    value, scheme, meaning = map(str, values)
    return value, scheme, meaning
