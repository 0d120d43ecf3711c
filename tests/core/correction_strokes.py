"""Strokes on a small mask, recorded in a journal."""

from __future__ import annotations

import numpy as np

from voxgraft.correction.change import Change, Labels
from voxgraft.correction.journal import Journal
from voxgraft.correction.state import state_of

SHAPE = (12, 10, 9)


def drawn(mask: Labels, number: int) -> Labels:
    """The mask with one more stroke."""
    chance = np.random.default_rng(number)
    after = mask.copy()
    i, j, k = chance.integers(0, 6, 3)
    after[i : i + 4, j : j + 3, k : k + 3] = number % 7 + 1
    return after


def record(journal: Journal, mask: Labels, number: int) -> Labels:
    after = drawn(mask, number)
    change = Change.between(mask, after)
    assert change is not None
    journal.record(change, "reader", "pen", state_of(mask), state_of(after))
    return after
