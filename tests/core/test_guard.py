"""The guard: a planted harmful start is flagged, alike runs are not, and what it says reaches card and promotion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import boxes, workflow

from voxgraft.errors import WorkflowError
from voxgraft.runs.engine import run_workflow
from voxgraft.scoring.pair import Counts
from voxgraft.scoring.scores import Scores
from voxgraft.scoring.transfer_verdict import judge, overtaken, verdict_sentence
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.store import MlflowStore

STEPS = "[check, plan, prepare, train, evaluate, register]"
QUICK = ("tracking=null", "evaluation.metrics=[dice]", "data.split.folds=2", "training.augment=0")


def scores(values, metric: str = "dice") -> Scores:
    return Scores.of({f"c{n:02}": {metric: {"a": float(row[0]), "b": float(row[1])}} for n, row in enumerate(values)})


RNG = np.random.default_rng(1)
TWIN = RNG.uniform(0.6, 0.8, (12, 2))


def test_a_gain_in_every_patient_helps_and_its_mirror_hurts() -> None:
    better = scores(TWIN + 0.05 + RNG.normal(0, 0.01, TWIN.shape))
    found, turned = judge(better, scores(TWIN), "dice", True), judge(scores(TWIN), better, "dice", True)
    assert (found["verdict"], turned["verdict"]) == ("helps", "hurts")
    assert found["difference"] == pytest.approx(-turned["difference"]) and found["ci95"][0] > 0
    assert judge(better, scores(TWIN), "dice", False)["verdict"] == "hurts"
    assert "transfer helps: dice" in verdict_sentence(found) and verdict_sentence(found).split("; ")[0].endswith(
        "12 patients"
    )
    few = judge(scores(TWIN[:2] + 0.05), scores(TWIN[:2]), "dice", True)
    assert few["verdict"] == "too few patients to tell" and few["ci95"][0] > 0, "an interval would have said helps"
    assert verdict_sentence(few).startswith(
        "too few patients to tell whether transfer helps"
    ) and "2 patients" in verdict_sentence(few)


def test_a_structure_that_loses_is_named_though_the_mean_gains() -> None:
    noise = RNG.normal(0, 0.005, (12, 2))
    found = judge(scores(TWIN + np.array([0.2, -0.04]) + noise), scores(TWIN), "dice", True)
    assert found["verdict"] == "helps"
    assert {name: one["verdict"] for name, one in found["structures"].items()} == {"a": "helps", "b": "hurts"}


def test_a_run_against_itself_and_few_patients_are_no_evidence() -> None:
    assert judge(scores(TWIN), scores(TWIN), "dice", True)["verdict"] == "no evidence"
    few = judge(scores(TWIN[:5] + 0.3), scores(TWIN[:5]), "dice", True)
    assert few["ci95"][0] > 0 and few["verdict"] == "too few patients to tell"


def counted(dice: float, cases: int = 12, **others: Counts) -> Scores:
    """Cases whose structure `a` has this Dice, by 100 voxels in each mask of 10,000; other structures as given."""
    both = round(100 * dice)
    counts = {"a": Counts(both, 100 - both, 100 - both, 9800 + both), **others}
    row = {"a": dice, **dict.fromkeys(others, 0.0)}
    names = [f"c{number:02}" for number in range(cases)]
    return Scores.of({name: {"dice": dict(row)} for name in names}, counts=dict.fromkeys(names, counts))


def test_the_guard_says_nothing_too_early() -> None:
    assert judge(counted(0.7), counted(0.5), "dice", True)["verdict"] == "helps"
    short = judge(counted(0.7), counted(0.5), "dice", True, steps=29)
    assert short["verdict"] == "too early to tell" and "29 steps are fewer than 30" in verdict_sentence(short)
    assert {row["verdict"] for row in short["structures"].values()} == {"too early to tell"}
    assert judge(counted(0.7), counted(0.5), "dice", True, steps=30)["verdict"] == "helps"
    nothing = judge(counted(0.04), counted(0.01), "dice", True, steps=500)
    assert nothing["verdict"] == "too early to tell" and "have learnt next to nothing" in verdict_sentence(nothing)
    assert judge(counted(0.04), counted(0.5), "dice", True, steps=500)["verdict"] == "hurts"


def test_a_structure_that_neither_network_finds_is_named() -> None:
    lost = counted(0.7, b=Counts(0, 0, 50, 9950))
    verdict = judge(lost, counted(0.5, b=Counts(0, 0, 50, 9950)), "dice", True, steps=500)
    assert verdict["never_found"] == ["b"] and verdict_sentence(verdict).endswith("neither network ever finds 'b'")
    found = counted(0.5, b=Counts(0, 7, 50, 9943))
    assert judge(lost, found, "dice", True)["never_found"] == []


def test_alike_runs_are_called_different_about_as_rarely_as_promised() -> None:
    """The two tests together say so in at most 5 % of alike pairs; 400 pairs of 8 patients leave room to 8 %."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        base = rng.uniform(0.5, 0.9, (8, 1)) + np.zeros((8, 2))
        one, other = (scores(base + rng.normal(0, 0.03, (8, 1))) for _ in range(2))
        wrong += judge(one, other, "dice", True)["verdict"] != "no evidence"
    assert wrong <= 32


