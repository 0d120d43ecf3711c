"""Runs in one folder: what is done again after a change, what is kept, and what people are told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import boxes, workflow
from test_run import Lines

from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.run import Run
from voxgraft.support.files import sha256
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

Go = Callable[..., tuple[Run, list[str]]]
FIRST = ["tracking=null", "training.budget=2 steps"]


@pytest.fixture
def go(tmp_path: Path, catalogue: Catalogue) -> Go:
    """Runs the workflow of a folder with changes; the lines that were said."""
    boxes(tmp_path / "data")
    path = workflow(tmp_path, tmp_path / "data", "[plan, prepare, train]")

    def run(*changes: str, out: str = "run", offers: Catalogue | None = None, **options: Any) -> tuple[Run, list[str]]:
        lines, offers = Lines(), offers or catalogue
        checked = read(path, offers, [*FIRST, *changes])
        done = run_workflow(checked, offers, tmp_path / out, progress=Progress(stream=lines), **options)
        return done, lines.text.splitlines()

    return run


def weights(run: Run) -> str:
    return sha256(run.package / "model.safetensors")


def test_another_fold_is_another_model_and_what_is_kept_is_told(go: Go) -> None:
    run, said = go()
    assert not any("again" in line for line in said)
    first, split = weights(run), run.split
    run, said = go("data.split.fold=1")
    assert "train: done again, since data.split.fold is 1, was 0" in said
    assert weights(run) != first and set(run.split.validation).isdisjoint(split.validation)
    run, said = go("data.split.fold=1")
    assert said == [f"{name}: unchanged, skipped" for name in ("plan", "prepare", "train")]
    run, said = go("data.split.fold=1", "name=other", "inference.mirror=true")
    assert "train: done again, since name is other, was boxes; inference.mirror is true, was false" in said
    assert "train: the network is unchanged; its package is written again" in said
    assert "mirror: true" in (run.package / "workflow.yaml").read_text()
    run, said = go("data.split.fold=1", "name=other", "inference.mirror=true", "training.budget=3 steps")
    assert "train: done again, since training.budget is 3 steps, was 2 steps" in said
    assert "train: replaces the model trained with budget 2 steps" in said
    with pytest.raises(
        DataError, match=r"'plan' before it would now give another result \(data\.split\.fold is 0, was 1"
    ):
        go("name=other", steps=["train"])


def test_a_package_of_another_version_does_not_train_again_but_is_told(go: Go) -> None:
    run, _ = go(steps=["plan"])
    note = json.loads((run.folder / "steps" / "plan.json").read_text())
    note["packages"]["numpy"] = "0.9"
    (run.folder / "steps" / "plan.json").write_text(json.dumps(note))
    _, (line,) = go(steps=["plan"])
    assert line.startswith("plan: unchanged, skipped (it was made with numpy 0.9, now ")


def test_a_note_of_another_form_is_not_believed(go: Go) -> None:
    run, _ = go(steps=["plan"])
    (run.folder / "steps" / "plan.json").write_text('{"key": "0", "outputs": {}}')
    assert (
        go(steps=["plan"])[1][0] == "plan: done again, since its record is damaged, or was made by an earlier VoxGraft"
    )


def arrays(run: Run) -> dict[str, Path]:
    return {name: run.cache / folder for name, folder in run.read("prepared.json")["folders"].items()}


def test_arrays_in_a_shared_cache_are_made_again_where_anything_decides_it(go: Go, tmp_path: Path) -> None:
    """A file put back with its size and time; and with `fresh`, which does not trust what lies there."""
    cache, only = f"data.cache={tmp_path / 'cache'}", {"steps": ["plan", "prepare"]}
    run, _ = go(cache, **only)
    before = arrays(run)
    file = tmp_path / "data" / "imagesTr" / "box_001.nii.gz"
    _noisier(file)
    run, said = go(cache, **only)
    after = arrays(run)
    assert "prepare: done again, since case box_001: images changed" in said
    assert {name for name in before if before[name] != after[name]} >= {"box_001"}
    np.save(after["box_002"] / "image.npy", np.zeros((1, 4, 4, 4), np.float32))
    run, said = go(cache, out="other", fresh=True, **only)
    assert "prepare: 6 cases made, 0 taken from the cache" in said
    assert np.load(after["box_002"] / "image.npy").any()


def _noisier(file: Path) -> None:
    """Another image of the same size and time in the file's place, as a copy that keeps times leaves it."""
    import gzip
    import os

    stat = file.stat()
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[-1] ^= 1
    file.write_bytes(gzip.compress(bytes(content), mtime=0))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


