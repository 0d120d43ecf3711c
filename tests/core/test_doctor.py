"""`voxgraft doctor` says what is installed, what is missing and what it is for, on one screen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
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
    there = {"anyio": "4", "einops": "0.8", "h11": "1", "starlette": "1", "uvicorn": "1"}
    monkeypatch.setattr(doctor, "_version", lambda name: there.get(name, ""))
    first, *others = doctor.extras()
    assert first == "installed: review, swin"
    assert others[0] == "missing: serve (serve models to viewers); pip install 'voxgraft[serve]'"
    assert "demo" in others[1] and "mlflow ui" in others[2] and "cluster" in others[3] and "lite" in others[4]
    assert len(others) == 5


@pytest.mark.parametrize(
    ("torch", "backend", "fitting"),
    [
        ("2.13.0+cpu", "cpu", "torchvision==0.28.0"),
        ("2.9.1+cu130", "cu130", "torchvision==0.24.1"),
        ("2.14.1", "auto", "torchvision==0.29.1"),
        ("3.0.0", "auto", "torchvision"),
        ("2.15.0.dev20270101", "auto", "torchvision"),
    ],
)
def test_a_torchvision_that_does_not_fit_is_named_with_the_one_that_does(torch, backend, fitting, monkeypatch) -> None:
    def unfit(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    there = {"torch": torch, "torchvision": "0.28.0"}
    monkeypatch.setattr(doctor, "_version", lambda name: there.get(name, ""))
    monkeypatch.setattr("importlib.import_module", unfit)
    (note,) = doctor.notes()
    assert f"torchvision 0.28.0 was not built for torch {torch}." in note
    assert f"--torch-backend {backend} {fitting}, or" in note and f"--no-deps {fitting} with" in note


def test_a_planted_torchvision_of_another_torch_is_found(tmp_path, repo_path) -> None:
    """As torchvision ends whose compiled operators did not load: `_meta_registrations` asks for one of them."""
    pytest.importorskip("torch")
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "import torch\n@torch.library.register_fake('torchvision::nms')\ndef meta_nms(dets, scores, threshold): ..."
    )
    about = tmp_path / "torchvision-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1.0\n")
    environment = {**repo_path, "PYTHONPATH": f"{tmp_path}{os.pathsep}{repo_path['PYTHONPATH']}"}
    call = [sys.executable, "-m", "voxgraft", "doctor", "--json"]
    done = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True)
    document = json.loads(done.stdout)
    assert done.returncode == 0 and not document["troubles"], done.stderr
    (note,) = document["notes"]
    assert note.startswith("torchvision 0.1.0 was not built for torch ") and "torchvision==0." in note


def test_it_fits_one_screen(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(main, ["doctor"]).output.splitlines()
    assert len(said) <= 25 and max(map(len, said)) <= 80
    document = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)
    assert {"memory", "disk", "extras", "notes", "troubles"} <= document.keys()
