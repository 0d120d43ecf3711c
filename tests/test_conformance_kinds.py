"""Layouts, strategies, steps, trackers, stores, executors and commands pass their checks; faulty ones are caught."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from torch import nn

from dicom_series import make_series
from layout_folders import touch
from test_conformance import components
from voxgraft.batch.task import Outcome
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Options, Selected
from voxgraft.datasets.cases import Case, Dataset
from voxgraft.discovery import discover
from voxgraft.errors import WorkerLost
from voxgraft.hookspecs import KINDS
from voxgraft.imaging.volume import ImageRef
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.runs.run import Run
from voxgraft.testing import Subject, conformance_checks, run_checks
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.executors.processes import Processes

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_kind_has_checks_of_its_own() -> None:
    reader, loss = ({str(check) for check in conformance_checks(kind)} for kind in ("reader", "loss"))
    shared = reader & loss
    assert len(shared) == 3
    for kind in KINDS:
        assert len({str(check) for check in conformance_checks(kind)} - shared) >= 2


# What comes with VoxGraft.


def decathlon(folder: Path) -> None:
    touch(folder, *(f"{part}/c_{n}.nii.gz" for part in ("imagesTr", "labelsTr") for n in (1, 2)))
    rows = [{"image": f"./imagesTr/c_{n}.nii.gz", "label": f"./labelsTr/c_{n}.nii.gz"} for n in (1, 2)]
    document = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "box"}, "training": rows}
    (folder / "dataset.json").write_text(json.dumps(document))


def nnunet(folder: Path) -> None:
    touch(folder, "imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    document = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**document, "numTraining": 2}))


def bids(folder: Path) -> None:
    for subject in ("sub-01", "sub-02"):
        touch(folder, f"{subject}/anat/{subject}_T1w.nii.gz")
        touch(folder, f"derivatives/manual/{subject}/anat/{subject}_desc-lesion_mask.nii.gz")


def table(folder: Path) -> None:
    touch(folder, *(f"{part}/{name}.nii.gz" for part in ("scans", "masks") for name in "ab"))
    lines = [f"{name},scans/{name}.nii.gz,masks/{name}.nii.gz,p{name}" for name in "ab"]
    (folder / "cases.csv").write_text("\n".join(["case,image,label,patient", *lines]))


def pairs(folder: Path) -> None:
    touch(folder, *(f"{part}/{name}.nii.gz" for part in ("images", "labels") for name in "ab"))


def dicom(folder: Path) -> None:
    for number in range(2):
        make_series(folder / str(number), np.full((8, 6, 5), number, np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))


FOLDERS: dict[str, Callable[[Path], None]] = {
    "decathlon": decathlon,
    "nnunet": nnunet,
    "bids": bids,
    "csv": table,
    "pairs": pairs,
    "dicom": dicom,
}
MORE: dict[tuple[str, str], dict[str, Any]] = {
    ("layout", "dicom"): {"unlabelled": "keep", "patient": "folder"},
    ("strategy", "distil"): {"teacher": "models:/other@champion"},
    ("store", "mlflow"): {"create": True},
}


def subject_of(kind: str, name: str, catalogue: Catalogue, folder: Path) -> Subject:
    options, sections = dict(MORE.get((kind, name), {})), {}
    uri = f"sqlite:///{(folder / 'tracking.db').as_posix()}"
    if kind == "layout":
        FOLDERS[name](folder / "data")
        options["path"] = folder / "data" / "cases.csv" if name == "csv" else folder / "data"
    if name == "mlflow":
        options["uri"] = uri
    if name == "register":
        sections = {"registry": {"name": "boxes"}, "tracking": {"use": "mlflow", "uri": uri}}
    if name == "guard":
        sections = {"guard": "twin", "transfer": ["init"]}
    return Subject.of(kind, name, options=options, catalogue=catalogue, sections=sections)


NEWER = ("layout", "strategy", "measurement", "step", "tracker", "store", "executor", "command")
SKIPPED = {"distil": 5, "mlflow": 1, "local": 1, "threads": 1}
"""How many checks cannot be run: without a teacher; on packages that lie in a registry; on threads: they do not die."""


@pytest.mark.parametrize(("kind", "name"), components(*NEWER), ids=lambda value: str(value))
def test_every_component_passes_the_checks_of_its_kind(
    catalogue: Catalogue, tmp_path: Path, kind: str, name: str
) -> None:
    if name == "ray":
        pytest.skip("tests/core/test_executor_ray.py runs them on a cluster")
    outcomes = run_checks(subject_of(kind, name, catalogue, tmp_path), tmp_path / "checks")
    assert [one for one in outcomes if one.state == "failed"] == []
    skipped = [one for one in outcomes if one.state == "skipped"]
    assert len(skipped) <= (SKIPPED.get(name, 0) if kind in ("strategy", "store", "executor") else 0), skipped


# What is faulty: each is caught by the check that stands beside it.


def caught(subject: Subject, build: Callable[[Any], Any], folder: Path, check: str, **spec: Any) -> None:
    """Exactly the checks in whose text the words stand must fail, one at least."""
    changed = replace(subject.spec, build=build, **spec)
    outcomes = run_checks(replace(subject, chosen=replace(subject.chosen, component=changed)), folder)
    assert [one.check for one in outcomes if one.state == "failed" and check in one.check], outcomes


class Moody:
    """A layout with a fault; it looks at the folder of another."""

    def __init__(self, inner: Any, fault: Callable[[Dataset], Dataset]) -> None:
        self._inner, self._fault = inner, fault

    def read(self) -> Dataset:
        return self._fault(self._inner.read())


def _in_any_order(dataset: Dataset) -> Dataset:
    order = np.random.default_rng().permutation(1000)[: len(dataset.cases)]
    cases = tuple(replace(case, facts={"drawn": float(n)}) for n, case in zip(order, dataset.cases, strict=True))
    return replace(dataset, cases=cases)


def _nameless(dataset: Dataset) -> Dataset:
    return replace(dataset, cases=tuple(replace(case, patient=" ") for case in dataset.cases))


def _gone(dataset: Dataset) -> Dataset:
    return replace(dataset, cases=tuple(replace(case, label=ImageRef(Path("gone.nii"))) for case in dataset.cases))


def _telling(dataset: Dataset) -> Dataset:
    def told(case: Case) -> Case:
        assert case.images[0] is not None
        return replace(case, patient=str(case.images[0].path))

    return replace(dataset, cases=tuple(map(told, dataset.cases)))


def _writing(dataset: Dataset) -> Dataset:
    assert dataset.cases[0].images[0] is not None
    (dataset.cases[0].images[0].path.parents[1] / "index.txt").write_text("seen")
    return dataset


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (_in_any_order, "twice gives the same"),
        (_nameless, "has a patient"),
        (_gone, "files that are there"),
        (_telling, "no path of this machine"),
        (_writing, "changes nothing"),
    ],
)
def test_a_faulty_layout_is_caught(catalogue: Catalogue, tmp_path: Path, fault: Any, check: str) -> None:
    subject = subject_of("layout", "pairs", catalogue, tmp_path)
    inner = subject.spec.build
    caught(subject, lambda options: Moody(inner(options), fault), tmp_path / "checks", check)


def test_a_layout_that_invents_cases_or_takes_any_folder_is_caught(catalogue: Catalogue, tmp_path: Path) -> None:
    subject = subject_of("layout", "pairs", catalogue, tmp_path)
    found = subject.build().read()
    fixed = Moody(subject.build(), lambda dataset: dataset)
    fixed.read = lambda: found  # type: ignore[method-assign]
    caught(subject, lambda options: fixed, tmp_path / "one", "missing or empty folder")
    caught(subject, subject.spec.build, tmp_path / "two", "takes no folder", guess=lambda path: {"path": path})


class Forgets(TransferStrategy):
    """Noise that depends on how often it was called, which a checkpoint does not hold."""

    calls = 0

    def after_step(self, context: Context) -> None:
        self.calls += 1
        with torch.no_grad():
            next(context.network.decoder.parameters()).add_(0.01 * self.calls)


class Drops(TransferStrategy):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row for row in rows if "stem" not in row.name]


class Moves(TransferStrategy):
    """Says that the encoder is not trained, and moves it."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(train=not row.name.startswith("encoder.")) for row in rows]

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            next(context.network.encoder.parameters()).mul_(0.9)


