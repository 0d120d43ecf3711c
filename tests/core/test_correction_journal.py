"""The journal of a mask: undo and redo across processes, torn ends set aside, damage told, one writer."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from correction_strokes import SHAPE, record

from voxgraft.correction.change import Change, Labels, State
from voxgraft.correction.journal import FILE, Journal
from voxgraft.errors import DataError


def written(folder: Path, number: int) -> list[Labels]:
    """All states of a mask with so many changes, recorded in a journal."""
    states = [np.zeros(SHAPE, np.uint8)]
    with closing(Journal(folder)) as journal:
        for step in range(number):
            states.append(record(journal, states[-1], step))
    return states


def test_undo_and_redo_are_exact_in_another_process(tmp_path: Path) -> None:
    states = written(tmp_path, 5)
    mask = states[-1].copy()
    for position in (4, 3, 2):
        with closing(Journal(tmp_path)) as journal:
            assert journal.can_undo and journal.position == position + 1
            journal.undo().revert(mask)
            assert np.array_equal(mask, states[position])
    with closing(Journal(tmp_path)) as journal:
        assert journal.can_redo and len(journal.entries) == 5 and journal.position == 2
        journal.redo().apply(mask)
        assert np.array_equal(mask, states[3])
        assert journal.states == tuple(State(one).sha256 for one in states)
        other = record(journal, mask, 50)
        assert not journal.can_redo and len(journal.entries) == 4
    with closing(Journal(tmp_path)) as journal:
        assert journal.states[-1] == State(other).sha256 and journal.entries[-1].by == "reader"
        for _ in range(4):
            journal.undo().revert(other)
        assert not other.any() and not journal.can_undo
        with pytest.raises(DataError, match="nothing to undo"):
            journal.undo()


def test_an_unfinished_record_is_set_aside(tmp_path: Path) -> None:
    states = written(tmp_path / "whole", 3)
    data = (tmp_path / "whole" / FILE).read_bytes()
    with closing(Journal(tmp_path / "whole")) as journal:
        ends = [record.start + record.size for _, record in journal._entries]
    for end in (ends[1], *range(ends[1] + 1, ends[2], 23)):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / FILE).write_bytes(data[:end])
        with closing(Journal(folder)) as journal:
            assert journal.position == 2 and journal.states[-1] == State(states[2]).sha256
            aside = journal.set_aside
            assert (aside is None) == (end == ends[1])
            assert aside is None or aside.read_bytes() == data[ends[1] : end]
            record(journal, states[2], 9)
        with closing(Journal(folder)) as journal:
            assert journal.position == 3 and journal.set_aside is None


def test_zeros_that_a_power_cut_left_are_set_aside(tmp_path: Path) -> None:
    written(tmp_path, 2)
    with (tmp_path / FILE).open("ab") as file:
        file.write(bytes(5000))
    with closing(Journal(tmp_path)) as journal:
        assert journal.position == 2 and journal.set_aside is not None


def test_damage_before_the_end_is_told_and_nothing_is_cut_off(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = tmp_path / FILE
    data = path.read_bytes()
    chance = random.Random(0)
    with closing(Journal(tmp_path)) as journal:
        last = journal._entries[-1][1].start - 44
    for place in sorted(chance.randrange(last) for _ in range(60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
        with pytest.raises(DataError, match="is damaged"):
            Journal(tmp_path)
        assert len(path.read_bytes()) == len(data)
    first = len(data) // 3
    path.write_bytes(data[first:])
    with pytest.raises(DataError, match=r"damaged|not written by this version of VoxGraft"):
        Journal(tmp_path)


def test_records_cannot_be_left_out_or_moved(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = tmp_path / FILE
    data = path.read_bytes()
    with closing(Journal(tmp_path)) as journal:
        starts = [record.start - 44 for _, record in journal._entries]
    path.write_bytes(data[: starts[1]] + data[starts[2] :] + data[starts[1] : starts[2]])
    with pytest.raises(DataError, match="is damaged"):
        Journal(tmp_path)


def test_what_does_not_follow_is_refused(tmp_path: Path) -> None:
    states = written(tmp_path, 2)
    change = Change.between(states[0], states[1])
    assert change is not None
    with closing(Journal(tmp_path)) as journal:
        with pytest.raises(DataError, match="another state"):
            journal.record(change, "a", "pen", State(states[0]).sha256, State(states[1]).sha256)
        with pytest.raises(DataError, match="no voxel"):
            journal.record(Change.nothing(states[0]), "a", "pen", State(states[2]).sha256, "x")
        with pytest.raises(DataError, match="200 characters"):
            journal.record(change, "a" * 201, "pen", State(states[2]).sha256, "x")
        assert journal.position == 2
    with closing(Journal(tmp_path)) as journal:
        assert journal.position == 2


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        assert journal.alone
        with pytest.raises(DataError, match="another process is correcting this mask"):
            Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be opened"):
        Journal(tmp_path / "journal")


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = written(tmp_path, 2)
    size = (tmp_path / FILE).stat().st_size
    write = os.write

    def full(file: int, data: memoryview) -> int:
        if len(data) > 20:
            return write(file, data[:20])
        raise OSError(28, "No space left on device")

    with closing(Journal(tmp_path)) as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DataError, match="No space left"):
            record(journal, states[2], 7)
        monkeypatch.undo()
        assert (tmp_path / FILE).stat().st_size == size and journal.position == 2
        record(journal, states[2], 7)
    with closing(Journal(tmp_path)) as journal:
        assert journal.position == 3 and journal.set_aside is None


def test_a_pipe_or_a_giant_in_place_of_the_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "giant").mkdir()
    with (tmp_path / "giant" / FILE).open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(DataError, match="larger than any journal"):
        Journal(tmp_path / "giant")
    (tmp_path / "folder" / FILE).mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be opened"):
        Journal(tmp_path / "folder")


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_state_of_a_mask_follows_its_changes(order: str) -> None:
    mask = np.zeros((9, 8, 21), np.uint16, order=order)  # type: ignore[call-overload]
    state = State(mask)
    assert state.sha256 == State(np.ascontiguousarray(mask)).sha256 != State(mask.astype(np.uint8)).sha256
    assert state.sha256 != State(mask.reshape(8, 9, 21)).sha256
    before = state.copy()
    box = (slice(1, 3), slice(0, 2), slice(7, 17))
    mask[box] = 4
    state.update(mask, box)
    assert state.sha256 == State(mask).sha256 != before.sha256


def work(folder: Path, seed: int, told: int) -> None:
    """Draw, undo and redo until the process is killed; tell where the journal stands after each step."""
    chance, mask = np.random.default_rng(seed), np.zeros(SHAPE, np.uint8)
    with closing(Journal(folder)) as journal:
        for number in range(journal.position):
            journal.change(number).apply(mask)
        while True:
            dice = chance.integers(4)
            if dice == 0 and journal.can_undo:
                journal.undo().revert(mask)
            elif dice == 1 and journal.can_redo:
                journal.redo().apply(mask)
            else:
                mask = record(journal, mask, int(chance.integers(1000)))
            os.write(told, f"{journal.position} {State(mask).sha256}\n".encode())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_nothing_that_was_told_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(3)
    for kill in range(10):
        listen, tell = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                work(tmp_path, kill, tell)
            finally:
                os._exit(1)
        os.close(tell)
        with os.fdopen(listen, "rb") as said:
            lines = [said.readline()]
            time.sleep(chance.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            lines += said.readlines()
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        position, state = [line.split() for line in lines if line.endswith(b"\n")][-1]
        mask = np.zeros(SHAPE, np.uint8)
        with closing(Journal(tmp_path)) as journal:
            for number in range(journal.position):
                journal.change(number).apply(mask)
            assert State(mask).sha256 == journal.states[journal.position]
            assert journal.states[int(position)] == state.decode(), "what the process told last is not in the journal"
            assert abs(int(position) - journal.position) <= 1
