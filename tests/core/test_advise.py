"""Advice ends within its minutes, and says no evidence where there is none."""

from __future__ import annotations

import importlib
import json
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from datasets import boxes, workflow

import voxgraft.advice.advise as advising
from voxgraft.advice.clock import Clock, TimeUp
from voxgraft.advice.conclusion import conclude
from voxgraft.advice.probe import probe_dice
from voxgraft.advice.tournament import Arm, Tournament, Trial
from voxgraft.cli import main
from voxgraft.inference.kernels import FastKernels
from voxgraft.scoring.case import value_of
from voxgraft.scoring.scores import Scores
from voxgraft.support.files import atomic_write
from voxgraft.training import step
from voxgraft.transfer.prior import prior

MINUTES = 0.3
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """Images that know nothing of their masks."""
    folder = boxes(tmp_path_factory.mktemp("data") / "noise", cases=9)
    rng = np.random.default_rng(0)
    for path in (folder / "imagesTr").glob("*.nii.gz"):
        image = nib.load(path)
        nib.save(nib.Nifti1Image(rng.normal(100, 20, image.shape).astype(np.int16), image.affine), path)
    return folder


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    rng = np.random.default_rng(0)
    classes = [rng.integers(0, 2, 100) for _ in range(5)]
    plain = [rng.normal(size=(100, 4)) for _ in classes]
    told = [x + 6 * c[:, None] for x, c in zip(plain, classes, strict=True)]
    assert min(probe_dice(told, classes)) > 0.98
    assert np.mean(probe_dice(plain, classes)) < 0.75  # 0.67 is what calling every voxel a structure gives


def test_advice_on_noise_is_no_evidence_and_comes_in_time(tmp_path, noise) -> None:
    path = workflow(tmp_path, noise)
    start = time.monotonic()
    arguments = ["advise", str(path), "--minutes", str(MINUTES), "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert time.monotonic() - start < 60 * MINUTES, result.stderr
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    none = {"no evidence", "too few patients to tell", "too early to tell"}
    assert found["verdict"] in none and found["advice"].startswith(found["verdict"])
    assert all(row["verdict"] != "better than random" for row in found["probes"])
    assert found["verdict"] in (tmp_path / "out" / "advice.html").read_text()
    rounds = [row["round"] for row in found["tournament"]]
    assert rounds == sorted(rounds, reverse=True)
    judged = [row for row in found["tournament"] if "evidence" in row]  # without, where the time did not suffice
    evidence = [row["evidence"] for row in judged if "scratch" not in row["arm"]]
    assert set(evidence) <= none, "five volumes or fewer are never evidence"
    assert not list((tmp_path / "out" / "work").glob("round*")), "what the arms left is not kept"
    assert (
        CliRunner().invoke(main, ["run", str(tmp_path / "out" / "workflow.yaml"), "--steps", "nothing"]).exit_code == 2
    )


def test_a_pretraining_is_advised_on_by_its_labels(tmp_path, noise) -> None:
    """They are there; the pretraining itself looks at none."""
    path = workflow(tmp_path, noise)
    arguments = ["advise", str(path), "--minutes", "0.1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--set", "transfer=[{use: self-supervised, block: 4}]"])
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "out" / "advice.json").read_text())["facts"]["labelled"] > 0


@pytest.mark.parametrize("minutes", ["nan", "inf", "1e12", "0", "-1", "many"])
def test_minutes_that_are_none_are_refused(minutes: str, tmp_path: Path, noise: Path) -> None:
    result = CliRunner().invoke(main, ["advise", str(workflow(tmp_path, noise)), "--minutes", minutes])
    assert result.exit_code == 2 and "--minutes" in result.stderr


