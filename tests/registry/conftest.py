"""Fixtures of tracking and registry: an empty database, a catalogue of stubs, runs that need no training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_run import make_run, scores_document, small_package, stub_catalogue

from voxgraft.components.catalogue import Catalogue
from voxgraft.packages.package import Package
from voxgraft.runs.run import Run


@pytest.fixture(scope="session")
def stubs() -> Catalogue:
    return stub_catalogue()


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from voxgraft_registry.connection import address, connect

    file = tmp_path_factory.mktemp("empty") / "empty.db"
    connect(address(f"sqlite:///{file}"), create=True)
    return file


@pytest.fixture
def uri(_empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow database of one test, made already; the working directory is another one, empty and watched."""
    where = tmp_path / "elsewhere"
    where.mkdir()
    monkeypatch.chdir(where)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "site" / "voxgraft.db"
    file.parent.mkdir()
    shutil.copy(_empty_database, file)
    return f"sqlite:///{file}"


@pytest.fixture
def new_run(tmp_path: Path, uri: str, stubs: Catalogue) -> Callable[..., Run]:
    """Makes runs of one database; the same folder gives the same run again, as a second call of `voxgraft run` does."""

    def make(folder: str = "run", **sections: Any) -> Run:
        return make_run(tmp_path / "runs" / folder, uri, stubs, **sections)

    return make


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return small_package(tmp_path / "package", 1, {"scores": scores_document({"a": 0.8})["summary"]})
