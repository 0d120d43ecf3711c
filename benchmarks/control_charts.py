"""Which control chart sees that a model was switched, after how many cases, and how often does it cry wolf?

Simulated readers: the error of a mask is log-normal, some masks fail grossly, and a reader leaves a mask as it is whose
error is below what he minds (then Dice-to-edit is 1). Three readers mind different errors and take turns in blocks, so
that cases are not independent. A planted switch of the model multiplies the errors from case 40 or 100 on.

    python benchmarks/control_charts.py [--part families] [--replicates 400]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from control_designs import NELSON, ewma, share_signals, standard_scores
from measured import parser_of

from voxgraft.review.worth.charts import SLACK, decision_for
from voxgraft.review.worth.control import LIMIT, WESTERN_ELECTRIC, Signal, cusum, rank_scores, run_rules
from voxgraft.support.files import read_json, write_json

SWITCHES, AFTER, LONG = (40, 100), 300, 1020
"""The cases at which the model is switched, how long is waited for a signal, and 20 + 1,000 cases without a switch."""

FACTORS = {"1.5 times the error": 1.5, "2 times": 2.0, "3 times": 3.0}


@dataclass(frozen=True)
class Structure:
    """Errors of a model's masks: their median, their spread (of the logarithm), and what readers mind."""

    median: float
    spread: float
    minds: float
    readers: tuple[float, ...] = (1.0,)
    """Factors on what each of several readers minds."""


STRUCTURES = {
    "often accepted": Structure(0.015, 0.8, 0.04),
    "sometimes accepted": Structure(0.05, 0.6, 0.04),
    "always corrected": Structure(0.12, 0.5, 0.0),
    "three readers by turns": Structure(0.05, 0.6, 0.04, (0.6, 1.0, 1.6)),
}


@dataclass(frozen=True)
class Row:
    """What came in order: Dice-to-edit, and who read the case."""

    values: list[float]
    readers: list[str]


def read_by(structure: Structure, cases: int, rng: np.random.Generator, factor: float = 1.0, switch: int = 0) -> Row:
    """So many cases in a row; from the case `switch` on errors are multiplied."""
    error = structure.median * np.exp(structure.spread * rng.standard_normal(cases))
    error[switch:] *= factor
    gross = rng.random(cases) < 0.02
    error[gross] = rng.uniform(0.3, 1.0, gross.sum())
    turns = np.repeat(rng.permutation(cases) % len(structure.readers), rng.integers(5, 26, cases))[:cases]
    minds = structure.minds * np.array(structure.readers)[turns] * np.exp(0.2 * rng.standard_normal(cases))
    values = np.where(error < minds, 1.0, 1.0 - np.minimum(error, 1.0))
    return Row([float(value) for value in values], [str(reader) for reader in turns])


def logarithm(values: Sequence[float]) -> list[float]:
    """A scale on which errors are less skewed; 0.005 stands for masks that nobody changed."""
    return [-math.log(1.0 - value + 0.005) for value in values]


Design = Callable[[Row], list[Signal]]


def plain(chart: Callable[[Sequence[float]], list[Signal]]) -> Design:
    return lambda row: chart(row.values)


def on_log(chart: Callable[[Sequence[float]], list[Signal]]) -> Design:
    return lambda row: chart(logarithm(row.values))


def standard_cusum(values: Sequence[float], slack: float, decision: float) -> list[Signal]:
    return cusum(standard_scores(values), slack, decision)


def rank_cusum(slack: float, decision: float, by_reader: bool) -> Design:
    return lambda row: cusum(rank_scores(row.values, row.readers if by_reader else ()), slack, decision)


def accepted_cusum(row: Row) -> list[Signal]:
    kept = [float(value == 1.0) for value in row.values]
    return cusum(rank_scores(kept, row.readers), 0.4, 6.5)


def shares(row: Row) -> list[Signal]:
    return share_signals([value == 1.0 for value in row.values])


DESIGNS: dict[str, Design] = {
    "individuals, 3 sigma": plain(partial(run_rules, rules=LIMIT)),
    "individuals, Western Electric": plain(partial(run_rules, rules=WESTERN_ELECTRIC)),
    "individuals, Nelson": plain(partial(run_rules, rules=NELSON)),
    "individuals of the logarithm, 3 sigma": on_log(partial(run_rules, rules=LIMIT)),
    "individuals of the logarithm, Western Electric": on_log(partial(run_rules, rules=WESTERN_ELECTRIC)),
    "EWMA 0.2 of the logarithm": on_log(ewma),
    "EWMA 0.1 of the logarithm": on_log(partial(ewma, weight=0.1, width=2.7)),
    "cusum of the logarithm, k 0.5 h 5": on_log(partial(standard_cusum, slack=0.5, decision=5.0)),
    **{
        f"cusum of ranks{' by reader' if by_reader else ''}, k {slack:g} h {decision:g}": rank_cusum(
            slack, decision, by_reader
        )
        for slack, decision in ((0.25, 8.0), (0.25, 10.0), (0.4, 6.5), (0.5, 5.0), (0.5, 6.0))
        for by_reader in (False, True)
    },
    "share accepted in 20": shares,
    "cusum of accepted by reader, k 0.4 h 6.5": accepted_cusum,
}


