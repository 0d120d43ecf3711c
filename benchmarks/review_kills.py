"""Kill a review server at random moments of saving, and look for what was lost.

    python benchmarks/review_kills.py [--kills 50] [--seed 0] [--out benchmarks/results/review_kills.json]

Three readers in one process decide and save masks without a pause while the server is killed (SIGKILL) and started
again. Whatever was answered must be there at the end: every decision and every mask in the log, the last mask of each
reader on disk with the hash that was answered, the chain whole, and undo back to the model's own mask.
"""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from measured import ROOT, parser_of, record

sys.path.insert(0, str(ROOT / "tests" / "core"))
from review_batches import make_batch

from voxgraft.discovery import discover
from voxgraft.review.state.audit import AUDIT, read_log
from voxgraft.review.state.store import ReviewStore
from voxgraft.support.files import sha256

CSRF = "X-VoxGraft-CSRF"
READERS = ("Ada", "Bea", "Cia")


@dataclass
class Told:
    """What one reader was told that it is saved."""

    decisions: list[tuple[str, str, str]] = field(default_factory=list)
    masks: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0
    strange: list[str] = field(default_factory=list)


@dataclass
class Server:
    """The server, started again after each kill."""

    out: Path
    process: subprocess.Popen[str] | None = None
    url: str = ""
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        begun = time.monotonic()
        command = [sys.executable, "-m", "voxgraft", "review", str(self.out), "--port", "0", "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = json.loads(line)["url"]
        self.starts.append(round(time.monotonic() - begun, 2))

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait()


class Reader(threading.Thread):
    """A reader who works on one scan after another, and writes down what was answered."""

    def __init__(self, name: str, server: Server, cases: list[str], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.server, self.cases, self.told = server, cases, Told()
        self.random = random.Random(f"{name} {seed}")
        self.end = threading.Event()

    def run(self) -> None:
        while not self.end.is_set():
            with suppress(httpx.HTTPError), httpx.Client(base_url=self.server.url, timeout=20) as client:
                self.work(client)
            time.sleep(0.05)

    def work(self, client: httpx.Client) -> None:
        """Work until the server is gone."""
        csrf = client.get("/api/session").json()["csrf"]
        session = client.post("/api/session", json={"reader": self.name}, headers={CSRF: csrf}).raise_for_status()
        csrf = session.json()["csrf"]
        while not self.end.is_set():
            self.step(client, {CSRF: csrf}, self.random.choice(self.cases))

    def step(self, client: httpx.Client, headers: dict[str, str], case: str) -> None:
        page = client.get(f"/api/scans/{case}").json()
        base, which = page["mask"]["sha256"], page["mask"]["id"]
        structure = self.random.choice(page["structures"])
        wish = self.random.random()
        if wish < 0.5:
            mask = client.get(f"/api/scans/{case}/masks/{which}").content
            answer = client.put(
                f"/api/scans/{case}/mask", content=self.drawn(mask), headers={**headers, "If-Match": f'"{base}"'}
            )
        elif wish < 0.65:
            answer = client.post(f"/api/scans/{case}/undo", json={"mask": base}, headers=headers)
        else:
            verdict = "reopened" if structure["locked"] else "accepted"
            wanted = {"structure": structure["name"], "verdict": verdict, "mask": base, "seconds": 1}
            answer = client.post(f"/api/scans/{case}/decisions", json=wanted, headers=headers)
        self.note(case, answer)

    def note(self, case: str, answer: httpx.Response) -> None:
        if answer.status_code in (200, 201):
            found = answer.json()
            if "decision" in found:
                decision = found["decision"]
                self.told.decisions.append((case, decision["structure"], decision["when"]))
            elif found["changed"]:
                self.told.masks.append((case, found["sha256"]))
        elif answer.status_code in (400, 409):
            self.told.refused += 1
        else:
            self.told.strange.append(f"{answer.status_code} {answer.text[:200]}")

    def drawn(self, data: bytes) -> bytes:
        """The mask with a small block of another label somewhere."""
        image: Any = nib.Nifti1Image.from_bytes(gzip.decompress(data))
        array = np.asarray(image.dataobj).copy()
        place = [self.random.randrange(size - 2) for size in array.shape]
        array[tuple(slice(start, start + 2) for start in place)] = self.random.randrange(3)
        drawn: bytes = nib.Nifti1Image(array, image.affine).to_bytes()
        return drawn


def wait_for(readers: list[Reader], number: int) -> None:
    """Wait until so many more requests were answered with "saved"; then others are under way."""

    def saved() -> int:
        return sum(len(reader.told.decisions) + len(reader.told.masks) for reader in readers)

    first, end = saved(), time.monotonic() + 60
    while saved() < first + number and time.monotonic() < end:
        time.sleep(0.005)


def judge(out: Path, readers: list[Reader]) -> dict[str, Any]:
    """What was lost of all that was answered."""
    log = read_log(out / "review" / AUDIT)
    decided = {(one["case"], one["structure"], one["when"]) for one in log.entries if one["kind"] == "decision"}
    saved = {(one["case"], one["reader"], one["sha256"]) for one in log.entries if one["kind"] == "mask"}
    lost = [key for reader in readers for key in reader.told.decisions if key not in decided]
    lost += [key for reader in readers for key in reader.told.masks if (key[0], reader.name, key[1]) not in saved]
    wrong, undone = [], 0
    store = ReviewStore(out, discover())
    for case, scan in store.state.scans.items():
        for name, mask in scan.masks.items():
            if sha256(store.folder.mask(case, name)) != mask.sha256:
                wrong.append(f"{case} of {name}: another mask than the log says")
            for structure in list(store.seen(case, name).finished):
                store.decide(case, name, structure=structure, verdict="reopened", mask=store.seen(case, name).mask)
            while (seen := store.seen(case, name)).mine and seen.mine.position:
                store.editor.undo(case, name)
                undone += 1
            if any(store.seen(case, name).mine.changed.values()):
                wrong.append(f"{case} of {name}: undo does not lead back to the model's mask")
    told = list(store.told)
    store.close()
    return {
        "decisions_answered": sum(len(reader.told.decisions) for reader in readers),
        "masks_answered": sum(len(reader.told.masks) for reader in readers),
        "refused": sum(reader.told.refused for reader in readers),
        "strange_answers": [text for reader in readers for text in reader.told.strange],
        "lost": lost,
        "wrong_masks": wrong,
        "changes_undone_at_the_end": undone,
        "lines_of_the_log": log.lines,
        "faults_of_the_chain": [f"line {fault.line}: {fault.message}" for fault in log.faults],
        "torn_lines_set_aside": len(list((out / "review").glob("audit.torn-*"))),
        "unanswered_masks_kept": len(list((out / "review").rglob("*.unsaved-*"))),
        "half_made_files_left": len(list((out / "review").rglob(".next-*"))),
        "told_at_the_last_start": told,
    }


def main() -> None:
    parser = parser_of(__doc__, "review_kills")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(make_batch(Path(folder), discover(), 4))
        server.start()
        cases = [f"scan-{number}" for number in range(4)]
        readers = [Reader(name, server, cases, options.seed) for name in READERS]
        for reader in readers:
            reader.start()
        for _ in range(options.kills):
            wait_for(readers, moments.randint(1, 10))
            time.sleep(moments.uniform(0, 0.1))
            server.end(signal.SIGKILL)
            server.start()
        time.sleep(1)
        for reader in readers:
            reader.end.set()
        for reader in readers:
            reader.join(60)
        server.end(signal.SIGINT)
        found = {"kills": options.kills, "seed": options.seed, **judge(server.out, readers)}
        found["seconds_to_start"] = {"median": sorted(server.starts)[len(server.starts) // 2]}
    record(options.out, found)
    sys.exit(bool(found["lost"] or found["wrong_masks"] or found["faults_of_the_chain"] or found["strange_answers"]))


if __name__ == "__main__":
    main()
