"""`voxgraft segment`: a model over many scans, with a ledger that knows the state of each.

A second call does only what is missing: a scan is skipped while its input, the model, the options and its outputs on
disk are what the ledger says. A scan that failed is tried again, three times in all, and then put aside until
`--retry`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UsageError, VoxGraftError
from ..files import TEMPORARY, digest, remove, sha256
from ..package import Package
from ..progress import Progress
from .ledger import INTERRUPTED, Ledger, Row
from .lock import sole_owner
from .naming import with_ids
from .outputs import REPORT, Outputs
from .pipeline import Pipeline, Predictor, hash_of, plain, stat_of
from .report import write_report
from .worklist import Entry, Finder

if TYPE_CHECKING:
    from ..catalogue import Catalogue
    from ..interfaces import Executor

TRIES = 3
"""After so many failed tries of the same input with the same model a scan is put aside."""

REPORT_EVERY = 30.0
"""Seconds between two versions of the report while a batch is under way."""

CHANGED = ".changed"
"""Where folders go whose files somebody has changed, before the scan is done again."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of one scan in this call.

    Attributes:
        input: The path as the caller would write it.
        state: `done`, `skipped` (it was done before), `failed` or `left-out`.
        error: Why it failed or was left out; None otherwise.
        outputs: The files of the scan.
    """

    case: str
    input: str
    state: str
    error: str | None = None
    code: str | None = None
    outputs: tuple[Path, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the scans of one call, in the order of the inputs."""

    out: Path
    scans: tuple[Scan, ...]

    def count(self, state: str) -> int:
        return sum(scan.state == state for scan in self.scans)

    @property
    def done(self) -> int:
        return self.count("done")

    @property
    def failed(self) -> int:
        return self.count("failed")

    @property
    def skipped(self) -> int:
        return self.count("skipped")

    @property
    def left_out(self) -> int:
        return self.count("left-out")

    @property
    def report(self) -> Path:
        return self.out / "report.html"

    @property
    def exit_code(self) -> int:
        """0: all is done; 3: some scans failed and the rest is done; 1: all failed."""
        if not self.failed:
            return 0
        return 3 if self.done + self.skipped else 1

    def document(self) -> dict[str, Any]:
        """What `--json` prints."""
        scans = [
            {
                "case": scan.case,
                "input": scan.input,
                "state": scan.state,
                "error": scan.error,
                "code": scan.code,
                "outputs": [str(path) for path in scan.outputs],
                "flags": list(scan.flags),
            }
            for scan in self.scans
        ]
        counts = {"done": self.done, "failed": self.failed, "skipped": self.skipped, "left_out": self.left_out}
        return {**counts, "report": str(self.report), "scans": scans}


def segment(
    model: str | Path | Package,
    inputs: Iterable[str | Path],
    out: str | Path,
    catalogue: Catalogue,
    *,
    writers: Sequence[str] | None = None,
    workers: int = 1,
    executor: str = "local",
    series: str | None = None,
    ignore_contract: bool = False,
    device: str = "auto",
    overlap: float | None = None,
    mirror: bool | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    predictor: Callable[[Package], Predictor] | None = None,
) -> Batch:
    """Segment scans; what the options mean is said in the help of the command.

    Args:
        model: A package, its folder or file, or a reference that a store answers to.
        predictor: Makes the model ready, once; by default `voxgraft.infer.predictor.Predictor`.

    Raises:
        UsageError: An input, writer or executor is not there, or the inputs hold no scan.
        ModelError: There is no such model, or it cannot be used here.
        DataError: The folder is in use, or its ledger cannot be written.
    """
    package = model if isinstance(model, Package) else resolved(str(model), catalogue)
    folder, paths = Path(out), [Path(path) for path in inputs]
    outputs = Outputs(folder, package, catalogue, None if writers is None else tuple(writers))
    chosen = executor_of(executor, workers, catalogue)
    finder = Finder(catalogue, package.plan, folder, series, ignore_contract, frozenset(_results_in(folder)))
    finder.check(paths)
    options = digest([overlap, mirror, writers, _workflow_hash(package)])

    def load() -> Predictor:
        if predictor is not None:
            return predictor(package)
        from ..infer.predictor import Predictor as Trained

        return Trained(package, catalogue, device=device, overlap=overlap, mirror=mirror)

    teller = progress or Progress(quiet=True)
    with sole_owner(folder) as locked, Ledger(folder) as ledger:
        if not locked:
            teller.say(f"{folder}: this file system has no locks; see to it that only one process works here")
        _sweep(folder)
        desk = _Desk(folder, package, ledger, options, retry, teller)
        desk.sort(finder.find(paths, teller.say))
        try:
            pipeline = Pipeline(catalogue, ledger, outputs, load)
            desk.work(lambda group: pipeline.run(group, chosen))
        finally:
            ledger.release()
            write_report(folder, ledger.rows(), package)
        return desk.batch()


