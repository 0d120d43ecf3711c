"""What the facts of a package are: anybody may have written them, and pages, cards and messages are made of them; and
which faster ways of applying a model they allow.

Half precision and searching the body alone are tried beside the plain way, float32 and the whole scan, on the same
cases, and the mean Dice of every structure is kept. A way is used if no structure's mean is further off than
`TOLERANCE` and every structure is held by one of the cases: of one that none holds nothing is known. Cases whose body
takes as many windows as the whole scan say nothing of searching the body, and do not count there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, ValidationError

from ..support.texts import counted, listed

TOLERANCE = 0.001
"""Of Dice: half of what a score is given with, three digits."""
NAMES = {"32": "float32", "bf16": "bfloat16", "16": "float16"}
BODY = "body"

Verdict = Mapping[str, Any]


class _Told(BaseModel):
    """Keys whose kind is known; others are left alone."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Mean(_Told):
    mean: float | None = None
    ci95: Annotated[list[float | None], Len(2, 2)] | None = None
    n: int = 0
    undefined: int = 0


class _Plugin(_Told):
    distribution: str = ""
    version: str = ""
    sha256: str = ""


class _Split(_Told):
    train: list[str] = []
    validation: list[str] = []


class Facts(_Told):
    """Of a package: all may be missing."""

    name: str = ""
    created: str = ""
    voxgraft: str = ""
    reference: str = ""
    version: str | int = ""
    licence: str = ""
    members: int = 0
    packages: dict[str, str] = {}
    plugins: dict[str, _Plugin] = {}
    data: dict[str, Any] = {}
    split: _Split = _Split()
    training: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    scores: dict[str, dict[str, _Mean]] = {}
    guard: dict[str, Any] = {}


