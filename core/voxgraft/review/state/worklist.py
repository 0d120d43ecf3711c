"""The worklist of the page: which scans, in which order, and what is said of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ...batch.ledger import Row
from ...batch.outputs import PREVIEW
from ...batch.quality import is_sized
from ...batch.report import by_doubt
from .errors import Refused
from .records import Decision
from .sources import Identity
from .viewing import Seen

MOST = 2000
"""Scans of one answer."""
REVIEW_STATES = ("open", "started", "reviewed")
"""Of scans that can be reviewed."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader wants to see of the list.

    Attributes:
        q: Words that must all stand in what is said of a scan.
        state: Of the scan (`done`, `failed` ...) or of its review (`open`, `started`, `reviewed`), or `assigned`.
        flag: Code of a flag.
        structure: Scans in which it was found.
        sort: `doubt`, `case`, `confidence`, `flags`, `state`, `date` or `ml`; with `-` before it the other way round.
    """

    q: str = ""
    state: str = ""
    flag: str = ""
    structure: str = ""
    sort: str = "doubt"
    offset: int = 0
    limit: int = 200


@dataclass(frozen=True, slots=True)
class Ordered:
    """What of the list changes only with the ledger.

    Attributes:
        version: Of the rows, see `BatchView.rows`.
        cases: Doubtful ones first, then those that were left out.
        flags: Code -> scans that have it.
        found: Structure -> scans in which it was found.
    """

    version: int
    cases: tuple[str, ...]
    flags: Mapping[str, int]
    found: Mapping[str, int]


def ordered(version: int, rows: Iterable[Row]) -> Ordered:
    """Order the rows of a ledger."""
    rows = list(rows)
    left = [row for row in rows if row.state == "left-out"]
    cases = [row.case for row in (*by_doubt(row for row in rows if row.state != "left-out"), *left)]
    flags = Counter(str(code) for row in rows for code in {flag.get("code") for flag in row.flags})
    found = Counter(name for row in rows for name, part in row.structures.items() if part.get("voxels"))
    return Ordered(version, tuple(cases), dict(sorted(flags.items())), dict(sorted(found.items())))


@dataclass(frozen=True, slots=True)
class Listed:
    """The list that a query gives, and one scan of interest, which has its place there whether it fits or not.

    Attributes:
        scans: Every scan of the batch, as the reader may see it.
        order: Of the same rows.
        query: What the reader wants.
        identity: What is known of a scan's header, without waiting for it.
        case: The scan of interest; empty for none.

    Raises:
        Refused: All methods, where there is no such order.
    """

    scans: Mapping[str, Seen]
    order: Ordered
    query: Query
    identity: Callable[[str], Identity]
    case: str = ""

    def document(self) -> dict[str, Any]:
        """The answer to the query; `place` says where the scan of interest stands, or would if it still fitted."""
        states = self._states()
        around, place = self._around(states)
        fitting = [one for one in around if one.row.case != self.case or self._fits(one, states)]
        page = fitting[self.query.offset : self.query.offset + min(self.query.limit, MOST)]
        return {
            "total": len(fitting),
            "place": place,
            "counts": _counts(list(self.scans.values()), states, self.order),
            "scans": [entry_of(one, states[one.row.case], self.identity(one.row.case)) for one in page],
        }

    def neighbours(self, was: str = "") -> dict[str, Any]:
        """The scans around the one of interest that can be opened, and where it stands among all.

        Args:
            was: Its review state when it was opened, so that a decision does not move it; empty for that of now.
        """
        states = self._states()
        around, place = self._around(states | {self.case: was or states.get(self.case, "")})
        place = len(around) if place is None else place
        behind, before = around[place + 1 :], around[:place]

        def first(ones: Iterable[Seen], of: Collection[str]) -> str | None:
            return next((one.row.case for one in ones if states[one.row.case] in of), None)

        return {
            "next": first(behind, REVIEW_STATES),
            "previous": first(reversed(before), REVIEW_STATES),
            "next_open": first([*behind, *before], ("open", "started")),
            "place": place + 1,
            "total": len(around),
        }

    def _states(self) -> dict[str, str]:
        return {name: one.review_state for name, one in self.scans.items()}

    def _fits(self, one: Seen, states: Mapping[str, str]) -> bool:
        return _fits(one, states[one.row.case], self.query, self.identity)

    def _around(self, states: Mapping[str, str]) -> tuple[list[Seen], int | None]:
        """What the query gives, in its order, with the scan of interest; and the place of that."""
        known = [self.scans[name] for name in self.order.cases if name in self.scans]
        wanted = [one for one in known if one.row.case == self.case or self._fits(one, states)]
        around = _sorted(wanted, states, self.query, self.identity)
        return around, next((number for number, one in enumerate(around) if one.row.case == self.case), None)


def entry_of(one: Seen, review_state: str, identity: Identity) -> dict[str, Any]:
    """What is said of one scan.

    Args:
        one: The scan as the reader may see it.
        review_state: As in `Seen.review_state`.
        identity: What finds it in the archive.
    """
    row, sized = one.row, is_sized(one.row.flags)
    return {
        "case": row.case,
        "state": row.state,
        "review_state": review_state,
        "error": row.error or None,
        "flags": [{"code": flag.get("code"), "message": flag.get("message")} for flag in row.flags],
        "structures": [
            {
                "name": name,
                "value": found.get("value"),
                "ml": found.get("ml") if sized else None,
                **({"mm2": found["mm2"]} if "mm2" in found and sized else {}),
                **({} if sized else {"pixels": found.get("voxels", 0)}),
                "confidence": found.get("confidence"),
            }
            for name, found in row.structures.items()
        ],
        "confidence": row.confidence,
        "decided": [decided(decision) for decision in one.holds.values()],
        "preview": f"/api/scans/{quote(row.case)}/preview" if PREVIEW in row.outputs else None,
        "accession": identity.accession,
        "study_date": identity.study_date,
        "description": identity.description,
        "model": row.model,
        "assigned": one.role or None,
    }


def decided(decision: Decision) -> dict[str, Any]:
    """What the list says of a decision."""
    return {name: getattr(decision, name) for name in ("structure", "verdict", "reason", "reader", "when")}


def _fits(one: Seen, review_state: str, query: Query, identity: Callable[[str], Identity]) -> bool:
    row = one.row
    if (row.state == "left-out") != (query.state == "left-out"):
        return False
    if query.state and query.state not in (row.state, review_state, "assigned" if one.role else ""):
        return False
    if query.flag and all(flag.get("code") != query.flag for flag in row.flags):
        return False
    if query.structure and not row.structures.get(query.structure, {}).get("voxels"):
        return False
    if not query.q:
        return True
    known = identity(row.case)
    texts = [row.case, row.error, row.model, known.accession, known.study_date, known.description, *row.structures]
    text = " ".join([str(part or "") for part in texts] + [str(flag.get("message")) for flag in row.flags]).casefold()
    return all(word in text for word in query.q.casefold().split())


def _sorted(
    scans: list[Seen], states: Mapping[str, str], query: Query, identity: Callable[[str], Identity]
) -> list[Seen]:
    name, down = query.sort.removeprefix("-"), query.sort.startswith("-")
    keys: dict[str, Callable[[Seen], Any]] = {
        "case": lambda one: one.row.case.casefold(),
        "confidence": lambda one: 1.0 if one.row.confidence is None else one.row.confidence,
        "flags": lambda one: len(one.row.flags),
        "state": lambda one: (states[one.row.case], one.row.state),
        "date": lambda one: (identity(one.row.case).study_date or "", one.row.case),
        "ml": lambda one: _ml(one, query.structure),
    }
    if name == "doubt":
        return scans[::-1] if down else scans
    if name not in keys:
        raise Refused(f"there is no order {name!r}; known: doubt, {', '.join(keys)}")
    return sorted(scans, key=keys[name], reverse=down)


def _ml(one: Seen, structure: str) -> float:
    found = one.row.structures
    sizes = [found[name].get("ml") or found[name].get("mm2") or 0.0 for name in found if structure in ("", name)]
    return float(sum(sizes))


def _counts(scans: Sequence[Seen], states: Mapping[str, str], order: Ordered) -> dict[str, Any]:
    reviewed = Counter(states.values())
    return {
        **Counter(one.row.state for one in scans),
        **{name: reviewed[name] for name in REVIEW_STATES},
        "assigned": sum(bool(one.role) for one in scans),
        "flags": order.flags,
        "structures": order.found,
    }