class _Desk:
    """Decides what is to be done with each scan of a call, and keeps what became of it."""

    def __init__(
        self, out: Path, package: Package, ledger: Ledger, options: str, retry: bool, progress: Progress
    ) -> None:
        self._out, self._package, self._ledger = out, package, ledger
        self._options, self._retry, self._progress = options, retry, progress
        self._entries: list[Entry] = []
        self._scans: dict[str, Scan] = {}
        self._fresh: list[Entry] = []
        self._suspects: list[Entry] = []

    def sort(self, found: Sequence[Entry]) -> None:
        """Enter every scan into the ledger, and find those that are to be done."""
        rows = {row.case: row for row in self._ledger.rows()}
        known = {(row.input, row.series): row.case for row in rows.values()}
        taken = [path.name for path in self._out.iterdir() if path.name not in rows and not _is_result(path)]
        self._entries = with_ids(found, known, taken)
        for entry in self._entries:
            row = rows.get(entry.case)
            if entry.state == "waiting":
                self._weigh(entry, row)
            else:
                self._set_aside(entry, row)

    def work(self, run: Callable[[Sequence[Entry]], Iterable[Entry]]) -> None:
        """Do what is to be done.

        Scans that were under way when a process ended come last and one by one: the one that ended it, by taking all
        memory say, then takes no other down with it.
        """
        total = len(self._fresh) + len(self._suspects)
        last = time.monotonic()
        with self._progress.bar("segmenting", total) as bar:
            for group in [self._fresh, *([entry] for entry in self._suspects)]:
                for entry in run(group) if group else ():
                    row = self._ledger.get(entry.case)
                    self._scans[entry.case] = self._scan(entry, row, row.state)
                    if row.state == "failed":
                        self._progress.say(f"failed: {entry.case}: {row.error}")
                    bar.advance(note=entry.case)
                    if time.monotonic() - last > REPORT_EVERY:
                        write_report(self._out, self._ledger.rows(), self._package)
                        last = time.monotonic()

    def batch(self) -> Batch:
        return Batch(self._out, tuple(self._scans[entry.case] for entry in self._entries))

    def _set_aside(self, entry: Entry, row: Row | None) -> None:
        """A scan that is left out or refused; a result that it has from another call stays."""
        reason = plain(UsageError(entry.reason), entry, self._out)
        self._progress.say(f"{entry.state.replace('-', ' ')}: {entry.case}: {reason}")
        if row is None or row.state != "done":
            changes = {"state": entry.state, "error_code": entry.code, "error": reason}
            self._ledger.put(self._row(entry, **changes))
        self._scans[entry.case] = Scan(entry.case, str(entry.given), entry.state, reason, entry.code)

    def _weigh(self, entry: Entry, row: Row | None) -> None:
        """Skip a scan, put it aside for good, or have it done."""
        stat = stat_of(entry)
        same_input = row is not None and self._same_input(entry, row, stat)
        same = same_input and row is not None and row.model_hash == self._package.hash
        if row is not None and same and row.state == "done" and row.options_hash == self._options:
            state = verify(self._out / entry.case, row.outputs)
            if state == "whole":
                self._scans[entry.case] = self._scan(entry, row, "skipped")
                return
            if state == "changed":
                self._keep(entry.case)
        tries = row.tries if row is not None and same and row.state != "done" and not self._retry else 0
        if row is not None and tries >= TRIES:
            self._quarantine(entry, row)
            return
        if row is not None and not same_input:
            remove(self._out / entry.case)  # a mask of other voxels than these
        interrupted = row is not None and row.interrupted and tries > 0
        input_hash = row.input_hash if row is not None and same_input else ""
        code = INTERRUPTED if interrupted else ""
        self._ledger.put(self._row(entry, tries=tries, input_stat=stat, input_hash=input_hash, error_code=code))
        (self._suspects if interrupted else self._fresh).append(entry)

    def _quarantine(self, entry: Entry, row: Row) -> None:
        error, code = row.error, row.error_code
        if row.interrupted:
            code = "crashed"
            error = f"the process ended {row.tries} times while this scan was under way (was there memory enough?)"
            self._ledger.fail(entry.case, code, error)
        error = f"{error} (tried {row.tries} times and put aside; --retry tries it again)"
        self._progress.say(f"failed: {entry.case}: {error}")
        self._scans[entry.case] = Scan(entry.case, str(entry.given), "failed", error, code)

    def _same_input(self, entry: Entry, row: Row, stat: str) -> bool:
        if (row.input, row.series) != entry.key:
            return False
        return row.input_stat == stat or (bool(row.input_hash) and row.input_hash == hash_of(entry))

    def _row(self, entry: Entry, **changes: Any) -> Row:
        version = str(self._package.facts.get("version", ""))
        return Row(
            case=entry.case,
            input=entry.input,
            series=entry.series,
            model=f"{self._package.name} {version}".strip(),
            model_hash=self._package.hash,
            options_hash=self._options,
            **changes,
        )

    def _scan(self, entry: Entry, row: Row, state: str) -> Scan:
        files = tuple(self._out / entry.case / name for name in row.outputs)
        flags = tuple(dict.fromkeys(str(flag["code"]) for flag in row.flags))
        return Scan(entry.case, str(entry.given), state, row.error or None, row.error_code or None, files, flags)

    def _keep(self, case: str) -> None:
        """Somebody has changed a result, perhaps by hand and for good reason: it is moved, not overwritten."""
        shelf = self._out / CHANGED
        shelf.mkdir(exist_ok=True)
        number = 1 + sum(path.name.startswith(f"{case}-") for path in shelf.iterdir())
        (self._out / case).rename(shelf / f"{case}-{number}")
        self._progress.say(f"{case}: its files were changed; they are kept in {CHANGED}/{case}-{number}")


