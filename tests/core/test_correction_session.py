"""A session: preview, commit, locks, undo and redo, and a mask that was saved in another state than the journal's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voxgraft.correction.change import Labels
from voxgraft.correction.clicks import Click
from voxgraft.correction.journal import Journal
from voxgraft.correction.session import LockedError, Session
from voxgraft.correction.state import state_of
from voxgraft.errors import DataError

SHAPE = (32, 30, 24)
SPACING = (1.0, 1.0, 1.5)


def organ(radius: float, shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    grids = np.ogrid[tuple(map(slice, shape))]
    total: Any = sum((grid - size / 2) ** 2 for grid, size in zip(grids, shape, strict=True))
    return np.asarray(total <= radius**2)


MASK: Labels = np.uint8(1) * organ(7)
MASK[0:3] = 2
IMAGE: NDArray[Any] = 100.0 * organ(9)


def session(folder: Path, mask: Labels = MASK, **options: Any) -> Session:
    return Session(folder, mask, SPACING[: mask.ndim], IMAGE if mask.ndim == 3 else None, **options)


def draw(here: Session, index: int, radius: float = 10) -> None:
    """Redraw one slice with the pen."""
    after = here.mask.copy()
    part = after[:, :, index]
    part[organ(radius)[:, :, index] & (part == 0)] = 1
    here.commit(here.draw(after), "reader", "pen")


def test_a_preview_changes_nothing_and_a_commit_does(tmp_path: Path) -> None:
    with session(tmp_path) as here:
        change = here.click(1, [Click((16, 15, 20))], 25.0)
        assert change.voxels and np.array_equal(here.mask, MASK) and not here.journal.can_undo
        entry = here.commit(change, "reader", "click")
        assert entry.start == state_of(MASK) and entry.end == state_of(here.mask) == here.state
        assert here.mask[16, 15, 20] == 1 and here.memory == MASK.nbytes + IMAGE.nbytes
        with pytest.raises(DataError, match="not the one"):
            here.commit(change, "reader", "click")
        assert here.journal.position == 1


def test_slices_that_were_drawn_are_carried_on(tmp_path: Path) -> None:
    with session(tmp_path) as here:
        for index in (7, 12, 17):
            draw(here, index)
        change = here.propagate(1, 2, 20.0)
        assert (
            change.box[2].start < 11
            and not np.isin([7, 12, 17], np.nonzero(change.before != change.after)[2] + change.box[2].start).any()
        )
        here.commit(change, "reader", "slices")
        assert here.propagate(1, 2, 20.0).voxels == 0, "nothing was drawn since"
        draw(here, 14, 12)
        assert here.propagate(1, 2, 20.0, [7, 12, 14, 17]).voxels


def test_locks_are_proved_on_commit_undo_and_redo(tmp_path: Path) -> None:
    with session(tmp_path, locked={2}) as here:
        after = here.mask.copy()
        after[2:5, 10:14, 10:14] = 1
        with pytest.raises(LockedError, match="16 voxels of structure 2, which is locked") as told:
            here.commit(here.draw(after), "reader", "pen")
        assert told.value.voxels == {2: 16} and np.array_equal(here.mask, MASK) and here.journal.position == 0
        draw(here, 12)
        here.locked = frozenset({1})
        with pytest.raises(LockedError):
            here.undo()
        here.locked = frozenset()
        here.undo()
        here.locked = frozenset({1})
        with pytest.raises(LockedError):
            here.redo()
        assert np.array_equal(here.mask, MASK) and here.journal.can_redo


def test_it_goes_on_the_next_day_from_any_saved_state(tmp_path: Path) -> None:
    saved = [MASK]
    with session(tmp_path) as here:
        for index in (7, 12, 17):
            draw(here, index)
            saved.append(here.mask.copy())
        here.undo()
    for mask in saved:
        with session(tmp_path, np.ascontiguousarray(mask)) as here:
            assert np.array_equal(here.mask, saved[2]) and here.state == state_of(saved[2])
            assert here.journal.can_undo and here.journal.can_redo
    with session(tmp_path, saved[0]) as here:
        here.redo()
        assert np.array_equal(here.mask, saved[3])
        for wanted in saved[2::-1]:
            here.undo()
            assert np.array_equal(here.mask, wanted) and here.state == state_of(wanted)
        with pytest.raises(DataError, match="nothing to undo"):
            here.undo()


def test_a_mask_that_was_saved_and_then_left_behind_catches_up(tmp_path: Path) -> None:
    with session(tmp_path) as here:
        draw(here, 7)
        draw(here, 12)
        saved = here.mask.copy()
        here.undo()
        here.undo()
        draw(here, 17)
        wanted = here.mask.copy()
    with session(tmp_path, saved) as here:
        assert np.array_equal(here.mask, wanted) and here.journal.position == 1 and not here.journal.can_redo


def test_a_mask_that_the_journal_does_not_know_is_refused(tmp_path: Path) -> None:
    with session(tmp_path) as here:
        draw(here, 12)
    other = MASK.copy()
    other[20, 20, 20] = 9
    with pytest.raises(DataError, match="journal is of another mask"):
        session(tmp_path, other)
    Journal(tmp_path).close()


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with session(tmp_path) as here:
        draw(here, 12)
        state, mask = here.state, here.mask.copy()

        def full(*_: object) -> None:
            raise DataError("the change cannot be recorded: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(here.journal._file, "_write", full)
            with pytest.raises(DataError, match="No space"):
                draw(here, 14)
            with pytest.raises(DataError, match="No space"):
                here.undo()
        assert here.state == state and np.array_equal(here.mask, mask) and here.journal.position == 1
        draw(here, 14)
    with session(tmp_path) as here:
        assert here.journal.position == 2


def test_an_image_of_two_axes(tmp_path: Path) -> None:
    flat = np.uint8(1) * organ(6, (30, 28))
    with session(tmp_path, flat) as here:
        here.commit(here.click(1, [Click((15, 22))], 20.0), "reader", "click")
        after = here.mask.copy()
        after[12, 4:24] = 1
        here.commit(here.draw(after), "reader", "pen")
        here.commit(here.propagate(1, 0, 3.0), "reader", "slices")
        assert here.journal.position == 3
        for _ in range(3):
            here.undo()
        assert np.array_equal(here.mask, flat)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the image has the shape"):
        Session(tmp_path, MASK, SPACING, np.zeros((3, 3, 3)))
    with pytest.raises(DataError, match="whole numbers"):
        Session(tmp_path, MASK.astype(np.float32), SPACING)
    with session(tmp_path) as here:
        with pytest.raises(DataError, match="voxels"):
            here.draw(np.zeros((3, 3, 3), np.uint8))
        with pytest.raises(DataError, match="another process"):
            session(tmp_path)
        with pytest.raises(DataError, match="no voxel"):
            here.commit(here.draw(MASK), "reader", "pen")
