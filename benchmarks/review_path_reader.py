"""One reader's way through a scan in headless Chromium, each step asserted: see review_path.py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from browser import shoot

from review_batch import AXIAL, CORONAL, READY, Patient, Server, Voxels, pane_of, stroke

Cells = list[tuple[int, int, int]]
"""Rows of voxels on an axial slice: from, to, and the row that they lie on."""


@dataclass
class Clock:
    """Seconds of the clock, and of the processor in this process and those that it started, by step."""

    steps: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start, work = time.perf_counter(), used()
        yield
        seconds = [time.perf_counter() - start, used() - work]
        self.steps[name] = [round(one, 1) for one in seconds]
        print(f"{name}: {self.steps[name][0]} s, {self.steps[name][1]} s of the processor", flush=True)


def used() -> float:
    """Seconds of the processor of this process, and of all that it started."""
    me = psutil.Process()
    own = me.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in me.children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def dice(one: Voxels, other: Voxels) -> float:
    """Of two masks of one structure, in the same grid."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@dataclass
class Walk:
    """What the reader has before him: a scan, and in his mind the reference that he draws.

    Attributes:
        values: Structure -> its value in masks.
        accept, correct: The structures that stay, and the one that is redrawn.
        reference: The structure to correct as it should be, in canonical order.
        patient: The scan's mask as it should be on disk, in canonical order.
        folder: For the pictures.
        shown: Names of the pictures that are kept there; empty for all.
    """

    page: Any
    server: Server
    case: str
    reader: str
    values: dict[str, int]
    accept: Sequence[str]
    correct: str
    reference: Voxels
    patient: Patient
    clock: Clock
    folder: Path
    shown: Sequence[str] = ()
    dice: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.value = self.values[self.correct]
        self.model = self.patient.canonical.copy()
        self.note("model")

    def note(self, when: str) -> None:
        """Keep how good the structure is now."""
        self.dice[when] = round(dice(self.patient.canonical == self.value, self.reference), 4)

    def shoot(self, name: str) -> None:
        """Keep a picture of what is on the screen."""
        if not self.shown or name in self.shown:
            shoot(self.page, self.folder / f"path_{name}.png", 64, 400)

    # What lies where

    def on_disk(self) -> Voxels:
        """The reader's saved mask, in canonical order."""
        return Patient(self.server.out / "review" / "masks" / self.case / f"{self.reader}.nii.gz").canonical

    def check(self) -> None:
        """What was drawn is on disk and on the screen, voxel by voxel; accepted structures stayed as they were."""
        np.testing.assert_array_equal(self.on_disk(), self.patient.canonical)
        np.testing.assert_array_equal(self.on_screen(), self.patient.in_file())
        for name in self.accept:
            value = self.values[name]
            np.testing.assert_array_equal(self.patient.canonical == value, self.model == value)

    def on_screen(self) -> Voxels:
        script = "() => Array.from(review.grid.toFile(review.mask, Uint8Array, review.codes))"
        return np.array(self.page.evaluate(script), np.uint8).reshape(self.patient.array.shape, order="F")

    def saved(self) -> None:
        self.page.keyboard.press("Control+s")
        self.page.wait_for_selector("#saved.good")

    def applied(self) -> None:
        """Apply the preview; the mask is then what the server made of it."""
        self.page.wait_for_selector("[data-act=apply]")
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("[data-act=apply]", state="detached")
        self.page.wait_for_selector("#saved.good")
        self.patient.canonical = self.on_disk()
        self.check()

    # Drawing

    def levels(self, *parts: float) -> list[int]:
        """Axial slices at parts of the height that structure and reference have."""
        there = np.nonzero(((self.patient.canonical == self.value) | self.reference).any((0, 1)))[0]
        return [int(there[round(part * (len(there) - 1))]) for part in parts]

    def to_slice(self, level: int) -> None:
        """Go to an axial slice with the arrow keys."""
        now = self.page.evaluate("() => review.picture.cursor[2]")
        for _ in range(abs(level - now)):
            self.page.keyboard.press("ArrowRight" if level > now else "ArrowLeft")
        assert self.page.evaluate("() => review.picture.cursor[2]") == level

    def missing(self, level: int) -> Cells:
        """Rows to be added on a slice: in the reference, and of no structure yet."""
        return rows(self.reference[:, :, level] & (self.patient.canonical[:, :, level] == 0))

    def surplus(self, level: int) -> Cells:
        """Rows to be erased on a slice."""
        return rows(~self.reference[:, :, level] & (self.patient.canonical[:, :, level] == self.value))

    def draw(self, level: int, cells: Cells, value: int) -> None:
        """Draw rows with the mouse, and in the mask that is expected."""
        left, top, width, height = pane_of(self.page, AXIAL)
        mouse = self.page.mouse
        for first, last, row in cells:
            ends = [self.patient.point(AXIAL, (at, row, level)) for at in (first, last)]
            for number, (x, y) in enumerate(ends):
                mouse.move(left + x * width, top + y * height)
                if number == 0:
                    mouse.down()
            mouse.up()
            self.patient.canonical[first : last + 1, row, level] = value

    def redraw(self, level: int, *, eraser: str, pen: str) -> None:
        """Make a slice what the reference is; the keys choose between erasing and drawing."""
        self.to_slice(level)
        for key, cells, value in (("", self.missing(level), self.value), (eraser, self.surplus(level), 0)):
            if cells and key:
                self.page.keyboard.press(key)
            self.draw(level, cells, value)
            if cells and key:
                self.page.keyboard.press(pen)


