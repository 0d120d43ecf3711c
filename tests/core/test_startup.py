"""The command line starts fast because nothing heavy is imported to list plugins or to show help."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

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


ONLY_WHERE_USED = {"monai", "timm", "mlflow", "sqlalchemy", "pandas", "pyarrow", "starlette", "highdicom", "SimpleITK"}
"""Hundreds of megabytes that a machine may not even have: a network that uses none of them is applied without them."""


def modules_after(words: list[str], environment: dict[str, str]) -> set[str]:
    """What a command line has imported when it has ended, in a process of its own."""
    at_end = "import atexit, sys\natexit.register(lambda: print('modules:', *sys.modules))"
    script = f"{at_end}\nfrom voxgraft.cli import main\nmain({words!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split("modules:")[1].split())


def test_a_scan_is_looked_at_and_segmented_without_what_only_training_and_registries_need(
    repo_path, warm_python, tmp_path
) -> None:
    data = boxes(tmp_path / "data", cases=3, shape=(16, 16, 16))
    train = workflow(tmp_path, data, steps="[plan, prepare, train]", **{"12 steps": "2 steps"})
    scan, package = str(data / "imagesTr" / "box_000.nii.gz"), tmp_path / "run" / "package"
    run = [*warm_python, "-m", "voxgraft", "run", str(train), "--out", str(package.parent)]
    subprocess.run(run, check=True, capture_output=True, env=repo_path)
    assert not (ONLY_WHERE_USED | {"torch", "pydicom", "scipy", "rich"}) & modules_after(["inspect", scan], repo_path)
    seen = modules_after(["segment", str(package), scan, "--out", str(tmp_path / "batch")], repo_path)
    assert "torch" in seen and not ONLY_WHERE_USED & seen


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
