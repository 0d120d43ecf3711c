"""Make the bundle of docs/howto/offline.md, install it in a namespace without a network, and do a whole job there.

    python benchmarks/offline_bundle.py --folder /tmp/offline --write benchmarks/results/offline_bundle.json

The bundle is made by `docs/offline/bundle.sh` from this clone. All that follows runs by `unshare --net`, with an empty
home: that nothing answers there is tried first. TORCH may name a wheel of the CPU build, as that script says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
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
JOB = (
    ("doctor",),
    ("demo", "--data", "data"),
    ("new", "data/labelled", "--out", "heads.yaml"),
    ("run", "heads.yaml", "--set", "training.budget=4 steps"),
    ("models", "show", "heads/1"),
    ("segment", "models:/heads/1", "data/dicom", "--out", "batch"),
)
"""What is asked of VoxGraft: a short training on the demo's scans, and a batch by the model of its registry."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="A folder that is not there yet; deleted at the end."
    )
    parser.add_argument("--extras", default="demo,review,serve")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    (folder / "home").mkdir(parents=True)
    (folder / "work").mkdir()
    machine = {"system": platform.system(), "processor": platform.machine(), "python": platform.python_version()}
    bundle, bin_ = folder / "bundle", folder / "installed" / "bin"
    rows = [done(["bash", str(SCRIPT), str(bundle), asked.extras], folder)]
    found: dict[str, Any] = {"machine": machine, "extras": asked.extras, "cores": os.cpu_count()}
    found["wheels"] = len(list(bundle.glob("wheels/*.whl")))
    found["megabytes"] = megabytes(bundle)
    outside = ["env", "-i", f"HOME={folder / 'home'}", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "NO_COLOR=1"]
    alone = ["unshare", "--net", *outside, f"PYTHON={sys.executable}"]
    rows.append(done([*alone, sys.executable, "-c", NO_NETWORK], folder))
    rows.append(done([*alone, "bash", str(bundle / "install.sh"), str(bin_.parent)], folder))
    found["installed_megabytes"] = megabytes(bin_.parent)
    rows += [done([*alone, str(bin_ / "voxgraft"), *words], folder / "work") for words in JOB]
    found["masks"] = len(list((folder / "work" / "batch").glob("*/mask.nii.gz")))
    found["steps"] = [{**row, "command": row["command"].replace(f"{folder}/", "")} for row in rows]
    shutil.rmtree(folder)
    if asked.write is not None:
        asked.write.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def done(call: list[str], place: Path) -> dict[str, Any]:
    """Run something that must succeed; how long it took.

    Raises:
        SystemExit: It failed.
    """
    shown = call[call.index(f"PYTHON={sys.executable}") + 1 :] if "unshare" in call else call
    command = " ".join(shown).replace(f"{ROOT}/", "").replace(sys.executable, "python").replace(NO_NETWORK, "...")
    print(f"... {command}", flush=True)
    begun = time.monotonic()
    answer = subprocess.run(call, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(answer.stdout[-1500:], flush=True)
    if answer.returncode:
        raise SystemExit(f"{command}: exit code {answer.returncode}")
    return {"command": command, "network": "unshare" not in call, "seconds": round(time.monotonic() - begun, 1)}


def megabytes(folder: Path) -> int:
    """10**6 bytes in all files below."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6)


if __name__ == "__main__":
    main()
