"""The state of a data set: every case with the content of its files, and whatever else its layout found."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..components.catalogue import Catalogue
from ..datasets.cases import Case, Dataset
from ..imaging.formats import ReaderSpec
from ..imaging.volume import ImageRef
from ..support.contents import Contents
from ..support.files import digest
from .fingerprint import files_read

DIGITS = 16
"""Of the fingerprint of one field of one case: enough to see that it changed."""


class DataState:
    """Turns cases into plain values, in which files stand with their content instead of their place.

    Every field of a case and of a data set is taken, so that one that is new counts from its first day.
    """

    def __init__(self, catalogue: Catalogue, contents: Contents) -> None:
        self._catalogue, self._contents = catalogue, contents
        self.readers: set[str] = set()
        """The readers of all files that were looked at."""

    def of_dataset(self, dataset: Dataset) -> dict[str, str]:
        """A fingerprint of every field but the cases, of which there is their order."""
        rest = {field.name: getattr(dataset, field.name) for field in fields(dataset) if field.name != "cases"}
        rest["order"] = [case.id for case in dataset.cases]
        return {name: digest(self._plain(value))[:DIGITS] for name, value in rest.items()}

    def of_case(self, case: Case) -> dict[str, str]:
        """A fingerprint of every field that is not empty."""
        values = {field.name: getattr(case, field.name) for field in fields(case)}
        return {
            name: digest(self._plain(value))[:DIGITS] for name, value in values.items() if value not in (None, {}, ())
        }

    def _plain(self, value: Any) -> Any:
        if isinstance(value, ImageRef):
            return self._reference(value)
        if is_dataclass(value):
            return {field.name: self._plain(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, Mapping):
            return {str(name): self._plain(part) for name, part in value.items()}
        if isinstance(value, (tuple, list)):
            return [self._plain(part) for part in value]
        return value.name if isinstance(value, Path) else value

    def _reference(self, ref: ImageRef) -> dict[str, Any]:
        values = {field.name: getattr(ref, field.name) for field in fields(ref) if field.name not in ("path", "files")}
        plain = {name: self._plain(value) for name, value in values.items()}
        if ref.parts == (ref,):
            plain["files"] = [[name, self._contents.of(file)] for name, file in self._files(ref)]
        return plain

    def _files(self, ref: ImageRef) -> Iterator[tuple[str, Path]]:
        """The files of a reference with their names, those that a header points to among them.

        What a reader said of a header is kept for as long as the header and the readers are the same; nothing is kept
        of one with which something is wrong, since a file that it points to may yet come.
        """
        single = not ref.files and ref.path.is_file()
        noted = f"beside, by {self._known_readers}" if single else ""
        known = self._contents.noted(ref.path, noted) if single else None
        if known is None:
            files, readers, sure = files_read(ref, self._catalogue)
            if single and sure:
                others = (os.path.relpath(file, ref.path.parent) for file in files if file != ref.path)
                companions = [os.fsencode(name).decode("latin-1") for name in others]  # names of any bytes, as text
                self._contents.note(ref.path, noted, [companions, readers])
        else:
            files, readers = (
                [ref.path, *(ref.path.parent / os.fsdecode(name.encode("latin-1")) for name in known[0])],
                known[1],
            )
        self.readers.update(readers)
        for file in files:
            inside = ref.path.is_dir() and file.is_relative_to(ref.path)
            yield (file.relative_to(ref.path).as_posix() if inside else file.name), file

    @cached_property
    def _known_readers(self) -> str:
        """A fingerprint of the readers that there are, with their code and their options."""
        return self._catalogue.fingerprint("reader")[:DIGITS]


def readers_taking_part(names: set[str], catalogue: Catalogue) -> list[ReaderSpec[Any]]:
    """The readers of these names; beside one of series, those that it hands objects of structures to."""
    specs = [spec for _, spec in catalogue.of("reader") if isinstance(spec, ReaderSpec)]
    series = any(spec.series for spec in specs if spec.name in names)
    return [spec for spec in specs if spec.name in names or (series and spec.structures)]


def data_state(dataset: Dataset, catalogue: Catalogue, contents: Contents) -> str:
    """One fingerprint of a data set with the content of all its files.

    Args:
        contents: Remembers fingerprints of files that have not changed.
    """
    state = DataState(catalogue, contents)
    return digest([state.of_dataset(dataset), [state.of_case(case) for case in dataset.cases]])
