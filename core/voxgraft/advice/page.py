"""The advice as a page that stands by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..reports.render import render
from ..support.texts import counted

PROBES = ("Encoder", "Best stage", "Probe", "Random", "Difference", "p (Holm)", "Evidence", "All stages")
SHAPES = ("Shape", "Dice", "Steps", "Seconds", "Against the workflow's own", "Evidence")
ARMS = ("Round", "Arm", "Dice", "Steps", "Seconds", "Against scratch", "Evidence")


def probe_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of probes: Dice of the best stage, beside the best that a random initialisation gave."""
    rows = []
    for row in found["probes"]:
        name = f"{row['encoder']['use']} {row['encoder']['weights']}"
        if "error" in row:
            rows.append([name, "", "", "", "", "", f"{row['verdict']}: {row['error']}", ""])
            continue
        best = max((value for one in row["random"] for value in one if _is_defined(value)), default=None)
        rows.append(
            [
                name,
                f"{row['best_stage'] + 1} of {len(row['stages'])}",
                _shown(row["stages"][row["best_stage"]]),
                _shown(best),
                f"{row['difference']:+.3f}{_of(row.get('volumes'), row.get('looked_at'))}",
                f"{row['p_holm']:.3f}",
                row["verdict"],
                " ".join(_shown(value) for value in row["stages"]),
            ]
        )
    return rows


def shape_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of shapes, in the order in which they were trained."""
    return [
        [
            row["shape"],
            _dice(row),
            str(row["steps"]),
            f"{row['seconds']:.0f}",
            _against(row.get("against_own")),
            "the workflow's own" if row["own"] else row.get("evidence", ""),
        ]
        if "error" not in row
        else [row["shape"], "", "", "", "", f"not usable: {row['error']}"]
        for row in found["shapes"]
    ]


def arm_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of the tournament, the last round first, the best of a round first."""
    return [
        [
            str(row["round"]),
            row["arm"],
            _dice(row),
            str(row["steps"]),
            f"{row['seconds']:.0f}",
            _against(row.get("against_scratch")),
            row.get("evidence", ""),
        ]
        for row in found["tournament"]
    ]


def _dice(row: Mapping[str, Any]) -> str:
    """A mean Dice with how many of how many volumes have one."""
    return _shown(row["dice"]) + _of(row.get("defined"), row.get("volumes"))


def _is_defined(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _shown(value: float | None) -> str:
    return f"{value:.3f}" if value is not None and _is_defined(value) else "undefined"


def _of(defined: int | None, every: int | None) -> str:
    return "" if defined is None or every is None else f", {defined} of {counted(every, 'volume')}"


def _against(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    low, high = found["ci95"]
    return f"{found['difference']:+.3f}" + ("" if low is None else f" ({low:+.3f} to {high:+.3f})")


def page(found: Mapping[str, Any]) -> str:
    """The page as HTML; all that comes from files is escaped."""
    return render(
        "advice/advice.html",
        title=f"Advice for {found['workflow']}",
        found=found,
        shapes=shape_rows(found),
        arms=arm_rows(found),
        probes=probe_rows(found),
        facts=[(name.replace("_", " "), ", ".join(map(str, _listed(value)))) for name, value in found["facts"].items()],
        **{"SHAPES": SHAPES, "ARMS": ARMS, "PROBES": PROBES},
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
