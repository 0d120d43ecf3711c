"""What tests share: real data where it is, small images otherwise, and the catalogue that pyproject.toml declares."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from declared import declared_entries
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover

ROOT = Path(__file__).parents[1]
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; the test is skipped where it is not."""
    folder = Path(os.environ.get("VOXGRAFT_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data are not at {folder}; set VOXGRAFT_DATA")
    return folder


@pytest.fixture(scope="session")
def builtin_entries() -> list[EntryPoint]:
    """The entry points that pyproject.toml declares."""
    return declared_entries()


@pytest.fixture(scope="session")
def catalogue(builtin_entries: list[EntryPoint]) -> Catalogue:
    """Everything the built-in plugins offer."""
    return discover(builtin_entries)


@pytest.fixture(scope="session")
def repo_path() -> dict[str, str]:
    """An environment in which the source roots come first, so that tests need no install."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("core", "plugins", "registry"))}


@pytest.fixture(scope="session")
def warm_python(repo_path: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The beginning of a command that does what `python` does, in a process that need not import torch first."""
    folder = tempfile.mkdtemp(prefix="warm-")  # the address of a socket has at most 108 characters
    program, address = str(Path(__file__).parent / "warm.py"), f"{folder}/socket"
    environment = {**repo_path, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, program, "serve", address], env=environment)
    while not Path(address).exists() and server.poll() is None:
        time.sleep(0.05)
    yield [sys.executable, "-S", "-E", program, address]
    server.kill()
    server.wait()
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _threads_as_they_were() -> Iterator[None]:
    """Give each test the number of threads that torch starts with: sums, and so weights, depend on it."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if before is not None:
        sys.modules["torch"].set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch sum in one order, and leave the other cores alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seeded() -> None:
    """Draw the same random numbers whichever tests ran before."""
    import torch

    torch.manual_seed(0)
