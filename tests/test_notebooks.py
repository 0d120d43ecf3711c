"""Every cell of the notebooks works, on the demo's scans and with trainings of one step; what they keep is small."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from voxgraft.components.catalogue import Catalogue
from voxgraft.demo.dataset import make_data
from voxgraft.support.progress import Progress

ROOT = Path(__file__).parents[1]
DEMO = "!voxgraft demo --data demo-data"
BUDGET = 'budget = "3 min"'
LARGEST = 400_000
"""Bytes of a notebook with its pictures."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("nbclient", reason="notebooks need voxgraft[dev]")
    pytest.importorskip("ipykernel", reason="notebooks need voxgraft[dev]")
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "development" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_cell_works(script: ModuleType, catalogue: Catalogue, repo_path, tmp_path: Path, monkeypatch) -> None:
    import nbformat

    pytest.importorskip("nilearn", reason="the demo's scans need voxgraft[demo]")
    for name, value in repo_path.items():
        monkeypatch.setenv(name, value)
    make_data(tmp_path / "demo-data", catalogue, Progress(quiet=True), labelled=3)
    first, second = (nbformat.read(script.NOTEBOOKS / name, as_version=4) for name in script.ORDER)
    both = nbformat.v4.new_notebook(cells=[*first.cells, *second.cells], metadata=first.metadata)  # one kernel for both
    sources = [cell.source for cell in both.cells]
    assert DEMO in sources and sum(BUDGET in source for source in sources) == 2
    for cell in both.cells:
        cell.source = cell.source.replace(DEMO, "").replace(BUDGET, 'budget = "1 steps"')
        for ten, three in (("DEMO-011", "DEMO-004"), ("DEMO-014", "DEMO-007")):  # numbers go on behind labelled heads
            cell.source = cell.source.replace(ten, three)
    script.execute(both, tmp_path)
    assert (tmp_path / "batch-notebook" / "report.html").exists()
    assert all("text/html" in output.data for cell in both.cells for output in shown(cell))


def shown(cell) -> list:
    """What a cell shows of volumes, runs and the like."""
    ours = ("vg.read", "run", "mask", "batch", "scores", "vg.compare", "vg.check", "vg.inspect", "pretrained", "scan")
    last = cell.source.splitlines()[-1] if cell.source else ""
    return [o for o in cell.get("outputs", []) if o.output_type == "execute_result" and last.startswith(ours)]


def test_what_is_kept_is_real_and_small() -> None:
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        assert path.stat().st_size < LARGEST
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
        kept = [output for cell in cells for output in cell["outputs"]]
        assert kept and not any(output["output_type"] == "error" for output in kept)
        assert max(len("".join(output.get("data", {}).get("text/plain", ""))) for output in kept) < 200
