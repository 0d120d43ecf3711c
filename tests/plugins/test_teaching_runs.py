"""Whole runs with strategies that learn from more than the labelled batch: roles of scans, resume, what is left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from strategy_jobs import job, plan, squares
from strategy_trainer import Stages, Sum
from voxgraft.advice.candidates import encoders_at_hand
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import DataError, TrainingError, WorkflowError
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.packages.package import read_package
from voxgraft.packages.references import Resolver
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training import loop
from voxgraft.training.batches import Unlabelled
from voxgraft.training.job import Job
from voxgraft.training.setup import another_network, start_network, table
from voxgraft.workflow.workflow import from_document
from voxgraft_plugins.teaching import STRATEGIES

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = ["check", "plan", "prepare", "train"]
CPU: dict[str, Any] = {"accelerator": "cpu", "devices": 1}


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


def other(seed: int) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return SegmentationNetwork(Stages(), Sum(), 2, 2)


def teaching_job(folder: Path, catalogue: Catalogue, *options: dict[str, Any], **more: Any) -> Job:
    """A training of a stack of strategies, with unlabelled scans beside."""
    strategies = [choose(catalogue, "strategy", dict(one)).build() for one in options]
    for strategy in strategies:
        if strategy.name == "co-training":
            strategy.prepare = lambda context: {"peer": other(7)}
        if strategy.name == "distil":
            strategy.teacher = other(5)
    made = job(folder, strategies, **more)
    made.context.another = other
    made.batches.unlabelled = Unlabelled(squares(2), plan(), seed=3)
    return made


STACK: list[dict[str, Any]] = [
    {"use": "freeze", "until": "20%"},
    {"use": "layer-decay", "decay": 0.5},
    {"use": "l2-sp"},
    {"use": "mean-teacher"},
]
STRAIGHT: list[dict[str, Any] | list[dict[str, Any]]] = [
    STACK,
    [{"use": "lora"}, {"use": "mean-teacher", "keep": "teacher"}],
    {"use": "distil", "teacher": "other", "features": 0.5},
    {"use": "mean-teacher", "keep": "teacher", "threshold": True, "passes": 2},
    {"use": "co-training", "form": "both"},
    {"use": "adversarial", "level": "features", "width": 4},
    {"use": "adversarial", "level": "entropy", "width": 4},
    {"use": "multi-task", "branches": ["boundary", "presence"], "weighting": "uncertainty"},
    {"use": "multi-task", "branches": ["boundary"], "weighting": "dwa", "interval": 1},
    {"use": "multi-task", "branches": ["reconstruction"], "weighting": "pcgrad"},
    {"use": "self-supervised", "block": 4},
]


def called(one: Any) -> str:
    stack = one if isinstance(one, list) else [one]
    return "+".join("-".join(map(str, list(options.values())[:2])) for options in stack)


def test_every_teaching_strategy_is_killed_and_resumed() -> None:
    used = {one["use"] for entry in STRAIGHT for one in (entry if isinstance(entry, list) else [entry])}
    assert STRATEGIES.keys() <= used


@pytest.mark.parametrize("options", STRAIGHT, ids=called)
def test_two_and_two_steps_are_four(tmp_path: Path, catalogue: Catalogue, monkeypatch: Any, options: Any) -> None:
    options = options if isinstance(options, list) else [options]
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    straight, _ = loop.fit(teaching_job(tmp_path / "a", catalogue, *options), Fabric(**CPU))
    first = teaching_job(tmp_path / "b", catalogue, *options)
    real, done = loop.save, []

    def save(*args: Any) -> None:
        real(*args)
        done.append(1)
        if len(done) == 2:
            raise Killed

    monkeypatch.setattr(loop, "save", save)
    with pytest.raises(Killed):
        loop.fit(first, Fabric(**CPU))
    monkeypatch.setattr(loop, "save", real)
    torch.manual_seed(99)
    second = teaching_job(tmp_path / "b", catalogue, *options)
    resumed, state = loop.fit(second, Fabric(**CPU))
    assert state.step == 4 and second.context.step == 3
    mine, its = straight.state_dict(), resumed.state_dict()
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in mine)
    start = dict(other(0).named_parameters())
    assert not torch.equal(start["encoder.stem.weight"], dict(straight.named_parameters())["encoder.stem.weight"])
    assert set(mine) == set(other(0).state_dict()), "nothing of the strategy is left in the network"


def test_unlabelled_batches_disturb_no_labelled_one(tmp_path: Path) -> None:
    alone, beside = job(tmp_path, []).batches, job(tmp_path, []).batches
    beside.unlabelled = Unlabelled(squares(2), plan(), seed=7)
    one, both = alone.stream(2), beside.stream(2)
    mine, its = next(one), next(both)
    one.close()
    both.close()
    assert (mine.image == its.image).all() and mine.seed == its.seed and mine.unlabelled is None
    assert its.unlabelled is not None and its.unlabelled.seed != its.seed
    again = Unlabelled(squares(2), plan(), seed=7).draw(2)
    assert (again.image == its.unlabelled.image).all() and set(np.unique(again.label)) <= {0, 255}
    assert 255 in Unlabelled(squares(2), plan(), seed=7).draw(0).label, "beyond the image"


def test_what_strategies_bring_is_in_the_table(tmp_path: Path, catalogue: Catalogue) -> None:
    made = teaching_job(tmp_path, catalogue, {"use": "adversarial", "lr": 3e-5, "width": 4})
    rows = {row.name: row for row in made.rows}
    assert rows["discriminator.0.weight"].lr == 3e-5 and rows["discriminator.0.weight"].weight_decay == 0
    peer = teaching_job(tmp_path, catalogue, {"use": "co-training"})
    rows = {row.name: row for row in peer.rows}
    assert rows["peer.encoder.stem.weight"].weight_decay == rows["encoder.stem.weight"].weight_decay > 0
    assert rows["peer.encoder.stem.weight"].origin == "pretrained"
    slower = teaching_job(tmp_path, catalogue, {"use": "layer-decay"}, {"use": "co-training"}, {"use": "lora"})
    rows = {row.name: row for row in slower.rows}
    assert rows["peer.encoder.stem_norm.weight"].lr == rows["encoder.stem_norm.weight"].lr < rows["heads.0.weight"].lr
    assert {row.origin for row in slower.rows if row.name.startswith("peer.encoder.")} == {"pretrained"}
    assert {row.origin for row in slower.rows if row.name.startswith("peer.decoder.")} == {"new"}
    found = table(made.stack, replace(made.context, extra={}), made.options.optimiser)
    assert len(found) == len(dict(made.network.named_parameters()))


def test_the_table_of_a_stack_says_what_each_strategy_decided(tmp_path: Path, catalogue: Catalogue) -> None:
    """Every parameter of [freeze for a while, layer-decay, l2-sp, mean-teacher], in any order of the four: the teacher
    has no row, what thaws later counts as trained, and decay of another kind is off."""
    rate, stages = 2e-3, {"stem": 0, "stem_norm": 0, "middle": 1, "deep": 2}
    for stack in (STACK, STACK[::-1]):
        made = teaching_job(tmp_path, catalogue, *stack, optimiser={"lr": rate})
        rows = {row.name: row for row in made.rows}
        assert len(rows) == len(made.rows) and set(rows) == {name for name, _ in made.network.named_parameters()}
        for name, parameter in made.network.named_parameters():
            part = name.split(".")
            row = rows[name]
            mine = rate * 0.5 ** (3 - stages[part[1]]) if part[0] == "encoder" else rate
            assert (row.shape, row.train) == (tuple(parameter.shape), True)
            assert row.lr == pytest.approx(mine, rel=1e-12) and row.weight_decay == 0.0
            assert row.origin == ("pretrained" if part[0] == "encoder" else "new")
    plain = teaching_job(tmp_path, catalogue, STACK[3], optimiser={"lr": rate})
    assert {row.weight_decay > 0 for row in plain.rows if len(row.shape) > 1} == {True}


# ------------------------------------------------------------------------------------------------------- whole runs


def scans(folder: Path, count: int, *, labelled: bool = True, invert: bool = False, start: int = 0) -> Path:
    """Slices with a bright, or dark, square."""
    rng = np.random.default_rng(5 + start)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(count):
        label = np.zeros((20, 20, 4), np.uint8)
        label[4 + index : 12 + index, 5:13] = 1
        image = rng.normal(100, 10, label.shape) + (-80.0 if invert else 80.0) * label
        name = f"scan{start + index}.nii.gz"
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), folder / "images" / name)
        if labelled:
            nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labels" / name)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: Any) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    return {
        "site": scans(root / "site", 6),
        "more": scans(root / "more", 3, labelled=False, start=20),
        "elsewhere": scans(root / "elsewhere", 3, invert=True, start=40),
    }


def document(sets: dict[str, Path], transfer: list[Any], **data: Any) -> dict[str, Any]:
    return {
        "name": "squares",
        "data": {
            "layout": {"use": "pairs", "path": str(sets["site"])},
            "modality": "mr",
            "labels": {"square": 1},
            "split": {"folds": 3},
            **data,
        },
        "model": {"dims": 2, "encoder": {"use": "residual", "weights": "none", "width": 8}, "decoder": "unet"},
        "transfer": transfer,
        "training": {"budget": "3 steps", "batch": 2, "patch": [16, 16], "device": "cpu", "validate_every": 1.0},
        "tracking": None,
    }


def run(folder: Path, catalogue: Catalogue, written: dict[str, Any], **options: Any) -> Any:
    workflow = from_document(written, catalogue)
    return run_workflow(workflow, catalogue, folder, progress=Progress(quiet=True), **options)


def unlabelled(path: Path) -> dict[str, Any]:
    return {"unlabelled": {"use": "pairs", "path": str(path), "labels": None}}


RUNS: list[tuple[list[Any], str]] = [
    ([{"use": "mean-teacher"}], "more"),
    ([{"use": "co-training", "form": "both"}], "more"),
    ([{"use": "adversarial", "width": 4}], "source"),
    ([{"use": "adversarial", "level": "entropy", "width": 4}, {"use": "multi-task", "weighting": "pcgrad"}], "more"),
    ([{"use": "multi-task", "branches": ["boundary", "reconstruction", "presence"], "weighting": "dwa"}], ""),
]


@pytest.mark.parametrize(("transfer", "data"), RUNS, ids=lambda one: one[0]["use"] if isinstance(one, list) else one)
def test_a_whole_run_leaves_a_plain_network(
    tmp_path: Path, catalogue: Catalogue, sets: dict[str, Path], transfer: list[Any], data: str
) -> None:
    places: dict[str, Any] = {"": {}, "more": unlabelled(sets["more"])}.get(data, {})
    if data == "source":
        places = {"source": {"use": "pairs", "path": str(sets["elsewhere"])}}
    done = run(tmp_path / "run", catalogue, document(sets, transfer, **places))
    split = done.read("split.json")
    held_out = set(split["validation"])
    assert len(held_out) == 2 and not held_out & {*split["train"], *split.get("unlabelled", ())}
    if data == "more":
        assert [name for name in split["unlabelled"] if name.startswith("unlabelled/")] == [
            f"unlabelled/scan{n}" for n in (20, 21, 22)
        ]
    if data == "source":
        assert split["train"] == [f"source/scan{n}" for n in (40, 41, 42)] and len(split["unlabelled"]) == 4
        folders = done.read("prepared.json")["folders"]
        for name in split["unlabelled"]:
            assert not (done.folder / "cache" / folders[name] / "label.npy").exists(), "no label is prepared"
    plain = run(tmp_path / "plain", catalogue, document(sets, []))
    mine, its = (load_file(one.package / "model.safetensors") for one in (done, plain))
    assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in its.items()}
    rows = json.loads((done.folder / "train" / "parameters.json").read_text())
    brought = {row["name"].split(".")[0] for row in rows} - {"encoder", "decoder", "heads"}
    wanted = {"co-training": {"peer"}, "adversarial": {"discriminator"}}.get(transfer[0]["use"], set())
    assert wanted <= brought
    assert (done.folder / "evaluate" / "scores.json").is_file()


def test_labels_that_are_not_drawn_count_as_unlabelled(tmp_path: Path, catalogue: Catalogue, sets: Any) -> None:
    written = document(sets, [{"use": "mean-teacher"}], limit=2)
    split = run(tmp_path / "run", catalogue, written, steps=["check", "plan"]).read("split.json")
    assert len(split["train"]) == 2 and len(split["unlabelled"]) == 2 and len(split["validation"]) == 2


def test_a_student_learns_from_a_package(tmp_path: Path, catalogue: Catalogue, sets: dict[str, Path]) -> None:
    teacher = run(tmp_path / "teacher", catalogue, document(sets, []), steps=TRAIN)
    options = {"use": "distil", "teacher": str(teacher.package), "features": 0.5}
    written = document(sets, [options])
    written["model"]["encoder"]["width"] = 16
    student = run(tmp_path / "student", catalogue, written)
    rows = json.loads((student.folder / "train" / "parameters.json").read_text())
    assert any(row["name"] == "distil_adapter.weight" for row in rows)
    with pytest.raises(TrainingError, match=r"other structures \(data.labels\)"):
        run(tmp_path / "c", catalogue, document(sets, [options], labels={"box": 1}))


def test_the_second_network_starts_elsewhere_whatever_the_seeds(catalogue: Catalogue, sets: dict[str, Path]) -> None:
    heads = []
    for seed in (7, 1001):
        written = document(sets, [{"use": "co-training"}])
        written["training"]["seed"] = seed
        workflow = from_document(written, catalogue)
        torch.manual_seed(seed)
        heads.append(start_network(workflow, plan(), Resolver(catalogue))[0].heads[0].weight)
        for own in (1, 7, -7, 10**40):
            heads.append(another_network(workflow, plan(), own, Resolver(catalogue)).heads[0].weight)
    assert len({tuple(head.flatten().tolist()) for head in heads}) == len(heads) == 10


def test_pretraining_without_labels_gives_an_encoder_to_start_from(
    tmp_path: Path, catalogue: Catalogue, sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pretrain on all scans that are not held out, register, start from `models:/NAME@champion`, tune: the encoder is
    the pretrained one bit for bit, decoder and head are new, and the origin is on the record."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))
    written = document(sets, [{"use": "self-supervised", "block": 4}], **unlabelled(sets["more"]))
    written |= {"tracking": {"uri": uri}, "registry": {"name": "squares-encoder"}}
    first = run(tmp_path / "pretrain", catalogue, {**written, "steps": [*TRAIN, "register"]})
    split = first.read("split.json")
    assert split["train"] == [] and len(split["unlabelled"]) == 7
    assert first.read("register.json")["champion"]
    start = document(sets, [{"use": "freeze", "until": "50%"}, {"use": "fine-tune"}])
    start["model"]["encoder"]["weights"] = "models:/squares-encoder@champion"
    started = from_document(start, catalogue)
    torch.manual_seed(0)
    network, report = start_network(started, first.plan, Resolver(catalogue, uri))
    kept = load_file(read_package(first.package).weights)
    mine = network.state_dict()
    encoder = {name for name in mine if name.startswith("encoder.")}
    assert report is not None and report.share == 1.0 and report.dropped == ()
    assert all(torch.equal(mine[name], kept[name]) for name in encoder)
    new = [name for name in mine if name not in encoder and mine[name].ndim > 1]
    assert new and not any(torch.equal(mine[name], kept[name]) for name in new)
    second = run(tmp_path / "tune", catalogue, start)
    weights = second.read("train/summary.json")["weights"]
    assert weights["share"] == 1.0 and weights["origin"].startswith("models:/squares-encoder@champion (")
    assert weights["origin"] in (second.package / "card.md").read_text()
    rows = second.read("train/parameters.json")
    assert {row["origin"] for row in rows if row["name"].startswith("encoder.")} == {"pretrained"}
    assert {row["origin"] for row in rows if not row["name"].startswith("encoder.")} == {"new"}
    tuned = load_file(read_package(second.package).weights)
    assert not torch.equal(tuned["heads.0.weight"], mine["heads.0.weight"])
    assert second.read("evaluate/scores.json")["cases"]
    asked = document(sets, [])
    asked["model"]["encoder"]["width"] = 16
    models = ["models:/squares-encoder@champion", "models:/squares@champion"]
    found, unusable = encoders_at_hand(from_document(asked, catalogue), Resolver(catalogue), models)
    assert found[0]["weights"] == models[0] and found[0]["width"] == 8, "as it was trained"
    assert [row["encoder"]["weights"] for row in unusable] == models[1:] and "squares" in unusable[0]["error"]


def test_pretraining_needs_no_label_at_all(tmp_path: Path, catalogue: Catalogue, sets: dict[str, Path]) -> None:
    """A site's own scans, of which none was ever labelled; a network that learns from labels is refused them."""
    written = document(sets, [{"use": "self-supervised", "block": 4}])
    written["data"] |= {"layout": {"use": "pairs", "path": str(sets["more"]), "labels": None}, "labels": None}
    split = run(tmp_path / "run", catalogue, written, steps=TRAIN).read("split.json")
    assert split["train"] == split["validation"] == [] and len(split["unlabelled"]) == 3
    with pytest.raises(DataError, match="the label is there in 0 of 3 cases"):
        run(tmp_path / "other", catalogue, written | {"transfer": []}, steps=TRAIN)
    asked = run(tmp_path / "run", catalogue, written, steps=["evaluate"])
    assert not (asked.folder / "evaluate").exists(), "there is nothing to score, asked for or not"


