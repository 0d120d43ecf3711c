"""A plugin's whole job on real files, installed from its folder in a fresh environment: check to review.

    python benchmarks/plugins_whole_job.py --plugin pet|fundus|merlin [--folder DIR] [--steps 200] [--out FILE]

The environment is new, and VoxGraft and the plugin are installed in it by pip from their folders; what they depend on
is that of the Python that runs this. Then, all by the command line: the conformance checks of what the plugin offers,
check, train, evaluate, register, segment scans that training did not see, and a review in which a simulated reader
accepts every mask, through the page's HTTP interface, and exports them. `JOBS` says what is the plugin's own: its
components, its data, and what is measured besides. What is found in DIR of an interrupted job is not done again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from arms import folder_of
from measured import RESULTS, ROOT, keep, parser_of
from plugins_fundus import prepare_fundus, told_of_fundus
from plugins_merlin import prepare_merlin, told_of_merlin
from plugins_pet import prepare_pet, told_of_pet

READER = "reader"


@dataclass(frozen=True)
class Job:
    """What a plugin is tried on.

    Attributes:
        components: Those that `plugins test` checks, as `kind:name`.
        prepare: Writes the workflows and their tables into a folder; name of each run -> (workflow, scans to segment).
        told: What is measured of a run besides, from its folder and that of its batch.
        writers: Of the batch.
    """

    components: tuple[str, ...]
    prepare: Callable[[Path], dict[str, tuple[Path, list[Path]]]]
    told: Callable[[str, Path, Path], dict[str, Any]]
    writers: str = "nifti,dicom-seg,dicom-sr"


JOBS = {
    "fundus": Job(
        ("modality:fundus", "metric:f1", "metric:sensitivity", "metric:auc", "step:vessel-widths"),
        prepare_fundus,
        told_of_fundus,
        "nifti",
    ),
    "merlin": Job(("encoder:merlin", "modality:merlin-ct"), prepare_merlin, told_of_merlin, "nifti"),
    "pet": Job(("modality:pet", "measurement:uptake"), prepare_pet, told_of_pet),
}


class Environment:
    """A fresh environment with VoxGraft and a plugin, and the seconds of what is done in it."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        self.folder, self.python = folder, folder / "venv" / "bin" / "python"
        self.seconds: dict[str, float] = {}
        self.env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.env.pop("PYTHONPATH", None)
        if not self.python.exists():
            venv.create(folder / "venv", with_pip=True)
            site = next((folder / "venv" / "lib").glob("python*/site-packages"))
            (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
            pip = [str(self.python), "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
            with self.step("install"):
                subprocess.run([*pip, str(ROOT), str(plugin)], check=True, env=self.env)

    @contextmanager
    def step(self, name: str) -> Any:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)

    def call(self, name: str, *words: str | Path) -> dict[str, Any]:
        """What `voxgraft WORDS --json` answers."""
        line = [str(self.python), "-m", "voxgraft", *map(str, words), "--json"]
        with self.step(name):
            done = subprocess.run(line, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.returncode, done.stderr[-2000:], done.stdout[-2000:])
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def conformance(environment: Environment, component: str) -> dict[str, int]:
    """How many checks a component passes."""
    (found,) = environment.call(f"test {component}", "plugins", "test", component)["components"]
    states = [check["state"] for check in found["checks"]]
    return {state: states.count(state) for state in ("passed", "failed", "skipped")}


def reviewed(environment: Environment, batch: Path) -> dict[str, Any]:
    """Accept every structure of every scan through the page's HTTP interface, and export the masks."""
    with environment.step("review"), serving(environment, batch) as url:
        decided = accept_all(url)
    target = batch.parent / f"{batch.name}-reviewed"
    environment.call("export", "review", batch, "--export", target)
    rows = (target / "cases.csv").read_text().splitlines()[1:]
    return {"scans": decided, "exported": len(rows)}


@contextmanager
def serving(environment: Environment, batch: Path) -> Iterator[str]:
    """The address of `voxgraft review`, which ends with the block."""
    line = [str(environment.python), "-m", "voxgraft", "review", str(batch), "--port", "0", "--json"]
    server = subprocess.Popen(line, env=environment.env, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"].rstrip("/")
    finally:
        server.terminate()
        server.wait()


def accept_all(url: str) -> int:
    """The number of scans that the simulated reader accepted."""
    with httpx.Client(base_url=url, timeout=60) as client:
        headers = {"X-VoxGraft-CSRF": client.get("/api/session").json()["csrf"]}
        session = client.post("/api/session", json={"reader": READER}, headers=headers).raise_for_status()
        headers = {"X-VoxGraft-CSRF": session.json()["csrf"]}
        scans = client.get("/api/worklist", params={"limit": 1000}).json()["scans"]
        for scan in scans:
            told = client.get(f"/api/scans/{scan['case']}").json()
            for structure in told["structures"]:
                wanted = {"structure": structure["name"], "verdict": "accepted", "mask": told["mask"]["sha256"]}
                decision = {**wanted, "seconds": 5}
                client.post(f"/api/scans/{scan['case']}/decisions", json=decision, headers=headers).raise_for_status()
        return len(scans)


def whole_job(job: Job, name: str, environment: Environment, steps: int) -> dict[str, Any]:
    """Every run of a job, from check to review."""
    told: dict[str, Any] = {}
    for run, (workflow, scans) in job.prepare(environment.folder).items():
        folder, batch = environment.folder / f"run-{run}", environment.folder / f"batch-{run}"
        shorter = ["--set", f"training.budget={steps} steps"]
        checked = environment.call(f"{run}: check", "check", workflow)
        done = environment.call(f"{run}: run", "run", workflow, "--out", folder, *shorter)
        model = done.get("model") or folder / "package"
        environment.call(f"{run}: segment", "segment", model, *scans, "--out", batch, "--writers", job.writers)
        summary = json.loads((folder / "train" / "summary.json").read_text())
        told[run] = {
            "workflow": f"plugins/voxgraft-{name}/{workflow.name}",
            "problems": [problem.get("code") for problem in checked.get("problems", [])],
            "registered": registered(folder / "register.json"),
            "training": {key: summary[key] for key in ("steps", "seconds", "device")},
            "held out": json.loads((folder / "evaluate" / "scores.json").read_text())["summary"],
            "review": reviewed(environment, batch),
            **job.told(run, folder, batch),
        }
    return told


def registered(path: Path) -> dict[str, Any] | None:
    """The version that a run registered, and whether it is the champion."""
    found = json.loads(path.read_text()) if path.exists() else {}
    return {key: found[key] for key in ("reference", "champion", "reason")} if found else None


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--plugin", choices=sorted(JOBS), required=True)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = options.out or RESULTS / f"plugins_whole_job_{options.plugin}.json"
    job = JOBS[options.plugin]
    with folder_of(options) as folder:
        environment = Environment(folder, ROOT / "plugins" / f"voxgraft-{options.plugin}")
        checks = {component: conformance(environment, component) for component in job.components}
        runs = whole_job(job, options.plugin, environment, options.steps)
    keep(out, {"checks": checks, "runs": runs, "seconds": environment.seconds})
    print(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
