"""Conformance checks of layouts: the same cases each time, and a sentence where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..datasets.cases import Dataset, ReadsFolder
from ..datasets.dataset import read_layout
from ..errors import VoxGraftError
from .conformance import NotApplicable, Subject, check, require


@check("layout", "reading twice gives the same cases")
def _the_same_cases_each_time(subject: Subject, folder: Path) -> None:
    one, other = _read(subject), _read(subject)
    require(one == other, "two readings of one folder give different data sets")


@check("layout", "every case has a patient, and files that are there")
def _every_case_is_one(subject: Subject, folder: Path) -> None:
    dataset = _read(subject)  # that ids are unique and can name folders is asked for by the engine as well
    for case in dataset.cases:
        require(case.patient.strip(), f"the case {case.id!r} has no patient")
        for reference in case.references:
            files = [reference.path, *reference.files]
            require(all(file.exists() for file in files), f"the case {case.id!r} names files that are not there")


@check("layout", "the names of cases and patients contain no path of this machine")
def _names_tell_no_place(subject: Subject, folder: Path) -> None:
    place = str(_path(subject).absolute())
    for case in _read(subject).cases:
        told = [case.id, case.patient, *map(str, case.facts.values())]
        require(not any(place in text for text in told), f"the case {case.id!r} reveals where the data set is stored")


@check("layout", "reading changes nothing")
def _reading_changes_nothing(subject: Subject, folder: Path) -> None:
    path = _path(subject)
    before = _state(path)
    _read(subject)
    require(_state(path) == before, "reading changes the data set's folder")


@check("layout", "a missing or empty folder gives a plain message")
def _what_is_not_there_is_a_sentence(subject: Subject, folder: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    for name, place in (("a missing folder", folder / "nowhere"), ("an empty folder", empty)):
        try:
            read_layout(_at(subject, place).chosen, subject.catalogue)
        except VoxGraftError as error:
            require(str(error).isprintable() and len(str(error)) < 600, f"{name}: no plain sentence: {error}")
        else:
            raise AssertionError(f"{name}: it finds cases anyway")


@check("layout", "it takes no folder for its own that is not, and its guess fits its options")
def _a_guess_fits(subject: Subject, folder: Path) -> None:
    guess = subject.spec.guess
    if guess is None:
        raise NotApplicable("it guesses nothing")
    (folder / "notes.txt").write_text("no data set")
    require(guess(folder) is None, "it takes a folder with one text for its own")
    path = _path(subject)
    options = guess(path if path.is_dir() else path.parent)
    if options is not None:
        subject.spec.options().model_validate(dict(options))


def _read(subject: Subject) -> Dataset:
    _path(subject)
    return read_layout(subject.chosen, subject.catalogue)


def _path(subject: Subject) -> Path:
    """Where the data set lies."""
    options = subject.chosen.options
    if not isinstance(options, ReadsFolder) or not options.path.exists():
        raise NotApplicable("give it a data set to read: --option path=FOLDER")
    return options.path


def _at(subject: Subject, place: Path) -> Subject:
    options = subject.chosen.options
    if not isinstance(options, ReadsFolder):
        raise NotApplicable("it has no option `path`")
    return replace(subject, chosen=replace(subject.chosen, options=options.model_copy(update={"path": place})))


def _state(path: Path) -> dict[str, tuple[int, int]]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}
