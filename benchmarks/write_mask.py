"""Write a mask of 512x512x400 voxels (105 MB) as `.nii.gz`: VoxGraft, nibabel, SimpleITK, MONAI.

    python benchmarks/write_mask.py [--rounds 7] [--shape 512 512 400] [--out benchmarks/results/write_mask.json]

Two masks: organs scaled up to the nearest voxel, and tissues with smooth borders. Every file must give the same voxels;
VoxGraft's also waits until the bytes are on the disk and reads the header back. Goals: at least 6 times as fast as
nibabel on an array with the first axis fastest, 8 times as SimpleITK, 30 times as nibabel on C order and as MONAI; the
file no larger than nibabel's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from measured import DATA, measure, parser_of, ratios, record
from volumes import FULL, affine_of, nearest_mask, smooth_ct, tissue_mask

from voxgraft.discovery import discover
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write

GOALS = {
    "nibabel, first axis fastest": 6.0,
    "SimpleITK WriteImage": 8.0,
    "nibabel, C order": 30.0,
    "MONAI SaveImage": 30.0,
}
OWN = "VoxGraft, first axis fastest"


def main() -> None:
    parser = parser_of(__doc__, "write_mask")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", type=int, nargs=3, default=FULL)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    shape = tuple(options.shape)
    masks = {
        "organs, nearest voxel": nearest_mask(options.data, shape),
        "tissues, smooth borders": tissue_mask(smooth_ct(options.data, shape)),
    }
    document = {name: compared(mask, options.rounds) for name, mask in masks.items()}
    record(options.out, {"job": f"write {'x'.join(map(str, shape))} uint8 to .nii.gz", "masks": document})


def compared(mask: np.ndarray[Any, Any], rounds: int) -> dict[str, Any]:
    """The times for one mask, the sizes of the files, and whether the goals are met."""
    from monai.data import MetaTensor
    from monai.transforms import SaveImage

    catalogue, affine = discover(), affine_of(mask.shape)
    labels = Labels.of({f"structure {value}": value for value in range(1, int(mask.max()) + 1)})
    other = np.ascontiguousarray(mask)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        saver = SaveImage(
            folder / "monai",
            "",
            ".nii.gz",
            output_dtype=np.uint8,
            separate_folder=False,
            print_log=False,
            resample=False,
        )
        tensor = MetaTensor(other[None], affine=affine, meta={"filename_or_obj": "mask.nii.gz"})
        files = {
            OWN: folder / "f.nii.gz",
            "VoxGraft, C order": folder / "c.nii.gz",
            "nibabel, first axis fastest": folder / "nf.nii.gz",
            "nibabel, C order": folder / "nc.nii.gz",
            "SimpleITK WriteImage": folder / "s.nii.gz",
            "MONAI SaveImage": folder / "monai" / "mask.nii.gz",
        }
        ways: dict[str, Any] = {
            OWN: lambda: write(Volume(mask, affine), files[OWN], catalogue, labels),
            "VoxGraft, C order": lambda: write(Volume(other, affine), files["VoxGraft, C order"], catalogue, labels),
            "nibabel, first axis fastest": lambda: nib.save(
                nib.Nifti1Image(mask, affine), files["nibabel, first axis fastest"]
            ),
            "nibabel, C order": lambda: nib.save(nib.Nifti1Image(other, affine), files["nibabel, C order"]),
            "SimpleITK WriteImage": lambda: sitk.WriteImage(
                sitk.GetImageFromArray(mask.T), str(files["SimpleITK WriteImage"]), True
            ),
            "MONAI SaveImage": lambda: saver(tensor),
        }
        times = measure(ways, rounds)
        for name, file in files.items():
            assert np.array_equal(np.asanyarray(nib.load(file).dataobj), mask), f"{name} writes other voxels"
        sizes = {name: file.stat().st_size for name, file in files.items()}
    found = ratios(times, OWN)
    return {
        "rounds": rounds,
        "times": times,
        "times_as_long": found,
        "bytes": sizes,
        "goals": {
            **{name: {"at_least": goal, "met": found[name] >= goal} for name, goal in GOALS.items()},
            "file no larger than nibabel's": {"met": sizes[OWN] <= sizes["nibabel, first axis fastest"]},
        },
    }


if __name__ == "__main__":
    main()
