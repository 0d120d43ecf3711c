"""What `voxgraft new` takes on folders of 10,000 files and more, and what it says of folders that nobody would wish.

    python benchmarks/new_folders.py --folder /tmp/new --write benchmarks/results/new_folders.json

Makes its own files, the many as hard links to a few, and calls the command line in a process of its own for each
folder: seconds of CPU, peak memory, exit code, what was said. Of a hostile one, `check` is called on the workflow.
Every answer has to be a sentence of ours. Root reads what others cannot, so the calls are made without that right
(`setpriv`).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measured import ROOT, computer, keep, parser_of

sys.path.insert(0, str(ROOT / "tests"))

from dicom_series import make_series

MANY, MORE = 10_000, 100_000
SHAPE = (12, 12, 8)
SOURCES = 40
"""Different files of each kind that the many are links to."""
SLICES = 50
AS_OTHERS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
"""Root without the right to read what its owner may not."""
SCRIPTS = ("头颅", "мозг", "دماغ", "머리", "tête", "Ωμέγα", "ヘッド", "🧠")
MARKS = ("a b", "it's", 'a"b', "{case}", "50%", "#1", "-x", "a\nb", "a:b", "yes", "1e3", "a,b", "*", "~", "$(id)")
FAULTS = ("Traceback", "not an error we expected", "failed while")
"""In what is said where something was not foreseen."""
MAKERS = Callable[[Path], object]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="A folder that is not there yet.")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", nargs="+", help="The cases of these names alone.")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    folder.mkdir(parents=True)
    found: dict[str, Any] = {"machine": computer()}
    for group, cases in GROUPS.items():
        found[group] = {}
        for name, make in cases.items():
            if not asked.only or name in asked.only:
                found[group][name] = row = tried(folder / "case", make, check=group == "hostile")
                print(json.dumps({name: row}, indent=2, ensure_ascii=False), flush=True)
                if asked.write is not None:
                    keep(asked.write, found)
    shutil.rmtree(folder)
    if bad := [name for group in GROUPS for name, row in found[group].items() if row["faults"]]:
        raise SystemExit(f"not a sentence of ours: {', '.join(bad)}")


def tried(place: Path, make: MAKERS, *, check: bool) -> dict[str, Any]:
    """What `new` says of a folder, and `check` of its workflow; the folder is deleted."""
    place.mkdir()
    begun = time.monotonic()
    make(place / "scans")
    made = round(time.monotonic() - begun, 1)
    row: dict[str, Any] = {"made_in": made, "new": called(place, "new", "scans", "--out", "work.yaml")}
    if check and row["new"]["exit_code"] == 0:
        row["check"] = called(place, "check", "work.yaml")
    said = [line for name in ("new", "check") if name in row for line in row[name]["said"]]
    row["faults"] = [line for line in said if any(word in line for word in FAULTS)]
    subprocess.run(["rm", "-rf", str(place)], check=True)  # a path may be longer than what rmtree can name
    return row


def called(place: Path, *words: str) -> dict[str, Any]:
    """One call of the command line."""
    alone = AS_OTHERS if os.geteuid() == 0 and shutil.which(AS_OTHERS[0]) else ()
    with tempfile.TemporaryFile() as said:
        call = [*alone, sys.executable, "-m", "voxgraft", *words]
        process = subprocess.Popen(call, cwd=place, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="backslashreplace").replace(f"{place}/", "")
    lines = [line for line in text.splitlines() if line.strip()]
    return {
        "exit_code": process.returncode,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "megabytes": round(used.ru_maxrss / 1000),
        "said": [line if len(line) < 300 else f"{line[:300]} ..." for line in lines[-12:]],
    }


def nifti(path: Path, number: int, *, mask: bool = False) -> Path:
    """A small image or mask, another one for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(number)
    array = np.zeros(SHAPE, np.uint8)
    array[2:6, 2 : 4 + number % 5, 2:5] = 1
    voxels = array if mask else (random.integers(0, 200, SHAPE) + 100 * array).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return path


def images(folder: Path, number: int) -> None:
    """So many images and nothing else."""
    linked(folder, number, mask=False)


