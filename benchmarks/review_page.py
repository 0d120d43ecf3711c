"""Measure the pages of the review in a browser, and make the pictures of docs/review.md.

    python benchmarks/review_page.py [--only list,scan,pictures] [--out benchmarks/results/review_page.json]

Needs Chromium and `pip install 'voxgraft[dev]'`. Chromium draws on the processor here (SwiftShader): with a graphics
card, whatever is drawn is faster. Every figure is one run: seconds
of the clock, which other work on the machine makes longer, and of the processor, in browser and server together.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from browser import ENV, IMAGES, opened, shoot
from measured import keep, parser_of

from review_batch import affine_of, enter, enter_as, make_batch, open_scan, phantom, serving, stroke
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.support.files import sha256

BIG = (512, 512, 400)
NUMBER = 30
WAIT = 600_000


def timed(action: Callable[[], Any]) -> list[float]:
    """Seconds of the clock, and of the processor in browser and server together."""
    start, work = time.perf_counter(), processor_seconds()
    action()
    return [round(time.perf_counter() - start, 2), round(processor_seconds() - work, 2)]


def processor_seconds() -> float:
    """What the processes that this one started have used."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def long_batch(out: Path, number: int) -> Path:
    """Many scans with pictures; every ninth is doubtful."""
    _, mask = phantom((48, 48, 24))
    make_batch(out)
    picture = (out / "axial" / "preview.png").read_bytes()
    with Ledger(out) as ledger:
        for n in range(number):
            case = f"study-{n:05d}"
            (out / case).mkdir()
            (out / case / "preview.png").write_bytes(picture)
            enter(ledger, out, case, f"../{out.name}-scans/axial.nii.gz", mask, 3.0, doubtful=n % 9 == 0)
    return out


def list_times(folder: Path, number: int) -> dict[str, Any]:
    """How long a list of so many scans takes to show, to search and to sort."""
    with serving(long_batch(folder / f"list{number}", number), ENV) as server, opened(1400, 860, wait=WAIT) as page:
        enter_as(page, server.url, "clock")
        first = timed(lambda: (page.goto(server.url), page.wait_for_selector(".row")))
        wanted = f"study-{number - 1:05d}"
        page.keyboard.press("/")

        def search() -> None:
            page.keyboard.type(wanted)
            page.wait_for_selector(f'.row[id=row-0][data-case="{wanted}"]')

        found = timed(search)
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.wait_for_selector(".row[id=row-1]")
        end = timed(lambda: (page.keyboard.press("End"), page.wait_for_selector(f".row[id=row-{number + 3}]")))
        page.keyboard.press("Home")
        page.wait_for_selector(".row[id=row-0]")

        def sort() -> None:
            page.keyboard.press("s")
            page.wait_for_selector('.row[id=row-0][data-case="axial"]')

        return {"scans": number + 5, "first_row": first, "search": found, "to_the_end": end, "sort": timed(sort)}


def big_batch(out: Path) -> Path:
    """One scan of a whole trunk with 30 structures."""
    out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = rng.integers(-120, -60, BIG, np.int16)
    mask = np.zeros(BIG, np.uint8)
    for value in range(1, NUMBER + 1):
        low = [60 + 130 * (value % 3), 60 + 130 * (value // 3 % 3), 20 + 90 * (value // 9)]
        box = tuple(slice(at, at + size) for at, size in zip(low, (100, 100, 70), strict=True))
        ball = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in (100, 100, 70)], indexing="ij"))
        inside = (ball**2).sum(0) < 0.9
        mask[box][inside] = value
        image[box][inside] += 100 + 5 * value
    affine = affine_of("axial", (0.8, 0.8, 1.5))
    scans = out.parent / f"{out.name}-scans"
    scans.mkdir()
    nib.save(nib.Nifti1Image(image, affine), scans / "trunk.nii")
    (out / "trunk").mkdir()
    nib.save(nib.Nifti1Image(mask, affine), out / "trunk" / "mask.nii.gz")
    counts = np.bincount(mask.ravel(), minlength=NUMBER + 1)
    structures = {
        f"structure {value:02d}": {"value": value, "voxels": int(counts[value]), "ml": counts[value] * 0.96e-3}
        for value in range(1, NUMBER + 1)
    }
    with Ledger(out) as ledger:
        ledger.put(Row("trunk", f"../{scans.name}/trunk.nii", model="trunk 1", model_hash="cd" * 32))
        ledger.begin("trunk")
        outputs = {"mask.nii.gz": sha256(out / "trunk" / "mask.nii.gz")}
        ledger.finish("trunk", outputs=outputs, structures=structures, seconds={}, peak_mb=None, flags=[])
    return out


