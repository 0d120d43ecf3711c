"""Where a case counts: what lies outside its valid region changes neither training nor scores; bad files are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from voxgraft.checks.dataset import check_dataset
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.datasets.cases import Case, Dataset, Split
from voxgraft.datasets.companions import cases_by_key, common_labels
from voxgraft.datasets.dataset import find_dataset
from voxgraft.discovery import discover
from voxgraft.errors import BrokenPlugin, DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import FoundRegion, ImageRef
from voxgraft.labels.valid_region import region_in
from voxgraft.preprocessing.fingerprint import measure, read_case
from voxgraft.preprocessing.modality import ModalitySpec
from voxgraft.preprocessing.prepare import load_prepared
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import Workflow, read
from voxgraft_plugins.modalities.modalities import ImageModality
from voxgraft_plugins.modalities.options import ImageOptions

SHAPE = (40, 32)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
WORKFLOW = """\
voxgraft: 1
name: disc
data:
  layout: {{use: pairs, path: {data}, valid: valid}}
  modality: image
  labels: {labels}
  split: {{folds: 2, fold: 0, seed: 7}}
model:
  dims: 2
  encoder: {{use: residual, weights: none, width: 8}}
  decoder: {{use: unet}}
training: {{budget: 6 steps, batch: 2, patch: [32, 32], device: cpu, validate_every: 0.5}}
evaluation: {{metrics: [dice, precision, specificity]}}
steps: {steps}
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save(path: Path, array: Any, affine: Any = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array), affine), path)


def disc() -> np.ndarray:
    """Where the cases count: all but two corners, so that a mirrored disc is another one."""
    inside = np.ones(SHAPE, np.uint8)
    inside[:12, :16] = inside[-6:, -9:] = 0
    return inside


def cases(folder: Path, outside: Callable[[np.ndarray], np.ndarray] | None = None, number: int = 4) -> Path:
    """Noise with a bright square, and their valid regions; `outside` changes masks where nothing counts."""
    rng = np.random.default_rng(4)
    for index in range(number):
        label = np.zeros(SHAPE, np.uint8)
        x, y = rng.integers((12, 6), (18, 14))
        label[x : x + 12, y : y + 8] = 1
        image = (rng.normal(80, 8, SHAPE) + 60 * label).astype(np.int16)
        if outside is not None:
            label = np.where(disc() > 0, label, outside(label)).astype(np.uint8)
        for kind, array in (("images", image), ("labels", label), ("valid", disc() * 255)):
            save(folder / kind / f"c{index}.nii.gz", array)
    return folder


def flow(folder: Path, catalogue: Catalogue, steps: str = "[plan, prepare, train, evaluate]", **words: str) -> Workflow:
    folder.mkdir(exist_ok=True)
    path = folder / "workflow.yaml"
    words = {"labels": "{square: 1}", "data": str(folder), **words}
    path.write_text(WORKFLOW.format(steps=steps, **words))
    return read(path, catalogue, ["tracking=null"])


def done(folder: Path, catalogue: Catalogue, **words: str) -> Path:
    return run_workflow(
        flow(folder, catalogue, **words), catalogue, folder / "run", progress=Progress(quiet=True)
    ).folder


def values(folder: Path) -> Any:
    return json.loads((folder / "evaluate" / "scores.json").read_text())["cases"]


