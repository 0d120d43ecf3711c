"""The loop of a review, for real: train, segment, correct, export, train the next version, compare on unseen cases.

    python benchmarks/review_loop.py [--steps 150] [--folder DIR] [--out benchmarks/results/review_loop.json]

Crops of the hippocampus (Medical Segmentation Decathlon, Task04). A champion learns from few cases and segments others;
a simulated reader accepts a structure whose Dice with the reference is good enough, and else draws the reference. The
next version starts from the champion and learns from the old cases and the reviewed ones; a third network takes as many
steps from the champion on the old cases alone. All are compared on crops that none of them saw, and the registry judges
champion and next version on the held-out fold.
"""

from __future__ import annotations

import contextlib
import csv
import json
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import measured
from arms import folder_of
from measured import ROOT, keep, parser_of

import voxgraft as vg
from voxgraft.imaging.write import write
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.worth.export import export
from voxgraft.review.worth.snapshot import take_snapshot
from voxgraft.review.worth.summary import summary_of
from voxgraft.scoring.comparison import compare_all
from voxgraft.support.files import sha256

DATA = measured.DATA / "hippocampus"
NAME = "hippocampus-loop"
OLD, REVIEWED, FRESH = 30, 40, 30
"""Cases that the champion is made from (a fifth is held out), that are reviewed, and that are seen at the end alone."""
GOOD = 0.85
"""The Dice from which on the simulated reader accepts a structure as it is."""
LABELS = {"anterior": 1, "posterior": 2}


def parts() -> list[list[str]]:
    """Names of old, reviewed and fresh cases."""
    names = sorted(path.name for path in (DATA / "imagesTr").glob("hippocampus_*.nii.gz"))
    starts = (0, OLD, OLD + REVIEWED, OLD + REVIEWED + FRESH)
    return [names[start:end] for start, end in pairwise(starts)]


def table(path: Path, names: Sequence[str]) -> Path:
    """A table of cases for the layout `csv`."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case", "image", "label"])
        for name in names:
            rows.writerow([name.split(".")[0], DATA / "imagesTr" / name, DATA / "labelsTr" / name])
    return path


def train(out: Path, steps: int, old: Path, **changes: Any) -> Any:
    """Train as workflows/hippocampus_next.yaml does, with other data, name and budget; the run."""
    overrides = {
        "name": out.name,
        "data__layout": json.dumps({"use": "csv", "path": str(old)}),
        "data__added": "null",
        "data__labels": json.dumps(LABELS),
        "data__cache": str(out.parent / "cache"),
        "model__start": "none",
        "model__encoder": json.dumps({"use": "residual", "width": 8}),
        "training__budget": f"{steps} steps",
        "training__validate_every": 1,
        "training__device": "cpu",
        "evaluation__metrics": "[dice, nsd]",
        "tracking__experiment": "loop",
        "registry__name": NAME,
        **changes,
    }
    return vg.run(ROOT / "workflows" / "hippocampus_next.yaml", out=out, **overrides)


def review(out: Path) -> None:
    """Decide about every scan of a batch as a reader who knows the reference."""
    store = ReviewStore(out, vg.catalogue())
    for case in list(store.rows):
        model = vg.read(out / case / "mask.nii.gz")
        reference = vg.read(DATA / "labelsTr" / f"{case}.nii.gz")
        scores = vg.evaluate(out / case / "mask.nii.gz", DATA / "labelsTr" / f"{case}.nii.gz", ["dice"])
        found = next(iter(scores.cases.values()))["dice"]
        final, verdicts = model.array.copy(), {}
        for name, value in LABELS.items():
            good = found[str(value)] >= GOOD
            verdicts[name] = "accepted" if good else "corrected"
            if not good:
                final[final == value] = 0
                final[reference.array == value] = value
        if (final != model.array).any():
            keep_mask(store, case, model.with_array(final))
        for name in LABELS:
            mask = store.seen(case, "reader").mask
            changed = bool(((final == LABELS[name]) != (model.array == LABELS[name])).any())
            verdict = "corrected" if changed else "accepted"
            seconds = 45.0 if changed else 8.0
            store.decide(case, "reader", structure=name, verdict=verdict, seconds=seconds, mask=mask)
    store.close()


def keep_mask(store: ReviewStore, case: str, mask: Any) -> None:
    """Save a mask as the reader's."""
    model, path = store.out / case / "mask.nii.gz", store.folder.mask(case, "reader")
    path.parent.mkdir(parents=True, exist_ok=True)
    write(mask, path, store.catalogue)
    before = vg.read(model).array
    changed = {str(value): int(((before == value) != (mask.array == value)).sum()) for value in LABELS.values()}
    line = {
        "sha256": sha256(path),
        "base": sha256(model),
        "model_mask": sha256(model),
        "tool": "pen",
        "changed": changed,
    }
    store.log.append("mask", {"case": case, "reader": "reader", **line}, store.state.take)


