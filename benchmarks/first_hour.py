"""A clock over a new user's first hour: a fresh copy of the repository, an empty home, then every command that is told.

    python benchmarks/first_hour.py --folder /tmp/first-hour --write benchmarks/results/first_hour.json

The copy (of what is committed) has nothing beside it, and its commands run in a mount namespace where the folder that
holds this repository is empty, with whatever else `--hide` names; where the system makes no namespace, the script says
so and goes on without. The first command of the README installs VoxGraft and runs its
demo; then come the commands of README and tutorials in their order, in the same folder, as tests/told_commands.py runs
them: trainings are cut to a few steps, servers are asked whether they are well. The second command of the README, which
runs the tests, is left to CI unless `--tests` is given. Seconds are wall time; `cpu` is what the command used, which
does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measured import ROOT, computer, load, parser_of, processes

sys.path.insert(0, str(ROOT / "tests"))

from told_commands import blocks, carry_out, commands

FIGURES = "first_hour.json"
TUTORIALS = ("first-hour", "transfer", "models", "review", "viewers", "plugin")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="A folder that is not there yet.")
    parser.add_argument("--write", type=Path, help="File for the figures.")
    parser.add_argument("--python", default="python3", help="The interpreter that `python3` stands for.")
    parser.add_argument(
        "--tests", action="store_true", help="Run the second command too, which takes a quarter of an hour."
    )
    parser.add_argument("--hide", type=Path, action="append", default=[ROOT.parent], help="One more folder to empty.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    if asked.inside:
        measure(folder, asked.tests)
        return
    hidden = [path.absolute() for path in asked.hide]
    interpreter = Path(shutil.which(asked.python) or parser.error(f"--python: there is no {asked.python}")).resolve()
    if inside := [path for path in (folder, interpreter) if any(path.is_relative_to(one) for one in hidden)]:
        parser.error(f"{inside[0]}: lies in a folder that will be empty; name another one")
    clone = prepared(folder, interpreter)
    script = [str(interpreter), str(clone / "benchmarks" / "first_hour.py"), "--inside", "--folder", str(folder)]
    alone = namespace(hidden)
    subprocess.run([*alone, *script, *(["--tests"] if asked.tests else [])], cwd=clone, check=True)
    found = {"namespace": bool(alone), **json.loads((folder / FIGURES).read_text())}
    print(json.dumps({name: value for name, value in found.items() if name != "rows"}, indent=2))
    if asked.write is not None:
        asked.write.write_text(json.dumps(found, indent=2) + "\n")


def namespace(hidden: list[Path]) -> list[str]:
    """The words before a command that let it see these folders empty; none where the system does not allow it."""
    empty = 'n=$1; shift; while [ "$n" -gt 0 ]; do mount -t tmpfs none "$1"; shift; n=$((n - 1)); done; exec "$@"'
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    words = ["unshare", "--mount", *root, "sh", "-e", "-c", empty, "sh", str(len(hidden)), *map(str, hidden)]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True, cwd="/")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no mount namespace can be made here, so the commands see what this user sees: {error}", flush=True)
        return []
    return words


def measure(folder: Path, tests: bool) -> None:
    """Run every command with a clock; the figures lie in the folder, after each command those that are known so far."""
    clone, environment = folder / "voxgraft", surroundings(folder)
    first, second = [line for line in commands(clone / "README.md") if line.startswith("python3 -m venv")]
    begun = time.time()
    rows: list[dict[str, Any]] = []
    found = {"machine": computer(), "load": [load()], "rows": rows, "tests": tests}
    # `&&` in one line: three commands, of which each has its own time
    for part in first.split(" && "):
        timed(part, clone, environment, rows, whole=True)
    environment["PATH"] = f"{clone / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    if tests:
        timed(second, clone, environment, rows, whole=True)
    for command in told(clone):
        timed(command, clone, environment, rows)
        keep(found, clone, begun, folder / FIGURES)
    for block in blocks(clone / "README.md", "python"):
        (clone / "readme.py").write_text(block)
        timed("python readme.py", clone, environment, rows)
    keep(found, clone, begun, folder / FIGURES)


def prepared(folder: Path, python: Path) -> Path:
    """A copy of what is committed, with nothing beside it but an empty home and the interpreter."""
    clone, home, bin_ = folder / "voxgraft", folder / "home", folder / "bin"
    for path in (clone, home, bin_):
        path.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(clone)], input=archive, check=True)
    (bin_ / "python3").symlink_to(python)
    return clone


def surroundings(folder: Path) -> dict[str, str]:
    """An environment that knows nothing of this user but the way to the package index."""
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "REQUESTS_", "UV_"))}
    ours = {
        "HOME": str(folder / "home"),
        "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
    }
    return {**kept, **ours, "MLFLOW_DISABLE_TELEMETRY": "true"}


def told(clone: Path) -> list[str]:
    """The commands of README and tutorials but the two that install, each once."""
    pages = [clone / "README.md", *(clone / "docs" / "tutorials" / f"{name}.md" for name in TUTORIALS)]
    lines = [line for page in pages for line in commands(page) if not line.startswith("python3 -m venv")]
    return list(dict.fromkeys(lines))


def timed(
    command: str, clone: Path, environment: dict[str, str], rows: list[dict[str, Any]], *, whole: bool = False
) -> None:
    """Do one command and note how long it took; `whole`: as it stands, with nothing cut short."""
    print(f"... {command}", flush=True)
    error = None
    with processes() as taken:
        try:
            if whole:
                call = ["bash", "-c", command]
                subprocess.run(call, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
            else:
                carry_out(command, clone, environment)
        except (AssertionError, subprocess.SubprocessError) as failure:
            error = str(failure)[-600:]
    row = {"command": command, "seconds": taken.seconds, "cpu": round(taken.cpu, 1), "error": error}
    rows.append(row)
    print(f"    {row['seconds']} s, {row['cpu']} s of CPU{', FAILED' if error else ''}", flush=True)


def keep(found: dict[str, Any], clone: Path, begun: float, target: Path) -> None:
    """Write what is known so far: when the first mask of a new scan was there, and what failed."""
    masks = [path.stat().st_mtime for path in clone.rglob("mask.nii.gz") if ".venv" not in path.parts]
    found["minutes_to_first_mask"] = round((min(masks) - begun) / 60, 1) if masks else None
    found["failed"] = [row["command"] for row in found["rows"] if row["error"]]
    found["load"] = [found["load"][0], load()]
    found["minutes"] = round((time.time() - begun) / 60, 1)
    found["cpu_minutes"] = round(sum(row["cpu"] for row in found["rows"]) / 60, 1)
    target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