def test_one_slow_step_does_not_keep_advice_from_ending(tmp_path, noise, monkeypatch) -> None:
    """What was found before stands, and the verdict is that nothing is known."""
    monkeypatch.setattr(step, "accumulate", lambda *args: time.sleep(600))
    start = time.monotonic()
    arguments = ["advise", str(workflow(tmp_path, noise)), "--minutes", "0.15", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert time.monotonic() - start < 60 * 0.15 + 30, "not 600, and a busy machine may be slow to write"
    assert result.exit_code == 0
    assert "no evidence: time was up before the best pair could be compared with its twin" in result.stdout
    found = json.loads((tmp_path / "out" / "advice.json").read_text())
    assert found["tournament"] == [] and found["verdict"] == "no evidence"


def test_advice_that_is_stopped_by_hand_leaves_what_was_found(tmp_path, noise, monkeypatch) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(advising, "_probe_all", stop)
    arguments = ["advise", str(workflow(tmp_path, noise)), "--minutes", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stderr.endswith("voxgraft: stopped by hand; what was found until then is in its report\n")
    found = json.loads((tmp_path / "out" / "advice.json").read_text())
    assert found["facts"]["labelled"] == 6 and found["ended"].startswith("stopped by hand")
    assert "no evidence: it was stopped before" in found["advice"]


def test_an_alarm_inside_a_plugin_or_a_file_is_not_taken_for_their_error(tmp_path: Path) -> None:
    """Where any error of theirs becomes a sentence, advice ended with that sentence and without a report."""

    def metric(pair: object) -> float:
        time.sleep(60)
        return 1.0

    def weights(path: Path) -> None:
        with atomic_write(path) as temporary:
            time.sleep(60)
            temporary.write_text("x")

    chosen = SimpleNamespace(plugin="slow", name="slow")
    for work in (lambda: value_of(chosen, metric, None), lambda: weights(tmp_path / "weights")):
        with pytest.raises(TimeUp), Clock(0.05 / 60).alarm():
            work()
    assert list(tmp_path.iterdir()) == [], "nothing half written is left"


def optimised() -> Callable[[], object]:
    weight = torch.ones(1, requires_grad=True)
    weight.grad = torch.zeros(1)
    return torch.optim.SGD([weight], lr=0.1).step


def turned(made: Callable[[], AbstractContextManager[object]]) -> Callable[[], object]:
    def once() -> None:
        with made():
            pass

    return once


@pytest.mark.parametrize(
    "work",
    [turned(torch.no_grad), turned(lambda: torch.autocast("cpu", torch.bfloat16)), turned(FastKernels), optimised()],
    ids=["no_grad", "autocast", "kernels", "optimiser"],
)
def test_an_alarm_leaves_none_of_torchs_switches_turned(work: Callable[[], object]) -> None:
    """It may ring while one is turned on or off: trainings after it would have no gradients."""
    try:
        for _ in range(100):
            with pytest.raises(TimeUp), Clock(0.002 / 60).alarm():
                while True:
                    work()
            assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
            assert torch._C._len_torch_function_stack() == 0
    finally:
        torch.set_grad_enabled(True)


def test_an_alarm_that_was_set_before_is_set_again() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    kept = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(TimeUp), Clock(0.05 / 60).alarm():
            time.sleep(60)
        time.sleep(0.4)
        assert seen == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *kept)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("verdict", "chosen", "said"),
    [
        ("helps", True, "use net imagenet, freeze: after so short a training transfer helps (difference in Dice +0.1"),
        ("hurts", True, "train from scratch: after so short a training net imagenet, freeze hurts"),
        ("no evidence", False, "no evidence that net imagenet, freeze does better than the same network from scratch"),
    ],
)
def test_the_advice_is_one_sentence_with_its_evidence(verdict: str, chosen: bool, said: str) -> None:
    arm = Arm({"use": "net", "weights": "imagenet"}, [{"use": "freeze"}])
    final = {"difference": 0.1, "ci95": [0.05, 0.15], "patients": 8, "p_chosen": 0.0234}
    found = {"verdict": verdict, "final": final, "tournament": [{"arm": arm.label, "steps": 200}]}
    found |= {"facts": {"labelled": 8}, "ended": "all was done"}
    conclude(found, arm if chosen else None, asked(dims=3), [])
    assert found["advice"].startswith(said)
    assert "8 held-out patients, p 0.023 corrected for the choice among pairs" in found["advice"]
    found["tournament"][0]["steps"] = 5
    found["verdict"] = "no evidence"
    conclude(found, None, asked(dims=3), [])
    assert found["advice"].startswith("too early to tell: there was time for 5 steps only")