def test_the_step_at_which_the_twin_is_overtaken() -> None:
    mine = [{"step": 10, "dice": 0.3}, {"step": 20, "dice": 0.7}, {"step": 40, "dice": 0.8}]
    twin = [{"step": 20, "dice": 0.2}, {"step": 40, "dice": 0.6}]
    assert overtaken(mine, twin) == {"dice": 0.6, "steps": 40, "step": 20}
    assert overtaken(twin, mine) == {"dice": 0.8, "steps": 40, "step": None}
    assert overtaken([], twin) is None


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes", cases=14)


@pytest.fixture(scope="module")
def harmful(tmp_path_factory, data_set, catalogue) -> Path:
    """Weights of the run's own encoder, permuted, with norms that let nothing through: an encoder that is blind."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    checked = read(workflow(folder, data_set), catalogue, [*QUICK, "training.budget=4 steps"])
    run = run_workflow(
        checked, catalogue, folder / "run", steps=["plan", "prepare", "train"], progress=Progress(quiet=True)
    )
    from safetensors.torch import load_file

    tensors = load_file(run.package / "model.safetensors")
    torch.manual_seed(0)

    def permuted(value: torch.Tensor) -> torch.Tensor:
        return value.flatten()[torch.randperm(value.numel())].reshape(value.shape)

    broken = {
        name: permuted(value) if value.ndim > 1 else torch.zeros_like(value)
        for name, value in tensors.items()
        if name.startswith("encoder.")
    }
    save_file({name: value.contiguous() for name, value in broken.items()}, folder / "harmful.safetensors")
    return folder / "harmful.safetensors"


def logged(folder: Path, identity: str) -> dict[str, str]:
    """The tags of a run, read with MLflow's own client."""
    from mlflow.tracking import MlflowClient

    return dict(MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").get_run(identity).data.tags)


def test_a_harmful_start_is_flagged_from_end_to_end(tmp_path, data_set, harmful, catalogue) -> None:
    """The version is kept but does not become champion, though there is none; the run is tagged, the card says why."""
    path = workflow(tmp_path, data_set, STEPS, **{"weights: none": f"weights: 'file:{harmful}'"})
    changes = [*QUICK[1:], "training.budget=30 steps", "training.ema=0", "guard=twin", "transfer=[{use: freeze}]"]
    checked = read(path, catalogue, changes)
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    found = json.loads((run.folder / "guard.json").read_text())
    assert found["verdict"] == "hurts" and found["patients"] == 7
    store = MlflowStore(MlflowStoreOptions(uri=f"sqlite:///{tmp_path}/mlflow.db"))
    version = store.version("models:/boxes/1")
    assert version.aliases == ("challenger",) and version.run == run.identity["mlflow_run"]
    card = (store.fetch("models:/boxes/1") / "card.md").read_text()
    assert "## Does transfer help?" in card and "transfer hurts: dice" in card
    tags = logged(tmp_path, run.identity["mlflow_run"])
    assert tags["voxgraft.guard"] == tags["voxgraft.guard.box"] == "hurts"
    insists = read(path, catalogue, [*changes, "registry.promote=always"])
    run_workflow(insists, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    assert store.version("models:/boxes@champion").version == "1"
    table = json.loads((run.folder / "twin" / "train" / "parameters.json").read_text())
    assert {row["origin"] for row in table} == {"new"} and all(row["train"] for row in table)
    for name in ("plan.json", "split.json"):
        assert (run.folder / name).read_text() == (run.folder / "twin" / name).read_text()


def test_the_twin_of_a_start_that_is_its_own_is_no_evidence(tmp_path, data_set, catalogue) -> None:
    """Weights that are what the twin draws by itself: both networks are the same one."""
    from safetensors.torch import save_file

    from voxgraft.training.setup import start_network

    path = workflow(tmp_path, data_set)
    plain = read(path, catalogue, [*QUICK, "training.budget=6 steps"])
    run = run_workflow(plain, catalogue, tmp_path / "plain", steps=["plan"], progress=Progress(quiet=True))
    torch.manual_seed(plain.training.seed)
    network, _ = start_network(plain, run.plan, run.models)
    save_file(dict(network.state_dict()), tmp_path / "own.safetensors")
    own = f"model.encoder.weights='file:{tmp_path / 'own.safetensors'}'"
    checked = read(path, catalogue, [*QUICK, "training.budget=30 steps", "guard=twin", own])
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    found = json.loads((run.folder / "guard.json").read_text())
    assert found["verdict"] == "no evidence" and found["difference"] == 0.0 and found["ci95"] == [0.0, 0.0]


def test_a_guard_over_nothing_is_refused(tmp_path, data_set, catalogue) -> None:
    path = workflow(tmp_path, data_set)
    with pytest.raises(WorkflowError, match="nothing is transferred"):
        read(path, catalogue, ["guard=twin"])
    own = "transfer=[{use: prune}]"
    with pytest.raises(WorkflowError, match=r"not among evaluation\.metrics"):
        read(path, catalogue, [own, "guard.metric=hd95"])
    checked = read(path, catalogue, [own, "guard=twin"])
    assert [step.name for step in checked.steps][-2:] == ["evaluate", "guard"]


def test_folds_pool_their_guards(tmp_path, data_set, harmful, catalogue) -> None:
    path = workflow(tmp_path, data_set, **{"weights: none": f"weights: 'file:{harmful}'"})
    changes = ["training.budget=2 steps", "guard=twin", "data.split.fold=all"]
    run = run_workflow(
        read(path, catalogue, [*QUICK, *changes]), catalogue, tmp_path / "run", progress=Progress(quiet=True)
    )
    found = json.loads((run.folder / "guard.json").read_text())
    assert found["n"] == 14 and set(found["members"]) == {"fold_0", "fold_1"}
