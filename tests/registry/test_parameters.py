"""Workflows as parameters: every value under a dotted key, nothing too long, no place on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft_registry.parameters import flat, without_places


def test_nested_values_get_dotted_keys() -> None:
    document = {"a": {"b": 1, "c": [1, 2], "d": None}, "transfer": [{"use": "freeze", "until": 0.2}], "on": True}
    assert flat(document) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "transfer.0.use": "freeze",
        "transfer.0.until": "0.2",
        "on": "true",
    }


def test_keys_and_values_are_of_a_kind_that_mlflow_takes() -> None:
    ((key, value),) = flat({"weiße Substanz (links)" * 30: "x" * 9000}).items()
    assert len(key) == 250 and "(" not in key
    assert len(value) == 500 and value.endswith("...")


def test_places_are_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "here": str(tmp_path / "data" / "ct"),
        "elsewhere": "/home/jane.doe/scans/liver/",
        "windows": "C:\\Users\\Jane\\scans",
        "home": "~/scans",
        "weights": "file:/home/jane.doe/net.safetensors",
        "uri": "sqlite:////home/jane.doe/voxgraft.db",
        "parts": ["/home/jane.doe/a", "b"],
    }
    assert without_places(given) == {
        "here": "data/ct",
        "elsewhere": "liver",
        "windows": "scans",
        "home": "scans",
        "weights": "file:net.safetensors",
        "uri": "sqlite:///voxgraft.db",
        "parts": ["a", "b"],
    }


def test_other_texts_are_kept() -> None:
    given = {"use": "deepbet", "split": "a/b", "budget": "10 min", "uri": "http://host:5000", "model": "models:/a@b"}
    assert without_places(given) == given
