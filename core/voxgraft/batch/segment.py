"""`voxgraft segment`: a model over many scans, with a ledger that knows the state of each.

A second call does only what is missing: a scan is skipped while its input, the model, the options, the code that makes
its files and its outputs on disk are what the ledger says (see `voxgraft.batch.entry.Decides`). A scan that failed is
tried again, three times in all, and then put aside until `--retry`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..errors import DataError, UsageError, VoxGraftError
from ..imaging.read import as_in_training
from ..packages.facts import NAMES, allowed, used_around
from ..packages.package import Package
from ..support.files import sha256, write_json
from ..support.lock import sole_owner, sweep, sweep_tree
from ..support.progress import Progress
from ..support.texts import counted, is_url
from .dispatch import Corrections, Dispatch
from .entry import PARTS, REVIEW, Decides, Entry
from .ledger import Ledger
from .model import WORKFLOW, How, Model
from .outputs import USUAL, Outputs, is_result, with_case_ids
from .parts import Part, enter, named, part_from, rows_of_others
from .queue import Batch, BatchQueue, Scan
from .report import REPORT as PAGE
from .report import write_common_report
from .scan import Segmenter
from .task import ScanTask
from .worklist import Finder, check_inputs

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..inference.predictor import Applied
    from .remote import Remote
    from .task import Executor


__all__ = ["Batch", "Scan", "executor_of", "resolve_package", "segment"]


def segment(
    model: str | Path | Package,
    inputs: Iterable[str | Path],
    out: str | Path,
    catalogue: Catalogue,
    *,
    writers: Sequence[str] | None = None,
    workers: int | None = None,
    executor: str = "local",
    part: str | None = None,
    series: str | None = None,
    ignore_contract: bool = False,
    device: str = "auto",
    overlap: float | None = None,
    mirror: bool | None = None,
    precision: str | None = None,
    body: str | None = None,
    retry: bool = False,
    keep_done: bool = False,
    timeout: float | None = None,
    scan_timeout: float | None = None,
    scan_memory: float | None = None,
    progress: Progress | None = None,
    predictor: Callable[[Package], Applied] | None = None,
) -> Batch:
    """Segment scans; what the options mean is said in the help of the command.

    Args:
        model: A package, its folder or file, or a reference that a store answers to.
        inputs: Files and folders, or URLs of object storage such as `s3://BUCKET/FOLDER`, which are fetched.
        out: The batch's folder, or a URL: results are put there, beside a copy here.
        part: As `2/8`, does only the second of eight parts of the scans; the others are for other processes.
        predictor: Makes the model ready, once; by default `voxgraft.inference.predictor.predictor_of`.

    Raises:
        UsageError: An input, writer or executor is not there, or the inputs hold no scan.
        ModelError: There is no such model, or it cannot be used here.
        DataError: The folder is in use, or its ledger cannot be written.
    """
    package = model if isinstance(model, Package) else resolve_package(str(model), catalogue)
    catalogue = as_in_training(package.plan.readers, catalogue)
    remote, paths, folder = _placed_here(list(inputs), out)
    check_inputs(paths, package.plan, folder)
    package = _applied_as(package, precision, body, device)
    outputs = Outputs(folder, package, catalogue, None if writers is None else tuple(writers))
    wanted = {"workers": workers, "device": device, "seconds": scan_timeout, "gigabytes": scan_memory}
    kind = "threads" if executor == "local" and predictor is not None else executor
    chosen = executor_of(kind, catalogue, **wanted)
    how = How(device, overlap, mirror, package.facts["applied"], "on" if package.facts["around"] else "off")
    applied = Model(package, catalogue, how, predictor, workers or 1, timeout)
    share = None if part is None else part_from(part)
    finder = Finder(catalogue, package.plan, folder, series, ignore_contract, _ours_in(folder), applied.limits)
    teller = progress or Progress(quiet=True)
    with _ledger_of(folder, share, teller.say) as ledger:
        found = finder.find(paths, teller.say)
        entries = named(found, ledger, folder, share) if share else with_case_ids(found, ledger.rows(), folder)
        corrections = Corrections(folder, ledger, outputs.names)
        _tidy(corrections, share, teller.say)
        leave_for_review(package, folder)
        _say_other_code(outputs, teller.say)
        if share is not None:
            _say_of_parts(folder, share, package, len(entries), teller.say)
        if remote is not None:
            remote.tidy(everything=share is None)
        report = partial(_report, outputs, ledger, share, remote)
        queue = BatchQueue(corrections, package, _decides(outputs, how), retry, keep_done, teller, report)
        applied.within = queue.within
        task_of = partial(_task, outputs, timeout, remote)
        dispatch = Dispatch(Segmenter(applied), corrections, task_of, teller.say, remote)
        queue.sort(entries)
        try:
            queue.work(lambda group: dispatch.run(group, chosen))
        finally:
            ledger.release()
            _sweep(folder, _cases(ledger, share))
            queue.report(last=True)
            if remote is not None:
                remote.tidy(everything=False)
        return queue.batch()


def _placed_here(inputs: list[str | Path], out: str | Path) -> tuple[Remote | None, list[Path], Path]:
    """Where inputs and results lie on this machine, and what fetches and puts them where they lie elsewhere."""
    if not any(map(is_url, (*inputs, out))):
        return None, [Path(given) for given in inputs], Path(out)
    from .remote import placed_here

    return placed_here(inputs, out)


def _decides(outputs: Outputs, how: How) -> Decides:
    """What decides on results, beside the scan and the identity of the model: options by what they come to, whether
    they were given or left to the model."""
    package = outputs.package
    overlap, mirror = _windows(package, how)
    writers = sorted({*(outputs.writers or USUAL)})
    options = [overlap, mirror, writers, how.precision, how.body, package.facts[WORKFLOW]]
    return Decides(options, outputs.code(), outputs.catalogue)


def _windows(package: Package, how: How) -> tuple[float, bool]:
    """How windows overlap, and whether they are mirrored, which they are along those axes alone that training
    mirrored."""
    from ..workflow.sections import Inference

    try:
        own = Inference.model_validate(_workflow(package, "inference"))
    except ValidationError:  # whoever applies the model says so
        own = Inference()
    overlap, mirror = own.windows(how.overlap, how.mirror)
    return overlap, mirror and any(plan.mirrored for plan in package.members or (package.plan,))


def _task(outputs: Outputs, timeout: float | None, remote: Remote | None, entry: Entry) -> ScanTask:
    """What a worker is given of a scan."""
    flagged = replace(entry, flags=(*entry.flags, *outputs.other_code))
    return ScanTask(outputs.package.hash, flagged, outputs.out, outputs.writers, timeout, remote)


def _report(outputs: Outputs, ledger: Ledger, part: Part | None, remote: Remote | None, last: bool) -> None:
    """Write the page of the batch, and put it where the results are; `last`: nothing is under way."""
    write_common_report(outputs.out, ledger, part, outputs.package, last)
    if remote is not None:
        remote.publish(outputs.out / PAGE)


def _tidy(corrections: Corrections, part: Part | None, say: Callable[[str], None]) -> None:
    """Put right and clear away what a killed process left in the folder; what other parts are making is theirs."""
    mine = _cases(corrections.ledger, part)
    for flag in corrections.restore(mine):
        say(f"{corrections.out}: {flag.message}")
    if mine is None:
        sweep_tree(corrections.out, owned=True, skip=(REVIEW,))
    _sweep(corrections.out, mine)


def _cases(ledger: Ledger, part: Part | None) -> frozenset[str] | None:
    """The scans of a part; None where all of the folder is this call's."""
    return None if part is None else frozenset(row.case for row in ledger.rows())


