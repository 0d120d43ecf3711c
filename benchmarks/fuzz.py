"""Spoil real files and read them: no crash, no hang, and no volume that an independent reader does not confirm.

    python benchmarks/fuzz.py                 110,000 spoiled files, two minutes
    python benchmarks/fuzz.py --count 200     a quick look

Each file is copied, spoiled by `voxgraft.testing.damage.mutations` (up to eight bytes changed, inserted or removed, or
runs overwritten; half of them in the header), and read. Three outcomes are right: it is refused in one sentence; it
reads as the unspoiled file does; or it reads as something else and an independent reader of the same spoiled bytes
(nibabel, pydicom, SimpleITK, Pillow) gives the same voxels and the same geometry, or VoxGraft warns of the file. A file
that the independent reader refuses altogether is counted as read here alone, and listed. All else is a fault, and
the script ends with code 1.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measured import DATA, ROOT, computer, keep, parser_of

from voxgraft.discovery import discover
from voxgraft.errors import VoxGraftError
from voxgraft.imaging.read import read_item, scan
from voxgraft.imaging.volume import Item, Volume
from voxgraft.testing import damage

SECONDS = 20
MEMORY = 8 << 30
FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])

Confirm = Callable[[Path, Volume], str | None]
"""Says how an independent reader of the same file differs from a volume; None where it does not."""


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        make: Writes an unspoiled file or series into a folder.
        spoil: The file of it that is spoiled.
    """

    name: str
    make: Callable[[Path], Path]
    confirm: Confirm
    spoil: str


class Hang(Exception):
    """Reading took longer than it may."""


