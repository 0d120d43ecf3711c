"""The tracker: what a run was made from, its curves, files and pictures, in MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from voxgraft.errors import TrackingError, VoxGraftError
from voxgraft.preprocessing.state import data_state
from voxgraft.runs.run import Run
from voxgraft.support.files import digest, write_text
from voxgraft.support.texts import without_paths
from voxgraft.workflow.yaml import dump

from .alive import PROCESS, put_right, working
from .connection import Address, absent, address, answers, connect, default_address, page_of, pages, patience
from .options import MlflowTrackerOptions
from .outbox import Outbox, Point
from .parameters import flat, key_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

IDENTITY = "mlflow_run"
"""The key in `run.json` under which a run's id in MLflow is kept."""

DOCUMENTS = (
    "environment.json",
    "fingerprint.json",
    "split.json",
    "plan.json",
    "train/parameters.json",
    "train/summary.json",
    "guard.json",
    "evaluate/members.json",
    "register.json",
)
"""Files of a run's folder that go to MLflow, those that are there, as soon as they are."""

DECIDING = ("name", "data", "model", "transfer", "training")
"""Sections of a workflow; a run with others is another run in MLflow."""

HASH = "voxgraft.hash"
"""The tag of a version: the hash of its package."""

REVIEWS = "voxgraft-review"
"""The experiment of reviews of models that no run of this registry made."""

BATCH = 100
"""Parameters or tags in one call; ten times as many points."""


