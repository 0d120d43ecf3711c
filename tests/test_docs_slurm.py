"""The job files of the page about clusters, run by bash with SLURM's variables set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "howto" / "slurm.md"

SHIM = """\
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from batch_scans import Brightness, model
from voxgraft.packages.references import Resolver
Resolver.resolve = lambda resolver, reference: model(Path({folder!r}))
sys.modules["voxgraft.inference.predictor"] = type("M", (), {{"predictor_of": lambda *_, **__: Brightness()}})
import voxgraft.batch.model
voxgraft.batch.model.check_unchanged = lambda package: None
from voxgraft.cli import main
main()
"""


@pytest.fixture
def job_files(tmp_path: Path) -> list[Path]:
    """What the page says, saved as it says."""
    texts = re.findall(r"^```text\n(#!/bin/bash\n.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    paths = [tmp_path / name for name in re.findall(r"as `(\w+\.sbatch)`", PAGE.read_text())]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.replace("PARTS=8", "PARTS=2").replace("--array=1-8", "--array=1-2"))
    return paths


def test_the_job_files_of_the_page_segment_and_say_what_came_of_it(
    tmp_path: Path, job_files: list[Path], repo_path: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "core"))
    from batch_scans import write_scan

    for number in range(4):
        write_scan(tmp_path / "in" / f"s{number}.nii.gz")
    shim = tmp_path / "bin" / "voxgraft"
    shim.parent.mkdir()
    code = SHIM.format(tests=str(ROOT / "tests" / "core"), folder=str(tmp_path / "model"))
    shim.write_text(f"#!{sys.executable}\n{code}")
    shim.chmod(0o755)
    path = os.pathsep.join([str(shim.parent), os.environ["PATH"]])
    environment = {**repo_path, "PATH": path, "SCANS": str(tmp_path / "in"), "OUT": str(tmp_path / "out")}
    array, status = job_files
    for task in ("1", "2"):
        done = subprocess.run(
            ["bash", str(array)], env={**environment, "SLURM_ARRAY_TASK_ID": task}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert f"part {task}/2 does" in done.stderr
    done = subprocess.run(["bash", str(status)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[3].split()[:5] == ["all", "4", "0", "0", "0"], done.stderr
    assert done.stdout.endswith("nothing is missing\n")


def test_the_table_of_the_page_has_the_columns_of_the_command() -> None:
    from voxgraft.batch.status import BatchStatus, PartStatus

    head = BatchStatus(Path(), tuple(PartStatus(part) for part in ("1/2", "2/2"))).text().splitlines()[0]
    shown = next(line for line in PAGE.read_text().splitlines() if line.startswith("part  done"))
    assert shown.split() == head.split()
