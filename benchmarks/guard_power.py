"""How often does the guard miss a true gain, by its size and by the number of held-out patients?

    python benchmarks/guard_power.py [--trials 400]

Real differences stand for the noise: benchmarks/results/strategies.json holds the Dice of twenty patients of the left
atrium for each way of transfer and for scratch with the same seed. Their differences are centred, so that on average
nothing is gained, and a gain of 0, 0.01, 0.02 or 0.04 is added; patients are drawn with replacement. The share of
trials in which `judge` says `helps` is what the guard sees; at a gain of 0 it is its rate of false alarms. What it says
holds where patients differ as much as here: the standard deviation of a patient's difference is told.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from measured import RESULTS, keep, parser_of
from numpy.typing import NDArray

from voxgraft.scoring.scores import Scores
from voxgraft.scoring.transfer_verdict import judge

GAINS = (0.0, 0.01, 0.02, 0.04)
PATIENTS = (6, 10, 20, 40, 80)
FEWEST_STEPS_OF_BOTH = 1000


def noise() -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """For each way of transfer and seed: the twin's Dice of each patient, and the centred differences from it."""
    runs = json.loads((RESULTS / "strategies.json").read_text())["runs"]
    scratch = {run["seed"]: run["cases"] for run in runs if run["arm"] == "scratch"}
    pairs = []
    for run in runs:
        if run["arm"] == "scratch":
            continue
        twin = scratch[run["seed"]]
        base = np.array([twin[case] for case in sorted(twin)])
        difference = np.array([run["cases"][case] for case in sorted(twin)]) - base
        pairs.append((base, difference - difference.mean()))
    return pairs


def scores_of(dice: NDArray[np.float64]) -> Scores:
    """Scores with one structure, a case for each patient."""
    return Scores.of({f"p{n:03d}": {"dice": {"atrium": float(value)}} for n, value in enumerate(dice)}, {})


def trials(gain: float, patients: int, number: int, generator: np.random.Generator) -> Counter[str]:
    """The verdicts of so many trials."""
    pairs = noise()
    found: Counter[str] = Counter()
    for _ in range(number):
        base, centred = pairs[generator.integers(len(pairs))]
        drawn = generator.integers(0, len(base), patients)
        run, twin = scores_of(base[drawn] + centred[drawn] + gain), scores_of(base[drawn])
        found[judge(run, twin, "dice", True, FEWEST_STEPS_OF_BOTH)["verdict"]] += 1
    return found


def main() -> None:
    parser = parser_of(__doc__, "guard_power")
    parser.add_argument("--trials", type=int, default=400, help="for each gain and number of patients")
    options = parser.parse_args()
    generator = np.random.default_rng(7)
    spread = float(np.mean([centred.std(ddof=1) for _, centred in noise()]))
    rows: list[dict[str, Any]] = []
    for gain in GAINS:
        for patients in PATIENTS:
            found = trials(gain, patients, options.trials, generator)
            rows.append({"gain": gain, "patients": patients, "verdicts": dict(found)})
            print(f"gain {gain:.2f}, {patients:2} patients: helps in {found['helps'] / options.trials:.1%}", flush=True)
    keep(options.out, {"trials": options.trials, "spread": round(spread, 4), "rows": rows})


if __name__ == "__main__":
    main()
