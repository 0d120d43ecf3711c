"""Every encoder under every decoder, in 2D and 3D: tried on odd images, counted, kept as JSON.

    python benchmarks/pairs.py

It prints a line for each pair that breaks the law of `voxgraft.testing.pairs`, and writes results/pairs.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voxgraft.discovery import Catalogue, discover
from voxgraft.errors import ModelError
from voxgraft.slot import choose
from voxgraft.testing.pairs import check_pair

TIMM = (
    "resnet18",
    "vgg11_bn",
    "densenet121",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "vit_tiny_patch16_224",
    "inception_v3",
)
"""A small backbone of each family."""

SIZES = {2: (75, 101), 3: (37, 45, 29)}


def encoders(catalogue: Catalogue) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Name, options and dimensions of each encoder that is tried."""
    for _, spec in catalogue.of("encoder"):
        for dims in sorted(spec.dims):
            rows: list[dict[str, Any]] = [{}]
            if spec.name == "timm" and dims == 2:
                rows = [{"model": model, "full_resolution": whole} for model in TIMM for whole in (True, False)]
            elif "full_resolution" in spec.config().model_fields:
                rows = [{"full_resolution": whole} for whole in ((True, False) if dims == 3 else (True,))]
            for row in rows:
                yield spec.name, row, dims


def main() -> None:
    """Try all pairs."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pairs.json")
    place = parser.parse_args().out
    torch.set_num_threads(1)
    catalogue, rows, start = discover(), [], time.monotonic()
    for name, options, dims in encoders(catalogue):
        for _, spec in catalogue.of("decoder"):
            torch.manual_seed(0)
            row = {"encoder": name, **options, "dims": dims, "decoder": spec.name, "state": "holds"}
            try:
                encoder = choose(catalogue, "encoder", {"use": name, **options})
                row["decoder_parameters"] = check_pair(
                    encoder, choose(catalogue, "decoder", {"use": spec.name}), dims, SIZES[dims]
                )
            except ModelError as error:
                row |= {"state": "refused", "reason": str(error)}
            except (AssertionError, RuntimeError, ValueError) as error:
                row |= {"state": "broken", "reason": f"{type(error).__name__}: {error}"}
            if row["state"] != "holds":
                print(row)
            rows.append(row)
    states = [row["state"] for row in rows]
    counts = {state: states.count(state) for state in ("holds", "refused", "broken")}
    document = {
        "pairs": len(rows),
        **counts,
        "seconds": round(time.monotonic() - start, 1),
        "sizes": SIZES,
        "rows": rows,
    }
    place.write_text(json.dumps(document, indent=1) + "\n")
    print(counts, place)


if __name__ == "__main__":
    main()
