"""De-identify a tree of files into another tree, and go on where an earlier call stopped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxgraft.plugin import (
    TEMPORARY,
    DataError,
    Progress,
    UsageError,
    sha256,
    state_of,
    sweep_tree,
    worker_processes,
    write_rows,
)

from . import nifti
from .file import Job, Outcome, Settings, instance, process
from .key import Key
from .report import REPORT, Journal, Report, Result

MANY = 64
"""Files from which on more than one process is worth its start."""

_NAMES = (".dcm", ".dicom", ".ima")


def deidentify(
    source: Path,
    target: Path,
    settings: Settings,
    *,
    quarantine: Path | None = None,
    resumable: bool = True,
    with_nifti: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """De-identify the DICOM files below `source`.

    Args:
        target: Where the results go; nothing is written where `settings.target` is None.
        quarantine: A folder for copies of the files that are held back; by default they are only listed.
        resumable: The key is kept, so that a later call can go on.
        with_nifti: Clean NIfTI files too, which are not copied otherwise.
        workers: Processes; by default one for each core, eight at most.

    Raises:
        UsageError: The folders lie within each other, or the target holds something else.
        DataError: There is no DICOM file, or the target cannot be written.
    """
    progress = progress or Progress(quiet=True)
    check_places(source, target, quarantine)
    if settings.target is not None:
        sweep_tree(target)
    report = Report.open(target, settings) if settings.target is not None else None
    if report is not None and report.files and not resumable:
        raise UsageError(f"{target}: holds results made with a key; give it with --key, or choose an empty folder")
    result = Result()
    jobs = _jobs(source, settings.key, result, report.files if report is not None else {}, with_nifti=with_nifti)
    if not jobs and not result.outcomes and not result.directories:
        raise DataError(f"{source}: holds no DICOM files")
    earlier = {job.mark: done for job in jobs if report is not None and (done := report.done(job)) is not None}
    result.outcomes += earlier.values()
    result.skipped += len(earlier)
    todo = [job for job in jobs if job.mark not in earlier]
    if report is not None:
        report.forget({job.mark for job in todo}, keep={done.file for done in earlier.values()})
    with (
        closing(Journal(target)) if settings.target is not None else nullcontext() as journal,
        progress.bar("de-identifying", len(todo)) as bar,
    ):
        for outcome in _outcomes(todo, settings, workers):
            result.outcomes.append(outcome)
            if journal is not None:
                journal.add(outcome)
            bar.advance()
    if quarantine is not None and settings.target is not None:
        _set_aside(result, source, quarantine)
    if report is not None:
        report.write(result)
    return result


def check_places(source: Path, target: Path, quarantine: Path | None) -> None:
    """Refuse folders that lie within each other.

    Args:
        source: The folder that is read.
        target: The folder that is written.
        quarantine: Where copies go of files that are held back; None for nowhere.

    Raises:
        UsageError: They do, or there is no source.
    """
    if not source.exists():
        raise UsageError(f"{source}: there is no such file or folder")
    if not source.is_file() and not source.is_dir():
        raise UsageError(f"{source}: is neither a file nor a folder, but a pipe, a socket or a device")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; TARGET must be a folder")
    places = {"SOURCE": source.resolve(), "TARGET": target.resolve()}
    if quarantine is not None:
        places["--quarantine"] = quarantine.resolve()
    for name, place in places.items():
        for other, beyond in places.items():
            if name != other and place.is_relative_to(beyond):
                raise UsageError(
                    f"{name} ({place}) lies within {other} ({beyond}); choose folders apart from each other"
                )


def _jobs(
    source: Path, key: Key, result: Result, known: Mapping[str, Mapping[str, Any]], *, with_nifti: bool
) -> list[Job]:
    """The DICOM files of a tree, in the order of their names; the others are counted."""
    jobs: list[Job] = []
    uids: dict[str, list[int]] = {}
    root = source if source.is_dir() else source.parent
    for path in _files(source):
        relative = path.relative_to(root).as_posix()
        try:
            plain = _looks_like_dicom(path)
        except OSError as error:
            mark = key.mark("file", relative)
            result.paths[mark] = path
            result.outcomes.append(Outcome(mark, "failed", reason=f"cannot be read ({error.strerror})"))
            continue
        folder = key.mark("folder", path.parent.relative_to(root).as_posix())
        job = Job(path, key.mark("file", relative), key.mark("state", *state_of(path)), folder=folder)
        if with_nifti and nifti.is_nifti(path):
            result.paths[job.mark] = path
            jobs.append(replace(job, nifti=True))
            continue
        if not plain and path.suffix.lower() not in _NAMES:
            result.other += 1
            continue
        result.paths[job.mark] = path
        if not plain:
            result.outcomes.append(Outcome(job.mark, "failed", reason="has the name of a DICOM file, but is none"))
            continue
        uid, directory = instance(path)
        if directory:
            result.directories += 1
            continue
        uids.setdefault(uid, []).append(len(jobs))
        jobs.append(job)
    twins = [indices for uid, indices in uids.items() if uid and len(indices) > 1]
    return _told_apart(jobs, twins, result, known)


def _told_apart(
    jobs: list[Job], twins: list[list[int]], result: Result, known: Mapping[str, Mapping[str, Any]]
) -> list[Job]:
    """Give files that call themselves the same instance names of their own, and drop those of the same bytes."""
    dropped: set[int] = set()
    for indices in twins:
        seen: dict[str, int] = {}
        ordered = sorted(indices, key=lambda index: jobs[index].mark not in known)
        for index in ordered:
            content = sha256(jobs[index].path)
            if content in seen:
                dropped.add(index)
            elif seen:
                jobs[index] = replace(jobs[index], suffix=f"-{jobs[index].mark[:8]}")
            seen.setdefault(content, index)
    result.duplicates += len(dropped)
    return [job for index, job in enumerate(jobs) if index not in dropped]


def _files(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            if (path := Path(folder, name)).is_file() and not name.startswith(f"{TEMPORARY}-"):
                yield path


def _looks_like_dicom(path: Path) -> bool:
    """By the magic number, or as a data set that begins at once with group 2 or 8 (PS3.10 was not always followed)."""
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    return head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\0" and head[6:8] != b"\xff\xff"


def _outcomes(jobs: Sequence[Job], settings: Settings, workers: int | None) -> Iterator[Outcome]:
    workers = min(workers or min(os.cpu_count() or 1, 8), max(1, len(jobs) // (MANY // 2)))
    if workers == 1:
        for job in jobs:
            yield _one(job, settings)
        return
    with worker_processes(workers) as pool:
        waiting = {pool.submit(_several, jobs[i : i + 16], settings) for i in range(0, len(jobs), 16)}
        try:
            for future in as_completed(waiting):
                yield from future.result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process was ended from outside (was there enough memory?); what was written is whole, "
                "and the same command continues from there, perhaps with fewer --workers"
            ) from None


def _several(jobs: Sequence[Job], settings: Settings) -> list[Outcome]:
    return [_one(job, settings) for job in jobs]


def _one(job: Job, settings: Settings) -> Outcome:
    return replace((nifti.process if job.nifti else process)(job, settings), source=job.state)


def _set_aside(result: Result, source: Path, folder: Path) -> None:
    """Copy the files that were held back, as they are, for a person to look at."""
    root = source if source.is_dir() else source.parent
    held = result.of("quarantined")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for outcome in held:
            path = result.paths[outcome.mark]
            copy = folder / outcome.rule / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(path, copy)
            copy.chmod(0o600)
        with private_file(folder / "reasons.csv") as file:
            write_rows(file, [("file", "rule", "reason")])
            for outcome in held:
                where = Path(outcome.rule) / result.paths[outcome.mark].relative_to(root)
                write_rows(file, [(where.as_posix(), outcome.rule, outcome.reason)])
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


def private_file(path: Path) -> Any:
    """Open a text file for writing that only its owner may read."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="")


__all__ = ["REPORT", "Result", "check_places", "deidentify", "private_file"]
