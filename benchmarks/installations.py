"""What an installation takes: distributions, megabytes, seconds, and whether it answers, in fresh virtual environments.

    python benchmarks/installations.py --folder /tmp/installations --write benchmarks/results/installations.json

`pip` installs from the index that it is set to, with `constraints.txt`; each environment is deleted when it has been
measured. What an extra adds is measured in the environment of the plain installation, and taken out of it again. Sizes
are of the files that a distribution's RECORD names, byte code of pip included. Seconds by the clock depend on how near
the index is, and on what pip holds in its cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from measured import ROOT, computer, keep, parser_of, processes

EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
FOR_DEVELOPERS = {"benchmark", "dev", "docs"}
PLAIN = "voxgraft"
CASES = (PLAIN, "voxgraft[demo,mlflow,serve]")
"""The plain installation, and that of the README's first command."""
LARGEST = 8
"""Distributions that are named with their size."""
NO_PART = {"pip", "setuptools"}
"""What every virtual environment holds."""
ASK = """\
import json
from importlib.metadata import distributions

def size(one):
    return sum(path.stat().st_size for file in one.files or [] if (path := one.locate_file(file)).is_file())

print(json.dumps({one.name: [one.version, size(one)] for one in distributions()}))
"""


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="Where the environments are made, one at a time.")
    parser.add_argument("--case", choices=CASES, action="append", help="By default all.")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    found: dict[str, Any] = {"machine": computer(), "cases": {}, "added_by": {}}
    for name in asked.case or CASES:
        print(f"... {name}", flush=True)
        python, seconds = created(asked.folder / "venv", name.replace(PLAIN, ".", 1))
        found["cases"][name] = described(python) | seconds
        if name == PLAIN:
            names = sorted(EXTRAS.keys() - FOR_DEVELOPERS)
            found["added_by"] = {extra: added(python, EXTRAS[extra]) for extra in names}
        shutil.rmtree(asked.folder / "venv")
        if asked.write is not None:
            keep(asked.write, found)
        print(json.dumps(found, indent=2), flush=True)
    asked.folder.rmdir()


def created(venv: Path, what: str) -> tuple[Path, dict[str, int]]:
    """A new environment with VoxGraft in it: its interpreter, and the seconds it took."""
    python = venv / "bin" / "python"
    with processes() as taken:
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip(python, "install", "-c", "constraints.txt", what)
    return python, {"seconds": round(taken.seconds), "cpu_seconds": round(taken.cpu)}


def added(python: Path, needs: list[str]) -> dict[str, Any]:
    """What an extra brings into an environment that lacks it; the environment is left as it was."""
    before = installed(python)
    pip(python, "install", "-c", "constraints.txt", *needs)
    new = {name: row for name, row in installed(python).items() if name not in before}
    if new:
        pip(python, "uninstall", "-y", *new)
    return sizes(new)


def described(python: Path) -> dict[str, Any]:
    """Sizes, and what `pip check` and `doctor` say."""
    each = installed(python)
    checked = subprocess.run([str(python), "-m", "pip", "check"], env=environment(), capture_output=True, text=True)
    doctor = [str(python.parent / "voxgraft"), "doctor", "--json"]
    said = subprocess.run(doctor, cwd=python.parent, env=environment(), capture_output=True, text=True)
    document = json.loads(said.stdout)
    return sizes(each) | {
        "torch": each["torch"][0],
        "pip_check": checked.stdout.strip(),
        "doctor": said.returncode,
        "notes": document["notes"],
        "troubles": document["troubles"],
    }


def sizes(each: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """How many there are, what they take, and the largest, in MB (10**6 bytes)."""
    largest = sorted(each, key=lambda name: -each[name][1])[:LARGEST]
    return {
        "distributions": len(each),
        "megabytes": round(sum(size for _, size in each.values()) / 1e6),
        "largest": {name: round(each[name][1] / 1e6) for name in largest},
    }


def installed(python: Path) -> dict[str, tuple[str, int]]:
    """Version and bytes of each distribution."""
    said = subprocess.run([str(python), "-c", ASK], env=environment(), capture_output=True, text=True, check=True)
    return {name: row for name, row in json.loads(said.stdout).items() if name not in NO_PART}


def pip(python: Path, *words: str) -> None:
    subprocess.run([str(python), "-m", "pip", words[0], "-q", *words[1:]], cwd=ROOT, env=environment(), check=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


if __name__ == "__main__":
    main()
