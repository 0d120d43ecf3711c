"""The advice as a page that stands by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..reports.render import render

PROBES = ("Encoder", "Best stage", "Probe", "Random", "Difference", "p (Holm)", "Evidence", "All stages")
ARMS = ("Round", "Arm", "Dice", "Steps", "Seconds", "Against scratch", "Evidence")


def probe_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of probes: Dice of the best stage, beside the best that a random initialisation gave."""
    rows = []
    for row in found["probes"]:
        name = f"{row['encoder']['use']} {row['encoder']['weights']}"
        if "error" in row:
            rows.append([name, "", "", "", "", "", f"{row['verdict']}: {row['error']}", ""])
            continue
        best = max(max(one) for one in row["random"])
        rows.append(
            [
                name,
                f"{row['best_stage'] + 1} of {len(row['stages'])}",
                f"{row['stages'][row['best_stage']]:.3f}",
                f"{best:.3f}",
                f"{row['difference']:+.3f}",
                f"{row['p_holm']:.3f}",
                row["verdict"],
                " ".join(f"{value:.3f}" for value in row["stages"]),
            ]
        )
    return rows


def arm_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of the tournament, the last round first, the best of a round first."""
    return [
        [
            str(row["round"]),
            row["arm"],
            f"{row['dice']:.3f}",
            str(row["steps"]),
            f"{row['seconds']:.0f}",
            _against(row.get("against_scratch")),
            row.get("evidence", ""),
        ]
        for row in found["tournament"]
    ]


def _against(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    low, high = found["ci95"]
    return f"{found['difference']:+.3f}" + ("" if low is None else f" ({low:+.3f} to {high:+.3f})")


def page(found: Mapping[str, Any]) -> str:
    """The page as HTML; all that comes from files is escaped."""
    return render(
        "advise/advice.html",
        title=f"Advice for {found['workflow']}",
        found=found,
        arms=arm_rows(found),
        probes=probe_rows(found),
        facts=[(name.replace("_", " "), ", ".join(map(str, _listed(value)))) for name, value in found["facts"].items()],
        **{"ARMS": ARMS, "PROBES": PROBES},
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]
