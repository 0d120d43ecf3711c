"""`voxgraft doctor` says what is installed, what is missing and what it is for, on one screen."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from voxgraft.cli import doctor, main

ROOT = Path(__file__).parents[2]


def test_the_extras_are_those_that_can_be_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {name: tuple(re.split(r"[\[>]", need)[0] for need in needs) for name, needs in declared.items()}
    assert {name: parts for name, (_, parts) in doctor.EXTRAS.items()} == {
        name: parts
        for name, parts in wanted.items()
        if name not in ("dev", "benchmark", "docs")  # for those who work on VoxGraft
    }


def test_a_missing_extra_is_named_with_its_use(monkeypatch) -> None:
    there = {"einops": "0.8", "starlette": "1", "uvicorn": "1"}
    monkeypatch.setattr(doctor, "_version", lambda name: there.get(name, ""))
    first, *others = doctor.extras()
    assert first == "installed: review, swin"
    assert others[0] == "missing: serve (serve models to viewers); pip install 'voxgraft[serve]'"
    assert "demo" in others[1] and "cluster" in others[2] and "lite" in others[3] and len(others) == 4


@pytest.mark.parametrize(("torch", "backend"), [("2.13.0+cpu", "cpu"), ("2.13.0+cu130", "cu130"), ("2.13.0", "auto")])
def test_a_torchvision_that_does_not_fit_is_named_with_the_one_that_does(torch, backend, monkeypatch) -> None:
    def unfit(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    there = {"torch": torch, "torchvision": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: there.get(name, ""))
    monkeypatch.setattr("importlib.import_module", unfit)
    (note,) = doctor.notes()
    assert f"torchvision 0.28.0 was not built for torch {torch}." in note and f"--torch-backend {backend} " in note


def test_mlflow_without_its_page_is_said(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "3.17" if name == "mlflow-skinny" else "")
    assert doctor.notes() == [
        "MLflow is installed without its page (mlflow-skinny): tracking and the registry work, `mlflow ui` does not"
    ]


def test_it_fits_one_screen(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(main, ["doctor"]).output.splitlines()
    assert len(said) <= 25 and max(map(len, said)) <= 80
    document = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    assert {"memory", "disk", "extras", "notes", "troubles"} <= document.keys()
