"""The commands of the how-to pages do what they say, in a folder where a model is registered and scans have come in."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent / "core"))
from datasets import boxes, workflow
from review_batches import make_batch, opened
from reviewed_batch import decide

from told_commands import blocks
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue

HOWTO = Path(__file__).parents[1] / "docs" / "howto"
PAGES = ("move-model", "nightly", "channels", "readers", "gpu", "body", "registry", "offline")
ELSEWHERE = {
    "voxgraft review batch --host": "tests of the review server: it needs certificates",
    "voxgraft review batch --token-file": "tests of the review server: it waits for readers",
    "voxgraft review batch --assign": "tests of assignments: it waits for readers",
    "voxgraft demo": "tests of the demo",
}
"""Commands that are not carried out here, and what does it."""
HERE = (
    ("spleen", "heads"),
    ("organs", "heads"),
    ("study/", "scans"),
    ("https://mlflow.hospital.example", "sqlite:///voxgraft.db"),
    ("brain@", "heads@"),
    ("/data/", "data/"),
    ("device=cuda", "device=cpu"),
    ("--device cuda --workers 4", "--device cpu"),
)
"""Names of a hospital, and those of the test; processes and GPUs have tests of their own."""


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registered model, scans with references, a worklist, and a batch that a reader has decided on."""
    folder = tmp_path_factory.mktemp("hospital")
    data = boxes(folder / "labelled", cases=4, shape=(16, 16, 16))
    changes = {"name: boxes": "name: heads", "12 steps": "2 steps", "if-not-worse": "always", "0.5}": "1}"}
    flow = workflow(folder, data, steps="[check, plan, prepare, train, register]", **changes)
    text = flow.read_text().replace(f"sqlite:///{folder}/mlflow.db", "sqlite:///voxgraft.db")
    (folder / "heads.yaml").write_text(text)
    scans, masks = sorted((data / "imagesTr").iterdir()), sorted((data / "labelsTr").iterdir())
    for place in ("scans", "data/incoming", "data/incoming/2026-11-30"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(scans[0], folder / place)
    (folder / "references").mkdir()
    shutil.copy(masks[0], folder / "references")
    for number, name in enumerate(("t1", "flair")):
        shutil.copy(scans[number], folder / f"{name}.nii.gz")
    for name in ("tonight", "worklist"):
        (folder / f"{name}.csv").write_text("path\nscans/box_000.nii.gz\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        said(["run", "heads.yaml", "--out", "runs/heads"])
    return folder


def said(words: list[str]) -> str:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, f"voxgraft {shlex.join(words)}\n{done.output}"
    return done.output


def lines(page: str) -> list[str]:
    return [line for block in blocks(HOWTO / f"{page}.md", "bash") for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_work(page: str, hospital: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hospital)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if page == "readers":
        monkeypatch.chdir(decided(hospital / "review", catalogue))
    told = [line for line in lines(page) if not line.startswith(tuple(ELSEWHERE))]
    assert told
    exported = ""
    for line in told:
        for there, here in HERE:
            line = line.replace(there, here)
        line = line.partition(" > ")[0].replace("HASH", exported)
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
            continue
        if "--dry-run" not in line and line.startswith("voxgraft run"):
            line += " --out runs/gpu"
        output = said(shlex.split(line)[1:])
        exported = found[1] if (found := re.search(r"heads version 1, package (\w+)", output)) else exported


def decided(folder: Path, catalogue: Catalogue) -> Path:
    """A folder with a batch whose scan a reader has accepted."""
    made = make_batch(folder, catalogue, scans=1)
    with opened(made, catalogue) as store:
        decide(store, "scan-0", verdicts={"ball": "accepted", "core": "accepted"})
    made.rename(folder / "batch")
    return folder
