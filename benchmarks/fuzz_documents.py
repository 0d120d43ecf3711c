"""Spoil documents (YAML, JSON, tables, packages) and read them: no crash, no hang, one sentence each.

    python benchmarks/fuzz_documents.py                  8,000 spoiled files, a minute or two
    python benchmarks/fuzz_documents.py --count 400      a quick look

Each document is spoiled by `voxgraft.testing.damage.mutations` and read as the command line reads it. Two outcomes are
right: it is read, or it is refused by one of VoxGraft's own errors. All else is a fault; the script then ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxgraft.batch.entry import read_worklist
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import BrokenPlugin, VoxGraftError
from voxgraft.packages.archive import pack, unpack
from voxgraft.packages.package import read_package
from voxgraft.scoring.naming import read_labels
from voxgraft.scoring.scores import Scores
from voxgraft.scoring.subgroups import read_facts
from voxgraft.testing import damage
from voxgraft.workflow.workflow import read as read_workflow

SECONDS, MEMORY = 20, 8 << 30
WORKFLOW = Path(__file__).parents[1] / "workflows"
TABLE = "case,patient,site,age\n" + "".join(f"case_{n},p{n // 2},site {n % 3},{20 + n}\n" for n in range(30))
LABELS = json.dumps({"labels": {"background": 0, "liver": 1, "spleen": [1, 2], "ignore": 3}})
SCORES = json.dumps({"cases": {f"case_{n}": {"dice": {"liver": n / 30}} for n in range(30)}})


def main() -> int:
    options = _options()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    started, rows, faults = time.perf_counter(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        kinds = _kinds(Path(folder), discover())
        for number, (name, (path, reader)) in enumerate(kinds.items()):
            counts, wrong = _spoil(path, reader, options.count // len(kinds), options.seed + number)
            rows[name] = dict(counts)
            faults += [f"{name}: {one}" for one in wrong]
            print(f"{name:12}", dict(counts), flush=True)
    document = {
        "command": " ".join(["python", "benchmarks/fuzz_documents.py", *sys.argv[1:]]),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "seconds": round(time.perf_counter() - started, 1),
        "files": sum(sum(row.values()) for row in rows.values()),
        "kinds": rows,
        "faults": faults,
    }
    print(f"{document['files']} spoiled files, {len(faults)} faults", *faults[:20], sep="\n  ")
    if options.out:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if faults else 0


def _kinds(folder: Path, catalogue: Catalogue) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """Each document, unspoiled, with what reads it."""
    package = _package(folder / "package")
    archive = pack(package, folder / "a.voxgraft.zip")
    texts = {"workflow": ("a.yaml", next(WORKFLOW.glob("*.yaml")).read_text()), "labels": ("a.json", LABELS)}
    texts |= {"scores": ("scores.json", SCORES), "groups": ("groups.csv", TABLE)}
    texts["worklist"] = ("list.csv", "path,case\n" + "".join(f"scan{n}.nii.gz,c{n}\n" for n in range(20)))
    for name, text in texts.values():
        (folder / name).write_text(text)
    return {
        "workflow": (folder / "a.yaml", lambda path: read_workflow(path, catalogue)),
        "labels": (folder / "a.json", lambda path: read_labels(str(path))),
        "scores": (folder / "scores.json", Scores.from_json),
        "groups": (folder / "groups.csv", read_facts),
        "worklist": (folder / "list.csv", lambda path: read_worklist(path, ("image",))),
        "archive": (archive, lambda path: unpack(path, folder / "unpacked")),
        "manifest": (package / "manifest.json", lambda path: read_package(path.parent)),
        "plan": (package / "plan.json", lambda path: read_package(path.parent)),
    }


def _package(folder: Path) -> Path:
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))
    from test_package import PLAN

    from voxgraft.imaging.structures import Label, Labels
    from voxgraft.packages.package import write_package

    labels = Labels((Label(1, "liver"),))
    tensors = {"weight": torch.zeros(8)}
    write_package(
        folder, tensors=tensors, plan=PLAN, workflow="voxgraft: 1\n", labels=labels, card="x", facts={"name": "a"}
    )
    return folder


def _spoil(path: Path, reader: Callable[[Path], Any], count: int, seed: int) -> tuple[Counter[str], list[str]]:
    content, counts, faults = path.read_bytes(), Counter[str](), []
    for number, spoiled in enumerate(damage.mutations(content, count, seed)):
        path.write_bytes(spoiled)
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(SECONDS)
        try:
            reader(path)
            counts["read"] += 1
        except BrokenPlugin as error:
            faults.append(f"seed {seed}, number {number}: {error}")
        except VoxGraftError:
            counts["refused"] += 1
        except Exception as error:  # what is looked for
            counts["crash"] += 1
            faults.append(f"seed {seed}, number {number}: {type(error).__name__}: {str(error)[:200]}")
        finally:
            signal.alarm(0)
    path.write_bytes(content)
    return counts, faults


def _stop(number: int, frame: Any) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8000, help="spoiled files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
