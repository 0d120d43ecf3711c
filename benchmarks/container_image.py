"""Carry out the steps of the Dockerfile without a container engine: in a root folder of its own, stage by stage.

    python benchmarks/container_steps.py --folder /tmp/container --write benchmarks/results/container_steps.json

Each stage begins with this machine's `/usr` (read only), a small `/etc` and the interpreter that runs this script, in
place of the base image; all else is empty. RUN, COPY, WORKDIR, USER, ENTRYPOINT and CMD are done as they stand, by
`chroot` in a mount namespace, which takes root. What the container starts is then run by its own user, and by one that
the image does not know, as `docker run --user` does, both without a network. That base images exist, and that they hold
what this `/usr` holds, is not tried; nor is a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docs" / "containers" / "Dockerfile"
BASE = "/opt/base"
"""Where the interpreter of the base image stands: a virtual environment, for /usr is not ours to write to."""
PLACES = f"{BASE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STRANGER = "12345:12345"


@dataclass
class Stage:
    """A root folder, and what the instructions so far have set."""

    root: Path
    place: str = "/"
    user: str = "0:0"
    variables: dict[str, str] = field(default_factory=dict)
    entry: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def call(self, words: list[str], *, user: str | None = None, home: str | None = None, alone: bool = False) -> Any:
        """Run something inside; `alone`: without a network."""
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "UV_"))}
        place = {"PATH": PLACES, "HOME": home or "/root", "LANG": "C.UTF-8"}
        inside = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", self.place, *words]
        call = [str(shutil.which("chroot", path=PLACES)), f"--userspec={user or self.user}", str(self.root), *inside]
        return subprocess.run(
            ["unshare", "--net", *call] if alone else call,
            env={**kept, **place, **self.variables},
            capture_output=True,
            text=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="A folder that is not there yet.")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--arg", action="append", default=[], help="NAME=VALUE, as --build-arg.")
    parser.add_argument("--leave-out", action="append", default=[], help="Words of a RUN that cannot work here.")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="What the package index needs, say.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.inside:
        raise SystemExit(subprocess.call(["unshare", "--mount", sys.executable, *sys.argv, "--inside"]))
    asked.folder.mkdir(parents=True)
    found: dict[str, Any] = {"left_out": asked.leave_out, "steps": []}
    stage = build(asked, found["steps"])
    found["megabytes"] = int(subprocess.check_output(["du", "-sm", str(stage.root / "opt/voxgraft")]).split()[0])
    starts = {"its own user": (stage.user, "/home/voxgraft"), "an unknown user": (STRANGER, "/")}
    for name, (user, home) in starts.items():
        (stage.root / "work").chmod(0o777)
        for words in (stage.words, ["demo", "--data", f"data-{home.count('/')}-{len(home)}"]):
            done = stage.call([*stage.entry, *words], user=user, home=home, alone=True)
            row = {"step": f"{shlex.join([*stage.entry, *words])}, as {name}", "exit_code": done.returncode}
            found["steps"].append(row)
            print(row, done.stdout[-600:], done.stderr[-600:], flush=True)
    text = json.dumps(found, indent=2)
    if asked.write is not None:
        asked.write.write_text(text + "\n")


def build(asked: argparse.Namespace, rows: list[dict[str, Any]]) -> Stage:
    """Do every instruction; gives the last stage.

    Raises:
        SystemExit: A step failed, or is of a kind that this script does not know.
    """
    given = dict(one.split("=", 1) for one in asked.arg)
    stages: dict[str, Stage] = {}
    stage = Stage(Path())
    for kind, rest in instructions(DOCKERFILE.read_text()):
        begun = time.monotonic()
        print(f"... {kind} {rest}", flush=True)
        if kind == "FROM":
            name = rest.partition(" AS ")[2] or str(len(stages))
            stage = stages[name] = Stage(asked.folder.absolute() / name)
            bare(stage, asked.bind)
        elif kind == "ARG":
            name, _, value = rest.partition("=")
            stage.variables[name] = given.get(name, value)
        elif kind == "ENV":
            for name, _, value in (word.partition("=") for word in shlex.split(rest)):
                stage.variables[name] = value.replace("$PATH", stage.variables.get("PATH", PLACES))
        elif kind == "WORKDIR":
            stage.place = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif kind == "USER":
            stage.user = rest
        elif kind == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        elif kind == "CMD":
            stage.words = json.loads(rest)
        elif kind == "COPY":
            copy(stage, stages, shlex.split(rest))
        elif kind == "RUN":
            for words in asked.leave_out:
                rest = rest.replace(words, "")
            done = stage.call(["sh", "-c", rest])
            if done.returncode:
                raise SystemExit(f"RUN {rest}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        else:
            raise SystemExit(f"{DOCKERFILE}: this script does not know {kind}")
        rows.append({"step": f"{kind} {rest}", "seconds": round(time.monotonic() - begun, 1)})
    return stage


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and what follows it, lines that go on joined, `ARG`s before the first stage left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    begun = False
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        kind, _, rest = line.strip().partition(" ")
        begun = begun or kind == "FROM"
        if kind and begun:
            yield kind, rest.strip()


def bare(stage: Stage, bound: list[Path]) -> None:
    """What stands for the base image."""
    root = stage.root
    for name in ("usr", "dev", "proc", "tmp", "root", "home", "opt"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    etc(root / "etc")
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    for path in (Path("/usr"), Path(sys.base_prefix), *bound):
        inside = root / path.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", str(path), str(inside)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(inside)], check=True)
    for name in ("dev", "proc"):
        subprocess.run(["mount", "--rbind", f"/{name}", str(root / name)], check=True)
    done = stage.call([f"{sys.base_prefix}/bin/python3", "-m", "venv", BASE])
    if done.returncode:
        raise SystemExit(done.stderr)


def etc(folder: Path) -> None:
    """One user, and how this machine finds names, certificates, libraries and its package index."""
    folder.mkdir()
    for name, text in {
        "passwd": "root:x:0:0:root:/root:/bin/sh",
        "group": "root:x:0:",
        "shadow": "root:*:1::::::",
    }.items():
        (folder / name).write_text(f"{text}\n")
    for name in ("resolv.conf", "hosts", "nsswitch.conf", "login.defs", "ld.so.cache", "pip.conf"):
        if Path("/etc", name).is_file():
            shutil.copy(Path("/etc", name), folder / name)
    for name in ("ssl/certs", "alternatives", "xdg/pip"):
        if Path("/etc", name).is_dir():
            shutil.copytree(Path("/etc", name), folder / name, symlinks=True)


def copy(stage: Stage, stages: dict[str, Stage], words: list[str]) -> None:
    """From what is committed, or from an earlier stage; folders give what is in them."""
    target = stage.root / Path(stage.place, words[-1]).as_posix().lstrip("/")
    if words[0].startswith("--from="):
        source = stages[words[0].removeprefix("--from=")].root / words[1].lstrip("/")
        subprocess.run(["cp", "-al", str(source), str(target)], check=True)
        return
    archive = subprocess.run(["git", "archive", "HEAD", *words[:-1]], cwd=ROOT, capture_output=True, check=True).stdout
    target.mkdir(parents=True, exist_ok=True)
    folder = len(words) == 2 and (ROOT / words[0]).is_dir()
    strip = [f"--strip-components={len(Path(words[0]).parts)}"] if folder else []
    subprocess.run(["tar", "-x", "-C", str(target), *strip], input=archive, check=True)


if __name__ == "__main__":
    main()
