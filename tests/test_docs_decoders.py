"""The page about decoders lists those that are offered, with the figures that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "decoders.md").read_text()


def test_the_table_lists_each_decoder_with_its_parameters_and_heads(catalogue: Catalogue) -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \| ([^|]+) \| ([\d,]+) \| [^|]+ \|$", PAGE, re.M)
    assert {name for name, _, _ in rows} == {spec.name for _, spec in catalogue.of("decoder")}
    encoder = choose(catalogue, "encoder", {"use": "timm", "model": "resnet18"}).build().make(2, 3, [])
    for name, deep, count in rows:
        decoder = choose(catalogue, "decoder", {"use": name}).build().make(2, encoder.channels, encoder.strides)
        assert f"{sum(one.numel() for one in decoder.parameters()):,}" == count, name
        assert (len(decoder.channels) > 1) == (deep != "no"), name


def test_the_pairs_are_those_of_the_benchmark() -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "pairs.json").read_text())
    said = re.search(r"Of ([\d,]+) pairs ([\d,]+) hold, (\w+) (?:is|are) refused and (\w+) (?:is|are) broken", PAGE)
    assert said is not None
    words = {"none": 0}
    numbers = [words[one] if one in words else int(one.replace(",", "")) for one in said.groups()]
    assert numbers == [document[key] for key in ("pairs", "holds", "refused", "broken")]
