"""How much faster a frozen encoder trains when what it makes of a patch is kept: processor seconds of a step.

    python benchmarks/kept_features.py

workflows/atrium_2d_strategies.yaml with three encoders (numbers drawn at random for two of them, which takes as long)
and two decoders: all of the network trained, the encoder frozen, and frozen with its maps kept, on the same fixed
patches. Two lengths of training are timed and subtracted, so that neither loading nor the first round through the
patches counts.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from arms import options_of, train
from measured import ROOT, cpu_of, keep, parser_of

WORKFLOW = ROOT / "workflows" / "atrium_2d_strategies.yaml"
ENCODERS: dict[str, dict[str, Any]] = {
    "efficientnet-lite0": {"use": "efficientnet-lite0", "weights": "imagenet"},
    "resnet50": {"use": "timm", "model": "resnet50"},
    "convnext_tiny": {"use": "timm", "model": "convnext_tiny"},
}
DECODERS = ("unet", "linknet")
FIRST = 12
"""Steps in which every patch is seen once, and more."""
WAYS: dict[str, list[dict[str, Any]]] = {
    "all trained": [{"use": "fine-tune"}],
    "frozen": [{"use": "freeze", "cache": True, "crops": 16, "memory": 0}],
    "frozen, maps kept": [{"use": "freeze", "cache": True, "crops": 16, "memory": 8}],
}
"""Memory of none: the same patches come again, and nothing is kept."""


def drawn_weights(name: str, folder: Path) -> dict[str, Any]:
    """The encoder's choice, with a file of initial weights where none are at hand."""
    chosen = dict(ENCODERS[name])
    if "weights" not in chosen:
        import timm
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        path = folder / f"{name}.safetensors"
        tensors = timm.create_model(chosen["model"], features_only=True).state_dict()
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        chosen["weights"] = f"file:{path}"
    return chosen


def seconds(encoder: dict[str, Any], decoder: str, way: str, place: Path, options: argparse.Namespace) -> float:
    """Processor seconds of a step."""
    spent = []
    for steps in (FIRST, FIRST + options.steps):
        options_now = argparse.Namespace(**{**vars(options), "steps": steps})
        changes = {
            "model.encoder": encoder,
            "model.decoder": {"use": decoder},
            "transfer": WAYS[way],
            "steps": ["check", "plan", "prepare", "train"],
        }
        spent.append(cpu_of(partial(train, WORKFLOW, place / f"{steps}", changes, 7, options_now)))
    return (spent[1] - spent[0]) / options.steps


def main() -> None:
    parser = parser_of(__doc__)
    options_of(parser, "kept_features", steps=40, seeds="7")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seconds(ENCODERS["efficientnet-lite0"], "unet", "frozen", folder / "first", options)  # loads what all load
        for name in ENCODERS:
            encoder = drawn_weights(name, folder)
            for decoder in DECODERS:
                found = {way: seconds(encoder, decoder, way, folder / name / decoder / way, options) for way in WAYS}
                rows.append({"encoder": name, "decoder": decoder, "seconds": found})
                print(name, decoder, {way: round(value, 3) for way, value in found.items()}, flush=True)
    keep(options.out, {"patches": "12 of 96x80", "rows": rows})


if __name__ == "__main__":
    main()
