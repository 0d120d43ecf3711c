"""Whether a model may be applied in half precision: what its own held-out cases said, kept with the facts of a package.

Of each kind of numbers that was tried beside float32 on the same cases, the mean Dice of every structure is kept. The
kind is used, where a machine has units for it, if no structure's mean is further off than `TOLERANCE` and every
structure is held by one of the cases: of one that none holds nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

TOLERANCE = 0.001
"""Of Dice: half of what a score is given with, three digits."""
NAMES = {"32": "float32", "bf16": "bfloat16", "16": "float16"}


def judge(
    precision: str, plain: Mapping[str, float], fast: Mapping[str, float], cases: int, unseen: Sequence[str] = ()
) -> dict[str, Any]:
    """The verdict on one kind of numbers.

    Args:
        precision: Its word, as in `NAMES`.
        plain: Mean Dice of each structure in float32; NaN where it has none.
        fast: The same in those numbers.
        cases: How many were tried.
        unseen: The structures that none of them holds.
    """
    known = {name: value for name, value in plain.items() if math.isfinite(value) and name not in unseen}
    apart = {name: abs(fast.get(name, math.nan) - value) for name, value in known.items()}
    largest = max(apart.values(), default=math.nan) if all(map(math.isfinite, apart.values())) else math.inf
    return {
        "agrees": largest <= TOLERANCE and not unseen,
        "cases": cases,
        "tolerance": TOLERANCE,
        "difference": round(largest, 6) if math.isfinite(largest) else None,
        "dice": {name: {"32": round(value, 5), precision: _rounded(fast.get(name))} for name, value in known.items()},
        **({"not_compared": list(unseen)} if unseen else {}),
    }


def failed(reason: str) -> dict[str, Any]:
    """The verdict on numbers in which the network cannot be applied at all."""
    return {"agrees": False, "cases": 0, "tolerance": TOLERANCE, "difference": None, "dice": {}, "reason": reason}


def allowed(facts: Mapping[str, Any], precision: str) -> bool:
    """Whether the facts of a package, which anybody may have written, allow these numbers."""
    verdict = _verdicts(facts).get(precision)
    return isinstance(verdict, Mapping) and verdict.get("agrees") is True


def said(facts: Mapping[str, Any]) -> list[str]:
    """A sentence for each kind of numbers that was tried."""
    return [_sentence(word, verdict) for word, verdict in _verdicts(facts).items() if word in NAMES]


def applied_in(facts: Mapping[str, Any], precision: str) -> str:
    """What a user is told of a model that is applied in half precision."""
    verdict = _verdicts(facts).get(precision)
    if not isinstance(verdict, Mapping) or not isinstance(verdict.get("difference"), (int, float)):
        return f"the model is applied in {NAMES[precision]}, as asked; no held-out case has shown what that changes"
    if not verdict.get("agrees"):
        change = _change("", verdict) if (unseen := _unseen(verdict)) else _worst("", verdict)
        return f"the model is applied in {NAMES[precision]}, as asked, which{change}{unseen}"
    return f"the model is applied in {NAMES[precision]}: {_change('that', verdict)}"


def numbers_of(facts: Mapping[str, Any]) -> str:
    """In what numbers a batch applies its model, which is noted among the facts of its package."""
    return NAMES.get(str(facts.get("applied", "32")), "float32")


def common(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdicts on several networks that decide together: all must agree; the largest difference counts.

    Args:
        members: The facts of each one's package.
    """
    words = set(_verdicts(members[0])).intersection(*map(_verdicts, members)) if members else set()
    result = {}
    for word in sorted(words):
        verdicts = [_verdicts(facts)[word] for facts in members]
        apart = [verdict["difference"] for verdict in verdicts]
        result[word] = {
            "agrees": all(verdict["agrees"] for verdict in verdicts),
            "cases": sum(verdict["cases"] for verdict in verdicts),
            "tolerance": TOLERANCE,
            "difference": None if None in apart else max(apart),
            "dice": {},
            **(
                {"not_compared": sorted(unseen)}
                if (unseen := {name for one in verdicts for name in _names(one)})
                else {}
            ),
        }
    return result


def _verdicts(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    verdicts = facts.get("precision")
    return verdicts if isinstance(verdicts, Mapping) else {}


def _sentence(word: str, verdict: Mapping[str, Any]) -> str:
    name, cases = NAMES[word], verdict.get("cases")
    if verdict.get("reason"):
        return f"the network cannot be applied in {name} ({verdict['reason']}), so float32 is used"
    if verdict.get("agrees"):
        return f"{_change(name, verdict)}; it is used on machines that support it"
    if verdict.get("difference") is None:
        return f"{name} leaves Dice undefined on {cases} held-out cases, so float32 is used"
    if verdict["difference"] > TOLERANCE:
        return f"{_worst(name, verdict)}, so float32 is used"
    return f"{_change(name, verdict)}{_unseen(verdict)}, so float32 is used"


def _worst(subject: str, verdict: Mapping[str, Any]) -> str:
    """How much half precision changes where it changes most."""
    difference, cases = verdict["difference"], verdict.get("cases")
    return f"{subject} changes the Dice of a structure by {difference:.4f} on {cases} held-out cases"


def _unseen(verdict: Mapping[str, Any]) -> str:
    """Of what no held-out case could say anything; of many structures the first three."""
    names = _names(verdict)
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f", and none of them holds {some}" if names and verdict["difference"] <= TOLERANCE else ""


def _names(verdict: Mapping[str, Any]) -> list[str]:
    names = verdict.get("not_compared")
    return [str(name) for name in names] if isinstance(names, list) else []


def _change(subject: str, verdict: Mapping[str, Any]) -> str:
    """How little half precision changes."""
    difference, cases = verdict["difference"], verdict.get("cases")
    return f"{subject} changes the Dice of no structure by more than {difference:.4f} on {cases} held-out cases"


def _rounded(value: float | None) -> float | None:
    return round(value, 5) if value is not None and math.isfinite(value) else None