def test_a_pretraining_is_not_scored(tmp_path: Path, catalogue: Catalogue, sets: dict[str, Path]) -> None:
    """Its head has learnt nothing: scores of it would say nothing, and decide about promotion."""
    written = document(sets, [{"use": "self-supervised", "block": 4}])
    done = run(tmp_path / "run", catalogue, written)
    assert done.package.is_dir() and not (done.folder / "evaluate").exists()
    assert "scores" not in read_package(done.package).facts
    with pytest.raises(WorkflowError, match="guard: a pretraining uses no labels"):
        from_document({**written, "guard": {}}, catalogue)


@pytest.mark.parametrize(
    ("transfer", "error", "said"),
    [
        ([{"use": "mean-teacher"}], DataError, "'mean-teacher' learns from unlabelled scans, and there are none"),
        ([{"use": "adversarial"}], TrainingError, "'adversarial' brings two data sets together: name data.source"),
        ([{"use": "co-training", "form": "pseudo"}], DataError, "'co-training' learns from unlabelled scans"),
    ],
)
def test_what_is_needed_is_said_before_training(
    tmp_path: Path, catalogue: Catalogue, sets: Any, transfer: Any, error: Any, said: str
) -> None:
    with pytest.raises(error, match=said):
        run(tmp_path / "run", catalogue, document(sets, transfer))
    assert not (tmp_path / "run" / "train").exists()