class MlflowTracker:
    """Keeps a run in MLflow.

    A run that was interrupted goes on as the same run in MLflow: its id is kept in `run.json`. It is another one
    when the data, the network or the training are others. No name of a user or of a host and no absolute path is sent.
    Once training goes on, a server that is away does not stop it: what it missed is sent when it answers again.
    """

    def __init__(self, options: MlflowTrackerOptions) -> None:
        self._options = options

    def start(self, run: Run) -> None:
        """Begin a run in MLflow, or go on with the one that this run's folder belongs to.

        Raises:
            TrackingError: Nothing answers at the address, or it refuses.
        """
        self._run = run
        self._at: Address = address(self._options.uri) if self._options.uri else default_address()
        self._client: MlflowClient = connect(self._at, create=True)
        self._alive = ExitStack()
        token = self._alive.enter_context(working(self._at))
        with answers(self._at), patience(seconds=20, retries=1):
            resumed = self._resumed()
            known = self._known(resumed) if resumed else {}
            self._id = resumed.info.run_id if resumed else self._begun(token)
            self._client.set_tag(self._id, PROCESS, token)
            self._describe(resumed)
            self._where = str(self._client.get_run(self._id).info.experiment_id)
            put_right(self._client, self._at, self._where)
        run.identity[IDENTITY] = self._id
        run.write("run.json", run.identity)
        self._outbox = Outbox(self._send, run.progress.say, run.folder / "unsent.jsonl", known)
        self._sent: dict[str, tuple[int, int]] = {}
        self._missed: list[tuple[Path, str]] = []
        self._said: set[str] = set()
        self._outbox.flush()
        self._documents()

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep settings; one that is there already keeps its value."""

        def send() -> None:
            have = self._client.get_run(self._id).data.params
            self._log_params({key: text for key, text in flat(without_paths(values)).items() if key not in have})

        self._attempt(send, "parameters were not kept")

    def tags(self, values: Mapping[str, str]) -> None:
        """Name the run, such as by its guard's verdict."""

        def send() -> None:
            for key, value in values.items():
                self._client.set_tag(self._id, key_of(key), value)

        self._attempt(send, "tags were not kept")

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        self._outbox.add(values, step)
        self._documents()

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a file; one that could not be sent is tried again at the end of the run."""
        if not self._upload(path, folder):
            self._missed.append((path, folder))

    def finish(self, status: str) -> None:
        """End the run: `FINISHED`, `FAILED` or `KILLED`. A server that is away is named, and is no failure."""
        self._outbox.flush()
        missed, self._missed = self._missed, []
        for path, folder in missed:
            self.file(path, folder)
        self._documents()
        self._attempt(lambda: self._client.set_terminated(self._id, status), "the end of the run could not be reported")
        self._alive.close()
        if status == "FINISHED":
            self._run.progress.say(f"tracking: {page_of(self._at, self._where, self._id)}")
        if self._outbox.waiting or self._missed:
            self._run.progress.say(
                f"tracking: {self._outbox.waiting} points (kept in unsent.jsonl) and {len(self._missed)} files "
                "could not be sent; the next call of this run sends the points"
            )

    def review(self, model: str, identity: str, metrics: Mapping[str, float], step: int) -> str:
        """Keep what a review says of a version of a model in the run that made it, or in a run of its own.

        Args:
            model: Its name and version, for people.
            identity: The hash of its package.
            metrics: Numbers by their names.
            step: How many scans were reviewed.

        Raises:
            TrackingError: Nothing answers at the address, or it refuses.
        """
        from mlflow.entities import Metric

        at = address(self._options.uri) if self._options.uri else default_address()
        client = connect(at, create=True)
        with answers(at), patience(seconds=20, retries=1):
            run, where = reviewed_run(client, at, model, identity, self._options.experiment)
            now = int(time.time() * 1000)
            rows = [Metric(key_of(name), value, now, step) for name, value in metrics.items()]
            for start in range(0, len(rows), 10 * BATCH):
                client.log_batch(run, metrics=rows[start : start + 10 * BATCH])
        return f"{where} in {at.shown}"

    def _attempt(self, doing: Callable[[], object], lost: str) -> bool:
        """Do what a server that is away may refuse, without stopping the run for it."""
        if self._outbox.away:
            return False
        try:
            with answers(self._at), patience(seconds=20, retries=1):
                doing()
        except TrackingError as error:
            self._outbox.pause()
            if lost not in self._said:
                self._run.progress.say(f"tracking: {lost}: {error}")
            self._said.add(lost)
            return False
        return True

    def _upload(self, path: Path, folder: str) -> bool:
        send = partial(self._client.log_artifact, self._id, str(path), folder or None)
        return self._attempt(send, f"{path.name} was not kept")

    def _resumed(self) -> MlflowRun | None:
        """This folder's run in MLflow, if it is there and of the same training on the same data."""
        if IDENTITY not in self._run.identity:
            return None
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(self._run.identity[IDENTITY])
        except MlflowException as error:
            if absent(error):
                return None
            raise
        tags, ours = run.data.tags, self._state()
        same = tags.get("voxgraft.training") == ours["voxgraft.training"]
        same_data = ours["voxgraft.files"] in ("", tags.get("voxgraft.files"))
        if run.info.lifecycle_stage != "active" or not same or not same_data:
            if run.info.status == "RUNNING":  # whoever made it has ended: this process holds the folder
                self._client.set_terminated(run.info.run_id, "KILLED")
            return None
        self._client.update_run(run.info.run_id, status="RUNNING")
        return run

    def _begun(self, token: str) -> str:
        tags = {PROCESS: token, **{key: value for key, value in self._state().items() if value}}
        return str(
            self._client.create_run(self._experiment(), tags=tags, run_name=self._run.folder.resolve().name).info.run_id
        )

    def _experiment(self) -> str:
        name = self._options.experiment or self._run.workflow.name
        return experiment_id(self._client, self._at, name, self._options.artifacts)

    def _state(self) -> dict[str, str]:
        """Fingerprints of what decides the training, and of the files it reads where they can be listed."""
        document = self._run.workflow.document()
        try:
            files = data_state(self._run.dataset, self._run.catalogue, self._run.shared.contents)
        except VoxGraftError:  # the check step says why; without training, the data are not needed
            files = ""
        return {"voxgraft.training": digest([document[name] for name in DECIDING]), "voxgraft.files": files}

    def _known(self, run: MlflowRun) -> dict[tuple[str, int], float]:
        """The points that MLflow has: the latest value by key and step."""
        client, run_id = self._client, run.info.run_id
        points = [point for key in run.data.metrics for point in client.get_metric_history(run_id, key)]
        points.sort(key=lambda point: int(point.timestamp))
        return {(point.key, point.step): point.value for point in points}

    def _describe(self, run: MlflowRun | None) -> None:
        from mlflow.entities import RunTag

        environment = self._run.read("environment.json")
        tags = {"voxgraft.version": environment["voxgraft"], "voxgraft.python": environment["python"]}
        for name, plugin in environment["plugins"].items():
            tags[f"voxgraft.plugin.{name}"] = f"{plugin['version']} sha256:{plugin['sha256'][:16]}"
        rows = [RunTag(key, value) for key, value in tags.items()]
        for start in range(0, len(rows), BATCH):
            self._client.log_batch(self._id, tags=rows[start : start + BATCH])
        have = run.data.params if run else {}
        document = {name: part for name, part in self._run.workflow.document().items() if name != "tracking"}
        self._log_params({key: text for key, text in flat(without_paths(document)).items() if key not in have})

    def _log_params(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        rows = [Param(key, value) for key, value in values.items()]
        for start in range(0, len(rows), BATCH):
            self._client.log_batch(self._id, params=rows[start : start + BATCH])

    def _send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        with answers(self._at), patience(seconds=5, retries=0):
            rows = [Metric(point.key, point.value, point.time, point.step) for point in points]
            for start in range(0, len(rows), 10 * BATCH):
                self._client.log_batch(self._id, metrics=rows[start : start + 10 * BATCH])

    def _documents(self) -> None:
        """Send the run's documents that are new or have changed; they appear while steps are done."""
        for name in ("workflow.yaml", *DOCUMENTS):
            path = self._run.folder / name
            state = path.stat() if path.is_file() else None
            stamp = (state.st_mtime_ns, state.st_size) if state else None
            if stamp is None or self._sent.get(name) == stamp:
                continue
            folder = "" if "/" not in name else name.partition("/")[0]
            sent = self._workflow() if name == "workflow.yaml" else self._upload(path, folder)
            if sent and name == "fingerprint.json":
                sent = self._tag_data(self._run.read(name))
            if sent:
                self._sent[name] = stamp

    def _tag_data(self, fingerprint: Mapping[str, Any]) -> bool:
        """Name the data by their content, as the package does."""
        value = digest({case: facts["hash"] for case, facts in fingerprint["cases"].items()})
        return self._attempt(partial(self._client.set_tag, self._id, "voxgraft.data", value), "a tag was not kept")

    def _workflow(self) -> bool:
        """Send the resolved workflow, without the places of this machine."""
        with TemporaryDirectory(prefix="voxgraft-") as scratch:
            path = Path(scratch) / "workflow.yaml"
            write_text(path, dump(without_paths(self._run.workflow.document())))
            return self._upload(path, "")


def reviewed_run(
    client: MlflowClient, at: Address, model: str, identity: str, experiment: str | None
) -> tuple[str, str]:
    """The run to which a review of a model belongs, and what it is called: that of the version with this package, else
    one for this package in an experiment of reviews.

    Args:
        client: Of the registry.
        at: Where it is.
        model: Name and version, for people.
        identity: The hash of the package.
        experiment: Of reviews of models that the registry does not know; by default `voxgraft-review`.
    """
    quoted = identity.replace("'", "")
    for version in pages(client.search_model_versions, filter_string=f"tags.`{HASH}` = '{quoted}'"):
        if version.run_id:
            return str(version.run_id), f"the run of {version.name} version {version.version}"
    folder = experiment_id(client, at, experiment or REVIEWS)
    for run in pages(client.search_runs, experiment_ids=[folder], filter_string=f"tags.`{HASH}` = '{quoted}'"):
        return str(run.info.run_id), f"the run {run.info.run_name}"
    made = client.create_run(folder, run_name=f"review of {model}", tags={HASH: quoted})
    client.set_terminated(made.info.run_id, "FINISHED")
    return str(made.info.run_id), f"the run {made.info.run_name}"


def experiment_id(client: MlflowClient, at: Address, name: str, artifacts: str | None = None) -> str:
    """The experiment of a name; a new one keeps its files beside the SQLite file, or where the server wants them.

    Args:
        client: Of the registry.
        at: Where it is.
        name: Of the experiment; it is made where there is none.
        artifacts: Where the files of a new one go; None for the usual place.

    Raises:
        TrackingError: It was deleted, or nothing says where its files should go.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        if not artifacts and not at.database and not at.uri.startswith("http"):
            raise TrackingError(f"{at.shown}: a database keeps no files; say where they go with tracking.artifacts")
        uri = Path(artifacts).absolute().as_uri() if artifacts and "://" not in artifacts else artifacts
        try:
            return str(client.create_experiment(name, artifact_location=uri or at.artifacts))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another run may have made it meanwhile
            if experiment is None:
                raise error
    if experiment.lifecycle_stage != "active":
        raise TrackingError(f"{at.shown}: the experiment {name!r} was deleted; restore it, or choose another name")
    return str(experiment.experiment_id)