def scored(model: Any, names: Sequence[str], out: Path) -> Any:
    """Scores of a model on cases that it did not see."""
    batch = vg.segment(model, [DATA / "imagesTr" / name for name in names], out, device="cpu")
    assert batch.done + batch.skipped == len(names), batch.document()
    masks, references = out / "masks", out / "references"
    for folder in (masks, references):
        folder.mkdir(exist_ok=True)
    for name in names:
        for target, source in (
            (masks, out / name.split(".")[0] / "mask.nii.gz"),
            (references, DATA / "labelsTr" / name),
        ):
            (target / name).unlink(missing_ok=True)
            (target / name).symlink_to(source.resolve())
    return vg.evaluate(masks, references, ["dice", "nsd"])


def loop(folder: Path, steps: int) -> dict[str, Any]:
    """Go once round; what came of it."""
    old, reviewed, fresh = parts()
    begun = time.process_time()
    champion = train(folder / "champion", steps, table(folder / "old.csv", old), transfer="[]")
    out = folder / "batch"
    vg.segment(f"models:/{NAME}@champion", [DATA / "imagesTr" / name for name in reviewed], out, device="cpu")
    if not (out / "review" / "audit.jsonl").exists():
        review(out)
    snapshot = take_snapshot(out, vg.catalogue())
    told = summary_of(snapshot)
    exported = export(snapshot, folder / "reviewed")
    start = {"model__start": f"models:/{NAME}/1"}
    alone = train(folder / "alone", steps, folder / "old.csv", registry__name=f"{NAME}-alone", **start)
    added = json.dumps({"use": "csv", "path": str(folder / "reviewed" / "cases.csv")})
    following = train(folder / "next", steps, folder / "old.csv", data__added=added, **start)
    scores = {
        "champion": scored(champion.package, fresh, folder / "fresh_champion"),
        "more steps without the reviewed cases": scored(alone.package, fresh, folder / "fresh_alone"),
        "next version": scored(following.package, fresh, folder / "fresh_next"),
    }
    pairs = compare_all(scores, {"dice": True}, every_pair=True)
    split = json.loads((folder / "next" / "split.json").read_text())
    return {
        "steps": steps,
        "cases": {"old": len(old), "reviewed": len(reviewed), "fresh": len(fresh)},
        "learnt_from": {name: len(split[name]) for name in ("train", "validation")},
        "of_them_reviewed": sum(name.startswith("added/") for name in split["train"]),
        "review": {key: told[key] for key in ("decisions", "structures", "seconds_per_scan", "audit")},
        "exported": len(exported.cases),
        "register": json.loads((folder / "next" / "register.json").read_text()),
        "fresh": {name: one.document()["summary"] for name, one in scores.items()},
        "compared": [pair.document() for pair in pairs],
        "cpu_seconds": round(time.process_time() - begun),
    }


def main() -> None:
    parser = parser_of(__doc__, "review_loop")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--folder", type=Path, help="keep everything here, and go on with what is here")
    options = parser.parse_args()
    out = options.out.resolve()
    with folder_of(options) as folder, contextlib.chdir(folder):  # the registry is voxgraft.db in the working directory
        found = loop(folder, options.steps)
    keep(out, found)
    print(json.dumps({key: found[key] for key in ("review", "register", "fresh", "compared")}, indent=1))


if __name__ == "__main__":
    main()
