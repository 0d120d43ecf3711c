"""A reader's whole way on real scans: train, register, segment, review in the browser, export, train the next version.

    python benchmarks/review_path.py [--steps 200] [--folder DIR] [--out benchmarks/results/review_path.json]
    python benchmarks/review_path.py --pictures

Crops of the hippocampus (Medical Segmentation Decathlon, Task04); nothing stands in for a model, the server or the
browser. Eight crops that the model did not see are segmented by the command line, two of them as DICOM series. In
headless Chromium one scan is opened, and its better structure accepted; the other is drawn as the reference has it with
pen, slices and a click. The server is killed on the way. A second scan is rejected in the page; the rest is decided
through the page's HTTP interface by a simulated reader, who accepts a Dice of 0.85 and else sends the reference.
`--pictures` walks the same way on an artificial scan instead and makes the pictures of docs/review.md: the real ones
stay out of the project. A run trained and scans segmented before
are found in DIR; all else is done again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from browser import ENV, IMAGES, opened
from measured import keep, parser_of
from review_loop import DATA, GOOD, LABELS, parts, scored, table, train
from review_path_reader import Clock, Walk, dice, go, tables

import voxgraft as vg
from dicom_series import make_series
from review_batch import READY, STRUCTURES, Patient, Voxels, enter_as, make_batch, serving
from voxgraft.scoring.comparison import compare_all
from voxgraft.support.files import write_json

NAME, READER = "hippocampus-path", "reader"
SCANS, AS_DICOM, FRESH = 8, 2, 12
"""Scans that are reviewed, how many of them are DICOM series, and scans that only the scores see."""
SHOWN = ("locked", "slices", "click", "killed", "finished")
"""The pictures that docs/review.md shows; the others are in its other sections."""


def command(*words: str | Path) -> dict[str, Any]:
    """What `voxgraft WORDS --json` answers."""
    call = [sys.executable, "-m", "voxgraft", *map(str, words), "--json"]
    done = subprocess.run(call, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def scans(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files to segment: the first ones as DICOM series."""
    found: list[Path] = []
    for name in names:
        image = nib.load(DATA / "imagesTr" / name)
        voxels = np.asarray(image.dataobj)
        if len(found) < AS_DICOM and np.issubdtype(voxels.dtype, np.integer):
            case = name.split(".")[0]
            shutil.rmtree(folder / "dicom" / case, ignore_errors=True)
            whose = {"PatientID": case, "StudyInstanceUID": f"1.2.826.0.1.{case[-3:].lstrip('0')}"}
            make_series(folder / "dicom" / case, voxels.astype(np.uint16), image.affine, Modality="MR", **whose)
            found.insert(0, folder / "dicom" / case)
        else:
            found.append(DATA / "imagesTr" / name)
    return found


def reference(name: str) -> Voxels:
    """The reference mask of a crop, in canonical order."""
    image = nib.as_closest_canonical(nib.load(DATA / "labelsTr" / f"{name}.nii.gz"))
    return np.asarray(image.dataobj)