class Leaves(TransferStrategy):
    """Leaves a module of its own in the network that is kept."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        network.own = nn.Linear(2, 2)
        return network


class Crashes(TransferStrategy):
    """Two of it clash in a way that is not a sentence."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        context.network.register_buffer("mark", torch.zeros(1))
        del context.network._buffers["mark"]
        if hasattr(context, "seen") or "clash" in context.extra:
            raise KeyError("clash")
        return {"clash": nn.Linear(1, 1)}

    def conflict(self, other: TransferStrategy) -> str | None:
        raise KeyError("clash")


class Asks(TransferStrategy):
    needs = frozenset({"unlabelled"})


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Forgets, "killed training"),
        (Drops, "keeps its row"),
        (Moves, "do not train stays"),
        (Leaves, "no trace"),
        (Crashes, "two of it"),
        (Asks, "said before it is built"),
    ],
)
def test_a_faulty_strategy_is_caught(
    catalogue: Catalogue, tmp_path: Path, fault: type[TransferStrategy], check: str
) -> None:
    subject = subject_of("strategy", "init", catalogue, tmp_path)
    caught(subject, lambda options: fault(), tmp_path / "checks", check)


class Lazy:
    """A step that says outputs and leaves none."""

    def outputs(self, run: Run) -> list[Path]:
        return [run.folder / "lazy.json"]

    def do(self, run: Run) -> None: ...


