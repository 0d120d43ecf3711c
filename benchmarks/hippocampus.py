"""Train workflows/hippocampus_mr.yaml and write the curve of Dice over minutes, on all held-out cases.

    python benchmarks/hippocampus.py [--minutes 10] [--out benchmarks/results/hippocampus.json]

The budget counts the seconds of the training loop, looks at validation cases included; reading, planning, preparing and
the final evaluation come on top and are reported. Prints a table and writes JSON with machine and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import torch

import voxgraft as vg
from voxgraft.components.code import version_of
from voxgraft.runs.environment import PACKAGES

ROOT = Path(__file__).parents[1]


def machine() -> dict[str, object]:
    """The processor and the versions that a figure belongs to."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "hippocampus_mr.yaml")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--looks", type=int, default=10, help="points of the curve")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "hippocampus.json")
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
    changed = [f"--set {pair}" for pair in options.set]
    result = {
        "command": " ".join(["python benchmarks/hippocampus.py", f"--minutes {options.minutes:g}", *changed]),
        "machine": machine(),
        "curve": [
            {"minutes": round(row["seconds"] / 60, 2), "dice": round(row["dice"], 4)} for row in summary["curve"]
        ],
        "training": {name: summary[name] for name in ("steps", "seconds", "device", "precision", "device_memory_mb")},
        "parameters": summary["parameters"],
        "seconds_by_step": steps,
        "seconds": round(total, 1),
        "summary": scores["summary"],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print("minutes  mean Dice of the held-out cases (network's grid)")
    for row in result["curve"]:
        print(f"{row['minutes']:7.2f}  {row['dice']:.4f}")
    print("\nscored in the scans' own grid after training:")
    for name, one in scores["summary"]["dice"].items():
        print(f"{name:12} {one['mean']:.4f}  95 % interval {one['ci95'][0]:.4f} to {one['ci95'][1]:.4f}, n {one['n']}")


if __name__ == "__main__":
    main()
