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
    return {
        "agrees": largest <= TOLERANCE and not unseen and not lost,
        "cases": cases,
        "tolerance": TOLERANCE,
        "difference": round(largest, 6) if math.isfinite(largest) else None,
        "dice": {name: {"32": round(value, 5), word: _rounded(fast.get(name))} for name, value in known.items()},
        **({"not_compared": list(unseen)} if unseen else {}),
        **({"lost": list(lost)} if lost else {}),
    }


def failed(reason: str) -> dict[str, Any]:
    """The verdict on numbers in which the network cannot be applied at all."""
    return {"agrees": False, "cases": 0, "tolerance": TOLERANCE, "difference": None, "dice": {}, "reason": reason}


def allowed(facts: Mapping[str, Any], precision: str) -> bool:
    """Whether the facts of a package, which anybody may have written, allow these numbers."""
    return _verdicts(facts).get(precision, {}).get("agrees") is True


def said(facts: Mapping[str, Any]) -> list[str]:
    """A sentence for each kind of numbers that was tried."""
    return [_sentence(word, verdict) for word, verdict in _verdicts(facts).items() if word in NAMES]


def applied_in(facts: Mapping[str, Any], precision: str) -> str:
    """What a user is told of a model that is applied in half precision."""
    verdict = _verdicts(facts).get(precision)
    if verdict is None or verdict["difference"] is None:
        return f"the model is applied in {NAMES[precision]}, as asked; no held-out case has shown what that changes"
    if not verdict.get("agrees"):
        doubt = change("", verdict) if (unseen := unseen_in(verdict)) else worst("", verdict)
        return f"the model is applied in {NAMES[precision]}, as asked, which{doubt}{unseen}"
    return f"the model is applied in {NAMES[precision]}: {change('that', verdict)}"


def numbers_of(facts: Mapping[str, Any]) -> str:
    """In what numbers a batch applies its model, which is noted among the facts of its package."""
    return NAMES.get(str(facts.get("applied", "32")), "float32")


def common(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdicts on several networks that decide together.

    Args:
        members: The facts of each one's package.
    """
    words = set(_verdicts(members[0])).intersection(*map(_verdicts, members)) if members else set()
    return {word: joined([_verdicts(facts)[word] for facts in members]) for word in sorted(words)}


def joined(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One verdict of several: all must agree; the largest difference counts."""
    apart = [verdict["difference"] for verdict in verdicts]
    named = {key: sorted({name for one in verdicts for name in _names(one, key)}) for key in ("not_compared", "lost")}
    return {
        "agrees": all(verdict["agrees"] for verdict in verdicts),
        "cases": sum(verdict["cases"] for verdict in verdicts),
        "tolerance": TOLERANCE,
        "difference": None if None in apart else max(apart),
        "dice": {},
        **{key: names for key, names in named.items() if names},
    }


def _verdicts(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    verdicts = facts.get("precision")
    known = verdicts.items() if isinstance(verdicts, Mapping) else ()
    return {word: verdict for word, verdict in known if is_verdict(verdict)}


def is_verdict(value: Any) -> bool:
    """Whether a value is a verdict as `judge` and `failed` make it: anybody may have written the facts of a package."""
    if not isinstance(value, Mapping) or type(value.get("agrees")) is not bool:
        return False
    difference = value.get("difference", "")
    if difference is None:
        return not value["agrees"]
    return isinstance(difference, (int, float)) and math.isfinite(difference)


def _sentence(word: str, verdict: Mapping[str, Any]) -> str:
    name, cases = NAMES[word], verdict.get("cases")
    if verdict.get("reason"):
        return f"the network cannot be applied in {name} ({verdict['reason']}), so float32 is used"
    if verdict.get("agrees"):
        return f"{change(name, verdict)}; it is used on machines that support it"
    if verdict.get("difference") is None:
        return f"{name} leaves Dice undefined on {cases} held-out cases, so float32 is used"
    if verdict["difference"] > TOLERANCE:
        return f"{worst(name, verdict)}, so float32 is used"
    return f"{change(name, verdict)}{unseen_in(verdict)}, so float32 is used"


def worst(subject: str, verdict: Mapping[str, Any]) -> str:
    """How much a faster way changes where it changes most."""
    difference, cases = verdict["difference"], verdict.get("cases")
    return f"{subject} changes the Dice of a structure by {difference:.4f} on {cases} held-out cases"


def unseen_in(verdict: Mapping[str, Any]) -> str:
    """Of what no held-out case could say anything; of many structures the first three."""
    names = _names(verdict)
    some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f", and none of them holds {some}" if names and verdict["difference"] <= TOLERANCE else ""


def _names(verdict: Mapping[str, Any], key: str = "not_compared") -> list[str]:
    names = verdict.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


def change(subject: str, verdict: Mapping[str, Any]) -> str:
    """How little a faster way changes."""
    difference, cases = verdict["difference"], verdict.get("cases")
    return f"{subject} changes the Dice of no structure by more than {difference:.4f} on {cases} held-out cases"


def _rounded(value: float | None) -> float | None:
    return round(value, 5) if value is not None and math.isfinite(value) else None
