"""Whether only the body is searched: what a model's own held-out cases said, kept with the facts of a package.

As half precision it is tried beside the plain way, the whole scan, on the same cases: see
`voxgraft.packages.precision`. Cases whose body takes as many windows as the whole scan say nothing, and do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .precision import change, is_verdict, unseen_in, worst

WORDS = ("auto", "on", "off")
KEY = "body"
SEARCHED = "searching the body alone"


def used_around(wanted: str, facts: Mapping[str, Any]) -> bool:
    """Whether only the body is searched.

    Args:
        wanted: One of `WORDS`.
        facts: Of a package, which anybody may have written.
    """
    return wanted == "on" or (wanted == "auto" and (_verdict(facts) or {}).get("agrees") is True)


def said_around(facts: Mapping[str, Any]) -> list[str]:
    """A sentence, where it was tried."""
    verdict = _verdict(facts)
    if verdict is None:
        return []
    if verdict.get("agrees"):
        return [f"{change(SEARCHED, verdict)}; that is done where it takes fewer windows than the whole scan"]
    if verdict.get("reason"):
        return [f"{SEARCHED} failed ({verdict['reason']}), so whole scans are searched"]
    return [f"{_doubt(SEARCHED, verdict)}, so whole scans are searched"]


def applied_around(facts: Mapping[str, Any]) -> str:
    """What a user is told of a model that searches the body alone."""
    verdict = _verdict(facts)
    if verdict is None or verdict.get("reason"):
        return "only the body is searched, as asked; no held-out case has shown what that changes"
    if not verdict.get("agrees"):
        return f"only the body is searched, as asked; {_doubt('that', verdict)}"
    return f"only the body is searched: {change('that', verdict)}"


def _doubt(subject: str, verdict: Mapping[str, Any]) -> str:
    """Why it is not used."""
    lost = verdict.get("lost")
    if isinstance(lost, list) and lost:
        return f"{subject} loses {', '.join(map(str, lost[:3]))} on a held-out case"
    if verdict.get("difference") is None:
        return f"{subject} leaves Dice undefined on {verdict.get('cases')} held-out cases"
    if unseen := unseen_in(verdict):
        return f"{change(subject, verdict)}{unseen}"
    return worst(subject, verdict)


def _verdict(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    verdict = facts.get(KEY)
    return verdict if is_verdict(verdict) else None
