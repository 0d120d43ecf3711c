"""The rows of the tables in docs/review_worth.md, from what the benchmarks left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DESIGNS = (
    "individuals, 3 sigma",
    "individuals, Western Electric",
    "individuals, Nelson",
    "individuals of the logarithm, 3 sigma",
    "individuals of the logarithm, Western Electric",
    "EWMA 0.2 of the logarithm",
    "EWMA 0.1 of the logarithm",
    "cusum of the logarithm, k 0.5 h 5",
    "cusum of ranks, k 0.4 h 6.5",
    "cusum of ranks by reader, k 0.25 h 10",
    "cusum of ranks by reader, k 0.4 h 6.5",
    "cusum of ranks by reader, k 0.5 h 5",
    "share accepted in 20",
    "cusum of accepted by reader, k 0.4 h 6.5",
)
CHOSEN = "cusum of ranks by reader, k 0.4 h 6.5"
KINDS = ("often accepted", "sometimes accepted", "always corrected", "three readers by turns")


def charts_table(found: Mapping[str, Any]) -> list[str]:
    """False alarms and delays of each design."""
    rows = []
    for name in DESIGNS:
        kinds = found["designs"][name]
        alarms = [f"{kinds[kind]['false_alarms_in_1000']['mean']:.1f}" for kind in KINDS]
        seen = [_delay(kinds[kind], 100, "2 times") for kind in (KINDS[1], KINDS[3])]
        shown = f"**{name}**" if name == CHOSEN else name
        rows.append(f"| {' | '.join([shown, *alarms, *seen])} |")
    return rows


def delays_table(found: Mapping[str, Any]) -> list[str]:
    """How soon the chosen design sees a switch."""
    factors = ("1.5 times the error", "2 times", "3 times")
    return [
        f"| {kind} | "
        + " | ".join(_delay(found["designs"][CHOSEN][kind], case, factor) for case in (40, 100) for factor in factors)
        + " |"
        for kind in KINDS
    ]


def families_table(found: Mapping[str, Any]) -> list[str]:
    """Several structures at once."""
    return [
        f"| {number} | {row['decision']:.2f} | {row['false_alarms_in_1000_scans']:.1f} | "
        f"{_pair(row['scans_until_seen_if_one_changes'])} | {_pair(row['scans_until_seen_if_all_change'])} |"
        for number, row in found["families"].items()
    ]


def _delay(kind: Mapping[str, Any], case: int, factor: str) -> str:
    part = kind["cases_until_seen"][f"switch at case {case}"][factor]
    return _pair([part["median"], part["percentile_90"]])


def _pair(values: list[float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.0f}" for value in values)
