"""What a review says of a version of a model, in MLflow: beside its training, or by itself, and of no patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reviewed_batch import add_scan, boxes, decide, make_scan, redraw

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import TrackingError
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.worth.snapshot import take_snapshot
from voxgraft.review.worth.tracking import track


@pytest.fixture
def batch(tmp_path: Path, catalogue: Catalogue) -> Path:
    """Two versions of a model, each with a reviewed scan."""
    out = tmp_path / "out"
    for number, model in enumerate(("organs 3", "organs 4")):
        source = make_scan(tmp_path / f"Doe_Jane_{number}.nii.gz", catalogue, number)
        add_scan(out, source, boxes(), catalogue, model=model)
    store = ReviewStore(out, catalogue)
    decide(store, "Doe_Jane_0")
    redraw(store, "Doe_Jane_1", "anna", boxes(2))
    decide(store, "Doe_Jane_1", verdicts={"liver": "accepted", "spleen": "corrected"})
    store.close()
    return out


def metrics_of(client: Any, run: str) -> dict[str, float]:
    return dict(client.get_run(run).data.metrics)


def test_numbers_go_to_the_run_of_the_version_or_to_one_of_their_own(
    batch: Path, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'voxgraft.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    first = track(take_snapshot(batch, catalogue))
    assert all("the run review of organs" in line for line in first)
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("voxgraft-review").experiment_id
    known = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    found = metrics_of(client, known["review of organs 4"])
    assert found["review.dice.spleen"] == pytest.approx(4 / 6)
    assert found["review.share_accepted"] == 0.5
    client.create_registered_model("organs")
    training = client.create_run("0").info.run_id
    client.create_model_version("organs", "file:///nowhere", training, tags={"voxgraft.hash": "b" * 64})
    again = track(take_snapshot(batch, catalogue))
    assert "the run of organs version 1" in again[1]
    assert metrics_of(client, training)["review.scans"] == 1.0
    assert len(client.search_runs([experiment])) == 2
    told = [*first, *again, *metrics_of(client, training), *client.get_run(training).data.tags.values()]
    assert "Doe" not in " ".join(map(str, told))


def test_a_server_that_does_not_answer_is_named(
    batch: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"127\.0\.0\.1:9"):
        track(take_snapshot(batch, catalogue))
