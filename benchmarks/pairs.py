"""Every encoder under every decoder, in 2D and 3D: tried on odd images, counted, kept as JSON.

    python benchmarks/pairs.py

It prints a line for each encoder and for each pair that breaks the law of `voxgraft.testing.pairs`, and writes
results/pairs.json.
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

SMALLEST: dict[str, dict[str, Any]] = {
    "resnet": {"variant": 18},
    "vgg": {"variant": 11},
    "mobilenet": {"variant": "v3_small"},
    "convnext": {"variant": "atto"},
    "resnet3d": {"variant": 10},
    "segresnet": {"width": 8},
    "swinunetr": {"width": 12},
}
"""The smallest of each family, where that is not what one gets without options."""

SIZES = {2: (75, 101), 3: (21, 37, 19)}


def encoders(catalogue: Catalogue) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Name, options and dimensions of each encoder that is tried: with and without the image as finest map; in 3D
    inflated, and slice by slice with a neighbour on each side as well."""
    for _, spec in catalogue.of("encoder"):
        fields, own = spec.config().model_fields, SMALLEST.get(spec.name, {})
        for dims in sorted(spec.dims):
            rows: list[dict[str, Any]] = [own]
            if "full_resolution" in fields and (dims == 2 or 2 not in spec.dims):
                rows = [{**own, "full_resolution": whole} for whole in (True, False)]
            if dims == 3 and "slicewise" in fields:
                ways = [0, 1] if fields["slicewise"].default == 0 else [None, 1]
                rows = [{**own, "slicewise": way} for way in ways]
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
                print(row, flush=True)
            rows.append(row)
        print(f"{time.monotonic() - start:5.0f} s {name} {options} {dims}D", flush=True)
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