def _sweep(out: Path, mine: frozenset[str] | None) -> None:
    """Clear away what lost workers were writing; what other parts are writing is theirs."""
    if mine is None or mine:
        sweep(out, *(mine or ()), owned=True)


@contextmanager
def _ledger_of(out: Path, part: Part | None, say: Callable[[str], None]) -> Iterator[Ledger]:
    """The ledger of a batch, or of a part of it, for this process alone."""
    if part is not None:
        enter(out, part)
    home = out if part is None else part.home(out)
    with sole_owner(home, "segmenting into") as locked:
        if part is None and (out / PARTS).exists():
            enter(out, part)
        if not locked:
            say(f"{out}: this file system has no locks; make sure that only one process works here")
        with Ledger(home, shared=part is not None) as ledger:
            yield ledger


def executor_of(text: str, catalogue: Catalogue, **wanted: Any) -> Executor:
    """The executor that a text such as `local` or `ray://HOST:PORT` names.

    Args:
        text: The name, and after `://` an address.
        catalogue: Offers the executors.
        wanted: Values of its options; those that are None, and a device that is `auto`, are left to it.

    Raises:
        UsageError: There is none, or it cannot have these options.
    """
    from ..components.choice import choose

    name = text.split("://")[0]
    spec = catalogue.get("executor", name)
    known = spec.options().model_fields
    given = {key: value for key, value in wanted.items() if value is not None and (key, value) != ("device", "auto")}
    given = {key: value for key, value in given.items() if key in known or key not in ("device", "alone")}
    options = {"use": name, **given, **({"address": text} if "://" in text else {})}
    try:
        executor: Executor = choose(catalogue, "executor", options).build()
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"the executor {text!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return executor


