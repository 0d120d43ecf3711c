"""What labels mean, from the workflow to the trained network and back: each test trains for some steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from datasets import boxes, workflow
from training import tiny_plan

from voxgraft.batch.segment import segment
from voxgraft.datasets.dataset import find_dataset
from voxgraft.datasets.labelling import labels_of, network_labels
from voxgraft.errors import DataError, TrainingError, WorkflowError
from voxgraft.imaging.read import read
from voxgraft.imaging.structures import Labels
from voxgraft.inference.predictor import Predictor
from voxgraft.packages.package import read_package
from voxgraft.preprocessing.plan import Plan, read_plan
from voxgraft.preprocessing.prepare import load_prepared
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training.setup import check_loss
from voxgraft.training.targets import deep_loss, unpacked
from voxgraft.workflow.workflow import read as read_workflow

QUICK = {"budget: 12 steps, batch: 2": "budget: 60 steps, batch: 2, augment: 0, optimiser: {lr: 0.01}, foreground: 0.9"}

pytestmark = pytest.mark.usefixtures("one_thread")


def nested(folder: Path, shape: tuple[int, int, int] = (16, 16, 16), cases: int = 4, ignore: bool = False) -> Path:
    """Boxes in boxes: 1 around 2 around 3, ever brighter; where asked, a quarter is marked 9 and nobody knows it."""
    rng = np.random.default_rng(5)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    training = []
    for index in range(cases):
        label = np.zeros(shape, np.uint8)
        start = rng.integers(1, 5, 3)
        for value, (shift, size) in enumerate([(0, 10), (2, 6), (3, 4)], 1):
            label[tuple(slice(int(s) + shift, int(s) + shift + size) for s in start)] = value
        image = (rng.normal(0, 8, shape) + 100 * label).astype(np.int16)
        if ignore:
            label[:4] = 9
        name = f"case_{index}.nii.gz"
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / name)
        training.append({"image": f"imagesTr/{name}", "label": f"labelsTr/{name}"})
    names = {"0": "background", "1": "edema", "2": "necrosis", "3": "enhancing", **({"9": "unsure"} if ignore else {})}
    document = {"modality": {"0": "MRI"}, "labels": names, "training": training}
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def trained(tmp_path: Path, catalogue: Any, data: Path, say: str, **changes: str) -> Path:
    """Run a workflow whose section `data` says more."""
    text = {"modality: mr": f"modality: mr\n  {say}", "{folds: 3": "{folds: 2", **QUICK, **changes}
    steps = "[plan, prepare, train, evaluate]"
    flow = read_workflow(workflow(tmp_path, data, steps, **text), catalogue, ["tracking=null"])
    done = run_workflow(flow, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    return done.folder


def mean_dice(folder: Path) -> dict[str, float]:
    summary = json.loads((folder / "evaluate" / "scores.json").read_text())["summary"]["dice"]
    return {name: one["mean"] for name, one in summary.items()}


PAINTED = "regions: {whole: [1, 2, 3], core: [necrosis, 3], enhancing: 3}\n  paint: [1, 2, 3]"


def test_regions_are_learnt_painted_and_scored(tmp_path, catalogue) -> None:
    folder = trained(tmp_path, catalogue, nested(tmp_path / "data"), PAINTED)
    plan, package = read_plan(folder / "plan.json"), read_package(folder / "package")
    assert plan.classes == 3 and [region.members for region in plan.regions] == [(1, 2, 3), (2, 3), (3,)]
    assert package.labels.names == ("edema", "necrosis", "enhancing")
    assert json.loads((folder / "package" / "labels.json").read_text())["kind"] == "sigmoid"
    scores = mean_dice(folder)
    assert set(scores) == {"whole", "core", "enhancing", "mean"} and min(scores.values()) > 0.7
    scan = read(tmp_path / "data" / "imagesTr" / "case_0.nii.gz", catalogue)
    found = Predictor(package, catalogue, device="cpu").predict(scan)
    truth = read(tmp_path / "data" / "labelsTr" / "case_0.nii.gz", catalogue)
    assert found.labels.array.shape == scan.shape and (found.labels.array == truth.array).mean() > 0.95
    assert set(found.confidence) == {"edema", "necrosis", "enhancing"}


def test_the_loss_sees_unions_of_structures(tmp_path, catalogue) -> None:
    folder = trained(tmp_path, catalogue, nested(tmp_path / "data"), PAINTED)
    prepared = json.loads((folder / "prepared.json").read_text())["folders"]
    plan = read_plan(folder / "plan.json")
    case = load_prepared("case_0", folder / "cache" / prepared["case_0"])
    truth = read(tmp_path / "data" / "labelsTr" / "case_0.nii.gz", catalogue).array
    target, counted = unpacked(torch.from_numpy(np.array(case.label))[None].long(), plan)
    assert counted is None and target.shape == (1, 3, 16, 16, 16)
    for region, values in zip(target[0], ([1, 2, 3], [2, 3], [3]), strict=True):
        assert np.array_equal(region.numpy() == 1, np.isin(truth, values))
    assert {1, 2, 3} == set(case.places[:, 0])


def test_a_voxel_in_two_structures_is_found_in_both(tmp_path, catalogue) -> None:
    """Masks with a channel for each structure, as they overlap by nature."""
    data = nested(tmp_path / "data")
    for path in (data / "labelsTr").iterdir():
        label = np.asarray(nib.load(path).dataobj)
        several = np.stack([label >= 1, label >= 3], -1).astype(np.uint8)
        nib.save(nib.Nifti1Image(several, np.eye(4)), path)
    folder = trained(tmp_path, catalogue, data, "labels: {tumour: 1, lesion: 2}\n  regions: each")
    package = read_package(folder / "package")
    assert min(mean_dice(folder).values()) > 0.7
    scan = read(data / "imagesTr" / "case_0.nii.gz", catalogue)
    mask = Predictor(package, catalogue, device="cpu").predict(scan).labels
    truth = np.moveaxis(np.asarray(nib.load(data / "labelsTr" / "case_0.nii.gz").dataobj), -1, 0)
    assert mask.array.shape == (2, 16, 16, 16) and package.labels.names == ("tumour", "lesion")
    batch = segment(str(folder / "package"), [data / "imagesTr" / "case_0.nii.gz"], tmp_path / "out", catalogue)
    written = nib.load(tmp_path / "out" / batch.scans[0].case / "mask.nii.gz")
    assert np.array_equal(np.moveaxis(np.asarray(written.dataobj), -1, 0), mask.array)
    both = truth.all(0)
    assert mask.array[:, both].all(0).mean() > 0.8 and (mask.array == truth).mean() > 0.95


def test_left_out_voxels_change_neither_loss_nor_scores(tmp_path, catalogue) -> None:
    """Two data sets that differ in the image and label of nothing but ignored voxels train and score alike."""
    folder = trained(tmp_path, catalogue, nested(tmp_path / "data", ignore=True), "ignore: unsure")
    plan = read_plan(folder / "plan.json")
    assert plan.ignored == 255 and plan.values == (0, 1, 2, 3)
    prepared = json.loads((folder / "prepared.json").read_text())["folders"]
    case = load_prepared("case_1", folder / "cache" / prepared["case_1"])
    label = np.array(case.label)
    assert (label[:4] == 254).all() and 254 not in case.places[:, 0]
    loss = read_workflow(tmp_path / "workflow.yaml", catalogue).training.loss.build()
    target = torch.from_numpy(label)[None].long()
    logits = torch.randn(1, 4, *label.shape)
    changed = logits.clone()
    changed[:, :, :4] = 50 * torch.randn(1, 4, 4, *label.shape[1:])
    coarse, other = logits[..., ::2, ::2, ::2], changed[..., ::2, ::2, ::2]
    one, two = (deep_loss(loss, *pair, target, plan) for pair in ((logits, [coarse]), (changed, [other])))
    assert float(one) == pytest.approx(float(two))
    changed[:, 1, 8] += 5
    assert float(deep_loss(loss, changed, [other], target, plan)) != pytest.approx(float(one))
    assert set(mean_dice(folder)) == {"edema", "necrosis", "enhancing", "mean"}
    assert min(mean_dice(folder).values()) > 0.5


@pytest.mark.parametrize("name", ["dice-ce", "dice", "cross-entropy"])
@pytest.mark.parametrize("regions", [False, True])
def test_every_loss_leaves_voxels_out(catalogue, name, regions) -> None:
    from voxgraft.components.choice import choose

    loss = choose(catalogue, "loss", {"use": name}).build()
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 6, 6, generator=draw, requires_grad=True)
    target = torch.randint(0, 3, (2, 6, 6), generator=draw)
    if regions:
        target = torch.stack([target > 0, target > 1, target > 2], 1).float()
    counted = torch.rand(2, 6, 6, generator=draw) > 0.4
    value = loss(logits, target, counted)
    value.backward()
    gradient = logits.grad
    assert gradient is not None and (gradient.abs().sum(1)[~counted] == 0).all()
    assert (gradient.abs().sum(1)[counted] > 0).all()
    assert torch.allclose(loss(logits, target, torch.ones_like(counted)), loss(logits, target))
    assert torch.isfinite(loss(logits, target, torch.zeros_like(counted)))


def test_a_loss_that_cannot_leave_voxels_out_is_refused(tmp_path, catalogue) -> None:
    from dataclasses import replace

    flow = read_workflow(workflow(tmp_path, tmp_path), catalogue)
    plan = Plan.model_validate({**tiny_plan().model_dump(), "ignored": 255})
    check_loss(flow, plan)
    loss = flow.training.loss
    plain = replace(loss, component=replace(loss.component, build=lambda options: Plain()))
    other = flow.model_copy(update={"training": flow.training.model_copy(update={"loss": plain})})
    check_loss(other, tiny_plan())
    with pytest.raises(TrainingError, match="'dice-ce' cannot leave voxels out"):
        check_loss(other, plan)


class Plain:
    """A loss of somebody who knows nothing of voxels that are left out."""

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return logits.sum()


def test_a_dry_run_tells_of_regions(tmp_path, catalogue) -> None:
    text = {"modality: mr": f"modality: mr\n  {PAINTED}", "{folds: 3": "{folds: 2"}
    flow = read_workflow(workflow(tmp_path, nested(tmp_path / "data"), **text), catalogue)
    assert dry_run(flow, catalogue)["labels"] == "whole (1), core (2), enhancing (3)"


def test_a_structure_may_be_made_of_names_and_values(tmp_path, catalogue) -> None:
    say = "labels: {tumour: {value: 5, from: [edema, 2]}}\n  others: background"
    folder = trained(tmp_path, catalogue, nested(tmp_path / "data"), say, **{"60 steps": "4 steps"})
    prepared = json.loads((folder / "prepared.json").read_text())["folders"]
    case = load_prepared("case_0", folder / "cache" / prepared["case_0"])
    truth = read(tmp_path / "data" / "labelsTr" / "case_0.nii.gz", catalogue).array
    assert np.array_equal(np.array(case.label), np.isin(truth, [1, 2]))
    assert read_package(folder / "package").labels.values == (5,)


def labels_from(tmp_path: Path, catalogue: Any, say: str, data: Path | None = None) -> Labels | None:
    text = {"modality: mr": f"modality: mr\n  {say}"}
    flow = read_workflow(workflow(tmp_path, data or tmp_path / "data", **text), catalogue)
    return find_dataset(flow.data, catalogue).labels


@pytest.mark.parametrize(
    ("say", "message"),
    [
        ("labels: {a: {value: 0, from: [1]}}", r"workflow\.yaml:6: data\.labels\.a\.value: write .*not 0$"),
        ("labels: {a: {value: 1}}", r"workflow\.yaml:6: data\.labels\.a.*from: this key is required"),
        ("labels: {a: {value: 1, from: []}}", r"workflow\.yaml:6: data\.labels\.a"),
        ("labels: {a: 1, b: {value: 2, from: [1]}}", r"workflow\.yaml:6: data\.labels: 1 in masks is both 'a' and 'b'"),
        ("labels: {a: 1, b: 1}", "have the same value"),
        ("labels: {mean: 1}", "called 'mean'"),
        ("labels: {1: liver, 2: lesion}", r"workflow\.yaml:6: data\.labels: names come first: write {liver: 1}"),
        ("labels: {background: 0}", "background only"),
        ("others: drop", r"workflow\.yaml:6: data\.others"),
        ("regions: {}", "there are 0 regions"),
        ("paint: [1]", "paint: needs regions"),
        ("regions: {a: 1, b: 2}\n  paint: [1, 1]", "value of its own"),
        ("regions: {a: 1}\n  overlap: higher", "leave one of the two"),
    ],
)
def test_wrong_words_are_told_with_their_line(tmp_path, catalogue, say, message) -> None:
    with pytest.raises(WorkflowError, match=message):
        labels_from(tmp_path, catalogue, say)


@pytest.mark.parametrize(
    ("say", "message"),
    [
        ("labels: {a: {value: 1, from: [edma]}}", "no label 'edma'; did you mean 'edema'"),
        ("regions: {a: [1, 7]}", r"data\.regions\.a: there is no label 7; there are edema \(1\)"),
        ("regions: {a: [1, oedema]}", "no label 'oedema'"),
        ("regions: {a: [2, 3], b: 1}\n  paint: [1, 2]", "1 paints the region 'a'"),
        ("labels: {a: 1}\n  ignore: 1", "is what the label 'a' is made of"),
        ("channels: {MRI: optional}", "at least one must be required"),
        ("channels: {T9: optional, MRI: required}", "no channel 'T9'; there are MRI"),
        ("split: {by: dataset}", "gives no split"),
    ],
)
def test_words_that_do_not_fit_the_data_set_are_told(tmp_path, catalogue, say, message) -> None:
    data = nested(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        if say.startswith("split"):
            text = {"  split: {folds: 3, fold: 0, seed: 7}": f"  {say}"}
            flow = read_workflow(workflow(tmp_path, data, **text), catalogue)
            run_workflow(flow, catalogue, tmp_path / "run", progress=Progress(quiet=True), steps=["plan"])
        else:
            labels_from(tmp_path, catalogue, say, data)


def test_the_structures_of_predictions_have_names_and_places(tmp_path, catalogue) -> None:
    data = nested(tmp_path / "data")
    plain = labels_from(tmp_path, catalogue, "limit: 2", data)
    assert plain is not None and network_labels(plain).names == ("edema", "necrosis", "enhancing")
    each = labels_from(tmp_path, catalogue, "regions: each", data)
    assert each is not None and each.overlap == "keep" and network_labels(each).values == (1, 2, 3)
    union = labels_from(tmp_path, catalogue, "regions: {all: [1, 2, 3], core: [2, 3]}", data)
    assert union is not None and network_labels(union).names == ("all", "core")
    left_out = labels_from(tmp_path, catalogue, "ignore: [enhancing]", data)
    assert left_out is not None and left_out.names == ("edema", "necrosis") and left_out.ignored == 255


def test_unnamed_masks_may_have_regions(tmp_path, catalogue) -> None:
    data = nested(tmp_path / "data")
    document = json.loads((data / "dataset.json").read_text())
    del document["labels"]
    (data / "dataset.json").write_text(json.dumps(document))
    labels = labels_from(tmp_path, catalogue, "regions: {all: [1, 2, 3], core: [2, 3]}", data)
    assert labels is not None and labels.values == (1, 2, 3)
    with pytest.raises(DataError, match="each needs labels"):
        labels_from(tmp_path, catalogue, "regions: each", data)


def test_boxes_without_any_words_mean_what_they_always_meant(tmp_path, catalogue) -> None:
    flow = read_workflow(workflow(tmp_path, boxes(tmp_path / "data")), catalogue)
    labels = find_dataset(flow.data, catalogue).labels
    assert labels == Labels.of({"box": 1}) and labels_of(flow.data, labels) == labels


def test_a_single_region_is_one_map_with_its_own_name(tmp_path, catalogue) -> None:
    data = nested(tmp_path / "data")
    folder = trained(tmp_path, catalogue, data, "regions: {core: [necrosis, enhancing]}\n  others: background")
    package = read_package(folder / "package")
    assert package.labels.document() == [{"value": 2, "name": "core"}] and mean_dice(folder)["core"] > 0.7
    scan = read(data / "imagesTr" / "case_0.nii.gz", catalogue)
    mask = Predictor(package, catalogue, device="cpu").predict(scan).labels
    assert mask.array.shape == (16, 16, 16) and set(np.unique(mask.array)) == {0, 2}


def test_what_overlaps_is_measured_structure_by_structure() -> None:
    from voxgraft.batch.quality import measure
    from voxgraft.imaging.volume import Volume

    array = np.zeros((2, 8, 8, 8), np.uint8)
    array[0, 1:7, 1:7, 1:7], array[1, 3:5, 3:5, 3:5] = 1, 1
    found = measure(Volume(array, np.eye(4)), Labels.of({"tumour": 1, "lesion": 2}))
    assert (found["tumour"].voxels, found["lesion"].voxels) == (216, 8)
    assert found["lesion"].centroid == (3.5, 3.5, 3.5)


def test_a_raw_data_set_of_nnunet_needs_no_words(tmp_path, catalogue) -> None:
    """Its regions, its order of painting, its ignore label, and its own split."""
    data = nested(tmp_path / "data", ignore=True)
    for path in (data / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 9}
    document = {"channel_names": {"0": "MR"}, "labels": labels, "regions_class_order": [1, 2, 3]}
    (data / "dataset.json").write_text(json.dumps({**document, "file_ending": ".nii.gz"}))
    names = [f"case_{index}" for index in range(4)]
    (data / "splits_final.json").write_text(json.dumps([{"train": names[1:], "val": names[:1]}]))
    text = {"use: decathlon": "use: nnunet", "{folds: 3, fold: 0, seed: 7}": "{by: dataset}", **QUICK}
    flow = read_workflow(workflow(tmp_path, data, **text), catalogue, ["tracking=null"])
    folder = run_workflow(flow, catalogue, tmp_path / "run", progress=Progress(quiet=True)).folder
    assert json.loads((folder / "split.json").read_text()) == {"train": names[1:], "validation": names[:1]}
    assert json.loads((folder / "check.json").read_text())["ok"]
    plan = read_plan(folder / "plan.json")
    assert plan.paint == (1, 2, 3) and plan.ignored == 255
    scores = mean_dice(folder)
    assert set(scores) == {"whole", "core", "enhancing", "mean"} and min(scores.values()) > 0.6


def test_a_split_that_divides_a_patient_is_refused(tmp_path, catalogue) -> None:
    from voxgraft.datasets.cases import Case, Dataset, Split
    from voxgraft.datasets.dataset import split_of
    from voxgraft.datasets.options import Split as Options
    from voxgraft.imaging.volume import ImageRef

    image = (ImageRef(tmp_path),)
    cases = tuple(Case(name, name[0], image, ImageRef(tmp_path)) for name in ("a1", "a2", "b1"))
    options = Options.model_validate({"by": "dataset"})
    good = Dataset(cases, splits=(Split(("a1", "a2", "gone"), ("b1",)),))
    assert split_of(good, cases, options) == Split(("a1", "a2"), ("b1",))
    with pytest.raises(DataError, match="1 patient both in training and in validation"):
        split_of(Dataset(cases, splits=(Split(("a1", "b1"), ("a2",)),)), cases, options)
    with pytest.raises(DataError, match="leaves no labelled case"):
        split_of(Dataset(cases, splits=(Split(("a1",), ("gone",)),)), cases, options)
    with pytest.raises(DataError, match="gives 1 splits"):
        split_of(good, cases, Options.model_validate({"by": "dataset", "fold": 1}))