def rows(wanted: Voxels) -> Cells:
    """Runs along the first axis of a slice."""
    found: Cells = []
    for row in range(wanted.shape[1]):
        edges = np.flatnonzero(np.diff(np.pad(wanted[:, row].astype(np.int8), 1)))
        found += [(int(low), int(high) - 1, row) for low, high in edges.reshape(-1, 2)]
    return found


def find_and_open(walk: Walk) -> None:
    """Sort the worklist by keyboard, go to the scan with the arrow keys, and open it."""
    page = walk.page
    walk.shoot("worklist")
    page.keyboard.press("s")
    page.wait_for_function("() => document.querySelector('#sort').value === 'case'")
    script = """() => [...document.querySelectorAll(".row")]
      .sort((a, b) => a.id.slice(4) - b.id.slice(4)).map((row) => row.dataset.case)"""
    page.wait_for_function(
        f"() => {{ const shown = ({script})(); return shown.length && shown.join() === [...shown].sort().join(); }}"
    )
    for _ in range(page.evaluate(script).index(walk.case)):
        page.keyboard.press("ArrowDown")
    page.wait_for_selector(f'.row[aria-selected=true][data-case="{walk.case}"]')
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/scan/{walk.case}")
    page.wait_for_selector(READY)


def look(walk: Walk) -> None:
    """Scroll through the planes, contours only and filled, with the wheel and by keyboard."""
    page = walk.page
    np.testing.assert_array_equal(walk.on_screen(), walk.patient.array)
    middle = tuple(length // 2 for length in walk.patient.canonical.shape)
    for plane in (CORONAL, AXIAL):
        stroke(page, plane, [walk.patient.point(plane, middle)])
    assert tuple(page.evaluate("() => review.picture.cursor")) == middle
    page.keyboard.press("o")
    page.mouse.wheel(0, 120)
    page.keyboard.press("o")
    page.keyboard.press("o")
    page.keyboard.press("i")
    page.keyboard.press("Home")
    walk.shoot("look")


def choose(walk: Walk, name: str) -> None:
    """Choose a structure with the arrow keys."""
    names = list(walk.values)
    now = walk.page.locator(".structure.chosen").get_attribute("data-name")
    step = names.index(name) - names.index(now)
    for _ in range(abs(step)):
        walk.page.keyboard.press("ArrowDown" if step > 0 else "ArrowUp")
    walk.page.wait_for_selector(f'.structure.chosen[data-name="{name}"]')


def accept(walk: Walk) -> None:
    for name in walk.accept:
        choose(walk, name)
        walk.page.keyboard.press("a")
        walk.page.wait_for_selector(f'.structure[data-name="{name}"] .tag.good')
    assert decided(walk)[-len(walk.accept) :] == [(name, "accepted") for name in walk.accept]
    walk.shoot("accepted")


def decided(walk: Walk) -> list[tuple[str, str]]:
    """What was decided about this scan, as the audit log has it."""
    lines = (walk.server.out / "review" / "audit.jsonl").read_text().splitlines()
    known = [one for one in map(json.loads, lines) if one.get("kind") == "decision" and one["case"] == walk.case]
    return [(one["structure"], one["verdict"]) for one in known]


def be_refused(walk: Walk) -> None:
    """A finished structure is a wall: for itself, for a neighbour's pen, and on the server."""
    page, value = walk.page, walk.values[walk.accept[-1]]
    x, y, z = (int(at) for at in np.argwhere(walk.model == value)[(walk.model == value).sum() // 2])
    page.keyboard.press("d")
    for _ in range(2):
        page.keyboard.press(",")
    walk.to_slice(z)
    for name, told in ((walk.accept[-1], "is locked"), (walk.correct, "stayed as they were")):
        choose(walk, name)
        walk.to_slice(z)
        stroke(page, AXIAL, [walk.patient.point(AXIAL, (x, y, z))])
        page.wait_for_function("(told) => document.querySelector('#toasts').innerText.includes(told)", arg=told)
    walk.shoot("locked")
    np.testing.assert_array_equal(walk.on_screen(), walk.patient.in_file())
    answer = page.evaluate(
        """async (value) => {
          const { put } = await import("/static/api.js");
          const { compose } = await import("/static/nifti.js");
          const voxels = review.grid.toFile(review.mask, review.header.Kind, review.codes);
          const body = await compose(review.header, voxels.map((one) => (one === value ? 0 : one)));
          try { await put(review.url("mask"), body, { "If-Match": `"${review.base}"` }); }
          catch (error) { return [error.status, error.body]; }
        }""",
        value,
    )
    assert answer[0] == 409 and list(answer[1]["locked"]) == [walk.accept[-1]], answer


def pen(walk: Walk) -> None:
    """One slice with pen and eraser; a stroke too many is undone; undo and redo of the save itself."""
    [level] = walk.levels(0.5)
    walk.redraw(level, eraser="e", pen="d")
    walk.draw(level, [(0, 3, 0)], walk.value)
    walk.page.keyboard.press("Control+z")
    walk.patient.canonical[0:4, 0, level] = walk.model[0:4, 0, level]
    walk.shoot("pen")
    walk.saved()
    walk.check()
    drawn = walk.patient.canonical.copy()
    for key, told, mask in (
        ("Control+z", "Undone, and saved.", walk.model),
        ("Control+y", "Redone, and saved.", drawn),
    ):
        walk.page.keyboard.press(key)
        walk.page.wait_for_selector(f"text={told}")
        walk.patient.canonical = mask.copy()
        np.testing.assert_array_equal(walk.on_screen(), walk.patient.in_file())
    walk.check()
    walk.note("one slice with the pen")


def slices(walk: Walk) -> None:
    """Three redrawn slices, a preview, applied."""
    page = walk.page
    page.keyboard.press("s")
    levels = walk.levels(0.15, 0.5, 0.85)
    for level in levels:
        walk.redraw(level, eraser="r", pen="r")
    expected = walk.patient.canonical.copy()
    page.click("[data-act=preview]")
    page.wait_for_selector("[data-act=apply]")
    walk.to_slice(walk.levels(0.3)[0])
    walk.shoot("slices")
    walk.applied()
    redrawn = [level for level in levels if (expected[:, :, level] != walk.model[:, :, level]).any()]
    np.testing.assert_array_equal(walk.patient.canonical[:, :, redrawn], expected[:, :, redrawn])
    assert (walk.patient.canonical != expected).any()
    walk.note("and slices")


def click(walk: Walk) -> None:
    """One click where most is wrong."""
    from scipy import ndimage

    now = walk.patient.canonical == walk.value
    candidates = [(True, walk.reference & (walk.patient.canonical == 0)), (False, now & ~walk.reference)]
    deep = [(ndimage.distance_transform_edt(wrong), add) for add, wrong in candidates]
    depth, add = max(deep, key=lambda pair: float(pair[0].max()))
    x, y, z = (int(at) for at in np.unravel_index(int(depth.argmax()), depth.shape))
    before = walk.patient.canonical.copy()
    walk.page.keyboard.press("g")
    if not add:
        walk.page.keyboard.press("r")
    walk.to_slice(z)
    stroke(walk.page, AXIAL, [walk.patient.point(AXIAL, (x, y, z))])
    walk.page.wait_for_selector("[data-act=apply]")
    walk.shoot("click")
    walk.applied()
    assert (walk.patient.canonical[x, y, z] == walk.value) == add
    assert set(np.unique(walk.patient.canonical[walk.patient.canonical != before])) <= {0, walk.value}
    walk.note("and a click")


def survive(walk: Walk) -> None:
    """The server is killed between two strokes; drawing goes on, and all is saved when it is back."""
    page = walk.page
    page.keyboard.press("d")
    wrong = [
        (bool(walk.missing(at)), len(walk.missing(at)) + len(walk.surplus(at))) for at in range(walk.model.shape[2])
    ]
    level = wrong.index(max(wrong))
    walk.to_slice(level)
    cells = walk.missing(level)
    half = (len(cells) + 1) // 2
    walk.draw(level, cells[:half], walk.value)
    walk.server.kill()
    walk.draw(level, cells[half:], walk.value)
    page.keyboard.press("Control+s")
    page.wait_for_selector("#away", state="visible")
    walk.shoot("killed")
    walk.redraw(level, eraser="e", pen="d")
    walk.server.start()
    page.wait_for_selector("#away", state="hidden")
    page.wait_for_selector("#saved.good")
    walk.saved()
    walk.check()
    walk.note("and what the kill interrupted")


def finish(walk: Walk) -> None:
    walk.page.keyboard.press("c")
    walk.page.wait_for_selector(f'.structure[data-name="{walk.correct}"] .tag.good')
    assert decided(walk)[-1] == (walk.correct, "corrected")
    walk.check()
    walk.page.keyboard.press("Home")
    walk.shoot("finished")


STEPS: dict[str, tuple[str, Callable[[Walk], None]]] = {
    "open": ("sort the worklist, find the scan and open it", find_and_open),
    "look": ("look at it", look),
    "accept": ("accept what is good enough", accept),
    "refused": ("be refused at a locked structure: pen and server", be_refused),
    "pen": ("one slice with pen and eraser, undo, save, undo and redo the save", pen),
    "slices": ("redraw three slices, preview, apply", slices),
    "click": ("one click, preview, apply", click),
    "killed": ("draw, the server is killed, continue, it is back, all is saved", survive),
    "decide": ("decide that it is corrected", finish),
}
"""The steps of a reader in the page: what each does."""
DRAWN = {
    "model": "the model's",
    "one slice with the pen": "one slice redrawn with pen and eraser",
    "and slices": "three redrawn slices, applied to those between",
    "and a click": "a click",
    "and what the kill interrupted": "one more slice, during which the server was killed",
}
"""What the corrected structure had gone through when its Dice was taken."""


def go(walk: Walk) -> None:
    """The whole way through one scan."""
    for name, (_, step) in STEPS.items():
        with walk.clock.step(name):
            step(walk)


def tables(document: dict[str, Any]) -> str:
    """The tables of docs/review.md: seconds by step, and how good the corrected structure was after each."""
    cases, found = document["cases"], document["scan"]["dice"]
    texts = {
        "train": f"train the first version: {document['steps'][0]} steps",
        "segment": f"segment {cases['reviewed']} scans that it did not see, {cases['dicom']} of them DICOM",
        **{name: text for name, (text, _) in STEPS.items()},
        "reject": "reject another scan, with a reason",
        "others": f"the other {cases['reviewed'] - 2} scans, by the simulated reader",
        "export": f"export {document['exported']['scans']} scans",
        "next": f"train the next version: {document['steps'][1]} steps",
        "judge": f"segment and score {cases['fresh']} scans that neither version saw, with both",
    }
    return "\n".join(
        [
            "| step | seconds |",
            "| --- | --- |",
            *[f"| {text} | {{:.1f}} ({{:.1f}}) |".format(*document["seconds"][name]) for name, text in texts.items()],
            "",
            f"| mask of the {document['scan']['corrected']} part | Dice with the reference |",
            "| --- | --- |",
            *[f"| {DRAWN[name]} | {value:.4f} |" for name, value in found.items()],
        ]
    )