class Busy(Lazy):
    """Its outputs are never those of the last time."""

    def outputs(self, run: Run) -> list[Path]:
        path = run.folder / "busy.json"
        path.write_text(str(np.random.default_rng().random()))
        return [path]


@pytest.mark.parametrize(
    ("build", "spec", "check"),
    [
        (Lazy, {}, "outputs are there"),
        (Busy, {}, "not done again"),
        (Lazy, {"after": ("plan", "dream")}, "comes after are there"),
        (Lazy, {"independent_of": {"weather": "it is always fine"}}, "cannot matter"),
        (Lazy, {"independent_of": {"name": " "}}, "with a reason"),
    ],
)
def test_a_faulty_step_is_caught(
    catalogue: Catalogue, tmp_path: Path, build: Any, spec: dict[str, Any], check: str
) -> None:
    subject = subject_of("step", "check", catalogue, tmp_path)
    changed = replace(subject.spec, build=lambda options: build(), **spec)
    doctored = doctor(catalogue, subject.spec, changed)
    outcomes = run_checks(
        replace(subject, chosen=Selected(changed, Options()), catalogue=doctored), tmp_path / "checks"
    )
    assert [one.check for one in outcomes if one.state == "failed" and check in one.check], outcomes


def doctor(catalogue: Catalogue, old: Any, new: Any) -> Catalogue:
    """The same offers with one component in another's place."""
    doctored = Catalogue(_origins=dict(catalogue.origins))
    for kind in KINDS:
        for plugin, one in catalogue.of(kind):
            doctored.add(plugin, new if one is old else one)
    return doctored


class Notebook:
    """A tracker that keeps what it is told beside the run, and can be given a fault."""

    def start(self, run: Run) -> None:
        self.run, self.lines = run, []  # type: ignore[var-annotated]

    def params(self, values: Mapping[str, Any]) -> None:
        self.lines.append(dict(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.lines.append(dict(values))

    def tags(self, values: Mapping[str, str]) -> None: ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: str) -> None:
        self.lines = []


class Rewrites(Notebook):
    def finish(self, status: str) -> None:
        (self.run.folder / "environment.json").write_text("{}")


class OnceOnly(Notebook):
    def finish(self, status: str) -> None:
        del self.lines


class NewOnly(Notebook):
    def start(self, run: Run) -> None:
        (run.folder / "tracked").mkdir()
        super().start(run)


class FiniteOnly(Notebook):
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        json.dumps(dict(values), allow_nan=False)


class AsciiOnly(Notebook):
    def file(self, path: Path, folder: str = "") -> None:
        path.name.encode("ascii")


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Notebook, "no fault"),
        (Rewrites, "left as it is"),
        (OnceOnly, "finished twice"),
        (NewOnly, "can be continued"),
        (FiniteOnly, "not finite"),
        (AsciiOnly, "odd names"),
    ],
)
def test_a_faulty_tracker_is_caught(catalogue: Catalogue, tmp_path: Path, fault: type[Notebook], check: str) -> None:
    true = Subject.of("tracker", "mlflow", catalogue=catalogue)
    spec = replace(true.spec, options=lambda: Options, build=lambda options: fault())
    outcomes = run_checks(replace(true, chosen=Selected(spec, Options())), tmp_path)
    failed = [one.check for one in outcomes if one.state == "failed"]
    assert len(failed) == (0 if fault is Notebook else 1) and all(check in one for one in failed), outcomes


class Shelf:
    """A store of folders that looks at nothing."""

    def fetch(self, reference: str) -> Path:
        return Path(reference)


@pytest.mark.parametrize("check", ["damaged package is refused", "reference to nothing"])
def test_a_store_that_verifies_nothing_is_caught(catalogue: Catalogue, tmp_path: Path, check: str) -> None:
    caught(subject_of("store", "folder", catalogue, tmp_path), lambda options: Shelf(), tmp_path / "checks", check)


