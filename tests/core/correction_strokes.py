"""Strokes on a small mask, recorded in a journal."""

from __future__ import annotations

import numpy as np

from voxgraft.correction.change import Change, Labels, State
from voxgraft.correction.journal import Journal

SHAPE = (12, 10, 9)


def drawn(mask: Labels, number: int) -> Labels:
    """The mask with one more stroke."""
    chance = np.random.default_rng(number)
    after = mask.copy()
    i, j, k = chance.integers(0, 6, 3)
    after[i : i + 4, j : j + 3, k : k + 3] = number % 7 + 1
    return after


def record(journal: Journal, mask: Labels, number: int) -> Labels:
    """Draw the stroke of this number, or the next one that changes anything."""
    while (change := Change.between(mask, after := drawn(mask, number))) is None:
        number += 1
    journal.record(change, "reader", "pen", State(mask).sha256, State(after).sha256)
    return after