def scan_times(folder: Path) -> dict[str, Any]:
    """How long opening and correcting a scan of 105 million voxels takes."""
    with serving(big_batch(folder / "big"), ENV) as server, opened(1000, 640, wait=WAIT) as page:
        enter_as(page, server.url, "clock")
        times = {"open_first": timed(lambda: open_scan(page, server.url, "trunk", WAIT))}
        times["open_again"] = timed(lambda: open_scan(page, server.url, "trunk", WAIT))
        page.keyboard.press("d")
        times["stroke"] = timed(lambda: stroke(page, 0, [(0.3, 0.3), (0.35, 0.32), (0.4, 0.35)]))

        def save() -> None:
            page.keyboard.press("Control+s")
            page.wait_for_selector("#saved.good")

        times["save"] = timed(save)
        times |= click_times(page) | slice_times(page)
        return times


def click_times(page: Any) -> dict[str, Any]:
    """From the mouse's click to the preview on the screen, and from there to the saved mask."""
    page.keyboard.press("g")

    def click() -> None:
        stroke(page, 0, [(0.42, 0.37)])
        page.wait_for_selector("[data-act=apply]")

    def apply() -> None:
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-act=apply]", state="detached")

    click()
    page.keyboard.press("Escape")
    return {"click_preview": timed(click), "click_apply": timed(apply)}


def slice_times(page: Any) -> dict[str, Any]:
    """Three redrawn slices, to the preview of the volume and to the saved mask."""
    page.keyboard.press("s")
    for _ in range(3):
        stroke(page, 0, [(0.3, 0.3), (0.35, 0.3), (0.4, 0.33)])
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+s")
    page.wait_for_selector("#saved.good")

    def preview() -> None:
        page.click("[data-act=preview]")
        page.wait_for_selector("[data-act=apply]")

    def apply() -> None:
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-act=apply]", state="detached")

    return {"slices_preview": timed(preview), "slices_apply": timed(apply)}


def pictures(folder: Path) -> None:
    """The pictures of docs/review.md."""
    IMAGES.mkdir(exist_ok=True)
    with serving(make_batch(folder / "pictures", (96, 96, 48), (1.5, 1.5, 3.0)), ENV) as server:
        with opened(1400, 800) as page:
            enter_as(page, server.url, "Dr Weber")
            shoot(page, IMAGES / "review_worklist.png")
            open_scan(page, server.url, "axial")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            shoot(page, IMAGES / "review_scan.png")
            page.keyboard.press("?")
            shoot(page, IMAGES / "review_keys.png")
        with opened(800, 700, scheme="dark") as page:
            enter_as(page, server.url, "Dr Lang")
            open_scan(page, server.url, "axial")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            page.keyboard.press("1")
            page.keyboard.press("f")
            page.wait_for_timeout(700)
            turns = [2 * math.pi * n / 16 for n in range(17)]
            for step, key in ((5, "ArrowLeft"), (10, "ArrowRight")):
                for _ in range(step):
                    page.keyboard.press(key)
                stroke(page, 0, [(0.5 + 0.11 * math.cos(turn), 0.745 + 0.11 * math.sin(turn)) for turn in turns])
            page.keyboard.press("s")
            page.click("[data-act=preview]")
            page.wait_for_selector("[data-act=apply]")
            for _ in range(5):
                page.keyboard.press("ArrowLeft")
            shoot(page, IMAGES / "review_slices.png")


STEPS = {
    "open_first": "open, until structures lie on three planes (the server converts the scan the first time)",
    "open_again": "open again",
    "stroke": "a stroke of the pen",
    "save": "save",
    "click_preview": "click, until the preview is on the screen",
    "click_apply": "apply it, saved",
    "slices_preview": "preview of the volume from three redrawn slices",
    "slices_apply": "apply it, saved",
}


def tables(document: dict[str, Any]) -> str:
    """The tables of docs/review.md: seconds of the clock, and of the processor in brackets."""
    written = lambda pair: f"{pair[0]:.1f} ({pair[1]:.1f})"  # noqa: E731
    names = ("first_row", "search", "sort", "to_the_end")
    lists = [f"| {one['scans']:,} | {' | '.join(written(one[name]) for name in names)} |" for one in document["lists"]]
    steps = [f"| {text} | {written(document['scan'][name])} |" for name, text in STEPS.items()]
    return "\n".join(
        [
            "| scans in the list | first row on the screen | search | sort | to the last row |",
            "| --- | --- | --- | --- | --- |",
            *lists,
            "",
            "| 512 x 512 x 400 voxels, 30 structures | seconds |",
            "| --- | --- |",
            *steps,
        ]
    )


def main() -> None:
    parser = parser_of(__doc__, "review_page")
    parser.add_argument("--only", default="list,scan,pictures")
    options = parser.parse_args()
    known: dict[str, Any] = json.loads(options.out.read_text()) if options.out.is_file() else {}
    document = {name: known[name] for name in ("lists", "scan") if name in known}
    with tempfile.TemporaryDirectory(prefix="review-page-") as folder:
        if "list" in options.only:
            document["lists"] = [list_times(Path(folder), number) for number in (500, 2000)]
        if "scan" in options.only:
            document["scan"] = scan_times(Path(folder))
        if "pictures" in options.only:
            pictures(Path(folder))
    keep(options.out, document)
    if {"lists", "scan"} <= document.keys():
        print(tables(document))


if __name__ == "__main__":
    main()
