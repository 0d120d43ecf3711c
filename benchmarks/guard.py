"""Does the guard flag a harmful source, and only that? ImageNet weights as they are and permuted, against twins.

    python benchmarks/guard.py [--steps 200] [--seeds 7,8,9] [--folder DIR]

workflows/atrium_2d_strategies.yaml learns from la_000 to la_007 and is scored on la_008 to la_019. The harmful source
has the numbers of the ImageNet weights, in another order within each tensor: sizes are right, knowledge is gone. It
is frozen, where the decoder has nothing else to work with, and fine-tuned, where training may mend it. Each is judged
against its twin from scratch, and the twins of different seeds are judged among themselves. Prints the table of
docs/evidence.md and writes JSON. The volumes were cropped around their reference masks in x and y: Dice is higher on
them than on whole scans.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from arms import folder_of, options_of, train
from measured import DATA, ROOT, keep, parser_of
from safetensors.torch import save_file

import voxgraft as vg
from voxgraft.components.choice import choose
from voxgraft.scoring.comparison import read_run
from voxgraft.scoring.transfer_verdict import judge

WORKFLOW = ROOT / "workflows" / "atrium_2d_strategies.yaml"
TUNED = [{"use": "fine-tune", "encoder_lr": 0.3}]
HARMFUL = "permuted, frozen"
ARMS: dict[str, list[dict[str, Any]]] = {
    HARMFUL: [{"use": "freeze"}],
    "permuted, fine-tuned": TUNED,
    "ImageNet, fine-tuned": TUNED,
}
"""The first carries the guard, and with it the twin that all of a seed are judged against."""


def harmful_source(path: Path) -> None:
    """The tensors of the encoder, each with its numbers in a random order."""
    encoder = choose(vg.catalogue(), "encoder", {"use": "efficientnet-lite0", "weights": "imagenet"}).build()
    draw = torch.Generator().manual_seed(0)

    def permuted(value: torch.Tensor) -> torch.Tensor:
        return value.flatten()[torch.randperm(value.numel(), generator=draw)].reshape(value.shape).contiguous()

    save_file({name: permuted(value) for name, value in encoder.weights().tensors.items()}, path)


def cases(path: Path) -> None:
    """Eight scans to learn from and twelve to be scored on."""
    rows = [f"la_{n:03d},images/la_{n:03d}.nii.gz,labels/la_{n:03d}.nii.gz" for n in range(20)]
    split = [f"{row},{'train' if n < 8 else 'validation'}" for n, row in enumerate(rows)]
    path.write_text("\n".join(["case,image,label,split", *split]) + "\n")


def changes_of(arm: str, folder: Path) -> dict[str, Any]:
    """What an arm changes in the workflow."""
    return {
        "data.layout.path": (folder / "cases.csv").as_posix(),
        "data.layout.root": (DATA / "la2018").as_posix(),
        "model.encoder.weights": f"'file:{folder / 'harmful.safetensors'}'" if "permuted" in arm else "imagenet",
        "transfer": ARMS[arm],
        "evaluation.metrics": ["dice"],
        "guard": "twin" if arm == HARMFUL else "null",
    }


def line_of(row: dict[str, Any]) -> str:
    """A verdict as the documentation shows it."""
    low, high = row["ci95"]
    return (
        f"| {row['run']} | {row['seed']} | {row['mean']:.3f} | {row['twin_mean']:.3f} | {row['difference']:+.3f} | "
        f"{low:+.3f} to {high:+.3f} | `{row['verdict']}` |"
    )


def main() -> None:
    parser = parser_of(__doc__)
    options_of(parser, "guard", steps=200, seeds="7,8,9")
    options = parser.parse_args()
    judged: list[dict[str, Any]] = []
    with folder_of(options) as folder:
        harmful_source(folder / "harmful.safetensors")
        cases(folder / "cases.csv")
        twins = {}
        for seed in map(int, options.seeds.split(",")):
            places = {arm: folder / f"{arm.replace(', ', '-')}-{seed}" for arm in ARMS}
            runs = {
                arm: train(WORKFLOW, place, changes_of(arm, folder), seed, options) for arm, place in places.items()
            }
            twins[seed] = read_run(runs[HARMFUL] / "twin")
            for arm, run in runs.items():
                judged.append({"run": arm, "seed": seed, **judge(read_run(run), twins[seed], "dice", True)})
        for one, other in combinations(twins, 2):
            verdict = judge(twins[one], twins[other], "dice", True)
            judged.append({"run": f"twin against the twin of {other}", "seed": one, **verdict})
    keep(options.out, {"verdicts": judged})
    for row in judged:
        print(line_of(row))


if __name__ == "__main__":
    main()
