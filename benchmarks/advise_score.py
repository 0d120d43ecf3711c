"""How often is the advice the best choice that is known? Held against the curves of `benchmarks/curves.py`.

    python benchmarks/advise_score.py [--minutes 5] [--sets polyps,heart]

For each number of labelled patients `voxgraft advise` looks at the scratch workflow of a curve, with the patients of
the curve's first draw. `first` is the arm that led at the end, `proposed` is what the workflow that it wrote uses, and
`basis` what that rests on: the data, or, where the trial cannot tell, other data sets (so on these two the curves that
it is held against). Each is worth the Dice that the curve measured for the arm (any ImageNet encoder counts as the
curve's); `lost` is what it falls short of the best arm there. On a busy machine a trial gets less of a processor than
its minutes: `processor_minutes` says how much.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from curves import SETS, changes_of
from measured import RESULTS, ROOT, keep, parser_of

import voxgraft as vg

CLOSE = 0.005
"""Of Dice: a choice that loses no more counts as the best."""
WAYS = ("first", "proposed")


def arm_of(encoder: Mapping[str, Any]) -> str:
    """The curve's arm that an encoder stands for."""
    return "scratch" if encoder.get("weights", "none") == "none" else "imagenet"


def advised(name: str, labels: int, minutes: float, out: Path) -> dict[str, Any]:
    """What was advised with so many labelled patients, and what it is worth."""
    data, curve = SETS[name], json.loads((RESULTS / f"curves_{name}.json").read_text())
    worth = {point["arm"]: point["dice"] for point in curve["points"] if point["labels"] == labels}
    changes = {
        key.replace(".", "__"): value if isinstance(value, str) else json.dumps(value)
        for key, value in changes_of(data, "scratch", labels).items()
    }
    begun = time.process_time()
    found = vg.advise(ROOT / "workflows" / f"{data.workflow}.yaml", minutes=minutes, out=out, **changes)
    proposed = arm_of(yaml.safe_load((out / "workflow.yaml").read_text())["model"]["encoder"])
    rows = {row["arm"]: row["dice"] for row in found["tournament"][:2]}  # the last round: a pair and its twin
    leads = max(rows, key=lambda arm: rows[arm]) if len(set(rows.values())) > 1 else None  # none where both are equal
    first = None if leads is None else "scratch" if leads.endswith("scratch") else "imagenet"
    best = max(worth.values())
    return {
        "data": name,
        "labels": labels,
        "verdict": found["verdict"],
        "advice": found["advice"],
        "basis": found["basis"],
        "first": first,
        "proposed": proposed,
        "worth": worth,
        "lost_by_first": None if first is None else round(best - worth[first], 4),
        "lost_by_proposed": round(best - worth[proposed], 4),
        "minutes": found["minutes_used"],
        "processor_minutes": round((time.process_time() - begun) / 60, 3),
        "steps": found["tournament"][0]["steps"] if found["tournament"] else 0,
    }


def main() -> None:
    parser = parser_of(__doc__, "advise_score")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sets", default="polyps,heart")
    parser.add_argument("--labels", default="4,8", help="numbers of labelled patients of the curves")
    options = parser.parse_args()
    rows = []
    for name in options.sets.split(","):
        for labels in sorted({int(n) for n in options.labels.split(",")} & set(SETS[name].labels)):
            with tempfile.TemporaryDirectory() as scratch:
                rows.append(advised(name, labels, options.minutes, Path(scratch) / "advice"))
            print(json.dumps(rows[-1]), flush=True)
    close = {way: sum((lost := row[f"lost_by_{way}"]) is not None and lost <= CLOSE for row in rows) for way in WAYS}
    keep(options.out, {"minutes": options.minutes, "close": CLOSE, "trials": len(rows), "best": close, "rows": rows})


if __name__ == "__main__":
    main()
