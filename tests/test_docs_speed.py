"""The page of figures is the one that the files of figures give, and the figures keep what was promised."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def result(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return document


def test_no_figure_of_the_page_is_typed_by_hand() -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks" / "page.py")
    assert spec is not None and spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.PAGE.read_text() == page.render()


def test_no_spoiled_file_was_read_wrong() -> None:
    assert result("fuzz")["faults"] == 0
    assert result("fuzz")["files"] >= 100_000


def test_masks_come_back_from_dicom_objects_where_they_were() -> None:
    summary = result("roundtrip")["summary"]
    assert summary["seg_by_dcmqi"]["voxels"] == 0
    assert summary["seg_by_dcmqi"]["centroid_mm"] < 0.001
    assert summary["seg_by_own"] == 0
    assert set(summary["dciodvfy_errors"].values()) == {0}
