"""Build the image of docs/containers/Dockerfile, and use it as docs/howto/container.md says, with a clock.

    python benchmarks/container_image.py --folder /tmp/image --write benchmarks/results/container_image.json
    python benchmarks/container_image.py --folder /tmp/image --engine podman --stand-in WHEELS

The first takes Docker and a network. `--stand-in` is for where neither the hub of images nor PyTorch's host can be
reached: the base image is then made here by `debootstrap` (Debian's own Python, with the name that the Dockerfile asks
for), and a stand-in for PyTorch's index (benchmarks/torch_index.py) serves these wheels of torch and torchvision. It
takes root, podman with runc, and debootstrap. The Dockerfile is the one of the repository in either case.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from measured import ROOT, computer, keep, parser_of
from torch_index import BUNDLE, CERTIFICATE, HOST, Index, certified, done, project, serving, stubs

DOCKERFILE = "docs/containers/Dockerfile"
PACKAGES = "ca-certificates,netbase,python3,python3-pip,python3-venv,tzdata"
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases by their Python."""
MIRROR = "http://deb.debian.org/debian"
STRANGER = "12345:12345"
"""A user that the image does not know, and whose folder is mounted."""
USUAL = f"docker run --rm --network none --user {STRANGER} -v FOLDER:/work"
HARDENED = f"{USUAL} --read-only --tmpfs /tmp --cap-drop all --security-opt no-new-privileges"
SHORT = "--set training.budget='4 steps' --set registry.promote=always"
RUNS = (
    "docker run --rm voxgraft",
    "docker run --rm --network none voxgraft demo --data data",
    f"{USUAL} voxgraft doctor",
    f"{USUAL} voxgraft demo --data data",
    f"{USUAL} voxgraft new data/labelled --out heads.yaml",
    f"{USUAL} voxgraft check heads.yaml",
    f"{USUAL} voxgraft run heads.yaml {SHORT}",
    f"{USUAL} voxgraft segment models:/heads@champion data/dicom --out batch",
    f"{HARDENED} voxgraft segment runs/heads/package data/dicom --out hardened",
    f"{USUAL} voxgraft review batch --summary",
    f"{USUAL} voxgraft evaluate batch/02_axial_T1/mask.nii.gz data/truth/DEMO-011.nii.gz --metrics dice",
)


