"""`voxgraft segment`: a model over many scans, with a ledger that knows the state of each.

A second call does only what is missing: a scan is skipped while its input, the model, the options and its outputs on
disk are what the ledger says. A scan that failed is tried again, three times in all, and then put aside until
`--retry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, VoxGraftError
from ..imaging.read import as_in_training
from ..packages.package import Package
from ..support.files import digest, sha256, sweep_tree
from ..support.lock import sole_owner
from ..support.progress import Progress
from .corrections import Corrections
from .dispatch import Dispatch
from .entry import Entry
from .ledger import Ledger
from .model import How, Model, Predictor
from .naming import REVIEW
from .outputs import Outputs
from .queue import BatchQueue, is_result
from .result import Batch, Scan
from .review import leave_for_review
from .scan import Segmenter
from .task import ScanTask
from .worklist import Finder

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from .executor import Executor

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
    series: str | None = None,
    ignore_contract: bool = False,
    device: str = "auto",
    overlap: float | None = None,
    mirror: bool | None = None,
    retry: bool = False,
    timeout: float | None = None,
    scan_timeout: float | None = None,
    scan_memory: float | None = None,
    progress: Progress | None = None,
    predictor: Callable[[Package], Predictor] | None = None,
) -> Batch:
    """Segment scans; what the options mean is said in the help of the command.

    Args:
        model: A package, its folder or file, or a reference that a store answers to.
        predictor: Makes the model ready, once; by default `voxgraft.inference.ensemble.predictor_of`.

    Raises:
        UsageError: An input, writer or executor is not there, or the inputs hold no scan.
        ModelError: There is no such model, or it cannot be used here.
        DataError: The folder is in use, or its ledger cannot be written.
    """
    package = model if isinstance(model, Package) else resolve_package(str(model), catalogue)
    catalogue = as_in_training(package.plan.readers, catalogue)
    folder, paths = Path(out), [Path(path) for path in inputs]
    names = None if writers is None else tuple(writers)
    outputs = Outputs(folder, package, catalogue, names)
    kind = "threads" if executor == "local" and predictor is not None else executor
    limits = {"seconds": scan_timeout, "gigabytes": scan_memory}
    chosen = executor_of(kind, catalogue, workers=workers, device=device, **limits)
    applied = Model(package, catalogue, How(device, overlap, mirror), predictor, workers or 1, timeout)
    ours = frozenset((*_results_in(folder), REVIEW))
    finder = Finder(catalogue, package.plan, folder, series, ignore_contract, ours, applied.limits)
    finder.check(paths)
    options = digest([overlap, mirror, writers, _workflow_hash(package)])

    def task_of(entry: Entry) -> ScanTask:
        flagged = replace(entry, flags=(*entry.flags, *outputs.other_code))
        return ScanTask(package.hash, flagged, folder, names, timeout)

    teller = progress or Progress(quiet=True)
    with sole_owner(folder, "segmenting into") as locked, Ledger(folder) as ledger:
        if not locked:
            teller.say(f"{folder}: this file system has no locks; see to it that only one process works here")
        corrections = Corrections(folder, ledger, outputs.names)
        for flag in corrections.restore():
            teller.say(f"{folder}: {flag.message}")
        sweep_tree(folder, owned=True, skip=(REVIEW,))
        leave_for_review(package, folder)
        if outputs.other_code:
            teller.say("; ".join(flag.message for flag in outputs.other_code))
        queue = BatchQueue(corrections, package, options, retry, teller)
        queue.sort(finder.find(paths, teller.say))
        try:
            dispatch = Dispatch(Segmenter(applied), corrections, task_of, teller.say)
            queue.work(lambda group: dispatch.run(group, chosen))
        finally:
            ledger.release()
            queue.report()
        return queue.batch()


def executor_of(text: str, catalogue: Catalogue, **wanted: Any) -> Executor:
    """The executor that a text such as `local` or `ray://HOST:PORT` names.

    Args:
        text: The name, and after `://` an address.
        catalogue: Offers the executors.
        wanted: Values of its options; those that are None, and a device that is `auto`, are left to it.

    Raises:
        UsageError: There is none, or it cannot have these options.
    """
    from pydantic import ValidationError

    from ..components.choice import choose

    name = text.split("://")[0]
    spec = catalogue.get("executor", name)
    known = spec.options().model_fields
    given = {key: value for key, value in wanted.items() if value is not None and (key, value) != ("device", "auto")}
    if "device" not in known:  # the work knows it too
        given.pop("device", None)
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
    facts: dict[str, Any] = {**package.facts, "reference": reference}
    if reference.startswith("models:/"):
        with suppress(VoxGraftError):  # a store of somebody else's, without versions
            facts["version"] = registry(catalogue).version(reference).version
    return replace(package, facts=facts)


def _workflow_hash(package: Package) -> str:
    """The workflow in a package says how it is applied, and is no part of its identity."""
    path = package.folder / "workflow.yaml"
    return sha256(path) if path.is_file() else ""


def _results_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if is_result(path)] if folder.is_dir() else []