def fault_of(facts: Mapping[str, Any]) -> str:
    """What is wrong with the facts of a package, with its place; empty where nothing is."""
    try:
        Facts.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def judge(
    word: str,
    plain: Mapping[str, float],
    fast: Mapping[str, float],
    cases: int,
    unseen: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> dict[str, Any]:
    """The verdict on a faster way, such as one kind of numbers.

    Args:
        word: Stands for it, as in `NAMES`.
        plain: Mean Dice of each structure in float32, the whole scan searched; NaN where it has none.
        fast: The same, the faster way.
        cases: How many were tried.
        unseen: The structures that none of them holds.
        lost: Those that the faster way misses altogether in a case where the plain way found them.
    """
    known = {name: value for name, value in plain.items() if math.isfinite(value) and name not in unseen}
    apart = {name: abs(fast.get(name, math.nan) - value) for name, value in known.items()}
    largest = max(apart.values(), default=math.nan) if all(map(math.isfinite, apart.values())) else math.inf
    missed = [name for name, value in known.items() if value == 0]  # that both ways find nothing proves nothing
    return {
        "agrees": largest <= TOLERANCE and not unseen and not missed and not lost,
        "cases": cases,
        "tolerance": TOLERANCE,
        "difference": round(largest, 6) if math.isfinite(largest) else None,
        "dice": {name: {"32": round(value, 5), word: _rounded(fast.get(name))} for name, value in known.items()},
        **({"not_compared": list(unseen)} if unseen else {}),
        **({"missed": missed} if missed else {}),
        **({"lost": list(lost)} if lost else {}),
    }


def failed(reason: str) -> dict[str, Any]:
    """The verdict on a way in which the network cannot be applied at all."""
    return {"agrees": False, "cases": 0, "tolerance": TOLERANCE, "difference": None, "dice": {}, "reason": reason}


def common(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdicts on several networks that decide together, by the facts of each one's package."""
    words = set(_numbers(members[0])).intersection(*map(_numbers, members)) if members else set()
    return {word: joined([_numbers(facts)[word] for facts in members]) for word in sorted(words)}


def joined(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """One verdict of several: all must agree; the largest difference counts."""
    apart = [verdict["difference"] for verdict in verdicts]
    named = {
        key: sorted({name for one in verdicts for name in _names(one, key)})
        for key in ("not_compared", "missed", "lost")
    }
    return {
        "agrees": all(verdict["agrees"] for verdict in verdicts),
        "cases": sum(verdict["cases"] for verdict in verdicts),
        "tolerance": TOLERANCE,
        "difference": None if None in apart else max(apart),
        "dice": {},
        **{key: names for key, names in named.items() if names},
    }


def allowed(facts: Mapping[str, Any], precision: str) -> bool:
    """Whether these numbers may be used."""
    return _numbers(facts).get(precision, {}).get("agrees") is True


def used_around(wanted: str, facts: Mapping[str, Any]) -> bool:
    """Whether only the body is searched, where `auto`, `on` or `off` is wanted."""
    return wanted == "on" or (wanted == "auto" and _body(facts).get("agrees") is True)


def fast_ways(facts: Mapping[str, Any]) -> set[str]:
    """The faster ways of applying a model that its held-out cases allow."""
    return {word for word in NAMES if allowed(facts, word)} | ({BODY} if used_around("auto", facts) else set())


def numbers_of(facts: Mapping[str, Any]) -> str:
    """In what numbers a batch applies its model, which is noted among the facts of its package."""
    return NAMES.get(str(facts.get("applied", "32")), "float32")


def said(facts: Mapping[str, Any]) -> list[str]:
    """A sentence for each kind of numbers that was tried."""
    return [
        _said(
            NAMES[word],
            verdict,
            failure=f"the network cannot be applied in {NAMES[word]}",
            used="it is used on machines that support it",
            instead="float32 is used",
        )
        for word, verdict in _numbers(facts).items()
        if word in NAMES
    ]


def said_around(facts: Mapping[str, Any]) -> list[str]:
    """A sentence, where searching the body alone was tried."""
    way, used = "searching the body alone", "that is done where it takes fewer windows than the whole scan"
    verdict = _body(facts)
    return [_said(way, verdict, f"{way} failed", used, "whole scans are searched")] if verdict else []


def applied_in(facts: Mapping[str, Any], precision: str) -> str:
    """What a user is told of a model that is applied in half precision."""
    return _applied(f"the model is applied in {NAMES[precision]}", _numbers(facts).get(precision, {}))


def applied_around(facts: Mapping[str, Any]) -> str:
    """What a user is told of a model that searches the body alone."""
    return _applied("only the body is searched", _body(facts))


def _said(way: str, verdict: Verdict, failure: str, used: str, instead: str) -> str:
    """What was found of a way that was tried, and what is done.

    Args:
        way: Its name.
        verdict: As `judge` gives it.
        failure: That it failed; the reason follows.
        used: Where it is used if it is.
        instead: What is done if not.
    """
    if verdict.get("reason"):
        return f"{failure} ({verdict['reason']}), so {instead}"
    return f"{_change(way, verdict)}; {used}" if verdict.get("agrees") else f"{_doubt(way, verdict)}, so {instead}"


def _applied(what: str, verdict: Verdict) -> str:
    if not verdict or verdict.get("reason"):
        return f"{what}, as asked; no held-out case has shown what that changes"
    return (
        f"{what}: {_change('that', verdict)}"
        if verdict.get("agrees")
        else f"{what}, as asked; {_doubt('that', verdict)}"
    )


def _doubt(subject: str, verdict: Verdict) -> str:
    """Why a way is not used."""
    difference, cases = verdict.get("difference"), counted(verdict.get("cases", 0), "held-out case")
    if lost := _names(verdict, "lost"):
        return f"{subject} loses {', '.join(lost[:3])} on a held-out case"
    if not isinstance(difference, (int, float)):
        return f"{subject} leaves Dice undefined on {cases}"
    if difference > TOLERANCE:
        return f"{subject} changes the Dice of a structure by {difference:.4f} on {cases}"
    absent, missed = _names(verdict, "not_compared"), _names(verdict, "missed")
    return (
        _change(subject, verdict)
        + (f", and none of them holds {listed(absent, 3)}" if absent else "")
        + (f", but the model finds nothing of {listed(missed, 3)} in them" if missed else "")
    )


def _change(subject: str, verdict: Verdict) -> str:
    """How little a faster way changes."""
    difference, cases = verdict["difference"], counted(verdict.get("cases", 0), "held-out case")
    return f"{subject} changes the Dice of no structure by more than {difference:.4f} on {cases}"


def _numbers(facts: Mapping[str, Any]) -> dict[str, Verdict]:
    """The verdicts on half precision by the words of the numbers."""
    verdicts = facts.get("precision")
    return {k: v for k, v in verdicts.items() if _is_verdict(v)} if isinstance(verdicts, Mapping) else {}


def _body(facts: Mapping[str, Any]) -> Verdict:
    """The verdict on searching the body alone; empty where there is none."""
    verdict = facts.get(BODY)
    return verdict if isinstance(verdict, Mapping) and _is_verdict(verdict) else {}


def _is_verdict(value: Any) -> bool:
    """Whether a value is a verdict as `judge` and `failed` make it."""
    if not isinstance(value, Mapping) or type(value.get("agrees")) is not bool:
        return False
    difference = value.get("difference", "")
    if difference is None:
        return not value["agrees"]
    return isinstance(difference, (int, float)) and math.isfinite(difference)


def _names(verdict: Verdict, key: str) -> list[str]:
    names = verdict.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


def _rounded(value: float | None) -> float | None:
    return round(value, 5) if value is not None and math.isfinite(value) else None
