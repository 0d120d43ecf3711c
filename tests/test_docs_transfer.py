"""The page of transfer is the one that the files of figures give, and the figures keep what was promised."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def result(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return document


def test_no_figure_of_the_page_is_typed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page = importlib.import_module("transfer_page")
    assert page.PAGE.read_text() == page.render()


def test_imagenet_weights_helped_on_the_atrium() -> None:
    gains = {one["run"]: one for one in result("strategies")["comparisons"]}
    assert len(gains) >= 6
    assert gains["fine-tune"]["ci95"][0] > 0 and gains["fine-tune"]["n"] == 20


def test_held_out_scans_were_not_learnt_from() -> None:
    for one in result("strategies")["runs"]:
        assert set(one["cases"]) == {f"la_{number:03d}" for number in range(20, 40)}
    for table in result("domain_shift")["shifts"].values():
        assert all(set(one["cases"]) == {f"la_{number:03d}" for number in range(20, 40)} for one in table["runs"])
    curve = result("label_curve")["curve"]
    assert [table["labels"] for table in curve] == [4, 8, 16, 32]
    held_out = {frozenset(one["cases"]) for table in curve for one in table["runs"]}
    assert len(held_out) == 1 and len(next(iter(held_out))) == 40