def test_a_store_that_gives_another_package_or_takes_anothers_scheme_is_caught(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    subject = subject_of("store", "folder", catalogue, tmp_path)
    forgetful = replace(subject, keep=lambda folder: str(tmp_path / "nothing"))
    caught(forgetful, subject.spec.build, tmp_path / "one", "what was kept is fetched")
    caught(subject, subject.spec.build, tmp_path / "two", "no other store", schemes=("models:",))


class Serial:
    """An executor without a fault, for those that have one."""

    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for task in tasks:
            try:
                yield Outcome(task, work(task))
            except Exception as error:
                yield Outcome(task, error=error)


class Twice(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for outcome in super().run(work, tasks):
            yield from (outcome, outcome)


class Loses(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from islice(super().run(work, tasks), 1, None)


class StopsAtOnce(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (Outcome(task, work(task)) for task in tasks)


class Swallows(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (Outcome(outcome.task, outcome.value) for outcome in super().run(work, tasks))


class Mistakes(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        whole = list(super().run(work, tasks))
        yield from (replace(one, value=other.value) for one, other in zip(whole, reversed(whole), strict=True))


class Greedy(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from super().run(work, list(tasks))


class Restless(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from super().run(work, tasks)
        yield Outcome(None)


class MakesAnew(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        for task in tasks:
            yield from super().run(pickle.loads(pickle.dumps(work)), [task])


class LeavesBehind(Serial):
    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        pool, left = ThreadPoolExecutor(4), iter(tasks)
        while several := list(islice(left, 4)):
            for task, future in [(task, pool.submit(work, task)) for task in several]:
                error = future.exception()
                yield Outcome(task, None if error else future.result(), error)


class Untold(Processes):
    """Loses the tasks whose worker died."""

    def run(self, work: Callable[[Any], Any], tasks: Any) -> Iterator[Any]:
        yield from (one for one in super().run(work, tasks) if not isinstance(one.error, WorkerLost))


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (Twice, "done once"),
        (Loses, "done once"),
        (Mistakes, "done once"),
        (StopsAtOnce, "the others are done"),
        (Swallows, "the exception of a failing task"),
        (Greedy, "room for them"),
        (Restless, "without tasks"),
        (MakesAnew, "makes ready"),
        (LeavesBehind, "nothing is under way"),
    ],
)
def test_a_faulty_executor_is_caught(catalogue: Catalogue, tmp_path: Path, fault: type[Serial], check: str) -> None:
    caught(subject_of("executor", "threads", catalogue, tmp_path), lambda options: fault(), tmp_path / "checks", check)


def test_an_executor_that_hides_the_death_of_a_worker_is_caught(catalogue: Catalogue, tmp_path: Path) -> None:
    subject = subject_of("executor", "processes", catalogue, tmp_path)
    caught(subject, Untold, tmp_path / "checks", "a worker that dies")


def _other_name(options: Any) -> click.Command:
    return click.Command("another", callback=lambda: None)


def _no_help(options: Any) -> click.Command:
    return click.Command("deidentify", params=[click.Option(["--out"])], callback=lambda **given: None)


def _takes_anything(options: Any) -> click.Command:
    rest = click.Argument(["rest"], nargs=-1)
    settings = {"ignore_unknown_options": True}
    return click.Command("deidentify", callback=lambda rest: None, params=[rest], context_settings=settings)


@pytest.mark.parametrize(
    ("build", "check"),
    [
        (_other_name, "of the name"),
        (_no_help, "each of its options"),
        (_takes_anything, "unknown option is refused"),
    ],
)
def test_a_faulty_command_is_caught(catalogue: Catalogue, tmp_path: Path, build: Any, check: str) -> None:
    caught(subject_of("command", "deidentify", catalogue, tmp_path), build, tmp_path / "checks", check)


def test_a_command_whose_help_imports_torch_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "from voxgraft.plugin import CommandSpec, hookimpl",
        "def build(options):",
        "    import click, torch",
        "    return click.Command('heavy', callback=print)",
        "@hookimpl",
        "def voxgraft_commands():",
        "    return [CommandSpec(name='heavy', summary='Heavy', build=build)]",
    ]
    (tmp_path / "face_heavy.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = discover([EntryPoint("heavy", "face_heavy", "voxgraft")])
    outcomes = run_checks(Subject.of("command", "heavy", catalogue=catalogue), tmp_path / "checks")
    failed = [one for one in outcomes if one.state == "failed"]
    assert [one.check for one in failed] == ["its help imports nothing heavy"] and "torch" in failed[0].reason
