"""Twenty sources that cannot help, planted: does the guard call one of them helpful?

    python benchmarks/guard_trials.py [--steps 150] [--seeds 7,8,9,10,11] [--folder DIR]

workflows/polyps_2d.yaml learns from eight pictures (another draw for each seed) and is scored on the same 33 others.
For each seed: ImageNet weights with the numbers of each tensor in another order, frozen and fine-tuned; the encoder of
a network that has learnt the heart in MR slices from scratch, frozen; and ImageNet weights that are trained at a
learning rate thirty times too high. Each is judged against the twin from scratch of its seed, and so are the true
ImageNet weights, fine-tuned, which may help. Writes results/guard_trials.json.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from arms import folder_of, options_of, train
from guard import harmful_source
from measured import ROOT, keep, parser_of
from safetensors.torch import load_file, save_file

from voxgraft.scoring.comparison import read_run
from voxgraft.scoring.transfer_verdict import judge

POLYPS, HEART = (ROOT / "workflows" / f"{name}.yaml" for name in ("polyps_2d", "heart_2d"))
LABELLED = 8


def planted(permuted: Path, heart: Path) -> dict[str, dict[str, Any]]:
    """Initial weights and strategies of each trial."""
    frozen, tuned = [{"use": "freeze"}], [{"use": "fine-tune", "encoder_lr": 0.3}]
    worthless, other = (f"'file:{path.as_posix()}'" for path in (permuted, heart))
    return {
        "permuted, frozen": {"model.encoder.weights": worthless, "transfer": frozen},
        "permuted, fine-tuned": {"model.encoder.weights": worthless, "transfer": tuned},
        "heart, frozen": {"model.encoder.weights": other, "transfer": frozen},
        "ImageNet, learning too fast": {
            "model.encoder.weights": "imagenet",
            "transfer": [{"use": "fine-tune", "encoder_lr": 1.0}],
            "training.optimiser": {"use": "adamw", "lr": 0.03},
        },
        "ImageNet, fine-tuned": {"model.encoder.weights": "imagenet", "transfer": tuned},
    }


def encoder_of(package: Path, path: Path) -> Path:
    """The encoder's tensors of a package, in a file of their own."""
    tensors = load_file(package / "model.safetensors")
    prefix = "encoder."
    save_file({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}, path)
    return path


TRUE = "ImageNet, fine-tuned"


def main() -> None:
    parser = parser_of(__doc__)
    options_of(parser, "guard_trials", steps=150, seeds="7,8,9,10,11")
    options = parser.parse_args()
    judged: list[dict[str, Any]] = []
    with folder_of(options) as folder:
        harmful_source(folder / "permuted.safetensors")
        start = {"model.encoder.weights": "none", "transfer": [], "evaluation.metrics": ["dice"]}
        heart = encoder_of(train(HEART, folder / "heart", start, 7, options) / "package", folder / "heart.safetensors")
        for number, seed in enumerate(map(int, options.seeds.split(","))):
            split = {"folds": 2, "fold": 0, "seed": 7, "labelled": LABELLED, "repeats": number + 1, "repeat": number}
            common = {"data.split": split, "evaluation.metrics": ["dice"]}
            twin = read_run(train(POLYPS, folder / f"twin-{seed}", {**start, **common}, seed, options))
            for name, changes in planted(folder / "permuted.safetensors", heart).items():
                place = folder / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}"
                run = read_run(train(POLYPS, place, {**changes, **common}, seed, options))
                row = judge(run, twin, "dice", True, options.steps)
                judged.append({"source": name, "seed": seed, **{key: row[key] for key in KEPT}})
                print(json.dumps(judged[-1]), flush=True)
    false = [row for row in judged if row["source"] != TRUE]
    verdicts = {name: dict(Counter(row["verdict"] for row in judged if row["source"] == name)) for name in NAMES}
    keep(options.out, {"planted": len(false), "verdicts": verdicts, "trials": judged})
    print(verdicts)


KEPT = ("verdict", "difference", "ci95", "p", "mean", "twin_mean", "patients")
NAMES = tuple(planted(Path("a"), Path("b")))


if __name__ == "__main__":
    main()
