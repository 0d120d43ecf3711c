"""A problem of a data set, and what a user can do about each kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from ..support.texts import listed

T = TypeVar("T")

Severity = Literal["error", "warning", "repair", "note"]

ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "repair": 2, "note": 3}
"""The worst first."""


@dataclass(frozen=True, slots=True)
class CaseProblem:
    """Something wrong with a data set.

    Attributes:
        code: A stable word to script against, such as `unnamed-label`.
        severity: An `error` is what training would stop at, or what would make its figures false; a `repair` was done
            while reading; a `note` is worth knowing and may be as it should be.
        case: The id of the case; None where it concerns the data set as a whole.
        message: One plain sentence.
    """

    code: str
    severity: Severity
    case: str | None
    message: str

    @property
    def fix(self) -> str:
        """What to do about it; empty where the message says all there is to say."""
        return FIXES.get(self.code, UNREADABLE if self.severity == "error" else "")


SHOWN = 3
"""Problems of one kind that concern no single case and are shown by themselves."""


def grouped(problems: Sequence[CaseProblem]) -> list[tuple[CaseProblem, str]]:
    """One of each kind with the cases that have it: one line for a person, however many there are.

    Returns:
        The problem to show, and its cases with their number; empty where it concerns the data set as a whole.
    """
    alike: dict[tuple[str, str, bool], list[CaseProblem]] = {}
    for problem in problems:
        alike.setdefault((problem.severity, problem.code, problem.case is None), []).append(problem)
    rows: list[tuple[CaseProblem, str]] = []
    for (_, _, single), group in alike.items():
        if single and len(group) > SHOWN:
            more = replace(group[0], message=f"{group[0].message}; and {len(group) - 1} more of this kind")
            rows.append((more, ""))
        elif single:
            rows += [(problem, "") for problem in group]
        else:
            cases = list(dict.fromkeys(problem.case or "" for problem in group))
            several = f"{len(cases)} cases ({listed(cases)}), the first" if len(cases) > 1 else cases[0]
            rows.append((group[0], several))
    return rows


def alike(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Those of one key together, where there are several."""
    groups: dict[Hashable, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return [group for group in groups.values() if len(group) > 1]


def millimetres(lengths: Iterable[float]) -> str:
    return "x".join(f"{length:.4g}" for length in lengths)


UNREADABLE = "export or copy the file again, or name the case in data.leave_out"
"""What to do about errors for which readers have codes of their own."""

FIXES: dict[str, str] = {
    # reading
    "layout": "fix the folder or the options of data.layout",
    "transfer": "",  # each message says it
    "weights": "",
    "unreadable-image": UNREADABLE,
    "unreadable-label": UNREADABLE,
    "unusable-label": "fix the mask, or say under data.labels what it holds",
    "several-images": "name the right one by its series, or put each into its own file",
    "several-labels": "name the right one by its series, or put each into its own file",
    "unreadable-valid-region": UNREADABLE,
    "unusable-valid-region": "write one channel of whole numbers, 0 where nothing counts",
    "several-valid-regions": "name the right one",
    "missing-label": "draw the mask, or leave the image out",
    "no-labels": "nothing, if only images were meant",
    "few-labels": "label more cases",
    "note": "",
    # a tree of DICOM files
    "ambiguous-study": "narrow the rules of data.layout, say take, or incomplete: skip",
    "ambiguous-structures": "take the other series out with the rules of data.layout, or the object out of the tree",
    "several-masks": "",
    "other-frame": "",
    "other-grid": "",
    "damaged-structures": "export the object again, or take it out of the tree",
    # geometry
    "shape-mismatch": "voxgraft convert MASK NEW --reference IMAGE --resample, and check the result",
    "geometry-mismatch": "give it the image's geometry if it was drawn on these voxels; else resample it onto it",
    "valid-region-mismatch": "draw it on the image's voxels, or voxgraft convert FILE NEW --reference IMAGE --resample",
    "channel-mismatch": "bring the channels onto one grid: data.layout.align, or voxgraft convert --reference",
    "channel-count": "name all channels under data.layout.channels, save the image like the others, or leave it out",
    "same-channels": "replace one channel by the right file",
    "mixed-dimensions": "train on one kind at a time",
    "dims": "set model.dims to 2",
    "flat-image": "set model.dims to 2, or export the whole series",
    "odd-spacing": "compare with the scanner's protocol; a wrong header ruins sizes and volumes",
    "odd-size": "check whether it is another body part or a part of a scan",
    # voxels
    "nan-voxels": "replace them by air or background, or export again",
    "constant-image": "export again, or name the case in data.leave_out",
    "clipped-image": "use the scanner's own values if you have them",
    "not-hounsfield": "export with rescale slope and intercept, or add the offset",
    "other-than-pretrained": "leave data.spacing out and take that modality, or start with weights: none",
    "other-modality": "choose the modality of the images under data.modality, or leave those cases out",
    "odd-intensity": "nothing for MR, which is normalised image by image; for CT look at the export",
    # labels
    "label-not-whole": "draw it again or resample the original mask with nearest neighbour",
    "label-out-of-range": "give the structures values from 1 to 65535",
    "unnamed-label": "name the values under data.labels, or fix the file",
    "palettes-differ": "",
    "absent-label": "take the name out, or find out where its masks are",
    "absent-region": "fix the members of the region",
    "no-foreground": "check whether the right files are taken as masks",
    "empty-label": "nothing, if there is nothing to mark in this scan",
    "missing-structure": "check whether it was forgotten or is outside the scan",
    "ignored-label": "nothing, if it is intended; such voxels are not counted",
    "empty-valid-region": "write it again, 0 only where nothing counts; or leave it out, where all counts",
    "odd-valid-region": "check whether it was saved with loss (JPEG) or interpolated; write 0 and 1",
    "outside-valid-region": "nothing, if it is intended; if much of a structure, check whether the file is inverted",
    "tiny-label": "look at it: a slip of the mouse, or nearly forgotten",
    "odd-volume": "look at the mask beside its image",
    "fragmented-label": "look for stray voxels, with data.leave_out as the last resort",
    "full-label": "check whether the right file is taken as the mask",
    "inverted-label": "swap background and structure",
    "sides-swapped": "compare with the scanner; a mirrored image or swapped names train a model that confuses "
    "left and right",
    "mirrored-sides": "set data.modality.augmentation.mirror to 0, and rotation below 90",
    "mirror-unused": "leave inference.mirror out, or let training mirror: data.modality.augmentation.mirror",
    "at-border": "take volumes of these cases with care",
    "rare-structure": "raise training.foreground, and give it time",
    # copies, patients, split
    "same-image": "remove all but one, or give them one patient",
    "turned-image": "remove all but one, or give them one patient",
    "near-duplicate": "look at them side by side; give them one patient if it is one",
    "same-label": "put the right mask in the place of the copy",
    "similar-patients": "identify the patients: data.layout.patient, such as '{patient}_{rest}', or a column patient",
    "no-patients": "identify the patients if some were scanned more than once: data.layout.patient, or a column",
    "unusable-split": "set data.split.by: patient, or fix the split",
    "patient-in-both": "give each patient to one part of the split",
    "few-patients": "lower data.split.folds, or add patients",
    "small-validation": "take fewer folds, or read the figures of all folds together",
    "one-sided-structure": "choose another data.split.seed",
    "one-training-case": "add cases, or lower data.split.folds",
    "lost-structure": "set a finer data.spacing, or take the structure out of data.labels",
    # people
    "names-in-header": "voxgraft deidentify before the data leave the hospital",
    "text-in-header": "blank the field before the data leave the hospital",
    "telling-name": "rename the files before the data leave the hospital",
    "burned-in": "look at the pictures; names may be drawn into the pixels",
    # disk and memory
    "little-disk": "free the disk, or point data.cache to another one",
    "little-memory": "take a larger machine, a coarser data.spacing or smaller images",
    "little-gpu-memory": "lower training.batch or training.patch, or train on the CPU",
}
"""What to do about each kind of problem. Readers have codes of their own for broken series and headers."""
