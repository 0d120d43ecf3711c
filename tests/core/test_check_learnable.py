"""What is told before hours of training: what cannot be learnt or judged, patients, channels, and one line a kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from checked_data import balls, spoil
from click.testing import CliRunner
from PIL import Image

from voxgraft.checks.learnable import Marked, empty_masks, judge_learnable
from voxgraft.checks.problem import CaseProblem, grouped
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.datasets.cases import Split
from voxgraft.imaging.structures import Labels
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

LABELS = Labels.of({"big": 1, "small": 2})
FLOW = """name: learnable
data:
  layout: {layout}
  modality: {modality}
  labels: {labels}
  split: {{folds: 3, fold: 0, seed: 7}}
model: {{dims: {dims}, encoder: {{use: residual, weights: none}}, decoder: {{use: unet}}}}
training: {{budget: 1 steps}}
steps: [check, plan]
"""


def flow(folder: Path, layout: str, labels: str = "{big: 1, small: 2}", modality: str = "mr", dims: int = 3) -> Path:
    path = folder / "w.yaml"
    path.write_text(FLOW.format(layout=layout, labels=labels, modality=modality, dims=dims))
    return path


def codes(*args: object) -> dict[str, str]:
    done = CliRunner().invoke(main, ["check", *map(str, args), "--json"])
    return {problem["code"]: problem["message"] for problem in json.loads(done.stdout)["problems"]}


def judged(cases: dict[str, Marked], split: Split, spacing: tuple[float, ...] | None = None) -> list[str]:
    return [problem.code for problem in judge_learnable(LABELS, cases, split, spacing)]


def test_the_parts_of_a_split_and_what_the_network_sees() -> None:
    both, big = Marked({1: 900, 2: 9}, (1.0, 1.0, 1.0)), Marked({1: 900}, (1.0, 1.0, 1.0))
    assert judged({"a": both, "b": both, "c": both}, Split(("a", "b"), ("c",))) == []
    assert judged({"a": both, "c": both}, Split(("a",), ("c",))) == ["one-training-case"]
    assert judged({"a": big, "b": big, "c": both}, Split(("a", "b"), ("c",))) == ["one-sided-structure"]
    assert judged({"a": both, "b": big, "c": big}, Split(("a", "b"), ("c",))) == ["one-sided-structure"]
    coarse = (2.0, 2.0, 3.0)  # 12 mm3 a voxel, and the structure has 9
    assert judged({"a": both, "b": both, "c": both}, Split(("a", "b"), ("c",)), coarse) == ["lost-structure"]
    assert judged({"a": both, "b": Marked({2: 12}, (1.0,) * 3), "c": both}, Split(("a", "b"), ("c",)), coarse) == []
    assert empty_masks({"a": both, "b": Marked({}, (1.0,) * 3), "c": Marked({1: 0}, (1.0,) * 3)}) == ["b", "c"]


def test_check_run_and_dry_run_tell_alike(tmp_path: Path, catalogue: Catalogue) -> None:
    """One mask is empty, and a structure is one voxel in a network of coarse voxels."""
    folder = balls(tmp_path / "d", cases=6)
    spoil(folder / "labels/P03.nii.gz", lambda a: a * 0)
    for path in sorted((folder / "labels").iterdir()):
        spoil(path, lambda a: np.where((a == 2).cumsum().reshape(a.shape) == 1, a, np.minimum(a, 1)).astype(np.uint8))
    path = flow(tmp_path, f"{{use: pairs, path: '{folder}', images: images, labels: labels}}")
    found = codes(path, "--set", "data.spacing=[3, 3, 3]")
    assert "'small'" in found["lost-structure"] and "P03" not in found["lost-structure"] and "empty-label" in found
    checked = read(path, catalogue, ["data.spacing=[3, 3, 3]"])
    warned = dry_run(checked, catalogue)["warnings"]
    assert "'small' is smaller" in warned and "P03 has an empty mask" in warned
    said: list[str] = []
    progress = Progress(quiet=True)
    progress.say = said.append  # type: ignore[method-assign]
    run_workflow(checked, catalogue, tmp_path / "run", progress=progress)
    assert any("'small' is smaller" in line for line in said) and any("the label is empty" in line for line in said)


@pytest.mark.parametrize("column", ["patient", "Patient ID", "subject_id", "PatientID"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_table_with_a_column_for_patients_tells_them_apart(tmp_path: Path, column: str, shared: bool) -> None:
    folder = balls(tmp_path / "d", cases=6)
    rows = [f"{n},images/P{n:02d}.nii.gz,labels/P{n:02d}.nii.gz,X{n // 2 if shared else n}" for n in range(6)]
    (folder / "cases.csv").write_text("\n".join([f"case,image,label,{column}", *rows]))
    path = flow(tmp_path, f"{{use: csv, path: '{folder / 'cases.csv'}'}}")
    done = CliRunner().invoke(main, ["check", str(path), "--json"])
    document = json.loads(done.stdout)
    assert document["patients"] == (3 if shared else 6)
    assert "no-patients" not in {problem["code"] for problem in document["problems"]}
    without = flow(tmp_path, f"{{use: pairs, path: '{folder}', images: images, labels: labels}}")
    assert "no-patients" in codes(without)


def test_colour_pictures_need_no_list_of_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for part in ("i", "m"):
        (tmp_path / part).mkdir()
    for n in range(6):
        mask = np.zeros((40, 40), np.uint8)
        mask[5 + n : 25, 5:20], mask[25:, 30:] = 1, 2
        Image.fromarray(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(tmp_path / f"i/{n}.png")
        Image.fromarray(mask).save(tmp_path / f"m/{n}.png")
    (tmp_path / "cases.csv").write_text("\n".join(["image,label", *[f"i/{n}.png,m/{n}.png" for n in range(6)]]))
    path = flow(tmp_path, f"{{use: csv, path: '{tmp_path / 'cases.csv'}'}}", modality="rgb", dims=2)
    assert "channel-count" not in codes(path)
    shown = CliRunner().invoke(main, ["check", str(path)]).stdout
    assert shown.count("it does not say how large its pixels are") == 1
    assert "6 cases (0, 1, 2, 3, 4 and 1 more), the first: the image 0.png" in shown
    Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8)).save(tmp_path / "i/3.png")
    assert "1 channel (it is grey), and the data set names 3" in codes(path)["channel-count"]
    for n in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8)).save(tmp_path / f"i/{n}.png")
    assert "channel-count" not in codes(path)


def test_a_kind_of_problem_is_one_line_with_its_cases() -> None:
    many = [CaseProblem("x", "warning", f"c{n}", f"message {n}") for n in range(9)]
    whole = [CaseProblem("y", "note", None, f"whole {n}") for n in range(6)]
    rows = grouped([*many, *whole, CaseProblem("z", "error", "c1", "bad")])
    assert [(problem.message, cases) for problem, cases in rows] == [
        ("message 0", "9 cases (c0, c1, c2, c3, c4 and 4 more), the first"),
        ("whole 0; and 5 more of this kind", ""),
        ("bad", "c1"),
    ]
