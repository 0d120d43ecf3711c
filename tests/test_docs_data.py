"""The page on data sets: every tree in it can be read by its layout, and every piece of a workflow is one."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.cases import Dataset
from voxgraft.scaffold.begin import shipped
from voxgraft.workflow.workflow import from_document

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
LAYOUTS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", PAGE, re.M | re.S))
PUBLIC = (Path(__file__).parents[1] / "docs" / "public-data.md").read_text()
PIECES = re.findall(r"^```yaml\n(.*?)^```", PAGE + PUBLIC, re.M | re.S)


def blocks(text: str) -> dict[str, str]:
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S))


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_tree_is_read_by_its_layout(catalogue: Catalogue, tmp_path: Path, monkeypatch: Any, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(LAYOUTS[name])
    paths = [Path(line) for line in found["text"].splitlines()]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if "json" in found:
        (paths[0].parent / "dataset.json").write_text(found["json"])
    if "csv" in found:
        Path(paths[0].parts[0], "cases.csv").write_text(found["csv"])
    options = yaml.safe_load(found["yaml"])["layout"]
    assert options["use"] == name
    dataset: Dataset = choose(catalogue, "layout", options).build().read()
    assert len(dataset.cases) == 1 and (dataset.cases[0].label or dataset.cases[0].raters)


def test_all_layouts_are_told(catalogue: Catalogue) -> None:
    assert {*LAYOUTS, "dicom"} >= {spec.name for _, spec in catalogue.of("layout")}


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_is_one_of_a_workflow(catalogue: Catalogue, piece: str) -> None:
    data = {"layout": {"use": "decathlon", "path": "x"}, "modality": "mr", **yaml.safe_load(piece)}
    model = {"encoder": {"use": "residual", "weights": "none"}, "decoder": "unet"}
    flow = from_document({"name": "x", "data": data, "model": model, "tracking": None}, catalogue)
    assert from_document(flow.document(), catalogue).document() == flow.document()


def test_public_data_sets_are_named_for_every_workflow_that_is_shipped() -> None:
    named = re.findall(r"`([a-z0-9_*]+)`", PUBLIC)
    missing = [name for name in shipped() if not any(fnmatch(name, pattern) for pattern in named)]
    assert missing == []


def test_the_seconds_of_new_are_those_of_the_benchmark() -> None:
    results = Path(__file__).parents[1] / "benchmarks" / "results" / "new_folders.json"
    found = json.loads(results.read_text())
    text = " ".join(PAGE.split())
    seconds = [row["new"]["cpu_seconds"] for row in found["sizes"].values()]
    assert "takes {} s of processor time for pairs, {} s for images alone and {} s".format(*seconds) in text
    assert f"up to {max(row['new']['megabytes'] for row in found['sizes'].values())} MB" in text
    assert f"tries {len(found['hostile'])} folders" in text
    assert not any(row["faults"] for group in ("sizes", "hostile", "large") for row in found[group].values())
