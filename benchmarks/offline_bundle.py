"""Make the bundle of docs/howto/offline.md, install it in a namespace without a network, and do a whole job there.

    python benchmarks/offline_bundle.py --folder /tmp/offline --write benchmarks/results/offline_bundle.json

The bundle is made by `docs/offline/bundle.sh` from this clone. All that follows runs by `unshare --net`, with an empty
home and nothing but loopback: that nothing answers there is tried first. `review` is asked for its page, each structure
accepted as a reader would, and what was accepted exported. TORCH may name a wheel of the CPU build, as that script
says.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from measured import ROOT, computer, keep, parser_of, processes

sys.path.insert(0, str(ROOT / "tests"))

from told_commands import answer_and_stop

SCRIPT = ROOT / "docs" / "offline" / "bundle.sh"
NO_NETWORK = """\
import socket, sys
try:
    socket.create_connection(("pypi.org", 443), 5)
except OSError as error:
    print(error)
else:
    sys.exit("there is a network")
"""
BUDGET = "20 steps"
JOB = (
    ("doctor",),
    ("demo", "--data", "data"),
    ("new", "data/labelled", "--out", "heads.yaml"),
    ("check", "heads.yaml"),
    ("run", "heads.yaml", "--set", f"training.budget={BUDGET}"),
    ("models", "show", "heads/1"),
    ("segment", "models:/heads/1", "data/dicom", "--out", "batch"),
    ("review", "batch", "--reader", "anna", "--port", "0"),
    ("review", "batch", "--summary"),
    ("review", "batch", "--export", "reviewed"),
    ("evaluate", "batch/02_axial_T1/mask.nii.gz", "data/truth/DEMO-011.nii.gz", "--metrics", "dice"),
    ("models", "export", "heads/1", "heads.voxgraft.zip"),
)
"""What is asked of VoxGraft: a short training on the demo's scans, a batch by the model of its registry, its review."""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="A folder that is not there yet.")
    parser.add_argument("--extras", default="demo,review,serve")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    if asked.inside:
        whole_job(folder)
        return
    for name in ("home", "work"):
        (folder / name).mkdir(parents=True)
    found: dict[str, Any] = {"machine": computer(), "extras": asked.extras}
    bundle = folder / "bundle"
    rows = [done(["bash", str(SCRIPT), str(bundle), asked.extras], folder, dict(os.environ))]
    found["wheels"] = len(list(bundle.glob("wheels/*.whl")))
    found["megabytes"] = megabytes(bundle)
    again = [sys.executable, __file__, "--inside", "--folder", str(folder)]
    alone = 'if command -v ip > /dev/null; then ip link set lo up; fi; exec "$@"'
    subprocess.run(["unshare", "--net", "sh", "-c", alone, "sh", *again], check=True)
    found["installed_megabytes"] = megabytes(folder / "installed")
    found["masks"] = len(list((folder / "work" / "batch").glob("*/mask.nii.gz")))
    found["reviewed"] = len((folder / "work" / "reviewed" / "cases.csv").read_text().splitlines()) - 1
    found["steps"] = rows + json.loads((folder / "rows.json").read_text())
    shutil.rmtree(folder)
    if asked.write is not None:
        keep(asked.write, found)
    print(json.dumps(found, indent=2))


def whole_job(folder: Path) -> None:
    """All that happens without a network; the figures lie in the folder."""
    bin_ = folder / "installed" / "bin"
    place = {"HOME": str(folder / "home"), "PATH": f"{bin_}:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
    environment = {**place, "NO_COLOR": "1", "PYTHON": sys.executable}
    rows = [done([sys.executable, "-c", NO_NETWORK], folder, environment)]
    rows.append(done(["bash", str(folder / "bundle" / "install.sh"), str(bin_.parent)], folder, environment))
    rows += [done(["voxgraft", *words], folder / "work", environment) for words in JOB]
    short = [{**row, "command": row["command"].replace(f"{folder}/", ""), "network": False} for row in rows]
    (folder / "rows.json").write_text(json.dumps(short))


def done(call: list[str], place: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run something that must succeed; how long it took, and its seconds of CPU.

    Raises:
        SystemExit: It failed.
    """
    command = " ".join(call).replace(f"{ROOT}/", "").replace(sys.executable, "python").replace(NO_NETWORK, "...")
    print(f"... {command}", flush=True)
    with processes() as taken:
        if call[:2] == ["voxgraft", "review"] and "--port" in call:
            answer_and_stop(call, place, environment)
        else:
            answer = subprocess.run(call, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            print(answer.stdout.decode()[-1500:], flush=True)
            if answer.returncode:
                raise SystemExit(f"{command}: exit code {answer.returncode}")
    return {"command": command, "seconds": taken.seconds, "cpu": round(taken.cpu, 1)}


def megabytes(folder: Path) -> int:
    """10**6 bytes in all files below."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


if __name__ == "__main__":
    main()