def pairs(folder: Path, number: int = 6) -> None:
    """Half of them images, half masks."""
    linked(folder / "images", number // 2, mask=False)
    linked(folder / "labels", number // 2, mask=True)


def linked(folder: Path, number: int, *, mask: bool) -> None:
    sources = [nifti(folder / f"case_{one:06d}.nii.gz", one, mask=mask) for one in range(min(SOURCES, number))]
    for one in range(len(sources), number):
        os.link(sources[one % len(sources)], folder / f"case_{one:06d}.nii.gz")


def series(folder: Path, number: int) -> None:
    """So many slices of DICOM series, each of a patient of its own."""
    random = np.random.default_rng(3)
    for one in range(number // SLICES):
        array = random.integers(0, 900, (16, 16, SLICES)).astype(np.int16)
        make_series(folder / f"p{one}" / "ax", array, np.eye(4), PatientID=f"P{one}", SeriesInstanceUID=f"1.2.{one}")


def named(names: tuple[str, ...]) -> MAKERS:
    """Pairs in folders of these names, and called by them."""

    def make(folder: Path) -> None:
        for number, name in enumerate(names):
            nifti(folder / "images" / f"{name}.nii.gz", number)
            nifti(folder / "labels" / f"{name}.nii.gz", number, mask=True)

    return make


def with_pairs(*spoils: MAKERS) -> MAKERS:
    """Three good pairs and something beside them."""

    def make(folder: Path) -> None:
        pairs(folder)
        for spoil in spoils:
            spoil(folder)

    return make


def alone(*spoils: MAKERS) -> MAKERS:
    """An empty folder and what is put into it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for spoil in spoils:
            spoil(folder)

    return make


def circle(folder: Path) -> None:
    (folder / "again").symlink_to(folder)
    (folder / "images" / "above").symlink_to(folder)
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "images" / "case_000009.nii.gz").symlink_to(folder / "images" / "case_000009.nii.gz")


def closed_folder(folder: Path) -> None:
    nifti(folder / "closed" / "case_000008.nii.gz", 8)
    (folder / "closed").chmod(0)


def closed_images(folder: Path) -> None:
    (folder / "images").chmod(0)


def closed_file(folder: Path) -> None:
    (folder / "images" / "case_000001.nii.gz").chmod(0)


def closed(folder: Path) -> None:
    folder.chmod(0)


def listed_only(folder: Path) -> None:
    """Names can be read, files cannot."""
    folder.chmod(0o400)


def no_files(folder: Path) -> None:
    """A pipe, a socket, a device's name, a link to nothing, a folder that is called as an image."""
    os.mkfifo(folder / "images" / "pipe.nii.gz")
    os.mkfifo(folder / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "images" / "socket.nii.gz"))
    (folder / "images" / "null.nii.gz").symlink_to("/dev/zero")
    (folder / "images" / "gone.nii.gz").symlink_to("not-there.nii.gz")
    (folder / "images" / "folder.nii.gz").mkdir()


def broken(folder: Path) -> None:
    """Files of all kinds that hold nothing, or not what they say."""
    for name in ("empty.nii.gz", "empty.dcm", "empty.png", "empty.nrrd", "empty.mha"):
        (folder / name).touch()
    (folder / "text.nii.gz").write_text("this is no image")
    (folder / "half.nii.gz").write_bytes(nifti(folder / "whole.nii.gz", 1).read_bytes()[:200])


def not_unicode(folder: Path) -> None:
    for part in ("images", "labels"):
        (folder / part / "case_000001.nii.gz").rename(folder / part / "\udcff\udcfecase.nii.gz")


def deep(folder: Path) -> None:
    """A file below 300 folders, and folders below a path that no call takes."""
    here = os.open(folder, os.O_RDONLY)
    for level in range(60):
        name = f"{level:03d}" * 30
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.nii.gz", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    nifti(folder.joinpath(*["d"] * 300) / "case_000007.nii.gz", 7)


def empty_folders(folder: Path) -> None:
    for number in range(MORE):
        (folder / f"study {number % 100}" / f"series {number}").mkdir(parents=True)


def beside(folder: Path) -> None:
    """Files that are no scans, in numbers."""
    (folder / "notes").mkdir()
    for number in range(MORE):
        (folder / "notes" / f"{number}.txt").touch()


LONG = tuple("n" * 240 + f"{number}" for number in range(3)), tuple("头" * 79 + f"{number}" for number in range(3))
SIZES: dict[str, MAKERS] = {
    "10,000 files in pairs": lambda folder: pairs(folder, MANY),
    "10,000 images": lambda folder: images(folder, MANY),
    "10,000 DICOM files": lambda folder: series(folder, MANY),
}
LARGE: dict[str, MAKERS] = {
    "100,000 files in pairs": lambda folder: pairs(folder, MORE),
    "100,000 images": lambda folder: images(folder, MORE),
}
HOSTILE: dict[str, MAKERS] = {
    "no folder": lambda folder: None,
    "a file": Path.touch,
    "empty": Path.mkdir,
    "one image": lambda folder: nifti(folder / "a.nii.gz", 1),
    "links in circles": with_pairs(circle),
    "a closed folder beside": with_pairs(closed_folder),
    "a closed folder of images": with_pairs(closed_images),
    "a closed file": with_pairs(closed_file),
    "closed": with_pairs(closed),
    "names without files": with_pairs(listed_only),
    "no files": with_pairs(no_files),
    "broken files beside": with_pairs(broken),
    "broken files alone": alone(broken),
    "names in other scripts": named(SCRIPTS),
    "names with marks": named(MARKS),
    "names that are not UTF-8": with_pairs(not_unicode),
    "long names": named(LONG[0] + LONG[1]),
    "deep": with_pairs(deep),
    "100,000 empty folders": with_pairs(empty_folders),
    "100,000 other files": with_pairs(beside),
}
GROUPS = {"sizes": SIZES, "hostile": HOSTILE, "large": LARGE}


if __name__ == "__main__":
    main()
