"""The page on the architecture draws the layers that the linter holds, and no imports go in a circle."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_draws_the_layers_of_the_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["voxgraft"])
    page = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
    drawing = page.split("## The layers")[1].split("```text\n")[1].split("```")[0]
    rows = [re.split(r" {3,}", line)[0] for line in drawing.splitlines()]
    assert [set(row.split()) for row in rows] == [set(layer.replace(":", " ").split()) for layer in layers]


def test_every_folder_of_the_core_has_its_paragraph() -> None:
    page = (ROOT / "docs" / "development" / "architecture.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "core" / "voxgraft").glob("*/__init__.py")}
    above = {"advice", "demo", "scaffold", "testing", "cli"}
    assert folders - above <= set(re.findall(r"^\*\*(\w+)\*\*", page, re.M))
    for name in re.findall(r"`(\w+/\w+)`", page):
        if name.split("/")[0] in folders:
            assert list((ROOT / "core" / "voxgraft").glob(f"{name}*")), f"{name} is on the page, not in the core"


def test_no_imports_go_in_a_circle() -> None:
    """Those for type checking are counted: whoever reads one file of a circle has to read them all."""
    house = runpy.run_path(str(ROOT / "benchmarks" / "house.py"))
    assert house["structure"](ROOT)["in_circles"] == []