def test_what_is_drawn_where_a_case_does_not_count_changes_nothing(tmp_path: Path, catalogue: Catalogue) -> None:
    """Two data sets whose masks differ outside the valid region give the same weights, and scores of what is inside."""
    one = done(cases(tmp_path / "one"), catalogue)
    other = done(cases(tmp_path / "other", lambda label: 1 - label), catalogue)
    weights = [load_file(folder / "package" / "model.safetensors") for folder in (one, other)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert values(one) == values(other)
    inside = disc() > 0
    for case, found in values(one).items():
        mask = np.asarray(nib.load(one / "evaluate" / "masks" / f"{case}.nii.gz").dataobj).reshape(SHAPE)[inside]
        truth = np.asarray(nib.load(tmp_path / "one" / "labels" / f"{case}.nii.gz").dataobj)[inside]
        assert found["dice"]["square"] == pytest.approx(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
        assert found["specificity"]["square"] == pytest.approx(((mask | truth) == 0).sum() / (truth == 0).sum())


class Disc(ImageModality):
    """Finds the disc in every image of its size; whatever array, it must come as it was read."""

    def valid_region(self, array: np.ndarray) -> np.ndarray | None:
        assert array.shape == (1, *SHAPE) and array.dtype == np.int16
        return disc() > 0


@pytest.fixture
def finding(builtin_entries: list[EntryPoint]) -> Catalogue:
    """The built-in plugins with the modality `disc`, which finds where an image counts."""
    found = discover(builtin_entries)
    found.add("test", ModalitySpec(name="disc", summary="x", options=lambda: ImageOptions, build=Disc))
    found.add_origin(Origin("test", __name__, "test", "1"))
    return found


def test_a_region_that_the_modality_finds_is_as_good_as_a_file(
    tmp_path: Path, catalogue: Catalogue, finding: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights and scores, and nothing is found outside."""
    filed = done(cases(tmp_path / "filed"), catalogue)
    monkeypatch.setattr(f"{__name__}.WORKFLOW", WORKFLOW.replace(", valid: valid", "").replace(": image", ": disc"))
    found = done(cases(tmp_path / "found"), finding)
    weights = [load_file(folder / "package" / "model.safetensors") for folder in (filed, found)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    assert values(filed) == values(found)
    for path in (found / "evaluate" / "masks").iterdir():
        assert not np.asarray(nib.load(path).dataobj).reshape(SHAPE)[disc() == 0].any()
    dataset = find_dataset(flow(tmp_path / "found", finding).data, finding)
    assert check_dataset(dataset, finding).ok and isinstance(dataset.cases[0].valid, FoundRegion)


def test_a_region_of_another_shape_is_the_plugins_fault(finding: Catalogue, tmp_path: Path) -> None:
    save(tmp_path / "image.nii.gz", np.ones((8, 7), np.int16))
    image = read_case(Case("a", "a", (ImageRef(tmp_path / "image.nii.gz"),)), finding)[0]
    odd = type("Odd", (), {"valid_region": lambda self, array: np.ones((7, 8), bool)})
    with pytest.raises(BrokenPlugin, match="finding where an image counts"):
        region_in(odd(), image)


def test_the_region_goes_with_the_mask_onto_another_grid(tmp_path: Path, catalogue: Catalogue) -> None:
    data = cases(tmp_path / "data")
    checked = flow(data, catalogue, "[plan, prepare]", labels="{square: 1}\n  spacing: [0.5, 0.5]")
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    folder = json.loads((run.folder / "prepared.json").read_text())["folders"]["c0"]
    stored = load_prepared("c0", run.folder / "cache" / folder)
    image, mask = read_case(
        find_dataset(checked.data, catalogue).cases[0], catalogue, find_dataset(checked.data, catalogue).labels
    )
    assert mask is not None and stored.label is not None
    expected = np.kron((mask.array == 255).astype(np.uint8), np.ones((2, 2), np.uint8))
    assert stored.label.shape == expected.shape == tuple(2 * n for n in image.shape)
    assert np.array_equal(stored.label == 254, expected > 0) and (expected > 0).mean() > 0.1
    assert sorted(np.unique(mask.array)) == [0, 1, 255] and (mask.array == 255).sum() == (disc() == 0).sum()


def test_a_region_stored_the_other_way_round_lies_where_its_header_says(tmp_path: Path, catalogue: Catalogue) -> None:
    region = np.arange(8 * 7 * 6).reshape(8, 7, 6) > 100
    turned = AFFINE @ np.array([[-1.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    save(tmp_path / "image.nii.gz", np.ones((8, 7, 6), np.int16))
    save(tmp_path / "valid.nii.gz", region[::-1].astype(np.uint8), turned)
    files = {name: ImageRef(tmp_path / f"{name}.nii.gz") for name in ("image", "valid")}
    labels = replace(Labels.of({"x": 1}), bounded=True)
    _, mask = read_case(Case("a", "a", (files["image"],), files["image"], valid=files["valid"]), catalogue, labels)
    assert mask is not None
    assert np.array_equal(mask.array, np.where(region, 1, 255)[::-1, ::-1])  # axes run right, anterior, superior


def test_another_region_is_another_prepared_case(tmp_path: Path, catalogue: Catalogue) -> None:
    dataset = find_dataset(flow(cases(tmp_path / "data"), catalogue).data, catalogue)
    case, labels = dataset.cases[0], dataset.labels
    first = measure(case, catalogue, labels)
    assert first["hash"] != measure(replace(case, valid=None), catalogue, labels)["hash"]
    save(tmp_path / "data" / "valid" / "c0.nii.gz", 1 - disc())
    other = measure(case, catalogue, labels)
    assert other["hash"] != first["hash"] and other["labels"] != first["labels"]


def test_a_region_of_one_data_set_counts_beside_another_without_one(tmp_path: Path, catalogue: Catalogue) -> None:
    bounded = find_dataset(flow(cases(tmp_path / "data"), catalogue).data, catalogue)
    assert bounded.labels is not None and bounded.labels.ignored == 255
    plain = Dataset(bounded.cases, labels=replace(bounded.labels, bounded=False))
    for dataset, source in ((plain, bounded), (bounded, plain)):
        labels = common_labels(dataset, {"source": source})
        assert labels is not None and labels.ignored == 255
    unlabelled = cases_by_key(bounded, {}, Split(("c1",), (), ("c0",)))
    assert unlabelled["c0"].valid is None and unlabelled["c1"].valid is not None


def test_structures_without_a_name_cannot_be_left_out(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(DataError, match=r"data.labels: name the structures; the layout has files that say where"):
        find_dataset(flow(cases(tmp_path / "data"), catalogue, labels="null").data, catalogue)


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "gone": (lambda path: path.unlink(), "unreadable-valid-region", "there is no such file"),
    "damaged": (lambda path: path.write_bytes(path.read_bytes()[:90]), "truncated", "the valid region c1"),
    "no image": (lambda path: path.write_bytes(b"hello" * 99), "unreadable", "the valid region c1"),
    "cut": (lambda path: save(path, disc()[:-3]), "valid-region-mismatch", "different shapes, 40x32 and 37x32"),
    "aside": (
        lambda path: save(path, disc(), AFFINE + np.pad([[3.0]], ((0, 3), (3, 0)))),
        "valid-region-mismatch",
        "shifted by 3",
    ),
    "nothing": (lambda path: save(path, 0 * disc()), "empty-valid-region", "is 0 everywhere: nothing would count"),
    "nan": (lambda path: save(path, np.where(disc(), 1, np.nan)), "unusable-valid-region", "contains NaN"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_region_is_an_error_of_its_case(name: str, tmp_path: Path, catalogue: Catalogue) -> None:
    """The check names it, and preparing the case stops at it."""
    spoil, code, words = FAULTS[name]
    data = cases(tmp_path / "data")
    checked = flow(data, catalogue, "[check]")
    dataset = find_dataset(checked.data, catalogue)
    spoil(data / "valid" / "c1.nii.gz")
    errors = [one for one in check_dataset(dataset, catalogue, checked).problems if one.severity == "error"]
    assert [one.case for one in errors] == ["c1"] and errors[0].fix
    assert errors[0].code == code and words in errors[0].message
    with pytest.raises(DataError, match="case 'c1'"):
        measure(dataset.cases[1], catalogue, dataset.labels)
    assert measure(dataset.cases[0], catalogue, dataset.labels)["shape"]


def test_a_doubtful_region_is_told(tmp_path: Path, catalogue: Catalogue) -> None:
    data = cases(tmp_path / "data", number=6)
    checked = flow(data, catalogue, "[check]")
    dataset = find_dataset(checked.data, catalogue)

    def told() -> set[tuple[str, str, str | None]]:
        found = check_dataset(dataset, catalogue, checked).problems
        return {(one.code, one.severity, one.case) for one in found if "valid" in one.code}

    assert told() == set()
    lossy = disc().astype(np.uint8) * 250
    lossy[5, 5], lossy[20, 20] = 3, 247
    save(data / "valid" / "c0.nii.gz", lossy)
    save(data / "valid" / "c1.nii.gz", np.pad(np.ones((20, 10), np.uint8), ((0, 20), (0, 22))))
    cut = disc()
    cut[18:20] = 0
    save(data / "valid" / "c2.nii.gz", cut)
    assert told() == {
        ("odd-valid-region", "warning", "c0"),
        ("outside-valid-region", "warning", "c1"),
        ("outside-valid-region", "note", "c2"),
    }


def test_a_picture_in_colours_is_one_map_where_they_are_equal(tmp_path: Path, catalogue: Catalogue) -> None:
    from PIL import Image

    grey = np.zeros((6, 5), np.uint8)
    grey[2:4] = 200
    for name, picture in {"grey": np.stack([grey] * 3, -1), "red": np.stack([grey, grey * 0, grey], -1)}.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    Image.fromarray(grey).save(tmp_path / "image.png")
    files = {name: ImageRef(tmp_path / f"{name}.png") for name in ("image", "grey", "red")}
    labels = replace(Labels.of({"x": 200}), bounded=True)
    mask = read_case(Case("a", "a", (files["image"],), files["image"], valid=files["grey"]), catalogue, labels)[1]
    assert mask is not None and sorted(np.unique(mask.array)) == [200, 255]
    with pytest.raises(DataError, match=r"case 'a', the valid region: .*3 channels that differ"):
        read_case(Case("a", "a", (files["image"],), files["image"], valid=files["red"]), catalogue, labels)


def evaluated(*words: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, words), "--metrics", "dice,specificity", "--json"])


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Predictions and references of two cases that agree inside the region and nowhere else."""
    for index in range(2):
        truth = np.zeros(SHAPE, np.uint8)
        truth[14:20, 4:20] = 1
        found = np.where(disc() > 0, truth, 2)
        found[15, 5] = 0
        for kind, array in (("found", found), ("truth", truth), ("where", disc())):
            save(tmp_path / kind / f"m{index}.nii.gz", array.astype(np.uint8))
    return tmp_path


@pytest.mark.parametrize("more", [(), ("--labels", "box=1,other=2")])
def test_masks_on_disk_are_scored_where_they_count(masks: Path, more: tuple[str, ...]) -> None:
    result = evaluated(masks / "found", masks / "truth", "--valid", masks / "where", *more)
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["cases"]["m0"]
    name = "box" if more else "1"
    inside = int(disc().sum())
    assert found["dice"][name] == pytest.approx(2 * 95 / (95 + 96))
    assert found["specificity"][name] == pytest.approx(1.0)
    assert json.loads(result.output)["counts"]["m0"][name] == [95, 0, 1, inside - 96]
    assert set(found["dice"]) - {"mean"} == ({"box", "other"} if more else {"1"})
    without = json.loads(evaluated(masks / "found", masks / "truth").output)["cases"]["m0"]["dice"]
    assert without["2"] == 0


def pictures(masks: Path, *more: object) -> list[str]:
    """The pictures of the page of scores."""
    page = masks / "page.html"
    options = ("--labels", "box=1,other=2", "--out", page, *more)
    result = evaluated(masks / "found", masks / "truth", *options)
    assert result.exit_code == 0, result.output
    return re.findall(r"data:image/jpeg;base64,([^\"']+)", page.read_text())


def test_pictures_of_the_worst_cases_show_what_counts(masks: Path) -> None:
    """As if nothing had been drawn elsewhere."""
    everything, shown = pictures(masks), pictures(masks, "--valid", masks / "where")
    for path in (*(masks / "found").iterdir(), *(masks / "truth").iterdir()):
        save(path, np.where(disc() > 0, np.asarray(nib.load(path).dataobj), 0).astype(np.uint8))
    assert shown == pictures(masks) != everything and len(shown) == 4, "two cases, each with contours and without"


def test_a_bad_region_fails_its_case_alone(masks: Path) -> None:
    save(masks / "where" / "m1.nii.gz", disc()[:-1])
    result = evaluated(masks / "found", masks / "truth", "--valid", masks / "where")
    document = json.loads(result.output)
    assert result.exit_code == 3 and list(document["cases"]) == ["m0"]
    assert "case 'm1', the valid region" in document["failed"]["m1"] and "39x32" in document["failed"]["m1"]
    (masks / "where" / "m1.nii.gz").unlink()
    failed = json.loads(evaluated(masks / "found", masks / "truth", "--valid", masks / "where").output)["failed"]
    assert "no valid-region file for it" in failed["m1"]
    assert evaluated(masks / "found", masks / "truth", "--valid", masks / "nowhere").exit_code == 2


def test_the_value_of_ignored_voxels_is_not_taken_for_one(masks: Path) -> None:
    truth = np.zeros(SHAPE, np.uint8)
    truth[20, 20] = 255
    save(masks / "truth" / "m0.nii.gz", truth)
    options = ("--valid", masks / "where", "--labels", "box=1,other=2")
    failed = json.loads(evaluated(masks / "found", masks / "truth", *options).output)["failed"]
    assert "the reference holds the value 255, which no structure has" in failed["m0"]


@pytest.mark.parametrize("name", ["drive_crossvalidation", "drive_deeplab"])
def test_the_fields_of_view_of_drive_are_heeded(name: str, data: Path, catalogue: Catalogue) -> None:
    workflow = Path(__file__).parents[2] / "workflows" / f"{name}.yaml"
    checked = read(workflow, catalogue, [f"data.layout.path={(data / 'drive').as_posix()}"])
    dataset = find_dataset(checked.data, catalogue)
    assert len(dataset.cases) == 20 and all(case.valid for case in dataset.cases)
    counts = measure(dataset.cases[0], catalogue, dataset.labels)["labels"]
    assert counts["255"] / (565 * 584) == pytest.approx(0.31, abs=0.02)  # the camera sees a disc of 540 pixels
    assert counts["1"] / (counts["0"] + counts["1"]) == pytest.approx(0.11, abs=0.02)
