"""What `plugins_whole_job.py --plugin merlin` learns and measures: sarcomas in CT from Merlin's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from measured import DATA, ROOT

import voxgraft as vg
from voxgraft.scoring.pair import Counts

WORKFLOW = ROOT / "plugins" / "voxgraft-merlin" / "sarcoma_ct.yaml"
KEPT = 3
"""Patients that training never sees; they are segmented as new scans are."""


def prepare_merlin(folder: Path) -> dict[str, tuple[Path, list[Path]]]:
    """The shipped workflow with a table of all patients but the last, whose scans are segmented."""
    source = DATA / "sts_ct"
    head, *rows = (source / "cases.csv").read_text().splitlines()
    (folder / "cases.csv").write_text("\n".join([head, *rows[:-KEPT], ""]))
    workflow = folder / "sarcoma_ct.yaml"
    layout = f"path: {(folder / 'cases.csv').as_posix()}, root: {source.as_posix()}}}"
    workflow.write_text(WORKFLOW.read_text().replace("path: cases.csv}", layout))
    return {"sarcoma": (workflow, [source / row.split(",")[2] for row in rows[-KEPT:]])}


def told_of_merlin(run: str, folder: Path, batch: Path) -> dict[str, Any]:
    """What was loaded, the plan's spacing, and Dice of the scans that training never saw."""
    report = json.loads((folder / "train" / "summary.json").read_text())["weights"]
    plan = json.loads((folder / "plan.json").read_text())
    dice = {}
    for path in sorted(batch.glob("*/mask.nii.gz")):
        name = next(image.name for image in (DATA / "sts_ct" / "images").iterdir() if image.name[:7] in str(path))
        found, truth = (vg.read(one).array > 0 for one in (path, DATA / "sts_ct" / "labels" / name))
        counts = Counts(int((found & truth).sum()), int((found & ~truth).sum()), int((~found & truth).sum()), 0)
        dice[name[:7]] = round(2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn), 4)
    return {"loaded": report["said"], "spacing": plan["spacing"], "unseen scans": dice}
