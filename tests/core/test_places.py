"""Places of this machine: shortened wherever plain values leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.support.texts import without_paths


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
    assert without_paths(given) == {
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
    assert without_paths(given) == given
