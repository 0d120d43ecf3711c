"""The training loop: it learns, it resumes bit by bit, and it stops for the stated reasons."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from training import blobs, tiny_job, tiny_network, tiny_plan

from held_cases import Held
from voxgraft.errors import TrainingError
from voxgraft.inference.array import segment_array
from voxgraft.training import loop, step
from voxgraft.training.augment import augment, middle
from voxgraft.training.batches import Batches
from voxgraft.training.checkpoint import load_checkpoint
from voxgraft.training.optimiser import Average, rate_factor
from voxgraft.training.validation import validation_block, validation_dice
from voxgraft.workflow.sections import Schedule

CPU = {"accelerator": "cpu", "devices": 1}


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


def test_training_learns_the_blobs(tmp_path) -> None:
    network, state = loop.fit(tiny_job(tmp_path, {"budget": "120 steps", "optimiser": {"lr": 2e-2}}), Fabric(**CPU))
    assert state.step == 120
    case = blobs(6)[5]  # none of the four it was trained on
    found, confidence = segment_array(network, torch.from_numpy(case.image), case.label.shape, tiny_plan())
    dice = 2 * ((found == 1) & (case.label == 1)).sum() / ((found == 1).sum() + (case.label == 1).sum())
    assert dice > 0.85
    assert 0.5 < confidence[1] <= 1


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_killed_training_ends_as_one_that_was_not(tmp_path, monkeypatch, optimiser) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)  # a checkpoint after every step
    options = {"budget": "30 steps", "optimiser": {"use": optimiser}}
    straight, _ = loop.fit(tiny_job(tmp_path / "straight", options), Fabric(**CPU))

    def kill(numbers: dict[str, float], step: int) -> None:
        if step == 20:
            raise Killed

    with pytest.raises(Killed):
        loop.fit(tiny_job(tmp_path / "killed", options, report=kill), Fabric(**CPU))
    torch.manual_seed(999)
    steps: list[int] = []
    job = tiny_job(tmp_path / "killed", options, report=lambda numbers, step: steps.append(step))
    resumed, state = loop.fit(job, Fabric(**CPU))
    assert min(steps) > 10, "it began anew"
    assert state.step == 30 and same(weights(straight), weights(resumed))


def test_another_training_does_not_take_the_checkpoint(tmp_path) -> None:
    loop.fit(tiny_job(tmp_path, {"budget": "4 steps"}), Fabric(**CPU))
    assert load_checkpoint(tmp_path / "last.pt", "tiny") is not None
    assert load_checkpoint(tmp_path / "last.pt", "another") is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not really a zip", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint_is_said_in_a_sentence(tmp_path, damage) -> None:
    (tmp_path / "last.pt").write_bytes(damage)
    with pytest.raises(TrainingError, match="damaged; run with --fresh"):
        load_checkpoint(tmp_path / "last.pt", "tiny")


def test_sigkill_leaves_a_whole_checkpoint_and_the_rest_goes_on(tmp_path, repo_path) -> None:
    """A real process, really killed, at a moment it does not choose."""
    script = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}\n"
        "from pathlib import Path\nfrom lightning_fabric import Fabric\nfrom training import tiny_job\n"
        "from voxgraft.training import loop\nloop.SAVE_EVERY = 0.0\n"
        f"job = tiny_job(Path({str(tmp_path)!r}), {{'budget': '100000 steps'}})\n"
        "loop.fit(job, Fabric(accelerator='cpu', devices=1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=repo_path, stderr=subprocess.DEVNULL)
    try:
        patience = time.monotonic() + 300
        while not (tmp_path / "last.pt").exists() and time.monotonic() < patience:
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    saved = load_checkpoint(tmp_path / "last.pt", "tiny")
    assert saved is not None and saved["state"]["step"] > 0


def test_patience_ends_a_training_and_keeps_the_best_weights(tmp_path) -> None:
    scores = iter([0.5, 0.8, 0.7, 0.6, 0.9, 0.95, 0.99, 1.0, 1.0, 1.0])
    seen: list[dict[str, torch.Tensor]] = []

    def look(network: torch.nn.Module) -> dict[str, float]:
        seen.append(weights(network))
        return {"dice": next(scores)}

    options = {"budget": "100 steps", "validate_every": 0.1, "patience": 2}
    kept, state = loop.fit(tiny_job(tmp_path, options, look=look), Fabric(**CPU))
    assert state.looks == 4 and state.step == 40 and state.best == 0.8
    assert same(weights(kept), seen[1])


@pytest.mark.parametrize("look", [{}, {"dice": math.nan}])
def test_patience_does_not_run_out_where_nothing_is_scored(tmp_path, look) -> None:
    """No validation case holds a structure: there is no score, and certainly no bad one."""
    options = {"budget": "20 steps", "patience": 2, "validate_every": 0.1, "ema": 0}
    job = tiny_job(tmp_path, options, look=lambda network: dict(look))
    network, state = loop.fit(job, Fabric(**CPU))
    assert state.step == 20 and len(state.curve) == 10
    assert all(set(row) == {"step", "seconds"} for row in state.curve)
    for mine, last in zip(network.parameters(), job.network.parameters(), strict=True):
        assert torch.equal(mine, last), "the last weights are kept"


def test_a_look_scores_structures_that_a_case_holds_and_no_others() -> None:
    """Without a warning of NumPy: of two structures one is in no case, and of two cases one holds none."""
    plan = tiny_plan().model_copy(update={"labels": ((1, "blob"), (2, "absent"))})
    held, empty = blobs(1)[0], Held("empty", blobs(1)[0].image, np.zeros((14, 12, 13), np.uint8), np.zeros((0, 4), int))

    class Bright(torch.nn.Module):
        """Finds what is bright, and the absent structure in the first corner."""

        def forward(self, image):
            logits = torch.cat([0.5 - image, image - 0.5, torch.full_like(image, -9.0)], 1)
            logits[:, 2, 0, 0, 0] = 99.0
            return logits

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = validation_dice(Bright(), [held, empty], plan, 0.0)
        assert validation_dice(Bright(), [empty], plan, 0.0) == {}
    assert set(found) == {"dice", "dice_blob"} and found["dice"] == found["dice_blob"] > 0.3
    single = plan.model_copy(update={"labels": plan.labels[:1], "classes": 2})

    class One(Bright):
        def forward(self, image):
            return super().forward(image)[:, :2]

    assert set(validation_dice(One(), [held], single, 0.0)) == {"dice"}  # the structure's is the same curve


def test_a_loss_that_is_no_number_ends_in_a_sentence(tmp_path) -> None:
    job = tiny_job(tmp_path, {"budget": "50 steps"})
    with torch.no_grad():
        job.network.heads[0].bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"NaN or infinite at step 0.*lr"):
        loop.fit(job, Fabric(**CPU))


def test_where_memory_runs_out_the_batch_is_done_in_parts(tmp_path, monkeypatch) -> None:
    """The gradient over two halves is the gradient over the whole, as long as nothing normalises over the batch."""
    calls: list[int] = []
    real = step.accumulate

    def short_of_memory(live, raw):
        calls.append(live.state.micro)
        if live.state.micro < 2:
            raise torch.OutOfMemoryError
        return real(live, raw)

    monkeypatch.setattr(step, "accumulate", short_of_memory)
    _, state = loop.fit(tiny_job(tmp_path, {"budget": "3 steps"}), Fabric(**CPU))
    assert state.micro == 2 and calls == [1, 2, 2, 2] and state.step == 3
    monkeypatch.setattr(step, "accumulate", lambda *args: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(TrainingError, match="cannot hold one sample"):
        loop.fit(tiny_job(tmp_path / "none", {"budget": "3 steps"}), Fabric(**CPU))


def test_minutes_end_a_training(tmp_path) -> None:
    start = time.monotonic()
    _, state = loop.fit(tiny_job(tmp_path, {"budget": "0.03 min"}), Fabric(**CPU))
    assert 1.79 <= state.seconds <= time.monotonic() - start
    slowest = 20 * state.seconds / state.step  # a busy machine may take long over the last step
    assert state.seconds < 1.8 + max(2.0, slowest)
    assert state.curve[-1]["seconds"] == pytest.approx(state.seconds, abs=0.01)


def test_epochs_are_counted_in_samples(tmp_path) -> None:
    _, state = loop.fit(tiny_job(tmp_path, {"budget": "3 epochs"}), Fabric(**CPU))
    assert state.step == 6  # four cases in batches of two


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"use": "cosine", "warmup": 0.1}, {0.05: 0.5, 0.1: 1.0, 0.55: 0.5, 1.0: 0.0}),
        ({"use": "poly", "warmup": 0.0, "power": 0.9}, {0.0: 1.0, 0.5: 0.5**0.9, 1.0: 0.0}),
        ({"use": "step", "warmup": 0.0, "factor": 0.1, "milestones": (0.5, 0.75)}, {0.4: 1.0, 0.6: 0.1, 0.8: 0.01}),
        ({"use": "exponential", "warmup": 0.2, "factor": 0.01}, {0.2: 1.0, 0.6: 0.1, 1.0: 0.01}),
        ({"use": "constant", "warmup": 0.5}, {0.25: 0.5, 0.5: 1.0, 1.0: 1.0}),
    ],
)
def test_schedules_follow_their_formulas(schedule, expected) -> None:
    for progress, factor in expected.items():
        assert rate_factor(progress, Schedule.model_validate(schedule)) == pytest.approx(factor, abs=1e-9)


def test_every_group_keeps_its_own_share_of_the_rate(tmp_path) -> None:
    from voxgraft.transfer.strategy import TransferStrategy

    class Slow(TransferStrategy):
        def edit(self, rows, context):
            return [row.but(lr=row.lr * 0.1) if row.name.startswith("encoder.") else row for row in rows]

    job = tiny_job(tmp_path, {"budget": "2 steps"}, strategies=[Slow()])
    before = weights(job.network)
    rates = {row.name: row.lr for row in job.rows}
    assert rates["encoder.stem.0.weight"] == pytest.approx(rates["heads.0.weight"] * 0.1)
    loop.fit(job, Fabric(**CPU))
    moved = {name: (tensor - before[name]).abs().max().item() for name, tensor in job.network.state_dict().items()}
    assert 0 < moved["encoder.stem.0.weight"] < moved["heads.0.weight"]


def test_the_average_is_the_recursion_in_double_precision() -> None:
    torch.manual_seed(0)
    network = tiny_network()
    average = Average(network, 0.9)
    truth = {name: p.detach().double() for name, p in network.named_parameters()}
    for update in range(30):
        with torch.no_grad():
            for p in network.parameters():
                p.add_(torch.randn_like(p))
            network.encoder.stem[1].running_mean.add_(1)
        average.update(network)
        decay = min(0.9, (1 + update) / (10 + update))
        truth = {n: decay * truth[n] + (1 - decay) * p.detach().double() for n, p in network.named_parameters()}
    for name, p in average.network.named_parameters():
        assert torch.allclose(p.double(), truth[name], rtol=1e-4, atol=1e-5) and not p.requires_grad
    assert torch.equal(average.network.encoder.stem[1].running_mean, network.encoder.stem[1].running_mean)


def test_any_step_can_be_drawn_again_and_differs_from_the_others() -> None:
    one = Batches(blobs(), tiny_plan(), seed=3, foreground=0.5)
    other = Batches(blobs(), tiny_plan(), seed=3, foreground=0.5)
    assert (one.draw(17).image == other.draw(17).image).all() and one.draw(17).seed == other.draw(17).seed
    assert not (one.draw(17).image == one.draw(18).image).all()
    seen = [name for step in range(2) for name in one.draw(step).cases]
    assert sorted(seen) == ["case0", "case1", "case2", "case3"]  # an epoch sees each case once
    ranks = [Batches(blobs(), tiny_plan(), seed=3, foreground=0.5, rank=r, world=2).draw(0) for r in (0, 1)]
    assert sorted(ranks[0].cases + ranks[1].cases) == ["case0", "case1", "case2", "case3"]


def test_two_processes_draw_the_batch_of_one() -> None:
    whole = Batches(blobs(), tiny_plan(), seed=3, foreground=0.5, batch=4)
    ranks = [Batches(blobs(), tiny_plan(), seed=3, foreground=0.5, batch=2, rank=r, world=2) for r in (0, 1)]
    for number in range(5):
        one, parts = whole.draw(number), [rank.draw(number) for rank in ranks]
        assert one.cases == parts[0].cases + parts[1].cases and {part.seed for part in parts} == {one.seed}
        assert (one.image == np.concatenate([part.image for part in parts])).all()
        assert (one.label == np.concatenate([part.label for part in parts])).all()


def test_centred_blocks_hold_the_structure_in_their_patch() -> None:
    batches = Batches(blobs(), tiny_plan(), seed=1, foreground=1.0)
    for number in range(10):
        patch = middle(torch.from_numpy(batches.draw(number).label), (8, 8, 8))
        assert all((one == 1).any() for one in patch)


def test_no_augmentation_is_the_middle_of_the_block() -> None:
    raw = Batches(blobs(), tiny_plan(), seed=1, foreground=0.0).draw(0)
    image, label = torch.from_numpy(raw.image), torch.from_numpy(raw.label)
    same_image, same_label = augment(image, label, (8, 8, 8), (1, 1, 1), {"rotation": 30.0}, 5, 0.0, outside=255)
    assert torch.equal(same_image, middle(image, (8, 8, 8)))
    still, classes = augment(image, label, (8, 8, 8), (1, 1, 1), {}, 5, outside=255)
    assert torch.allclose(still, same_image, atol=1e-5) and torch.equal(classes, same_label)
    assert 255 not in classes and classes.dtype == torch.int64


def test_a_share_of_the_samples_has_its_contrast_turned_over() -> None:
    image, label = torch.randn(400, 2, 8, 8), torch.zeros(400, 8, 8, dtype=torch.uint8)
    same, _ = augment(image, label, (8, 8), (1, 1), {}, 5)
    turned, _ = augment(image, label, (8, 8), (1, 1), {"invert": 0.3}, 5)
    over = torch.isclose(turned, -same, atol=1e-6).flatten(1).all(1)
    assert torch.equal(turned[~over], same[~over]) and 0.2 < over.float().mean() < 0.4
    every, _ = augment(image, label, (8, 8), (1, 1), {"invert": 1.0}, 5)
    assert torch.equal(every, -same)


def test_augmentation_turns_image_and_label_together_and_repeats_by_its_seed() -> None:
    """A label that is the thresholded image stays so, up to the voxels at its border."""
    image = torch.zeros(3, 1, 24, 24, 24)
    image[:, :, 7:17, 9:15, 6:18] = 1
    label = (image[:, 0] > 0.5).to(torch.uint8)
    strengths = {"rotation": 40.0, "scale": 0.2, "shift": 0.1, "elastic": 1.0, "mirror": 1.0}
    turned, classes = augment(image, label, (16, 16, 16), (1, 1, 2), strengths, 11)
    again, _ = augment(image, label, (16, 16, 16), (1, 1, 2), strengths, 11)
    other, _ = augment(image, label, (16, 16, 16), (1, 1, 2), strengths, 12)
    assert torch.equal(turned, again) and not torch.equal(turned, other)
    assert ((turned[:, 0] > 0.5) == (classes == 1)).float().mean() > 0.97
    assert not torch.allclose(turned, middle(image, (16, 16, 16)), atol=0.1)


def test_a_look_costs_the_same_whatever_the_size_of_the_scan() -> None:
    plan = tiny_plan()
    small = blobs(1)[0]
    assert [part.stop - part.start for part in validation_block(small, plan)] == [14, 12, 13]
    label = np.zeros((200, 90, 12), np.uint8)
    label[150:160, 2:6, 3:9] = 1
    places = np.concatenate([np.ones((240, 1), int), np.argwhere(label == 1)], 1)
    large = Held("large", np.zeros((1, *label.shape), np.float32), label, places.astype(np.int16))
    block = validation_block(large, plan)
    assert [part.stop - part.start for part in block] == [16, 16, 12]
    assert (label[block] == 1).sum() == (label == 1).sum()
    empty = Held("empty", large.image, label * 0, places[:0].astype(np.int16))
    assert validation_block(empty, plan)[0] == slice(92, 108)
    sliced = plan.model_copy(update={"dims": 2, "patch": (8, 8), "slice_axis": 0})
    assert [part.stop - part.start for part in validation_block(large, sliced)] == [16, 16, 12]


def test_shading_is_smooth_and_the_same_in_all_channels() -> None:
    image, label = torch.zeros(2, 3, 40, 40), torch.zeros(2, 40, 40, dtype=torch.uint8)
    shaded, _ = augment(image, label, (32, 32), (1.0, 1.0), {"shading": 0.5}, seed=3)
    assert torch.equal(shaded[:, 0], shaded[:, 2]) and not torch.equal(shaded[0], shaded[1])
    steps = (shaded[..., 1:] - shaded[..., :-1]).abs()
    assert float(shaded.std()) > 0.1 and float(steps.max()) < 0.25 * float(shaded.max() - shaded.min())
    plain, _ = augment(image, label, (32, 32), (1.0, 1.0), {}, seed=3)
    assert not plain.any()