def test_without_weights_at_hand_there_is_no_evidence() -> None:
    found: dict[str, object] = {"verdict": "no evidence", "ended": "all was done", "facts": {}, "tournament": []}
    assert conclude(found, None, asked(dims=2), []) is None
    assert str(found["advice"]).startswith("no evidence: no pretrained encoder is available")
    assert str(found["advice"]).endswith("; the workflow stays as it is") and found["basis"] == "nothing"


LITE: dict[str, object] = {"use": "efficientnet-lite0", "weights": "imagenet", "levels": 5}
PAIR = "efficientnet-lite0 imagenet, l2-sp"


def asked(dims: int, pretrained: bool = False, modality: str = "mr") -> SimpleNamespace:
    """A workflow that is advised on."""
    model = SimpleNamespace(dims=dims, pretrained=pretrained)
    return SimpleNamespace(model=model, transfer=[], data=SimpleNamespace(modality=SimpleNamespace(name=modality)))


def trial(verdict: str, difference: float, ci95: list[float | None], arm: str = PAIR, **row: object) -> dict:
    """What a trial with three held-out patients found."""
    final = {"difference": difference, "ci95": ci95, "patients": 3, "p_chosen": 1.0, "early": None}
    rows = [{"arm": arm, "steps": 200, **row}, {"arm": "efficientnet-lite0, scratch", "steps": 200}]
    facts = {"labelled": 80, "patients": 8}
    found = {"verdict": verdict, "final": final, "tournament": rows, "facts": facts, "ended": "all was done"}
    return {**found, "probes": []}


def test_where_a_trial_cannot_tell_what_other_data_showed_is_proposed_and_said_to_come_from_there() -> None:
    found = trial("too few patients to tell", 0.026, [-0.026, 0.064])
    arm = conclude(found, None, asked(dims=2), [{"use": "resnet50", "weights": "imagenet"}, LITE])
    assert arm is not None and arm.label == PAIR and arm.encoder == LITE
    assert found["basis"] == "other data sets" and found["verdict"] == "too few patients to tell"
    known = prior(2)
    assert f"{known.gain[0]:+.2f} to {known.gain[1]:+.2f} Dice on 4 other 2D data sets" in found["advice"]
    assert "were not tried" not in found["advice"], "eight patients, whatever their slices"
    assert "nothing was found on this data" in found["advice"] and "docs/transfer.md" in found["advice"]
    few = trial("too few patients to tell", 0.1, [None, None])
    assert conclude(few, None, asked(dims=2, modality="ct"), [LITE]) is not None
    assert "none of them was of the modality ct" in few["advice"], "what it was measured on is said"


@pytest.mark.parametrize(
    ("found", "workflow"),
    [
        (trial("hurts", -0.1, [-0.15, -0.05]), asked(dims=2)),
        (trial("no evidence", -0.05, [-0.1, 0.01]), asked(dims=2)),
        (trial("no evidence", 0.0, [-0.1, 0.1], evidence="worse"), asked(dims=2)),
        ({**trial("no evidence", 0.0, [-0.1, 0.1]), "probes": [{"encoder": LITE, "error": "no"}]}, asked(dims=2)),
        (trial("too few patients to tell", 0.0, [-0.1, 0.1]), asked(dims=3)),
        (trial("too few patients to tell", 0.0, [-0.1, 0.1]), asked(dims=2, pretrained=True)),
    ],
)
def test_it_is_not_proposed_against_evidence_nor_in_3d_nor_over_a_choice(found: dict, workflow) -> None:
    assert conclude(found, None, workflow, [LITE]) is None
    assert found["basis"] != "other data sets"


def test_harm_that_was_found_stays_the_verdict() -> None:
    found, twin = trial("hurts", -0.1, [-0.15, -0.05]), Arm({**LITE, "weights": "none"}, [])
    assert conclude(found, twin, asked(dims=2), [LITE]) is twin
    assert found["advice"].startswith("train from scratch") and found["basis"] == "this data"


def test_a_training_that_was_too_short_speaks_against_nothing() -> None:
    found = trial("too early to tell", 0.0, [0.0, 0.0])
    found["final"]["early"] = "both networks have learnt next to nothing"
    assert conclude(found, None, asked(dims=2), [LITE]) is not None
    assert found["advice"].startswith("too early to tell: both networks")


