"""Train workflows/hippocampus_mr.yaml and write the curve of Dice over minutes, on all held-out cases.

    python benchmarks/hippocampus.py [--minutes 10] [--out benchmarks/results/hippocampus.json]

The budget counts the seconds of the training loop, looks at validation cases included; reading, planning, preparing and
the final evaluation come on top and are reported. Prints a table and writes JSON with machine and versions.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measured import ROOT, keep, parser_of

import voxgraft as vg


def main() -> None:
    parser = parser_of(__doc__, "hippocampus")
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "hippocampus_mr.yaml")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--looks", type=int, default=10, help="points of the curve")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        overrides = {
            "training__budget": f"{options.minutes} min",
            "training__device": options.device,
            "training__validation_cases": 1000,
            "training__validate_every": 1 / options.looks,
            "tracking__uri": f"sqlite:///{folder}/mlflow.db",
            **{pair.split("=", 1)[0].replace(".", "__"): pair.split("=", 1)[1] for pair in options.set},
        }
        start = time.monotonic()
        run = vg.run(options.workflow, out=folder / "run", **overrides)
        total = time.monotonic() - start
        summary, scores = run.read("train/summary.json"), run.read("evaluate/scores.json")
        steps = {path.stem: run.read(f"steps/{path.name}")["seconds"] for path in (run.folder / "steps").glob("*.json")}
    result = {
        "curve": [
            {"minutes": round(row["seconds"] / 60, 2), "dice": round(row["dice"], 4)} for row in summary["curve"]
        ],
        "training": {name: summary[name] for name in ("steps", "seconds", "device", "precision", "device_memory_mb")},
        "parameters": summary["parameters"],
        "seconds_by_step": steps,
        "seconds": round(total, 1),
        "summary": scores["summary"],
    }
    keep(options.out, result)
    print("minutes  mean Dice of the held-out cases (network's grid)")
    for row in result["curve"]:
        print(f"{row['minutes']:7.2f}  {row['dice']:.4f}")
    print("\nscored in the scans' own grid after training:")
    for name, one in scores["summary"]["dice"].items():
        print(f"{name:12} {one['mean']:.4f}  95 % interval {one['ci95'][0]:.4f} to {one['ci95'][1]:.4f}, n {one['n']}")


if __name__ == "__main__":
    main()
