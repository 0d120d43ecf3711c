"""Kill a process that corrects a mask at random moments, and look for what was lost.

    python benchmarks/correction_kills.py [--kills 50] [--seed 0] [--out benchmarks/results/correction_kills.json]

Each process opens the session with the mask as it was last saved, which may be many changes behind the journal, and
draws, clicks, undoes, redoes and saves until it is killed. It tells every step once it is done. After each kill the
session must open in a state that was told last, or one step on; at the end every change is undone and done again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgraft.correction.clicks import Click
from voxgraft.correction.session import Session
from voxgraft.correction.state import state_of
from voxgraft.support.files import atomic_write

SHAPE, SPACING = (96, 96, 64), (1.0, 1.0, 1.5)
SAVED = "mask.npy"


@dataclass
class Figures:
    """What came of it."""

    kills: int = 0
    steps: int = 0
    torn: int = 0
    behind: int = 0
    lost: list[str] = field(default_factory=list)


def first() -> NDArray[np.uint8]:
    """A ball."""
    grids = np.ogrid[tuple(map(slice, SHAPE))]
    away: Any = sum((grid - size / 2) ** 2 for grid, size in zip(grids, SHAPE, strict=True))
    return np.asarray(away <= 20**2, np.uint8)


def work(folder: Path, seed: int, told: int) -> None:
    """Correct until killed."""
    chance = np.random.default_rng(seed)
    with Session(folder / "journal", np.load(folder / SAVED), SPACING) as session:
        while True:
            step(session, folder, chance)
            os.write(told, f"{session.journal.position} {session.state}\n".encode())


def step(session: Session, folder: Path, chance: np.random.Generator) -> None:
    dice = chance.integers(10)
    if dice < 2 and session.journal.can_undo:
        session.undo()
    elif dice < 4 and session.journal.can_redo:
        session.redo()
    elif dice < 6:
        index = tuple(int(at) for at in chance.integers(4, np.array(SHAPE) - 4))
        change = session.click(1, [Click(index, bool(session.mask[index] != 1))], 20.0)
        session.commit(change, "reader", "click")
    elif dice < 7:
        with atomic_write(folder / SAVED) as path, path.open("wb") as file:
            np.save(file, session.mask)
    else:
        after = session.mask.copy()
        place = tuple(slice(at, at + 9) for at in chance.integers(0, np.array(SHAPE) - 9))
        after[place] = chance.integers(2, 6)
        change = session.draw(after)
        if change.voxels:
            session.commit(change, "reader", "pen")


def kill(folder: Path, seed: int, chance: random.Random, figures: Figures) -> None:
    """One process that is killed, and a look at what it left."""
    listen, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(folder, seed, tell)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(tell)
    with os.fdopen(listen, "rb") as said:
        lines = [said.readline()]
        time.sleep(chance.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        lines += said.readlines()
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"process {seed} ended by itself")
    figures.kills += 1
    told = [line.split() for line in lines if line.endswith(b"\n")]
    figures.steps += len(told)
    mask = np.load(folder / SAVED)
    with Session(folder / "journal", mask, SPACING) as session:
        look(session, told[-1], figures)
        figures.torn += session.journal.set_aside is not None
        figures.behind += state_of(mask) != session.state


def look(session: Session, told: list[bytes], figures: Figures) -> None:
    position, state = int(told[0]), told[1].decode()
    states = session.journal.states or (session.state,)
    if position >= len(states) or states[position] != state or abs(session.journal.position - position) > 1:
        figures.lost.append(f"the step to {position} after kill {figures.kills}")


def measure(folder: Path, kills: int, seed: int) -> Figures:
    """Kill so often, then undo everything and redo it."""
    folder.mkdir()
    np.save(folder / SAVED, first())
    chance, figures = random.Random(seed), Figures()
    for number in range(kills):
        kill(folder, number + 1000 * seed, chance, figures)
    with Session(folder / "journal", np.load(folder / SAVED), SPACING) as session:
        while session.journal.can_redo:
            session.redo()
        end = session.mask.copy()
        while session.journal.can_undo:
            session.undo()
        if not np.array_equal(session.mask, first()):
            figures.lost.append("undone to the end it is not the first mask")
        while session.journal.can_redo:
            session.redo()
        if not np.array_equal(session.mask, end):
            figures.lost.append("redone to the end it is not the last mask")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "correction_kills.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch) / "session", options.kills, options.seed)
    document = {
        "seed": options.seed,
        "kills": figures.kills,
        "steps_told": figures.steps,
        "torn_records_set_aside": figures.torn,
        "masks_behind_their_journal": figures.behind,
        "lost": figures.lost,
    }
    options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document, indent=2))
    if figures.lost:
        sys.exit(1)


if __name__ == "__main__":
    main()
