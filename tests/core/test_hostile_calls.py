"""Every command answers what cannot be in one plain sentence with the right code, and under `--json` prints no half."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from datasets import boxes
from datasets import workflow as write_workflow

from voxgraft.cli import main

LONG = "x" * 5000


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a data set, its workflow, and things that are not files."""
    folder = tmp_path_factory.mktemp("hostile")
    write_workflow(folder, boxes(folder / "data", 4))
    for name in ("pipe", "pipe.nii.gz", "pipe.yaml", "pipe.json", "pipe.csv", "pipe.zip", "pipe.dcm"):
        os.mkfifo(folder / name)
    with socket.socket(socket.AF_UNIX) as one:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may not be long
        one.bind("socket")
        os.chdir(here)
    (folder / "empty.nii.gz").touch()
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "bomb.yaml").write_text(
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    )
    (folder / "deep.json").write_text("[" * 100_000)
    return folder


STRANGE = ["pipe", "pipe.nii.gz", "socket", "/dev/zero", "empty.nii.gz", "folder", "loop", "nothing", LONG]
SCAN = "data/imagesTr/box_000.nii.gz"
CALLS = [
    *(("inspect", one) for one in STRANGE),
    *(("inspect", one, "--json") for one in ("pipe.dcm", "loop", LONG)),
    *(("convert", one, "out.nii.gz") for one in STRANGE),
    *(("convert", SCAN, "out.nii.gz", "--reference", one) for one in STRANGE),
    *(("evaluate", one, SCAN) for one in STRANGE),
    *(("evaluate", SCAN, one, "--json") for one in STRANGE),
    *(("evaluate", SCAN, SCAN, "--valid", one) for one in STRANGE),
    *(("evaluate", SCAN, SCAN, "--labels", one) for one in ("pipe.json", "deep.json", "a=1,a=2", "=1", LONG)),
    *(("evaluate", SCAN, SCAN, "--groups", one) for one in ("pipe.csv", "folder", "loop", LONG)),
    *(("compare", one, "deep.json") for one in ("pipe", "empty", "folder", "loop", LONG)),
    *(("check", one) for one in ("pipe.yaml", "bomb.yaml", "deep.json", "empty", "loop", LONG)),
    *(("run", one, "--json") for one in ("pipe.yaml", "bomb.yaml", "deep.json", "empty", "folder", "loop", LONG)),
    *(("advise", one) for one in ("pipe.yaml", "bomb.yaml")),
    *(("segment", one, SCAN, "--out", "out") for one in ("pipe.zip", "socket", "empty", "folder", "loop")),
    *(("models", "import", one) for one in ("pipe.zip", "empty", "folder", "loop", "deep.json", LONG)),
    *(("deidentify", one, "clean") for one in ("pipe", "socket", "loop", "nothing")),
    *(("deidentify", "data", "clean", "--key", one) for one in ("pipe", "folder", "loop", LONG)),
    *(("deidentify", "data", "clean", "--pseudonyms", one) for one in ("pipe.csv", "folder", "loop")),
    ("plugins", "test", "reader:nifti", "--file", "pipe"),
    ("plugins", "new", "../out"),
    ("deidentify", "data", "clean", "--workers", "1000000"),
    ("segment", "empty", SCAN, "--out", "out", "--workers", "1000000"),
    ("segment", "empty", SCAN, "--out", "out", "--overlap", "1"),
    ("demo", "--minutes", "nan"),
    ("convert", SCAN, "empty/out.nii.gz"),
    ("convert", SCAN, "out.nii.gz", "--series", ""),
    ("run", "workflow.yaml", "--steps", ","),
]
VALUES = [
    "training.patch=[1000000,1000000,1000000]",
    "training.patch=[0,8,8]",
    "training.batch=1000000000",
    "training.budget=1e99 steps",
    f"training.budget={'9' * 400} steps",
    "training.validate_every=1e-300",
    "training.device=cpu*1000000",
    f"training.device={LONG}",
    "data.split.folds=1000000000",
    "data.split.seed=99999999999999999999",
    "data.spacing=[0,1,1]",
    "data.spacing=[-1,1,1]",
    "data.spacing=[.nan,1,1]",
    "data.spacing=[1e-30,1,1]",
    "data.spacing=[1e30,1,1]",
    "inference.overlap=1.0",
    "inference.overlap=0.9999999",
    "inference.batch=1000000000",
    "name=",
    f"name={LONG}",
    "data.labels={? [a] : 1}",
    "data.labels={'': 1}",
    f"transfer={'[' * 5000}",
    f"{'.'.join(['a'] * 5000)}=1",
]


def called(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(place)
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(part[:24] for part in call))
def test_a_hostile_call_is_answered_in_a_sentence(place: Path, monkeypatch, call: tuple[str, ...]) -> None:
    before = sorted(path.name for path in place.iterdir())
    done = called(place, monkeypatch, *call)
    told_as_item = call[0] == "inspect" and "empty" in call[1]  # what is wrong with a file is what inspect shows
    assert done.exit_code in ((0,) if told_as_item else (1, 2)), done.output
    assert isinstance(done.exception, SystemExit | None) and "not an error we expected" not in done.output, done.output
    assert "Traceback" not in done.output and "Errno" not in done.output
    if "--json" in call:
        assert not done.stdout.strip() or json.loads(done.stdout)
    if not told_as_item and not done.stdout.startswith("{"):
        assert done.stderr.strip() and len(done.stderr.strip().splitlines()) <= 5, done.stderr
    assert sorted(path.name for path in place.iterdir()) == before


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:40])
def test_an_absurd_value_is_a_fault_of_the_workflow(place: Path, monkeypatch, value: str) -> None:
    done = called(place, monkeypatch, "check", "workflow.yaml", "--set", value)
    assert done.exit_code == 2 and not done.stdout, done.output
    assert done.stderr.startswith("voxgraft: ") and "not an error we expected" not in done.stderr
