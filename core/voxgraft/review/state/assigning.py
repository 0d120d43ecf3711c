"""Who reads which scan: a CSV table of assignments, and references of scans whose answer is known."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UsageError, VoxGraftError
from ...imaging.read import read
from ...imaging.structures import Labels
from ...imaging.volume import Volume
from ...imaging.write import write
from ...support.files import read_bytes, sha256
from .errors import Forbidden, Refused
from .folder import checked_reader
from .masks import Mask, check_grid, check_values
from .records import GOLD, READER, ROLES, SECOND, Assignment
from .reviewed import Reviewed, named
from .viewing import Seen

LARGEST = 16 * 2**20
COLUMNS = ("case", "reader", "role", "mask")


@dataclass(frozen=True, slots=True)
class Given:
    """One row of a table.

    Attributes:
        line: Its number in the file.
        mask: The reference of a scan with the role `gold`.
    """

    assignment: Assignment
    line: int
    mask: Path | None = None


def read_assignments(path: Path) -> list[Given]:
    """The rows of a table with the columns case, reader, role and, for `gold`, mask (relative to the table).

    Raises:
        UsageError: It cannot be read, or a row makes no sense; the message names the line.
    """
    try:
        text = read_bytes(path, LARGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', '') or error}") from error
    first = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if ";" in first and "," not in first else ",")
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    if missing := [name for name in COLUMNS[:3] if name not in names]:
        raise UsageError(f"{path}: has no column {' and '.join(missing)}; its columns are case, reader, role and mask")
    reader.fieldnames = names
    try:
        return [_given(path, line, row) for line, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise UsageError(f"{path}: is not a CSV table: {error}") from error


def _given(path: Path, line: int, row: dict[str, Any]) -> Given:
    values = {name: str(row.get(name) or "").strip() for name in COLUMNS}
    place = f"{path}, line {line}"
    role = values["role"].lower() or READER
    if role not in ROLES:
        raise UsageError(f"{place}: there is no role {role!r}; a role is one of {', '.join(ROLES)}")
    if not values["case"]:
        raise UsageError(f"{place}: names no case")
    if role == GOLD and not values["mask"]:
        raise UsageError(f"{place}: the role gold needs a reference in the column mask")
    if role != GOLD and not values["reader"]:
        raise UsageError(f"{place}: names no reader")
    mask = path.parent / values["mask"] if role == GOLD else None
    return Given(Assignment(values["case"], values["reader"], role), line, mask)


def assign_all(store: Reviewed, path: Path) -> int:
    """Keep the assignments of a table, those that are known already aside; gives how many are new.

    Raises:
        UsageError: A row names no scan of this batch or no reader, or its reference is not a mask of the scan; nothing
            was kept then.
    """
    rows = read_assignments(path)
    checked: list[tuple[Given, Volume | None]] = []
    for given in rows:
        try:
            checked.append((given, _checked(store, given)))
        except (VoxGraftError, OSError) as error:
            raise UsageError(f"{path}, line {given.line}: {error}") from error
    return sum(_keep(store, given, reference) for given, reference in checked)


def assign(store: Reviewed, by: str, case: str, reader: str, role: str, withdrawn: bool = False) -> None:
    """Assign a scan to a reader, or take that back.

    Nobody who is to read a scan without knowing of others may change who reads it, nor may anybody choose himself or
    herself where others are assigned already. A blind reading that has begun keeps its readers until all are done.

    Args:
        store: The state of the review.
        by: Who assigns.
        case: The scan.
        reader: To whom.
        role: `reader`, `second` or `adjudicator`.
        withdrawn: Take it back.

    Raises:
        Refused: There is no such role; a reference is given in a table only.
        Forbidden: See above.
    """

    store.check_writable()
    seen = store.seen(case, named(by))
    if role not in ROLES or role == GOLD:
        raise Refused(f"a role is one of {', '.join(role for role in ROLES if role != GOLD)}")
    others = [one for one in seen.state.assignments if one.role != GOLD and one.reader != by]
    if seen.role in (READER, SECOND) or (reader == by and others):
        raise Forbidden("readers cannot assign blind or second readings to themselves")
    if withdrawn and role in (READER, SECOND) and _is_begun(Seen(seen.row, seen.state, "")):
        raise Forbidden("the scan is being read blindly: none of its readers can be removed until all are done")
    given = Given(Assignment(case, checked_reader(reader, store.state.readers), role), 0)
    _keep(store, given, None, withdrawn)


def _is_begun(seen: Seen) -> bool:
    """Whether a blind reading has begun, and is not done: with one reader less, the others would see what was done."""
    worked = {one.reader for one in seen.state.decisions} | set(seen.state.masks)
    return seen.blind and any(reader in worked for reader in seen.doubles)


def _checked(store: Reviewed, given: Given) -> Volume | None:
    """The reference of a row, if it has one.

    Raises:
        DataError: There is no such scan or reader, or the reference does not fit it.
    """
    wanted = given.assignment
    seen = store.seen(wanted.case, "")
    if wanted.reader:
        checked_reader(wanted.reader, store.state.readers)
    return None if given.mask is None else _reference(store, seen, given.mask)


def _reference(store: Reviewed, seen: Seen, path: Path) -> Volume:
    shape, affine = store.grid(seen)
    volume = read(path, store.catalogue)
    array = volume.array.reshape((*volume.array.shape, 1)[:3])
    whole = np.rint(array)
    if not np.array_equal(whole, array):
        raise DataError(f"{path}: a mask holds whole numbers")
    check_grid(array, volume.affine, Mask(np.broadcast_to(np.uint8(0), shape), affine))
    check_values(whole, [int(found["value"]) for found in seen.row.structures.values()])
    return Volume(whole.astype(np.uint16).reshape(volume.shape), affine, dims=volume.dims)


def _keep(store: Reviewed, given: Given, reference: Volume | None, withdrawn: bool = False) -> bool:
    """Write an assignment into the log; gives whether it was new."""
    wanted = given.assignment
    values = asdict(wanted)
    if reference is not None:
        row = store.rows[wanted.case]
        labels = Labels.of({name: int(found["value"]) for name, found in row.structures.items()})
        target = store.folder.reference(wanted.case)
        write(reference, target, store.catalogue, labels)
        values["sha256"] = sha256(target)
    with store.mutex:
        known = wanted in store.state.of(wanted.case).assignments
        same = values.get("sha256") == store.state.references.get(wanted.case) if reference is not None else True
        if known != withdrawn and same:
            return False
        store.log.append("assignment", {**values, **({"withdrawn": True} if withdrawn else {})}, store.state.take)
    return True