def test_what_is_known_beforehand_is_what_the_files_of_figures_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    written = importlib.import_module("prior")
    assert written.TARGET.read_text() == written.render()


def test_more_labels_than_were_tried_are_told() -> None:
    most = prior(2).labels[1]
    assert "were not tried" not in prior(2).said("rgb", most)
    assert f"more patients than {most} were not tried" in prior(2).said("rgb", most + 1)
    assert prior(3).encoder is None and "same organ and modality" in prior(3).said("mr", 4)


def played(monkeypatch, gain: float, seconds: float = 0.01, volumes: int = 8):
    """A tournament whose trainings are made up: transfer gains so much over scratch, a step takes so long."""
    workflow = SimpleNamespace(transfer=[], supervised=True)
    run = SimpleNamespace(workflow=workflow, split=SimpleNamespace(train=["a"] * 8))
    game = Tournament(run, [], Clock(1.0), lambda *args, **more: None, lambda text: None)
    asked = []

    def trial(arm, name, budget):
        asked.append((name, arm.label, budget))
        steps = int(budget.split()[0]) if "steps" in budget else max(1, int(float(budget.split()[0]) * 60 / seconds))
        mean = 0.6 + (gain if arm.encoder["weights"] != "none" else 0) - 0.01 * (arm.transfer == [{"use": "freeze"}])
        scores = Scores.of({f"v{n}": {"dice": {"box": mean + 0.01 * (n % 3)}} for n in range(volumes)})
        return Trial(arm, {"arm": arm.label, "dice": mean, "steps": steps, "seconds": steps * seconds}, scores, 0.1)

    monkeypatch.setattr(game, "_trial", trial)
    found: dict = {}
    chosen = game.play([{"use": "net", "weights": "imagenet"}, {"use": "other", "weights": "bundled"}], found)
    return chosen, found, asked


def test_the_best_pair_meets_its_twin_with_as_many_steps_as_both_can_afford(monkeypatch) -> None:
    chosen, found, asked = played(monkeypatch, 0.1)
    assert [name for name, *_ in asked] == [*(f"round1_{n}" for n in range(4)), "round2_best", "round2_scratch"]
    assert [label for _, label, _ in asked[-2:]] == ["net imagenet, l2-sp", "net, scratch"]
    assert asked[-1][2] == asked[-2][2] and 1000 < int(asked[-1][2].split()[0]) < 60 / 0.01 / 2
    assert chosen.label == "net imagenet, l2-sp" and found["verdict"] == "helps"
    assert [row["round"] for row in found["tournament"][:2]] == [2, 2]
    first = [(row["arm"], row.get("evidence")) for row in found["tournament"][2:]]
    assert first[-1] == ("net, scratch", None) and {said for _, said in first[:-1]} == {"better"}


def test_the_verdict_allows_for_the_choice_among_pairs(monkeypatch) -> None:
    """With six volumes two-sided p is 2 / 64 at the least, which would be evidence of a pair that was not chosen."""
    chosen, found, _ = played(monkeypatch, 0.1, volumes=6)
    assert found["final"]["p"] == pytest.approx(2 / 64) and found["final"]["p_chosen"] == pytest.approx(6 / 64)
    assert chosen is None and found["verdict"] == "too few patients to tell"


@pytest.mark.parametrize(
    ("gain", "seconds", "volumes", "verdict", "chosen"),
    [
        (-0.1, 0.01, 8, "hurts", "net, scratch"),
        (0.0, 0.01, 8, "no evidence", None),
        (0.1, 0.01, 5, "too few patients to tell", None),
        (0.1, 2.0, 8, "too early to tell", None),
    ],
)
def test_the_verdict_is_no_evidence_where_that_is_the_truth(
    monkeypatch, gain, seconds, volumes, verdict, chosen
) -> None:
    arm, found, _ = played(monkeypatch, gain, seconds, volumes)
    assert found["verdict"] == verdict and (arm.label if arm else None) == chosen
    if verdict != "hurts":
        assert not {row.get("evidence") for row in found["tournament"]} & {"better", "helps", "hurts"}