@dataclass
class Engine:
    """Docker, or what takes the same words.

    Attributes:
        name: The program.
        settings: Of its environment.
        rows: What was done, with exit codes and seconds.
    """

    name: str
    settings: dict[str, str]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def does(self, told: str, *, place: Path | None = None, folder: Path | None = None, more: str = "") -> str:
        """Carry out a command that a page tells with `docker`, and keep how it ended.

        Args:
            told: The command; FOLDER stands for a folder of this machine.
            place: The folder to call it from.
            folder: Stands for FOLDER.
            more: Words that only this machine needs.
        """
        words = shlex.split(told.replace("FOLDER", str(folder)))
        words[:2] = [self.name, words[1], *shlex.split(more)]
        print(f"... {shlex.join(words)}", flush=True)
        begun = time.monotonic()
        environment = {**os.environ, **self.settings}
        answer = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
        seconds = round(time.monotonic() - begun, 1)
        self.rows.append({"command": told, "exit_code": answer.returncode, "seconds": seconds})
        print(f"    {answer.returncode}, {seconds} s\n{answer.stdout[-800:]}{answer.stderr[-1500:]}", flush=True)
        return answer.stdout


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="What an earlier call left there is used.")
    parser.add_argument("--engine", default="docker")
    parser.add_argument("--stand-in", type=Path, nargs="+", help="Wheels of torch and torchvision.")
    parser.add_argument("--arg", action="append", default=[], help="NAME=VALUE, as --build-arg.")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "clone", ignore_errors=True)
    shutil.rmtree(folder / "work", ignore_errors=True)
    done("git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(folder / "clone"))
    python = dict(one.split("=", 1) for one in asked.arg).get("PYTHON", "3.11")
    engine = Engine(asked.engine, storage(folder) if asked.engine == "podman" else {})
    words = "".join(f" --build-arg {one}" for one in asked.arg)
    found: dict[str, Any] = {"machine": computer(), "engine": done(asked.engine, "--version").strip(), "python": python}
    found["dockerfile"] = sha256((folder / "clone" / DOCKERFILE).read_bytes()).hexdigest()
    with stand_in(folder, engine, python, asked.stand_in) if asked.stand_in else nullcontext("") as more:
        engine.does(f"docker build -f {DOCKERFILE} -t voxgraft{words} .", place=folder / "clone", more=more)
    for image, key in ((f"python:{python}-slim", "base_megabytes"), ("voxgraft", "megabytes")):
        told = json.loads(done(asked.engine, "image", "inspect", image, env={**os.environ, **engine.settings}))[0]
        found[key] = round(told["Size"] / 1e6)
    found |= {"user": told["Config"]["User"], "entry": told["Config"]["Entrypoint"], "command": told["Config"]["Cmd"]}
    work = folder / "work"
    work.mkdir()
    os.chown(work, *map(int, STRANGER.split(":")))
    for run in RUNS:
        engine.does(run, folder=work)
    found["stopped"] = stopped(engine, work)
    found["masks"] = len(list(work.glob("*/*/mask.nii.gz")))
    found["steps"] = engine.rows
    if asked.write is not None:
        keep(asked.write, found)
    print(json.dumps(found, indent=2))


def storage(folder: Path) -> dict[str, str]:
    """Settings by which podman keeps all in this folder, and raises no limits, which a sandbox may not allow."""
    images, engine = folder / "storage.conf", folder / "containers.conf"
    images.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n')
    limits = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
    engine.write_text(f'{limits}[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    return {"CONTAINERS_STORAGE_CONF": str(images), "CONTAINERS_CONF": str(engine)}


@contextmanager
def stand_in(folder: Path, engine: Engine, python: str, wheels: list[Path]) -> Iterator[str]:
    """A base image under its name, and PyTorch's index; gives the words that let a build find the index."""
    image = f"docker.io/library/python:{python}-slim"
    if subprocess.run([engine.name, "image", "exists", image], env={**os.environ, **engine.settings}).returncode:
        certified(folder / "tls")
        base(engine, folder / "base", python, folder / "tls" / BUNDLE)
        stubs(folder / "whl", {project(wheel.name): wheel for wheel in wheels})
    with serving(Index(folder / "whl"), 443, folder / "tls" / CERTIFICATE):
        yield f"--network host --add-host {HOST}:127.0.0.1"


def base(engine: Engine, root: Path, python: str, bundle: Path) -> None:
    """Debian with its own Python, called as the hub's image, which trusts what this machine trusts."""
    done("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITES[python], str(root), MIRROR)
    for mark in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):  # the hub's Python is managed by nobody else
        mark.unlink()
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    shutil.copy(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    trusted = "/etc/ssl/certs/ca-certificates.crt"
    without = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
    done("tar", "-C", str(root), *without, "-cf", f"{root}.tar", ".")
    changes = ["--change", f"ENV SSL_CERT_FILE={trusted}", "--change", f"ENV PIP_CERT={trusted}"]
    image = f"docker.io/library/python:{python}-slim"
    done(engine.name, "import", *changes, f"{root}.tar", image, env={**os.environ, **engine.settings})
    shutil.rmtree(root)
    Path(f"{root}.tar").unlink()


def stopped(engine: Engine, work: Path) -> dict[str, Any]:
    """A training that `docker stop` ends, as a machine does that shuts down."""
    long = "voxgraft run heads.yaml --set training.budget='2 h' --out runs/long"
    engine.does(USUAL.replace("--rm", "-d --name voxgraft-long") + f" {long}", folder=work)
    until = time.monotonic() + 600
    while time.monotonic() < until and not (work / "runs/long/train/last.pt").is_file():
        time.sleep(2)
    engine.does("docker stop -t 60 voxgraft-long")
    seconds = engine.rows[-1]["seconds"]
    code = engine.does("docker inspect --format {{.State.ExitCode}} voxgraft-long").strip()
    said = engine.does("docker logs --tail 3 voxgraft-long").splitlines()
    engine.does("docker rm voxgraft-long")
    return {"seconds": seconds, "exit_code": int(code), "said": said}


if __name__ == "__main__":
    main()
