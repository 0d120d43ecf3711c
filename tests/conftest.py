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
from typing import Any

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for a module that skips its tests where there is none."""
    from playwright.sync_api import sync_playwright

    from review_batch import CHROMIUM, FLAGS

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def watched(browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what went wrong in it: errors of scripts, what the policy forbids, requests to other hosts."""
    context = browser.new_context(viewport={"width": 1000, "height": 600})
    page = context.new_page()
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"{error}"))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    local = ("http://127.0.0.1:", "data:")
    page.on("request", lambda asked: None if asked.url.startswith(local) else wrong.append(asked.url))
    yield page, wrong
    context.close()


@pytest.fixture
def page(watched: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page, in which nothing may go wrong."""
    page, wrong = watched
    yield page
    assert wrong == []