def verify(folder: Path, outputs: Mapping[str, str]) -> Literal["whole", "missing", "changed"]:
    """Compare a scan's files with their hashes in the ledger."""
    if not outputs or not all((folder / name).is_file() for name in outputs):
        return "missing"
    return "whole" if all(sha256(folder / name) == known for name, known in outputs.items()) else "changed"


def executor_of(text: str, workers: int, catalogue: Catalogue) -> Executor:
    """The executor that a text such as `local` or `ray://HOST:PORT` names.

    Raises:
        UsageError: There is none, or it cannot have these options.
    """
    from pydantic import ValidationError

    from ..slot import choose

    name = text.split("://")[0]
    catalogue.get("executor", name)
    options = {"use": name, "workers": workers, **({"address": text} if "://" in text else {})}
    try:
        executor: Executor = choose(catalogue, "executor", options).build()
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"the executor {text!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return executor


def resolved(reference: str, catalogue: Catalogue) -> Package:
    """The package that a reference names, with the reference and the version it stands for among its facts.

    Raises:
        ModelError: There is no such model, or its package is damaged.
    """
    from ..models import registry, resolve

    package = resolve(reference, catalogue)
    facts: dict[str, Any] = {**package.facts, "reference": reference}
    if reference.startswith("models:/"):
        with suppress(VoxGraftError):  # a store of somebody else's, without versions
            facts["version"] = registry(catalogue).version(reference).version
    return replace(package, facts=facts)


def _workflow_hash(package: Package) -> str:
    """The workflow in a package says how it is applied, and is no part of its identity."""
    path = package.folder / "workflow.yaml"
    return sha256(path) if path.is_file() else ""


def _is_result(path: Path) -> bool:
    return (path / REPORT).is_file()


def _results_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if _is_result(path)] if folder.is_dir() else []


def _sweep(folder: Path) -> None:
    """Remove what a killed process has left half-written; nobody else works in this folder."""
    for path in folder.glob(f"{TEMPORARY}-*"):
        remove(path)