def resolve_package(reference: str, catalogue: Catalogue) -> Package:
    """The package that a reference names, with the reference and the version it stands for among its facts.

    Raises:
        ModelError: There is no such model, or its package is damaged.
    """
    from ..packages.references import Resolver, registry

    package = Resolver(catalogue).resolve(reference)
    package.check_finds_structures()
    facts: dict[str, Any] = {**package.facts, "reference": reference}
    if reference.startswith("models:/"):
        with suppress(VoxGraftError):  # a store of somebody else's, without versions
            facts["version"] = registry(catalogue).version(reference).version
    return replace(package, facts=facts)


def _applied_as(package: Package, wanted: str | None, body: str | None, device: str) -> Package:
    """The package with the numbers in which it is applied here, whether to the body alone, and the SHA-256 of its
    workflow among its facts.

    Torch, which starts slowly, is asked only where it matters.

    Raises:
        UsageError: The device is not there, or cannot compute with what is wanted.
    """
    options = _workflow(package, "inference")
    wanted = wanted or str(options.get("precision", "auto"))
    around = used_around(body or str(options.get("body", "auto")), package.facts)
    numbers = "32"
    if wanted != "32" and (wanted != "auto" or any(allowed(package.facts, word) for word in NAMES)):
        from ..inference.precision import precision_on
        from ..support.machine import choose_device

        numbers = precision_on(choose_device(device), wanted, package.facts)
    path = package.folder / "workflow.yaml"  # says how the model is applied, and is not part of its identity
    workflow = sha256(path) if path.is_file() else ""
    return replace(package, facts={**package.facts, "applied": numbers, "around": around, WORKFLOW: workflow})


def _workflow(package: Package, section: str) -> dict[str, Any]:
    """A section of the workflow in a package; empty where it cannot be read: whoever applies the model says so."""
    from ..workflow.yaml import load

    try:
        document, _ = load(package.folder / "workflow.yaml")
    except (OSError, VoxGraftError):
        return {}
    found = document.get(section) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _ours_in(folder: Path) -> frozenset[str]:
    """The names in the batch's folder of what no input is."""
    results = [path.name for path in folder.iterdir() if is_result(path)] if folder.is_dir() else []
    return frozenset((*results, REVIEW, PARTS))


def _say_other_code(outputs: Outputs, say: Callable[[str], None]) -> None:
    if outputs.other_code:
        told = "; ".join(flag.message.split(": ")[0] for flag in outputs.other_code)
        say(f"note: {told} (flag other-code in {outputs.out / PAGE})")


def _say_of_parts(out: Path, part: Part, package: Package, scans: int, say: Callable[[str], None]) -> None:
    """Say how many scans this part does, and where others were done by another model: an alias may have moved, or a
    package been replaced."""
    say(f"{out}: part {part} does {counted(scans, 'scan')}")
    rows = rows_of_others(out, part)
    others = Counter(row.model for row in rows if row.state == "done" and row.model_hash != package.hash)
    for model, number in others.items():
        done = counted(number, "scan")
        say(f"note: {out}: in other parts another model segmented {done} ({model}); do these parts again with this one")


def leave_for_review(package: Package, out: Path) -> None:
    """Write `review/models/HASH.json` below the batch's folder; a disk that is full is told where a mask is written."""
    document = {
        "name": package.name,
        "version": str(package.facts.get("version") or ""),
        "hash": package.hash,
        "modality": package.plan.modality,
        "channels": list(package.plan.channels),
        "readers": {name: dict(options) for name, options in package.plan.readers.items()},
        "codes": {label.name: list(label.code) for label in package.labels.items if label.code},
        **_section(package),
    }
    with suppress(DataError):
        write_json(out / REVIEW / "models" / f"{package.hash[:16]}.json", document)


def _section(package: Package) -> dict[str, Any]:
    """The section `review` of the workflow in a package; the usual values where it is not there."""
    from ..workflow.sections import Review

    try:
        section = Review.model_validate(_workflow(package, "review"))
    except ValidationError:
        section = Review()
    return {"reasons": list(section.reasons), "tolerance_mm": section.tolerance_mm}
