"""What is proposed where nothing was found on the data itself, and the measured gains that speak for it.

All of it stands in `prior.json`, which `benchmarks/prior.py` writes from the files of figures; docs/transfer.md shows
them. In 2D the curves favour ImageNet weights with L2-SP (Li 2018), weakly weighed. In 3D they were ahead with a single
labelled scan and behind a small network from scratch with more; weights of the same organ and modality gained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any

Document = dict[str, Any]
"""An encoder or a strategy as a workflow writes it."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What was measured on other data sets.

    Attributes:
        dims: 2 for slices and pictures, 3 for volumes.
        encoder: What to begin with; None where no encoder is favoured without knowing the organ.
        transfer: The strategies that it was measured with.
        data: The names of the data sets.
        modalities: Of their images.
        labels: The fewest and the most labelled patients.
        gain: The smallest and the largest difference in Dice from scratch.
        faster: Where one data set was trained for longer too, part of the gain was gone: it was only speed.
    """

    dims: int
    encoder: Document | None
    transfer: tuple[Document, ...]
    data: tuple[str, ...]
    modalities: frozenset[str]
    labels: tuple[int, int]
    gain: tuple[float, float]
    faster: bool

    def said(self, modality: str, patients: int) -> str:
        """The figures in a clause, with what they leave open for such data.

        Args:
            modality: The name of its modality's component.
            patients: Those with labels to learn from.
        """
        few, many = self.labels
        whose = "ImageNet weights" if self.encoder else "weights of the same organ and modality"
        sets = (
            f"{len(self.data)} other {self.dims}D data set{'' if len(self.data) == 1 else 's'} ({_listed(self.data)})"
        )
        text = f"{whose} gained {_range(self.gain)} Dice on {sets} with {few} to {many} labelled patients"
        text += ", part of it only speed" if self.faster else ""
        if modality not in self.modalities:
            text += f"; none of them was of the modality {modality}"
        if patients > many:
            text += f"; more patients than {many} were not tried"
        return f"{text} (docs/transfer.md)"


def prior(dims: int) -> Prior:
    """What is known of transfer in 2D or 3D before a trial.

    Args:
        dims: 2 for slices and pictures, 3 for volumes.
    """
    known = _known()
    rows = [row for row in known["gains"] if row["dims"] == dims]
    use: Mapping[str, Any] = next(
        (one for one in known["use"] if one["dims"] == dims), {"encoder": None, "transfer": []}
    )
    return Prior(
        dims,
        use["encoder"],
        tuple(use["transfer"]),
        tuple(sorted({row["data"] for row in rows})),
        frozenset(row["modality"] for row in rows),
        (min(row["labels"][0] for row in rows), max(row["labels"][1] for row in rows)),
        (min(row["gain"][0] for row in rows), max(row["gain"][1] for row in rows)),
        any(one["data"] == two["data"] and one["gain"] > two["gain"] for one, two in pairwise(rows)),
    )


@dataclass(frozen=True, slots=True)
class Volumes:
    """What volumes from scratch gained over slices from ImageNet weights after as many seconds, on one data set."""

    data: str
    patients: int
    gain: float
    ci95: tuple[float, float]
    seconds: float

    def said(self) -> str:
        """The figure in a clause."""
        low, high = self.ci95
        return (
            f"on another data set ({self.data}, {self.patients} held-out scans) volumes gained {self.gain:+.3f} Dice "
            f"({low:+.3f} to {high:+.3f}) over slices after {self.seconds / 60:.0f} minutes each (docs/transfer.md)"
        )


def volumes() -> Volumes:
    """What is known of slices and volumes before a trial."""
    (row,) = _known()["shapes"]
    return Volumes(row["data"], row["patients"], row["gain"], tuple(row["ci95"]), max(row["seconds"].values()))


def _known() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files(__package__) / "prior.json").read_text(encoding="utf-8"))
    return found


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _range(ends: tuple[float, float]) -> str:
    return " to ".join(f"{end:+.2f}" for end in ends)