PLUGIN = """
import numpy as np
from ident_power import POWER
from voxgraft import ModalitySpec, hookimpl
from voxgraft.components.choice import Options

class PowOptions(Options):
    power: float = 1.0

class Pow:
    augmentation = {"rotation": 5.0}
    def __init__(self, options): self._power = options.power
    def plan(self, intensities): return [{"max": one["max"]} for one in intensities]
    def normalise(self, array, params):
        return (np.clip(array / params[0]["max"], 0, None) ** self._power * POWER).astype(np.float32)
    def window(self, array): return 0.0, 1.0

def options(): return PowOptions

@hookimpl
def voxgraft_modalities():
    return [ModalitySpec(name="pow", summary="x", dicom=(), options=options, build=Pow)]
"""


def test_arrays_follow_the_options_of_a_plugin_its_code_and_its_helpers(
    go: Go, tmp_path: Path, builtin_entries: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "ident_pow.py").write_text(PLUGIN)
    (site / "ident_power.py").write_text("POWER = 1.0\n")
    monkeypatch.syspath_prepend(str(site))

    def largest(power: float) -> tuple[float, list[str]]:
        for name in ("ident_pow", "ident_power"):
            sys.modules.pop(name, None)
        offers = discover([*builtin_entries, EntryPoint("pow", "ident_pow", "voxgraft")], without=())
        changes = f"data.modality={{use: pow, power: {power}}}"
        run, said = go(changes, offers=offers, steps=["plan", "prepare"])
        return float(np.load(arrays(run)["box_000"] / "image.npy").max()), said

    first, _ = largest(1.0)
    second, said = largest(2.0)
    assert second != first and "prepare: done again, since data.modality.power is 2.0, was 1.0" in said
    (site / "ident_power.py").write_text("POWER = 30.0\n")
    third, said = largest(2.0)
    assert third == pytest.approx(30 * second)
    assert any(line.startswith("prepare: done again, since the code of data.modality is ident_pow (") for line in said)


def test_a_killed_training_says_from_where_it_goes_on(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgraft.training import loop

    def killed(*parts: Any) -> None:
        save(*parts)
        raise KeyboardInterrupt

    save = loop.save
    monkeypatch.setattr(loop, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        go("training.budget=4 steps", "training.validate_every=0.5")
    monkeypatch.undo()
    run, said = go("training.budget=4 steps", "training.validate_every=0.5")
    assert "train: done again, since it was not finished" in said and "train: continues from step 2 of 4" in said
    straight, _ = go("training.budget=4 steps", "training.validate_every=0.5", out="straight")
    assert weights(run) == weights(straight)


def test_fresh_for_one_step_forgets_that_step_alone(go: Go) -> None:
    run, _ = go()
    before = run.read("train/summary.json")["written"]
    run, said = go(steps=["train"], fresh=True)
    assert run.read("train/summary.json")["written"] != before and not any("goes on" in line for line in said)
    with pytest.raises(
        DataError, match=r"'plan' before it would now give another result \(data\.split\.fold is 1, was 0"
    ):
        go("data.split.fold=1", steps=["train"], fresh=True)


def test_a_moved_run_is_not_done_again(go: Go, tmp_path: Path) -> None:
    run, _ = go("data.split.fold=all")
    run.folder.rename(tmp_path / "moved")
    _, said = go("data.split.fold=all", out="moved")
    assert sum(line == "train: unchanged, skipped" for line in said) == 4 and not any(
        "done in" in one for one in said[-1:]
    )
    assert not any(line.startswith("train: again") for line in said)


def test_every_fold_follows_the_seed_of_the_split(go: Go) -> None:
    run, _ = go("data.split.fold=all")
    before = {name.parent.name: sha256(name) for name in run.folder.glob("members/*/train/weights.safetensors")}
    package = weights(run)
    run, said = go("data.split.fold=all", "data.split.seed=8")
    after = {name.parent.name: sha256(name) for name in run.folder.glob("members/*/train/weights.safetensors")}
    assert sum(line == "train: done again, since data.split.seed is 8, was 7" for line in said) == 4
    assert weights(run) != package and after != before


def test_the_twin_of_a_guard_follows_its_run(go: Go, tmp_path: Path, catalogue: Catalogue) -> None:
    path = workflow(tmp_path, tmp_path / "data", "[plan, prepare, train, evaluate]")
    changes = [*FIRST, "transfer=[{use: prune}]", "guard=twin", "evaluation.metrics=[dice]"]

    def guarded(*more: str) -> tuple[str, list[str]]:
        lines = Lines()
        checked = read(path, catalogue, [*changes, *more])
        run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(stream=lines))
        return sha256(run.folder / "twin" / "train" / "weights.safetensors"), lines.text.splitlines()

    first, _ = guarded()
    same, said = guarded()
    assert same == first and said[-1] == "guard: unchanged, skipped"
    other, said = guarded("data.modality.augmentation={rotation: 90.0}")
    assert other != first and any(
        line.startswith("guard: done again, since data.modality.augmentation") for line in said
    )