def false_alarms(chart: Design, rows: Sequence[Row]) -> dict[str, float]:
    """Signals in 1,000 cases without a switch: their mean over simulated hospitals, and how many had none."""
    counts = [len(chart(row)) for row in rows]
    return {
        "mean": float(np.mean(counts)),
        "percentile_90": float(np.percentile(counts, 90)),
        "none": float(np.mean(np.array(counts) == 0)),
    }


def delay(chart: Design, rows: Sequence[Row], switch: int) -> dict[str, float | None]:
    """Cases from the switch to the first signal of lower values: median, 90 %, and the share seen within `AFTER`."""
    seen = []
    for row in rows:
        first = next((s.index for s in chart(row) if s.index >= switch and s.side == "lower"), None)
        seen.append(math.inf if first is None else first - switch + 1)
    middle, most = (float(np.percentile(seen, part, method="higher")) for part in (50, 90))
    return {
        "median": middle if math.isfinite(middle) else None,
        "percentile_90": most if math.isfinite(most) else None,
        "seen": float(np.mean(np.isfinite(seen))),
    }


def measure(replicates: int, seed: int) -> dict[str, Any]:
    """Every design on every kind of structure."""
    found: dict[str, Any] = {name: {} for name in DESIGNS}
    for number, (name, structure) in enumerate(STRUCTURES.items()):
        rng = np.random.default_rng([seed, number])
        still = [read_by(structure, LONG, rng) for _ in range(replicates)]
        switched = {
            (switch, text): [read_by(structure, switch + AFTER, rng, factor, switch) for _ in range(replicates)]
            for switch in SWITCHES
            for text, factor in FACTORS.items()
        }
        for design, chart in DESIGNS.items():
            seen: dict[str, Any] = {f"switch at case {switch}": {} for switch in SWITCHES}
            for (switch, text), rows in switched.items():
                seen[f"switch at case {switch}"][text] = delay(chart, rows, switch)
            found[design][name] = {"false_alarms_in_1000": false_alarms(chart, still), "cases_until_seen": seen}
    return found


def families(replicates: int, seed: int) -> dict[str, Any]:
    """The chosen chart on several independent structures at once, with the decision value for so many."""
    found = {}
    structure = STRUCTURES["sometimes accepted"]
    for number in (1, 5, 30):
        rng = np.random.default_rng([seed, 1000 + number])
        decision = decision_for(number)

        def signals(row: Row, decision: float = decision) -> list[Signal]:
            return cusum(rank_scores(row.values, row.readers), SLACK, decision)

        def first(rows: Sequence[Row], signals: Design = signals) -> float:
            """Scans after the switch until any structure signals."""
            seen = [s.index - 99 for row in rows for s in signals(row) if s.index >= 100 and s.side == "lower"]
            return min(seen, default=math.inf)

        alarms, one, all_of_them = [], [], []
        for _ in range(replicates):
            alarms.append(sum(len(signals(read_by(structure, LONG, rng))) for _ in range(number)))
            changed = [read_by(structure, 100 + AFTER, rng, 2.0, 100) for _ in range(number)]
            one.append(first(changed[:1]))
            all_of_them.append(first(changed))
        found[str(number)] = {
            "decision": round(decision, 2),
            "false_alarms_in_1000_scans": float(np.mean(alarms)),
            "scans_until_seen_if_one_changes": _middle(one),
            "scans_until_seen_if_all_change": _middle(all_of_them),
        }
    return found


def _middle(values: Sequence[float]) -> list[float | None]:
    """The median, and the value that 90 % do not exceed."""
    parts = (float(np.percentile(values, part, method="higher")) for part in (50, 90))
    return [part if math.isfinite(part) else None for part in parts]


def main() -> None:
    parser = parser_of(__doc__, "control_charts")
    parser.add_argument("--part", choices=["designs", "families"], help="one of the two; the other stays as it is")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=20261129)
    options = parser.parse_args()
    found = read_json(options.out) if options.out.exists() else {}
    if options.part != "families":
        found |= {"replicates": options.replicates, "seed": options.seed}
        found["designs"] = measure(options.replicates, options.seed)
        show(found["designs"])
    if options.part != "designs":
        found["families"] = families(max(1, options.replicates // 4), options.seed)
        print(found["families"])
    write_json(options.out, found)


def show(designs: Mapping[str, Any]) -> None:
    """Print a line for each design and kind of structure."""
    for design, structures in designs.items():
        for name, row in structures.items():
            alarms = row["false_alarms_in_1000"]
            parts = [part for switched in row["cases_until_seen"].values() for part in switched.values()]
            seen = "  ".join(f"{part['median']} / {part['percentile_90']} ({part['seen']:.0%})" for part in parts)
            print(f"{design:48s} {name:24s} {alarms['mean']:6.2f} ({alarms['none']:.0%} none)  {seen}")


if __name__ == "__main__":
    main()
