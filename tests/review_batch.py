"""A folder as `voxgraft segment` leaves it, made without a model, and the server and browser that look at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from voxgraft.batch.ledger import Ledger, Row
from voxgraft.support.files import sha256

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--ignore-gpu-blocklist",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
STRUCTURES = {"liver": 1, "spleen": 2, "left kidney": 3}
READY = "body[data-ready=true]"
AXIAL, CORONAL, SAGITTAL = 0, 1, 2

Voxels = np.ndarray[Any, np.dtype[Any]]


def turned(degrees_x: float, degrees_z: float) -> Voxels:
    """A rotation about the patient's right-left axis after one about the head-foot axis."""
    x, z = np.radians([degrees_x, degrees_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_z


AXES = {
    "axial": np.diag([-1.0, -1.0, 1.0]),
    "sagittal": np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": turned(17, 23) @ np.diag([-1.0, 1.0, 1.0]),
}
"""How scans of each kind lie in the patient: columns are the directions of the file's axes."""


def affine_of(kind: str, spacing: Sequence[float]) -> Voxels:
    """Voxel indices to RAS millimetres."""
    affine = np.eye(4)
    affine[:3, :3] = AXES[kind] * np.asarray(spacing)
    affine[:3, 3] = 10, -20, 30
    return affine


def phantom(shape: tuple[int, ...], seed: int = 0) -> tuple[Voxels, Voxels]:
    """A scan with three bright balls, and a mask of them; the mask of the third is too small."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, length) for length in shape], indexing="ij"))
    image = rng.normal(-80, 12, shape)
    mask = np.zeros(shape, np.uint8)
    for value, (centre, radius) in enumerate([((-0.45, -0.1, 0), 0.35), ((0.45, -0.1, 0), 0.3), ((0, 0.5, 0), 0.3)], 1):
        apart = np.sqrt(sum((grid[axis] - centre[axis]) ** 2 for axis in range(3)))
        image[apart < radius] += 140 + 40 * value
        mask[apart < (radius * 0.6 if value == 3 else radius)] = value
    return image.astype(np.int16), mask


def add_scan(ledger: Ledger, out: Path, case: str, image: Voxels, mask: Voxels, affine: Voxels, doubtful: bool) -> None:
    """Put one scan, segmented, into a batch's folder."""
    source = out.parent / f"{out.name}-scans" / f"{case}.nii.gz"
    source.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(image, affine), source)
    (out / case).mkdir()
    nib.save(nib.Nifti1Image(mask, affine), out / case / "mask.nii.gz")
    picture = np.clip((image[:, :, image.shape[2] // 2].astype(float) + 160) / 400 * 255, 0, 255).astype(np.uint8)
    Image.fromarray(np.tile(picture.T, (1, 3))).resize((320, 106)).save(out / case / "preview.png")
    enter(
        ledger, out, case, f"../{source.parent.name}/{source.name}", mask, abs(np.linalg.det(affine[:3, :3])), doubtful
    )


def enter(ledger: Ledger, out: Path, case: str, source: str, mask: Voxels, mm3: float, doubtful: bool) -> None:
    """Enter a scan into the ledger as done."""
    counts = np.bincount(mask.ravel(), minlength=4)
    sure = {name: 0.97 - 0.11 * (value == 3) - 0.2 * (doubtful and value == 3) for name, value in STRUCTURES.items()}
    structures = {
        name: {
            "value": value,
            "voxels": int(counts[value]),
            "ml": round(counts[value] * mm3 / 1000, 3),
            "confidence": sure[name],
        }
        for name, value in STRUCTURES.items()
    }
    message = "left kidney: volume below 98 % of the training cases"
    flags = [{"code": "small", "message": message}] if doubtful else []
    ledger.put(Row(case, source, model="abdomen 4", model_hash="ab" * 32))
    ledger.begin(case)
    files = [name for name in ("mask.nii.gz", "preview.png") if (out / case / name).exists()]
    outputs = {name: sha256(out / case / name) for name in files}
    seconds = {"read": 0.2, "predict": 1.1, "write": 0.3}
    ledger.finish(case, outputs=outputs, structures=structures, seconds=seconds, peak_mb=None, flags=flags)


def make_batch(out: Path, shape: tuple[int, ...] = (32, 32, 32), spacing: Sequence[float] = (1.5, 1.5, 3.0)) -> Path:
    """One scan of each kind, the axial one doubtful, and one that failed."""
    out.mkdir(parents=True)
    with Ledger(out) as ledger:
        for seed, kind in enumerate(AXES):
            image, mask = phantom(shape, seed)
            add_scan(ledger, out, kind, image, mask, affine_of(kind, spacing), doubtful=kind == "axial")
        ledger.put(Row("broken", f"../{out.name}-scans/broken.nii.gz", model="abdomen 4"))
        ledger.begin("broken")
        ledger.fail("broken", "read", "broken.nii.gz: the file ends before its voxels do")
    return out


@dataclass
class Server:
    """`voxgraft review` as a process of its own, which may be killed and started again on the same port."""

    out: Path
    env: dict[str, str]
    port: int = 0
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> None:
        call = [sys.executable, "-m", "voxgraft", "review", str(self.out), "--port", str(self.port), "--json"]
        self.process = subprocess.Popen(call, env=self.env, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def serving(out: Path, env: dict[str, str]) -> Iterator[Server]:
    """A server that is gone afterwards."""
    server = Server(out, env)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def why_no_browser() -> str:
    """Why pages cannot be tried in a browser here; empty where they can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed: pip install 'voxgraft[dev]'"
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        return "the server is not installed: pip install 'voxgraft[review]'"
    return "" if CHROMIUM.is_file() else f"there is no {CHROMIUM}: apt-get install chromium"


class Patient:
    """Where voxels of a scan lie on the screen, worked out from its affine alone: the patient's right is on the left.

    Voxels are those of nibabel's closest canonical orientation: they count to the patient's right, front and head.
    """

    def __init__(self, mask: Path) -> None:
        self.image = nib.load(mask)
        self.array: Voxels = np.asarray(self.image.dataobj).copy()
        self.turn = nib.orientations.io_orientation(self.image.affine)
        self.canonical = nib.orientations.apply_orientation(self.array, self.turn)

    def point(self, plane: int, voxel: tuple[int, int, int]) -> tuple[float, float]:
        right, front, up = [(at + 0.5) / length for at, length in zip(voxel, self.canonical.shape, strict=True)]
        return {AXIAL: (1 - right, 1 - front), CORONAL: (1 - right, 1 - up), SAGITTAL: (front, 1 - up)}[plane]

    def in_file(self) -> Voxels:
        """The canonical voxels in the file's own order."""
        there = nib.orientations.apply_orientation(np.arange(self.array.size).reshape(self.array.shape), self.turn)
        flat = np.empty(self.array.size, self.canonical.dtype)
        flat[there.ravel()] = self.canonical.ravel()
        return flat.reshape(self.array.shape)


def enter_as(page: Any, url: str, reader: str) -> None:
    """Open the worklist and say who reads."""
    page.goto(f"{url}/")
    page.wait_for_selector("dialog[open] input")
    page.keyboard.type(reader)
    page.keyboard.press("Enter")
    page.wait_for_selector(READY)


def open_scan(page: Any, url: str, case: str, timeout: int = 60_000) -> None:
    page.goto(f"{url}/scan/{case}")
    page.wait_for_selector(READY, timeout=timeout)


def pane_of(page: Any, plane: int) -> tuple[float, float, float, float]:
    """Left, top, width and height on the screen of the axial (0), coronal (1) or sagittal (2) slice."""
    script = """async (plane) => {
      const { canvas } = review.picture;
      const settled = () => Math.abs(canvas.height - canvas.clientHeight * devicePixelRatio) < 2;
      for (let frame = 0; frame < 2 || (frame < 100 && !settled()); frame++) {  // a tool may need more room
        await new Promise(requestAnimationFrame);
      }
      const pane = review.picture.panes().find((one) => one.plane === plane);
      const frame = document.querySelector("#over").getBoundingClientRect();
      const scale = review.picture.canvas.width / frame.width;
      return [frame.left + pane.left / scale, frame.top + pane.top / scale, pane.width / scale, pane.height / scale];
    }"""
    left, top, width, height = page.evaluate(script, plane)
    return left, top, width, height


def stroke(page: Any, plane: int, points: Sequence[tuple[float, float]], steps: int = 3) -> None:
    """Draw with the mouse: points are fractions of a slice's width and height on the screen."""
    left, top, width, height = pane_of(page, plane)
    places = [(left + x * width, top + y * height) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()


def look_at(page: Any, patient: Patient, voxel: tuple[int, int, int]) -> None:
    """Put the cursor on a voxel with two clicks."""
    page.keyboard.press("v")
    for plane in (AXIAL, CORONAL):
        stroke(page, plane, [patient.point(plane, voxel)])


def saved(page: Any) -> None:
    """Wait until the page says that all is saved."""
    page.wait_for_selector("#saved.good", timeout=30_000)


def clear(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out.parent / f"{out.name}-scans", ignore_errors=True)
