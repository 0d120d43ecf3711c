"""A table with a row for each case: paths of images and masks, patient, split, and facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxgraft.plugin import (
    Align,
    Case,
    DataError,
    Dataset,
    ImageRef,
    Split,
    as_stored,
    composed,
    listed,
    safe_ids,
    stem,
)

from .options import CsvOptions
from .tables import MISSING, Table, facts_of, read_table

PARTS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "ts"), "test"),
}
"""What a column `split` may say, whatever its case."""

PATIENT = ("patient", "patientid", "patientname", "subject", "subjectid", "participant", "participantid", "mrn")
"""What the column of patients is called, without case, blanks and marks."""

VALID = "valid"
"""The usual column of files that say where cases count."""


class CsvLayout:
    """A case for each row."""

    def __init__(self, options: CsvOptions) -> None:
        self._options = options

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The table is no good, lacks a column, or names files that are not there; all are counted.
        """
        options = self._options
        table = read_table(options.path)
        images = self._columns(table, options.images, "image")
        labels = self._columns(table, options.labels, "label")
        usual = [VALID] if VALID in table.columns else []
        valid = self._columns(table, usual if options.valid is None else [options.valid], VALID)
        if not images:
            raise DataError(f"{options.path}: has no column 'image'; say under images which columns hold the images")
        channels = options.channels or tuple(column.removeprefix("image_") for column in images)
        if len(images) > 1 and len(channels) != len(images):
            raise DataError(f"{options.path}: {len(channels)} channels are named for {len(images)} columns of images")
        align = self._align(channels) if len(images) > 1 else None
        rows = [
            {column: self._path(row[column], number) for column in (*images, *labels, *valid)}
            for number, row in enumerate(table.rows, start=2)
        ]
        self._complain(rows, images, labels)
        ids = self._ids(table, rows, images)
        patient = next((column for column in table.columns if _plain(column) in PATIENT), "")
        known = {*images, *labels, *valid, "case", patient, "split"}
        cases = tuple(
            replace(
                _case(name, paths, (images, labels, valid), facts_of(row, known)),
                patient=_of(row, patient) or name,
                align=align,
            )
            for name, row, paths in zip(ids, table.rows, rows, strict=True)
        )
        splits, notes = self._splits(table, ids)
        if patient not in ("", "patient"):
            notes.append(f"the column {patient!r} of the table says who the patients are")
        return Dataset(cases, channels, None, (*table.notes, *notes), splits=splits, names_patients=bool(patient))

    def _align(self, channels: Sequence[str]) -> Align | None:
        grid = self._options.grid
        if grid is None:
            return None
        if grid not in channels:
            raise DataError(f"{self._options.path}: grid names no channel: {grid!r}; they are {', '.join(channels)}")
        return Align(channels.index(grid), "any")

    def _columns(self, table: Table, names: Sequence[str] | None, usual: str) -> tuple[str, ...]:
        if names is None:
            return (usual,) if usual in table.columns else tuple(c for c in table.columns if c.startswith(f"{usual}_"))
        names = [composed(column) for column in names]
        if missing := [column for column in names if column not in table.columns]:
            raise DataError(
                f"{self._options.path}: has no column {missing[0]!r}; its columns are {', '.join(table.columns)}"
            )
        return tuple(names)

    def _path(self, text: str, number: int) -> Path | None:
        """A path in a cell; a Windows path is read as one where nothing is called so."""
        if text.casefold() in MISSING:
            return None
        if "\0" in text:
            raise DataError(f"{self._options.path}: line {number} has a path that is none: it holds a NUL character")
        root = self._options.root or self._options.path.parent
        path = as_stored(root / text)
        return path if "\\" not in text or path.exists() else as_stored(root / text.replace("\\", "/"))

    def _complain(
        self, rows: Sequence[Mapping[str, Path | None]], images: Sequence[str], labels: Sequence[str]
    ) -> None:
        path = self._options.path
        missing = sorted({f"{path}" for row in rows for path in row.values() if path is not None and not path.exists()})
        if missing:
            more = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
            raise DataError(f"{path}: {len(missing)} of the files it names are not there: {more}")
        bare = [str(number) for number, row in enumerate(rows, start=2) if not any(row[column] for column in images)]
        if bare:
            raise DataError(f"{path}: {listed(bare, 'row')} without any image")
        without = [str(number) for number, row in enumerate(rows, start=2) if not any(row[column] for column in labels)]
        if labels and without and self._options.unlabelled == "error":
            raise DataError(f"{path}: {listed(without, 'row')} without a mask; add them, or set unlabelled: keep")

    def _ids(self, table: Table, rows: Sequence[Mapping[str, Path | None]], images: Sequence[str]) -> list[str]:
        named = "case" in table.columns
        names = [
            row["case"] if named else composed(stem(next(path for path in map(paths.get, images) if path is not None)))
            for row, paths in zip(table.rows, rows, strict=True)
        ]
        if named and (twice := [name for name, often in Counter(names).items() if often > 1 or not name]):
            raise DataError(
                f"{self._options.path}: the column 'case' must name each row by itself; {twice[0]!r} does not"
            )
        if not named:
            often = Counter(names)
            names = [name if often[name] == 1 else f"{name} row {n}" for n, name in enumerate(names, start=2)]
        ids = safe_ids(names)
        return [ids[name] for name in names]

    def _splits(self, table: Table, ids: Sequence[str]) -> tuple[tuple[Split, ...], list[str]]:
        if "split" not in table.columns:
            return (), []
        parts: dict[str, list[str]] = {"train": [], "validation": [], "test": [], "": []}
        for number, (name, row) in enumerate(zip(ids, table.rows, strict=True), start=2):
            text = row["split"].casefold()
            if text not in PARTS and text not in MISSING:
                raise DataError(
                    f"{self._options.path}: line {number} says {row['split']!r} under 'split'; it may say train, "
                    "validation or test"
                )
            parts[PARTS.get(text, "")].append(name)
        out = len(parts["test"]) + len(parts[""])
        notes = [f"{out} rows belong neither to training nor to validation by the column 'split'"] if out else []
        return (Split(tuple(parts["train"]), tuple(parts["validation"])),), notes


def _plain(column: str) -> str:
    return "".join(part for part in column.casefold() if part.isalnum())


def _of(row: Mapping[str, str], column: str) -> str:
    """What stands in a column; nothing where nothing is known."""
    text = row.get(column, "")
    return "" if text.casefold() in MISSING else text


def _case(
    name: str,
    paths: Mapping[str, Path | None],
    columns: tuple[Sequence[str], Sequence[str], Sequence[str]],
    facts: Mapping[str, str | float],
) -> Case:
    """The case of a row; the columns are those of images, of masks, and of the file of where it counts."""
    images, labels, valid = columns
    where = next((path for column in valid if (path := paths[column]) is not None), None)
    masks = {column.removeprefix("label_"): ImageRef(path) for column in labels if (path := paths[column]) is not None}
    return Case(
        id=name,
        patient=name,
        images=tuple(None if (path := paths[column]) is None else ImageRef(path) for column in images),
        label=next(iter(masks.values()), None) if len(labels) == 1 else None,
        facts=facts,
        raters=masks if len(labels) > 1 else {},
        valid=None if where is None else ImageRef(where),
    )