def main() -> int:
    options = _options()
    warnings.filterwarnings("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    catalogue = discover()
    rows, faults = {}, []
    started = time.perf_counter()
    kinds = [kind for kind in KINDS if not options.kinds or kind.name in options.kinds]
    for number, kind in enumerate(kinds):
        with tempfile.TemporaryDirectory() as folder:
            counts, found = _spoil(kind, Path(folder), catalogue, options.count // len(kinds), options.seed + number)
        rows[kind.name] = dict(counts)
        faults += [f"{kind.name}: {fault}" for fault in found]
        print(f"{kind.name:16}", dict(counts), flush=True)
    document = {
        "machine": computer(),
        "seconds": round(time.perf_counter() - started, 1),
        "files": sum(sum(row.values()) for row in rows.values()),
        "kinds": rows,
        "listed": faults,
        "faults": sum(": read here alone: " not in fault for fault in faults),
    }
    print(f"{document['files']} spoiled files, {document['faults']} faults, {document['seconds']} s")
    for fault in faults[:40]:
        print(" ", fault)
    if options.out:
        keep(options.out, document)
    return 1 if document["faults"] else 0


def _spoil(kind: Kind, folder: Path, catalogue: Any, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    path = kind.make(folder)
    (item,) = [one for one in scan(path, catalogue) if one.kind == "image"]
    truth = read_item(item, catalogue)
    target = path / kind.spoil if path.is_dir() else path
    content = target.read_bytes()
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for number, spoiled in enumerate(damage.mutations(content, count, seed)):
        target.write_bytes(spoiled)
        outcome, fault = _read(kind, path, catalogue, truth)
        counts[outcome] += 1
        if fault is not None:
            faults.append(f"{outcome}: seed {seed}, number {number}: {fault}")
    target.write_bytes(content)
    return counts, faults


def _read(kind: Kind, path: Path, catalogue: Any, truth: Volume) -> tuple[str, str | None]:
    try:
        with _limited():
            items = [item for item in scan(path, catalogue) if item.kind == "image"]
            refused = [problem.message for item in items for problem in item.errors]
            volumes = [read_item(item, catalogue) for item in items if not item.errors]
    except VoxGraftError as error:
        message = str(error)
        if type(error).__name__ == "BrokenPlugin":
            return "crash", message
        return ("refused", None) if message.isprintable() and len(message) < 800 else ("crash", message[:300])
    except Hang:
        return "hang", f"longer than {SECONDS} s"
    except Exception as error:  # what is looked for
        return "crash", f"{type(error).__name__}: {error}"
    wordy = [text for text in refused if not text.isprintable() or len(text) > 800]
    if wordy:
        return "crash", f"no plain sentence: {wordy[0][:200]!r}"
    if not volumes:
        return "refused", None
    wrong = [one for one in volumes if not _same(one, truth)]
    if not wrong:
        return "as before", None
    usual = {problem.code for problem in _item(truth).problems}
    for volume in wrong:
        warned = any(problem.code not in usual for problem in _item(volume).problems)
        try:
            with _limited():
                difference = kind.confirm(path, volume)
        except Exception as error:
            if not warned:
                return "read here alone", f"the independent reader says {type(error).__name__}: {str(error)[:120]}"
            return "read with a warning", None
        if difference is not None:
            return ("read with a warning", None) if warned else ("not confirmed", difference)
    return "confirmed", None


def _item(volume: Volume) -> Item:
    assert volume.item is not None
    return volume.item


def _same(volume: Volume, truth: Volume) -> bool:
    return (
        volume.array.shape == truth.array.shape
        and np.allclose(volume.affine, truth.affine, atol=1e-4)
        and np.array_equal(volume.array, truth.array)
    )


def _equal(volume: Volume, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] | None) -> str | None:
    array = np.asarray(array)
    if array.size != volume.array.size:
        return f"{volume.array.shape} voxels, the independent reader has {array.shape}"
    mine, other = np.squeeze(volume.array), np.squeeze(array)
    if mine.shape != other.shape:
        return f"{mine.shape} voxels, the independent reader has {other.shape}"
    if not np.allclose(mine.astype(np.float64), other.astype(np.float64), rtol=1e-5, atol=1e-3, equal_nan=True):
        return "other voxels than the independent reader's"
    if affine is not None and not np.allclose(volume.affine, affine, rtol=1e-4, atol=1e-2):
        return f"another affine than the independent reader's: {volume.affine.tolist()}, {affine.tolist()}"
    return None


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# What is spoiled, and who else reads it.


def _volume(shape: tuple[int, ...] = (23, 19, 11)) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A piece of a real scan, and its affine."""
    import nibabel as nib

    whole: Any = nib.load(DATA / "hippocampus" / "imagesTr" / "hippocampus_004.nii.gz")
    array = np.asarray(whole.dataobj)[tuple(slice(4, 4 + n) for n in shape)].astype(np.int16)
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, -0.9, 2.0])
    affine[:3, 3] = 12.0, -7.5, 30.0
    return array, affine


def _nifti(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import nibabel as nib

        array, affine = _volume()
        nib.save(nib.Nifti1Image(array, affine), folder / f"scan{ending}")
        return folder / f"scan{ending}"

    return make


def _nibabel(path: Path, volume: Volume) -> str | None:
    import nibabel as nib

    image: Any = nib.load(path)
    array = np.asarray(image.dataobj)
    if array.ndim > 3 and volume.channels > 1:
        array = np.moveaxis(array.reshape(*array.shape[:3], -1), -1, 0)
    return _equal(volume, array, np.asarray(image.affine))


def _dicom(folder: Path) -> Path:
    from dicom_series import make_series

    array, affine = _volume((23, 19, 5))
    make_series(folder / "series", array, affine, Modality="MR")
    return folder / "series"


def _pydicom(path: Path, volume: Volume) -> str | None:
    """Every file of the series read by pydicom, put in the order of the volume's slices by position."""
    import pydicom
    from pydicom.pixels import apply_rescale

    files = _item(volume).files or tuple(sorted(path.iterdir()))
    headers = [pydicom.dcmread(file, force=True) for file in files]
    if volume.dims == 2:  # without a place in the patient
        return _equal(volume, apply_rescale(headers[0].pixel_array, headers[0]).T, None)
    ipps = np.array([[float(v) for v in one.ImagePositionPatient] for one in headers])
    iop = np.array([float(v) for v in headers[0].ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(iop[0], iop[1])
    order = np.argsort(ipps @ normal, kind="stable")
    planes = [apply_rescale(headers[k].pixel_array, headers[k]).T for k in order]
    array = np.stack(planes, -1)
    if len(order) > 1:
        step = (ipps[order[-1]] - ipps[order[0]]) / (len(order) - 1)
    else:
        step = normal * float(headers[0].get("SliceThickness") or 1.0)
    row, column = (float(v) for v in headers[0].PixelSpacing)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3] = iop[0] * column, iop[1] * row, step, ipps[order[0]]
    theirs = FLIP @ lps
    if float(np.dot(theirs[:3, 2], volume.affine[:3, 2])) < 0:
        array, theirs = array[..., ::-1], theirs @ _reverse(2, len(order))
    return _equal(volume, array, theirs)


def _reverse(axis: int, count: int) -> np.ndarray[Any, Any]:
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = -1.0, count - 1.0
    return matrix


def _itk(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import SimpleITK as sitk

        array, affine = _volume()
        lps = FLIP @ affine
        spacing = np.sqrt((lps[:3, :3] ** 2).sum(0))
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        sitk.WriteImage(image, str(folder / f"scan{ending}"), useCompression=True)
        return folder / f"scan{ending}"

    return make


def _simpleitk(path: Path, volume: Volume) -> str | None:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array = array.T
    n = image.GetDimension()
    lps = np.eye(4)
    lps[:n, :n] = np.array(image.GetDirection()).reshape(n, n)[:3, :3] @ np.diag(image.GetSpacing()) if n <= 3 else 0
    lps[:n, 3] = image.GetOrigin()
    return _equal(volume, array, FLIP @ lps)


def _picture(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        from PIL import Image

        array, _ = _volume((23, 19, 1))
        Image.fromarray(np.clip(array[..., 0].T, 0, 255).astype(np.uint8)).save(folder / f"scan{ending}")
        return folder / f"scan{ending}"

    return make


def _pillow(path: Path, volume: Volume) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        stored = np.asarray(image)
        shown = np.asarray(image.convert("RGB"))
    greys = [shown[..., 0]] if (shown == shown[..., :1]).all() else []
    readings = [*greys, stored] if volume.channels == 1 else [shown]
    differences = [_equal(volume, one.T, None) for one in readings]
    return None if None in differences else differences[0]


KINDS = [
    Kind("nii.gz", _nifti(".nii.gz"), _nibabel, ""),
    Kind("nii", _nifti(".nii"), _nibabel, ""),
    Kind("dicom, first", _dicom, _pydicom, "0000.dcm"),
    Kind("dicom, middle", _dicom, _pydicom, "0002.dcm"),
    Kind("nrrd", _itk(".nrrd"), _simpleitk, ""),
    Kind("mha", _itk(".mha"), _simpleitk, ""),
    Kind("png", _picture(".png"), _pillow, ""),
    Kind("tiff", _picture(".tif"), _pillow, ""),
    Kind("gif", _picture(".gif"), _pillow, ""),
    Kind("jpeg", _picture(".jpg"), _pillow, ""),
    Kind("bmp", _picture(".bmp"), _pillow, ""),
]


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=110_000, help="spoiled files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", help="only these kinds of files")
    parser.add_argument("--out", type=Path, help="where to write the figures, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    sys.exit(main())
