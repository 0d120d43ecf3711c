"""The command line starts fast because nothing heavy is imported to list plugins or to show help."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from voxgraft.cli import main

HEAVY = {
    "torch",
    "monai",
    "mlflow",
    "numpy",
    "nibabel",
    "pydicom",
    "timm",
    "SimpleITK",
    "highdicom",
    "jinja2",
    "pydantic",
    "rich",
}


@pytest.mark.parametrize(
    "code",
    [
        "from voxgraft.discovery import discover; discover()",
        "import voxgraft",
        "from voxgraft.cli import main; main(['--help'], standalone_mode=False)",
        "from voxgraft.cli import main; main(['plugins', 'list'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported(code, repo_path) -> None:
    script = f"import sys\n{code}\nprint('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=repo_path)
    assert not HEAVY & set(done.stdout.split("modules:")[1].split())


@pytest.mark.parametrize(
    ("words", "times"),
    [(["--help"], 1), (["deidentify", "--help"], 1), (["deidentify", "--nonsense"], 1), (["run", "--help"], 0)],
)
def test_plugins_are_found_once_for_one_command(words, times, monkeypatch) -> None:
    from voxgraft import discovery

    calls: list[None] = []
    discover = discovery.discover
    monkeypatch.setattr(discovery, "discover", lambda: calls.append(None) or discover())
    assert CliRunner().invoke(main, words).output.startswith("Usage: ")
    assert len(calls) == times


def test_the_public_names_are_all_there() -> None:
    import voxgraft

    assert sorted(voxgraft.__all__) == voxgraft.__all__
    for name in voxgraft.__all__:
        assert getattr(voxgraft, name) is not None
