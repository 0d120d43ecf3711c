"""Train workflows/atrium_2d_strategies.yaml from scratch and with each strategy at one budget, and compare them.

    python benchmarks/strategies.py [--steps 200] [--seeds 7,8,9] [--arms scratch,freeze,...] [--folder DIR]

Eight labelled scans, twenty others to evaluate on. Prints a table and writes JSON. The volumes were cropped around
their reference masks in x and y: Dice on them is higher than it is on whole scans.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arms import folder_of, options_of, show, table_of, train
from measured import ROOT, keep, parser_of

SCRATCH = "scratch"
ARMS: dict[str, list[dict[str, Any]]] = {
    SCRATCH: [],
    "freeze": [{"use": "freeze"}],
    "fine-tune": [{"use": "fine-tune", "encoder_lr": 0.3}],
    "lp-ft": [{"use": "lp-ft", "probe": 0.15, "encoder_lr": 0.3}],
    "layer-decay": [{"use": "layer-decay", "decay": 0.75}],
    "l2-sp": [{"use": "l2-sp", "alpha": 0.001, "beta": 0.0001}],
    "lora": [{"use": "lora", "r": 4}],
}
"""The comparison of the documentation."""

MORE: dict[str, list[dict[str, Any]]] = {
    "freeze-cache": [{"use": "freeze", "cache": True, "crops": 32}],
    "gradual": [{"use": "gradual"}],
    "bn-only": [{"use": "bn-only"}],
    "delta": [{"use": "delta"}],
    "delta-measured": [{"use": "delta", "channels": "measured"}],
    "clip": [{"use": "clip"}],
    "prune": [{"use": "fine-tune"}, {"use": "prune"}],
    "init": [{"use": "fine-tune"}, {"use": "init", "scheme": "he"}],
    "gradual-layer-decay-l2-sp": [{"use": "gradual"}, {"use": "layer-decay"}, {"use": "l2-sp", "alpha": 0.001}],
}
"""Others that --arms may name."""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--workflow", type=Path, default=ROOT / "workflows" / "atrium_2d_strategies.yaml")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"the first is compared with; also {', '.join(MORE)}")
    options_of(parser, "strategies", steps=200, seeds="7,8,9")
    options = parser.parse_args()
    runs = {}
    with folder_of(options) as folder:
        for seed in map(int, options.seeds.split(",")):
            for arm in options.arms.split(","):
                changes: dict[str, Any] = {"transfer": {**ARMS, **MORE}[arm]}
                if arm == SCRATCH:
                    changes["model.encoder.weights"] = "none"
                runs[arm, seed] = train(options.workflow, folder / f"{arm}-{seed}", changes, seed, options)
        table = table_of(runs)
    keep(options.out, table)
    show(table)


if __name__ == "__main__":
    main()
