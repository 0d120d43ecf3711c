"""The step `register`: a version for each model, and a champion that is only replaced by one that is not worse."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_run import do_steps, said
from mlflow import MlflowClient

from voxgraft.errors import TrackingError
from voxgraft.packages.package import amend_package, read_package
from voxgraft.runs.identity import made_from
from voxgraft.runs.run import Run
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.register import Register
from voxgraft_registry.store import MlflowStore

NewRun = Callable[..., Run]
GOOD = {f"case{index}": 0.90 + index / 1000 for index in range(10)}
BAD = {case: value - 0.05 + (index % 3) / 100 for index, (case, value) in enumerate(GOOD.items())}


def registered(
    run: Run, dice: dict[str, float], seed: int, counts: dict[str, list[int]] | None = None
) -> dict[str, Any]:
    """Do the step with its tracker, and give what it left."""
    assert run.workflow.tracking is not None
    run.tracker = run.workflow.tracking.build()
    run.tracker.start(run)
    do_steps(run, dice, seed, counts)
    step = Register()
    step.do(run)
    run.tracker.finish("FINISHED")
    assert [path.is_file() for path in step.outputs(run)] == [True]
    outcome: dict[str, Any] = run.read("register.json")
    return outcome


def store(uri: str) -> MlflowStore:
    return MlflowStore(MlflowStoreOptions(uri=uri))


def test_the_first_version_is_champion(new_run: NewRun, uri: str) -> None:
    run = new_run()
    outcome = registered(run, GOOD, 1)
    assert outcome["reference"] == "models:/brain/1" and outcome["champion"] and outcome["previous"] is None
    assert outcome["run"] == run.identity["mlflow_run"] and outcome["registry"] == "sqlite:///voxgraft.db"
    version = store(uri).version("models:/brain@champion")
    assert (version.version, version.run) == ("1", run.identity["mlflow_run"])
    assert version.metrics["dice"] == pytest.approx(0.9045)
    verdict, address = said(run).splitlines()
    assert "brain version 1 is now champion" in verdict
    assert address.startswith("tracking: ") and address.endswith(f"/runs/{run.identity['mlflow_run']}")
    package = read_package(store(uri).fetch("models:/brain@champion"))
    assert package.hash == outcome["hash"] == read_package(run.package).hash
    assert package.facts["held_out"]["case0"]["scores"]["dice"]["anterior"] == pytest.approx(0.90)


def test_a_worse_version_is_challenger_and_a_better_one_champion(new_run: NewRun, uri: str) -> None:
    registered(new_run("a"), GOOD, 1)
    run = new_run("b")
    outcome = registered(run, BAD, 2)
    assert not outcome["champion"] and outcome["previous"] == "1"
    assert outcome["comparison"]["worse"] and outcome["comparison"]["cases"] == 10
    assert outcome["comparison"]["ci95"][1] < 0
    assert "brain version 2 is challenger, not champion: against the champion, dice -0.04" in said(run)
    assert store(uri).version("models:/brain@champion").version == "1"
    assert store(uri).version("models:/brain@challenger").version == "2"
    better = registered(new_run("c"), {case: value + 0.01 for case, value in GOOD.items()}, 3)
    assert better["champion"] and better["previous"] == "1"
    assert store(uri).version("models:/brain@champion").version == "3"
    assert store(uri).version("models:/brain@challenger").version == "2"
    assert store(uri).rollback("brain").version == "1"


def test_a_rolled_back_champion_is_what_the_next_version_is_compared_with(new_run: NewRun, uri: str) -> None:
    registered(new_run("a"), BAD, 1)
    registered(new_run("b"), GOOD, 2)
    store(uri).rollback("brain")
    outcome = registered(new_run("c"), BAD, 3)
    assert outcome["previous"] == "1" and outcome["comparison"]["difference"] == 0 and outcome["champion"]


@pytest.mark.parametrize(("rule", "dice", "champion"), [("always", BAD, True), ("never", GOOD, False)])
def test_a_rule_can_decide_without_scores(
    new_run: NewRun, uri: str, rule: str, dice: dict[str, float], champion: bool
) -> None:
    registered(new_run("a"), GOOD, 1)
    run = new_run("b", registry={"name": "brain", "promote": rule})
    outcome = registered(run, dice, 2)
    assert outcome["champion"] is champion and f"promote is {rule!r}" in said(run)
    assert store(uri).version("models:/brain@champion").version == ("2" if champion else "1")


def test_the_first_version_under_never_is_no_champion(new_run: NewRun, uri: str) -> None:
    outcome = registered(new_run(registry={"name": "brain", "promote": "never"}), GOOD, 1)
    assert not outcome["champion"]
    assert store(uri).version("models:/brain/1").aliases == ("challenger",)


def test_doing_the_step_again_makes_no_second_version(new_run: NewRun, uri: str) -> None:
    run = new_run()
    first = registered(run, GOOD, 1)
    assert registered(new_run(), GOOD, 1) == {**first, "previous": None}
    assert len(store(uri).models()["brain"]) == 1


def test_without_scores_only_the_first_becomes_champion(new_run: NewRun, uri: str) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        run = new_run(name)
        assert run.workflow.tracking is not None
        run.tracker = run.workflow.tracking.build()
        run.tracker.start(run)
        do_steps(run, GOOD, seed)
        (run.folder / "evaluate" / "scores.json").unlink()
        amend_package(run.package, card="# x\n", facts={"scores": {}})
        Register().do(run)
    assert "cannot be compared" in said(run)
    assert store(uri).version("models:/brain@champion").version == "1"


def test_a_version_that_became_champion_during_the_comparison_is_compared_with(
    new_run: NewRun, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(new_run("a"), BAD, 1)
    best = {case: value + 0.01 for case, value in GOOD.items()}
    registered(new_run("b", registry={"name": "brain", "promote": "never"}), best, 2)
    fetch = MlflowStore.fetch

    def meanwhile(self: MlflowStore, reference: str) -> Path:
        if reference == "models:/brain/1":
            store(uri).promote("brain", "2")
        return fetch(self, reference)

    monkeypatch.setattr(MlflowStore, "fetch", meanwhile)
    outcome = registered(new_run("c"), GOOD, 3)
    assert outcome["previous"] == "2" and not outcome["champion"]
    assert store(uri).version("models:/brain@champion").version == "2"


def identity(run: Run) -> dict[str, Any]:
    return made_from(run, next(step for step in run.workflow.steps if step.name == "register"))


def test_its_identity_changes_with_the_model_its_scores_the_name_and_the_place(
    new_run: NewRun, uri: str, tmp_path: Path
) -> None:
    run = new_run("a")
    do_steps(run, GOOD, 1)
    seen = [identity(run)]
    do_steps(run, GOOD, 2)
    seen.append(identity(run))
    do_steps(run, BAD, 2)
    seen.append(identity(run))
    for sections in (
        {"registry": {"name": "other"}},
        {"tracking": {"uri": f"sqlite:///{tmp_path}/none.db"}},
        {"registry": {"name": "brain", "promote": "never"}},
    ):
        other = new_run("a", **sections)
        seen.append(identity(other))
    assert all(one != two for index, one in enumerate(seen) for two in seen[:index])
    assert identity(new_run("a")) == seen[2]


def test_its_identity_changes_with_the_version_that_the_registry_holds(new_run: NewRun, uri: str) -> None:
    file = Path(uri.removeprefix("sqlite:///"))
    empty = file.read_bytes()
    run = new_run("a")
    registered(run, GOOD, 1)
    known = identity(run)
    registered(new_run("b"), BAD, 2)
    assert identity(run) == known, "versions of others do not matter"
    store(uri).delete("brain", "1")
    assert identity(run) == {**known, "the registered version": "none"}
    registered(run, GOOD, 1)
    assert identity(run) == {**known, "the registered version": "models:/brain/3"}
    file.write_bytes(empty)
    assert identity(run) == {**known, "the registered version": "none"}, "another registry in the same place"
    file.write_bytes(b"no database")
    assert identity(run)["the registered version"] == "models:/brain/3", "the step itself says what is wrong"


def test_without_a_tracker_the_version_has_a_run_of_its_own(
    new_run: NewRun, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = new_run(tracking=None)
    do_steps(run, GOOD, 1)
    Register().do(run)
    assert len(store(uri).version("models:/brain@champion").run) == 32


def test_a_registry_that_does_not_answer_leaves_no_outcome(new_run: NewRun) -> None:
    run = new_run(tracking={"uri": "http://127.0.0.1:9"})
    do_steps(run, GOOD, 1)
    with pytest.raises(TrackingError, match="nothing answers"):
        Register().do(run)
    assert not (run.folder / "register.json").exists()


def judged(run: Run, dice: dict[str, float], seed: int, verdict: str) -> dict[str, Any]:
    """As `registered`, after the guard has put its verdict into the package."""
    assert run.workflow.tracking is not None
    run.tracker = run.workflow.tracking.build()
    run.tracker.start(run)
    do_steps(run, dice, seed)
    amend_package(run.package, card="# brain\n", facts={"guard": {"verdict": verdict}})
    Register().do(run)
    run.tracker.finish("FINISHED")
    outcome: dict[str, Any] = run.read("register.json")
    return outcome


@pytest.mark.parametrize(
    ("posterior", "rule", "champion", "word"),
    [
        ([0, 0, 50, 950], "if-not-worse", False, "the model finds nothing of 'posterior' in the 10 held-out cases"),
        ([0, 60, 50, 890], "if-not-worse", False, "no better than an empty mask for 'posterior' (Dice 0.0000)"),
        ([40, 10, 10, 940], "if-not-worse", True, "there was no other champion"),
        ([0, 0, 0, 1000], "if-not-worse", True, "there was no other champion"),
        ([0, 0, 50, 950], "always", True, "the model finds nothing of 'posterior'"),
    ],
)
def test_a_model_that_is_worth_nothing_is_no_champion_though_it_is_the_first(
    new_run: NewRun,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    posterior: list[int],
    rule: str,
    champion: bool,
    word: str,
) -> None:
    run = new_run(registry={"name": "brain", "promote": rule})
    outcome = registered(run, GOOD, 1, {"anterior": [40, 10, 10, 940], "posterior": posterior})
    assert outcome["champion"] is champion and word in outcome["reason"] and word in said(run)
    assert store(uri).version("models:/brain/1").aliases == ("champion" if champion else "challenger",)
    assert run.remarks == ([] if champion else ["brain version 1 is challenger, not champion"])
    from mlflow.tracking import MlflowClient

    tags = MlflowClient(tracking_uri=uri).get_model_version("brain", "1").tags
    assert word in tags["voxgraft.promotion"]


BETTER = {case: value + 0.01 for case, value in GOOD.items()}


@pytest.mark.parametrize(
    ("verdict", "rule", "champion"),
    [
        ("hurts", "if-not-worse", False),
        ("hurts", "always", True),
        ("no evidence", "if-not-worse", True),
        ("helps", "if-not-worse", True),
        ("helps", "never", False),
    ],
)
def test_a_version_whose_transfer_hurts_is_held_back(
    new_run: NewRun, uri: str, verdict: str, rule: str, champion: bool
) -> None:
    """Though it is better than the champion: a network from scratch would be better still."""
    registered(new_run("a"), GOOD, 1)
    run = new_run("b", guard="twin", transfer=["stub"], registry={"name": "brain", "promote": rule})
    assert judged(run, BETTER, 2, verdict)["champion"] is champion
    assert store(uri).version("models:/brain@champion").version == ("2" if champion else "1")
    assert ("the guard says that transfer hurts" in said(run)) == (verdict == "hurts")


def test_a_verdict_about_another_model_holds_nothing_back(new_run: NewRun, uri: str) -> None:
    """What an earlier training left in guard.json is not about the package that is registered."""
    run = new_run("a", guard="twin", transfer=["stub"])
    run.write("guard.json", {"verdict": "hurts"})
    assert registered(run, GOOD, 1)["champion"]


def lost(uri: str, how: str) -> None:
    """Take the files of the champion away, in one of the ways in which that happens."""
    client = MlflowClient(uri)
    folder = store(uri).fetch("models:/brain@champion")
    if how == "file":
        (folder / "model.safetensors").unlink()
    elif how == "folder":
        shutil.rmtree(folder)
    elif how == "changed":
        (folder / "card.md").write_text("# other\n")
    elif how == "unreadable":
        (folder / "manifest.json").unlink()
        (folder / "manifest.json").mkdir()
    elif how == "elsewhere":
        folder.rename(folder.with_name("moved"))
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as file:
            file.execute("UPDATE model_versions SET storage_location = '/other/machine', source = '/other/machine'")
            file.commit()
    elif how == "deleted":
        client.delete_run(client.get_model_version("brain", "1").run_id)
        client.delete_logged_model(next(part for part in folder.parts if part.startswith("m-")))
        shutil.rmtree(folder)


@pytest.mark.parametrize("how", ["file", "folder", "changed", "unreadable", "elsewhere", "deleted"])
def test_a_champion_that_cannot_be_read_stays(new_run: NewRun, uri: str, how: str) -> None:
    registered(new_run("a"), BAD, 1)
    lost(uri, how)
    run = new_run("b")
    outcome = registered(run, GOOD, 2)
    assert not outcome["champion"] and outcome["previous"] == "1" and outcome["comparison"]["worse"]
    told = said(run)
    assert "brain version 2 is challenger, not champion: against the champion, it cannot be read (" in told
    assert "`voxgraft models promote brain 2` makes this version champion" in told and str(Path.cwd()) not in told
    assert store(uri).version("models:/brain@champion").version == "1"
    always = new_run("c", registry={"name": "brain", "promote": "always"})
    assert registered(always, GOOD, 3)["champion"] and "it cannot be read" in said(always)


def test_a_model_that_is_evaluated_again_is_no_new_version(new_run: NewRun, uri: str) -> None:
    first = registered(new_run(), BAD, 1)
    run = new_run()
    again = registered(run, GOOD, 1)
    assert {**again, "comparison": None, "reason": ""} == {**first, "comparison": None, "reason": ""}
    (version,) = store(uri).models()["brain"]
    assert version.metrics["dice"] == pytest.approx(sum(BAD.values()) / 10), "a version is what was registered"
    told = "brain version 1 holds this model already and keeps the scores that it was registered with (dice 0.8"
    assert told in said(run) and "now 0.9045); delete it first" in said(run)
    assert read_package(store(uri).fetch("models:/brain/1")).sha256 == version.package


@pytest.mark.parametrize("change", ["weights", "workflow", "faster", "run"])
def test_another_model_and_one_applied_in_another_way_are_new_versions(new_run: NewRun, uri: str, change: str) -> None:
    registered(new_run(), GOOD, 1)
    run = new_run("b" if change == "run" else "run")
    do_steps(run, GOOD, 2 if change == "weights" else 1)
    package = read_package(run.package)
    verdict = {"agrees": True, "cases": 3, "tolerance": 0.001, "difference": 0.0, "dice": {}}
    facts = {"precision": {"bf16": verdict}} if change == "faster" else {}
    if change == "workflow":
        (run.package / "workflow.yaml").write_text("voxgraft: 1\ninference: {overlap: 0.25}\n")
        document = json.loads((run.package / "manifest.json").read_text())
        content = (run.package / "workflow.yaml").read_bytes()
        entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        document["files"]["workflow.yaml"] = entry
        (run.package / "manifest.json").write_text(json.dumps(document))
    amend_package(run.package, card="# brain\n", facts={**package.facts, **facts})
    assert run.workflow.tracking is not None
    run.tracker = run.workflow.tracking.build()
    run.tracker.start(run)
    Register().do(run)
    run.tracker.finish("FINISHED")
    assert len(store(uri).models()["brain"]) == 2 and "holds this model already" not in said(run)
