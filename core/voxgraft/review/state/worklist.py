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


def listed(
    scans: Mapping[str, Seen], order: Ordered, query: Query, identity: Callable[[str], Identity], case: str = ""
) -> dict[str, Any]:
    """The answer to a query.

    Args:
        scans: Every scan of the batch, as the reader may see it.
        order: Of the same rows.
        query: What the reader wants.
        identity: What is known of a scan's header, without waiting for it.
        case: A scan that is looked for: `place` says where it stands, or would stand if it still fitted.

    Raises:
        Refused: There is no such order.
    """
    states = {name: one.review_state for name, one in scans.items()}
    around = _fitting(scans, states, order, query, identity, case)
    place = next((number for number, one in enumerate(around) if one.row.case == case), None)
    fitting = [one for one in around if one.row.case != case or _fits(one, states[case], query, identity)]
    page = fitting[query.offset : query.offset + min(query.limit, MOST)]
    return {
        "total": len(fitting),
        "place": place,
        "counts": _counts(list(scans.values()), states, order),
        "scans": [entry_of(one, states[one.row.case], identity(one.row.case)) for one in page],
    }


def neighbours(
    scans: Mapping[str, Seen],
    order: Ordered,
    query: Query,
    identity: Callable[[str], Identity],
    case: str,
    was: str = "",
) -> dict[str, Any]:
    """The scans around one in the list that a query gives: those that can be opened, and where it stands among all.

    Args:
        scans: Every scan of the batch, as the reader may see it.
        order: Of the same rows.
        query: What the reader wants.
        identity: What is known of a scan's header, without waiting for it.
        case: The scan, which keeps its place where a decision took it out of the list.
        was: Its review state when it was opened, by which it keeps its place; empty for that of now.

    Raises:
        Refused: There is no such order.
    """
    states = {name: one.review_state for name, one in scans.items()}
    around = _fitting(scans, states | {case: was or states.get(case, "")}, order, query, identity, case)
    place = next((number for number, one in enumerate(around) if one.row.case == case), len(around))
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


def _fitting(
    scans: Mapping[str, Seen],
    states: Mapping[str, str],
    order: Ordered,
    query: Query,
    identity: Callable[[str], Identity],
    case: str,
) -> list[Seen]:
    """What a query gives, in its order, and one scan whether it fits or not."""
    known = [scans[name] for name in order.cases if name in scans]
    wanted = [one for one in known if one.row.case == case or _fits(one, states[one.row.case], query, identity)]
    return _sorted(wanted, states, query, identity)


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
