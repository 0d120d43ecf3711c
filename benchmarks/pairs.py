"""Every encoder under every decoder, in 2D and 3D: tried on odd images, counted, kept as JSON.

    python benchmarks/pairs.py [ENCODER ...]

It prints a line for each encoder and for each pair that fails the check of `voxgraft.testing.networks`, and writes
results/pairs.json.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measured import parser_of

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.errors import ModelError
from voxgraft.testing.networks import check_pair

SMALLEST: dict[str, dict[str, Any]] = {
    "resnet": {"variant": 18},
    "vgg": {"variant": 11},
    "mobilenet": {"variant": "v3_small"},
    "convnext": {"variant": "atto"},
    "resnet3d": {"variant": 10},
    "segresnet": {"width": 8},
    "swinunetr": {"width": 12},
    "timm": {"model": "regnetx_002"},
}
"""The smallest of each family, where that is not what one gets without options; of timm one that has no spec."""

SIZES = {2: (45, 67), 3: (21, 29, 11)}


def encoders(catalogue: Catalogue) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Name, options and dimensions of each encoder that is tried: with and without the image as finest map; in 3D
    inflated, and slice by slice those that cannot be, with neighbours and without, and one that can."""
    for _, spec in catalogue.of("encoder"):
        fields, own = spec.options().model_fields, SMALLEST.get(spec.name, {})
        for dims in sorted(spec.dims):
            rows: list[dict[str, Any]] = [own]
            if "full_resolution" in fields and (dims == 2 or 2 not in spec.dims):
                rows = [{**own, "full_resolution": whole} for whole in (True, False)]
            if dims == 3 and "slicewise" in fields:
                ways = [0, 1] if fields["slicewise"].default == 0 else [None, 1] if spec.name == "timm" else [None]
                rows = [{**own, "slicewise": way} for way in ways]
            for row in rows:
                yield spec.name, row, dims


def tried(catalogue: Catalogue, name: str, options: dict[str, Any], dims: int) -> Iterator[dict[str, Any]]:
    """A row for the encoder with each decoder."""
    import torch

    for _, spec in catalogue.of("decoder"):
        torch.manual_seed(0)
        row = {"encoder": name, **options, "dims": dims, "decoder": spec.name, "state": "holds"}
        try:
            encoder = choose(catalogue, "encoder", {"use": name, **options})
            decoder = choose(catalogue, "decoder", {"use": spec.name})
            row["decoder_parameters"] = check_pair(encoder, decoder, dims, SIZES[dims])
        except ModelError as error:
            row |= {"state": "refused", "reason": str(error)}
        except (AssertionError, RuntimeError, ValueError) as error:
            row |= {"state": "broken", "reason": f"{type(error).__name__}: {error}"}
        yield row


def kept(place: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write the rows, with what they come to, and give it."""
    states = [row["state"] for row in rows]
    document = {
        "pairs": len(rows),
        **{state: states.count(state) for state in ("holds", "refused", "broken")},
        "sizes": {str(dims): list(size) for dims, size in SIZES.items()},
        "rows": sorted(rows, key=lambda row: (row["encoder"], row["dims"])),
    }
    place.write_text(json.dumps(document, indent=1) + "\n")
    return document


def main() -> None:
    """Try all pairs, or those of the encoders named; the rows of other encoders are left as they are."""
    import torch

    parser = parser_of(__doc__, "pairs")
    parser.add_argument("encoders", nargs="*", help="only these, by name")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    catalogue, start = discover(), time.monotonic()
    todo = [one for one in encoders(catalogue) if one[0] in chosen.encoders or not chosen.encoders]
    names = {name for name, _, _ in todo}
    rows = json.loads(chosen.out.read_text())["rows"] if chosen.encoders and chosen.out.exists() else []
    rows = [row for row in rows if row["encoder"] not in names]
    for name, options, dims in todo:
        for row in tried(catalogue, name, options, dims):
            rows.append(row)
            if row["state"] != "holds":
                print(row, flush=True)
        print(f"{time.monotonic() - start:5.0f} s {name} {options} {dims}D", flush=True)
        document = kept(chosen.out, rows)
    print({key: document[key] for key in ("pairs", "holds", "refused", "broken")}, chosen.out)


if __name__ == "__main__":
    main()