def test_a_teacher_that_is_not_there_is_said_before_training(tmp_path: Path, catalogue: Catalogue, sets: Any) -> None:
    from voxgraft.errors import ModelError

    with pytest.raises(ModelError, match="nowhere"):
        run(tmp_path / "run", catalogue, document(sets, [{"use": "distil", "teacher": str(tmp_path / "nowhere")}]))
    assert not (tmp_path / "run" / "prepared.json").exists()


def test_mean_teacher_on_real_scans(tmp_path: Path, catalogue: Catalogue, data: Path) -> None:
    """Ten steps on slices of the left atrium, with scans of which no label is read."""
    atrium = data / "la2018"
    if not atrium.is_dir():
        pytest.skip("the left atrium is not in the folder of real data")
    for part in ("images", "labels"):
        (tmp_path / "few" / part).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "few" / part / f"la_{number:03d}.nii.gz").symlink_to(atrium / part / f"la_{number:03d}.nii.gz")
    (tmp_path / "rest" / "images").mkdir(parents=True)
    (tmp_path / "rest" / "images" / "la_008.nii.gz").symlink_to(atrium / "images" / "la_008.nii.gz")
    written = document({"site": tmp_path / "few"}, [{"use": "mean-teacher"}], **unlabelled(tmp_path / "rest"))
    written["data"] |= {"labels": {"left atrium": 1}, "spacing": [2.5, 2.5, 5.0]}
    written["training"] |= {"budget": "10 steps", "patch": [32, 32]}
    done = run(tmp_path / "run", catalogue, written, steps=TRAIN)
    summary = json.loads((done.folder / "train" / "summary.json").read_text())
    assert summary["steps"] == 10 and done.read("split.json")["unlabelled"] == ["unlabelled/la_008"]