class Interface:
    """The page's HTTP interface, for the simulated reader."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60)
        csrf = self.client.get("/api/session").json()["csrf"]
        self.headers = {"X-VoxGraft-CSRF": csrf}
        session = self.client.post("/api/session", json={"reader": READER}, headers=self.headers).raise_for_status()
        self.headers = {"X-VoxGraft-CSRF": session.json()["csrf"]}

    def names(self) -> dict[str, str]:
        """Case of the batch -> name of the crop, which a DICOM series has as its description."""
        for _ in range(60):  # the server reads headers in the background
            rows = self.client.get("/api/worklist", params={"limit": 100}).json()["scans"]
            found = {
                row["case"]: row["case"] if row["case"].startswith("hippo") else row["description"] for row in rows
            }
            if all(found.values()):
                break
            time.sleep(0.5)
        return found

    def decide(self, out: Path, case: str, truth: Voxels) -> Voxels:
        """Keep structures that are good enough, send the reference of others, decide; the final mask, canonical."""
        patient = Patient(out / case / "mask.nii.gz")
        mask, final = patient.canonical, patient.canonical.copy()
        poor = [value for value in LABELS.values() if dice(mask == value, truth == value) < GOOD]
        for value in poor:
            final[final == value] = 0
        for value in poor:
            final[(truth == value) & (final == 0)] = value
        base = self.client.get(f"/api/scans/{case}").json()["mask"]["sha256"]
        if (final != mask).any():
            patient.canonical = final
            body = nib.Nifti1Image(patient.in_file(), patient.image.affine, patient.image.header).to_bytes()
            answer = self.client.put(
                f"/api/scans/{case}/mask", content=body, headers={**self.headers, "If-Match": f'"{base}"'}
            )
            base = answer.raise_for_status().json()["sha256"]
        for name, value in LABELS.items():
            verdict = "corrected" if ((final == value) != (mask == value)).any() else "accepted"
            wanted = {"structure": name, "verdict": verdict, "mask": base, "seconds": 30}
            self.client.post(f"/api/scans/{case}/decisions", json=wanted, headers=self.headers).raise_for_status()
        return final


def choose_scan(out: Path, names: dict[str, str]) -> tuple[str, str, str]:
    """The NIfTI scan with the largest gap between its structures: case, the better one, the one to correct."""
    gaps = []
    for case, name in names.items():
        if case != name:
            continue
        mask, truth = Patient(out / case / "mask.nii.gz").canonical, reference(name)
        found = sorted((dice(mask == value, truth == value), label) for label, value in LABELS.items())
        gaps.append((found[1][0] - found[0][0], case, found[1][1], found[0][1]))
    return max(gaps)[1:]


def reject(page: Any, case: str, url: str) -> None:
    """Reject both structures of a scan with a reason, in the page and by keyboard."""
    page.goto(f"{url}/scan/{case}")
    page.wait_for_selector(READY)
    for name in LABELS:
        page.wait_for_selector(f'.structure.chosen[data-name="{name}"]')
        page.keyboard.press("x")
        page.click("dialog[open] .primary")
        page.wait_for_selector(f'.structure[data-name="{name}"] .tag.bad')


def review(out: Path, clock: Clock, shots: Path) -> tuple[dict[str, Any], dict[str, Voxels]]:
    """The morning of one reader: what happened to the scan that was drawn, and the final masks, canonical."""
    with serving(out, ENV) as server, opened(1100, 700) as page:
        enter_as(page, server.url, READER)
        names = Interface(server.url).names()
        assert len(names) == SCANS
        case, good, poor = choose_scan(out, names)
        patient = Patient(out / case / "mask.nii.gz")
        truth = reference(names[case]) == LABELS[poor]
        walk = Walk(page, server, case, READER, dict(LABELS), [good], poor, truth, patient, clock, shots)
        go(walk)
        rest = [other for other in names if other != case]
        refused = next(other for other in rest if other == names[other])
        with clock.step("reject"):
            reject(page, refused, server.url)
        with clock.step("others"):
            interface = Interface(server.url)
            final = {other: interface.decide(out, other, reference(names[other])) for other in rest if other != refused}
        page.goto(server.url)
        page.wait_for_selector(READY)
        page.wait_for_selector(f"text={SCANS}")
        told = {"case": names[case], "accepted": good, "corrected": poor, "dice": walk.dice, "rejected": names[refused]}
        return told, {**final, case: walk.patient.canonical}


def export(out: Path, target: Path, final: dict[str, Voxels]) -> dict[str, Any]:
    """Export by the command line, and compare every mask voxel by voxel with what was drawn."""
    answer = command("review", out, "--export", target)
    rows = {row["case"]: row for row in rows_of(target / "cases.csv")}
    assert set(rows) == set(final), (sorted(rows), sorted(final))
    objects = 0
    for case, mask in final.items():
        exported = Patient(target / rows[case]["label"])
        np.testing.assert_array_equal(exported.canonical, mask)
        segment = out / "review" / "dicom" / case / "mask.dcm"
        if segment.exists():
            np.testing.assert_array_equal(in_grid(segment, exported), exported.array)
            objects += 1
    assert objects == AS_DICOM
    keys = ("cases", "left_out") if "left_out" in answer else ("cases",)
    return {"scans": len(rows), "dicom": objects, "answer": {key: answer[key] for key in keys if key in answer}}


def in_grid(segment: Path, mask: Patient) -> Voxels:
    """The voxels of a DICOM SEG, which leaves out empty slices, in the grid of a mask."""
    found = vg.read(segment)
    first = np.linalg.solve(mask.image.affine, np.asarray(found.affine)[:, 3])[:3].round().astype(int)
    voxels = np.zeros_like(mask.array)
    part = found.array.reshape(found.shape)
    voxels[tuple(slice(at, at + length) for at, length in zip(first, part.shape, strict=True))] = part
    return voxels


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    import csv

    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def follow(folder: Path, steps: int, old: Path) -> Any:
    """The next version, from the champion and with what was exported."""
    shutil.rmtree(folder / "next", ignore_errors=True)
    added = json.dumps({"use": "csv", "path": str(folder / "reviewed" / "cases.csv")})
    start = {"data__added": added, "model__start": f"models:/{NAME}/1"}
    return train(folder / "next", steps, old, registry__name=NAME, **start)


@contextmanager
def kept(clock: Clock, folder: Path, name: str) -> Iterator[None]:
    """A step that takes over what an earlier call of this script did, whose seconds count then."""
    path = folder / f"{name}.json"
    with clock.step(name):
        yield
    if path.exists():
        clock.steps[name] = json.loads(path.read_text())
    else:
        write_json(path, clock.steps[name])


def morning(folder: Path, steps: int, more: int) -> dict[str, Any]:
    """The whole way; what came of it."""
    old, reviewed, _ = parts()
    fresh = sorted(path.name for path in (DATA / "imagesTr").glob("hippocampus_*.nii.gz"))[-FRESH:]
    clock, out = Clock(), folder / "batch"
    for name in ("batch/review", "reviewed", "fresh_champion", "fresh_next"):
        shutil.rmtree(folder / name, ignore_errors=True)
    old_table = folder / "old.csv"
    with kept(clock, folder, "train"):
        champion = train(folder / "champion", steps, table(old_table, old), transfer="[]", registry__name=NAME)
    with kept(clock, folder, "segment"):
        command("segment", f"models:/{NAME}/1", *scans(folder, reviewed[:SCANS]), "--out", out, "--device", "cpu")
    told, final = review(out, clock, folder)
    with clock.step("export"):
        exported = export(out, folder / "reviewed", final)
    with clock.step("next"):
        following = follow(folder, more, old_table)
    learnt = json.loads((folder / "next" / "split.json").read_text())
    assert sum(name.startswith("added/") for name in learnt["train"]) == exported["scans"]
    with clock.step("judge"):
        scores = {
            "champion": scored(champion.package, fresh, folder / "fresh_champion"),
            "next version": scored(following.package, fresh, folder / "fresh_next"),
        }
    judged = compare_all(scores, {"dice": True}, every_pair=True)
    return {
        "steps": [steps, more],
        "cases": {"old": len(old), "reviewed": SCANS, "dicom": AS_DICOM, "fresh": FRESH},
        "scan": told,
        "exported": exported,
        "learnt_from": len(learnt["train"]),
        "register": json.loads((folder / "next" / "register.json").read_text()),
        "fresh": {name: one.document()["summary"]["dice"]["mean"] for name, one in scores.items()},
        "compared": [pair.document() for pair in judged],
        "seconds": clock.steps,
    }


def pictures(folder: Path) -> None:
    """Walk on an artificial scan, whose third structure is too small, and keep the pictures."""
    out = make_batch(folder / "pictures", (64, 64, 32), (1.5, 1.5, 3.0))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, length) for length in (64, 64, 32)], indexing="ij"))
    patient = Patient(out / "axial" / "mask.nii.gz")
    inside = np.sqrt(grid[0] ** 2 + (grid[1] - 0.5) ** 2 + grid[2] ** 2) < 0.3
    whole = nib.Nifti1Image(inside.astype(np.uint8), patient.image.affine)
    truth = np.asarray(nib.as_closest_canonical(whole).dataobj) > 0
    with serving(out, ENV) as server, opened(1000, 640) as page:
        enter_as(page, server.url, READER)
        *finished, poor = STRUCTURES
        scan = (page, server, "axial", READER, dict(STRUCTURES))
        go(Walk(*scan, finished, poor, truth, patient, Clock(), IMAGES, SHOWN))


def main() -> None:
    parser = parser_of(__doc__, "review_path")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--more", type=int, default=100, help="steps of the next version")
    parser.add_argument("--folder", type=Path, help="keep everything here, and take a trained champion from here")
    parser.add_argument("--pictures", action="store_true", help="walk on an artificial scan, for docs/images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        target = options.out.resolve()
        os.chdir(folder)  # the registry is voxgraft.db in the working directory
        if options.pictures:
            return pictures(Path(scratch))
        found = morning(folder, options.steps, options.more)
    assert all(math.isfinite(value) for value in found["scan"]["dice"].values())
    keep(target, found)
    print(tables(found))
    print(json.dumps({key: found[key] for key in ("scan", "exported", "register", "fresh", "compared")}, indent=1))


if __name__ == "__main__":
    main()
