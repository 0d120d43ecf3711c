"""Ten readers at once on one review server: nothing lost, memory flat, answers in time.

    python benchmarks/review_load.py [--minutes 5] [--readers 10] [--rows 500] [--out FILE]

Each reader has a browser's worth of requests without a pause: the list, a scan, its image and mask, a correction that
is saved, undo, and decisions; all on the same scans. `--rows` more scans stand in the list. What was answered is looked
for afterwards as in `review_kills.py`, and the server's memory is taken every second.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from measured import ROOT, parser_of, record
from review_kills import Reader, Server, judge

sys.path.insert(0, str(ROOT / "tests" / "core"))
from batch_scans import Brightness, ball, model, write_scan

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover

SCANS, SHAPE = 12, (96, 96, 60)


class Timed(Reader):
    """A reader whose requests are timed."""

    def __init__(self, name: str, server: Server, cases: list[str], seed: int) -> None:
        super().__init__(name, server, cases, seed)
        self.seconds: dict[str, list[float]] = {}

    def work(self, client: httpx.Client) -> None:
        client.event_hooks = {"response": [self.take]}
        super().work(client)

    def step(self, client: httpx.Client, headers: dict[str, str], case: str) -> None:
        client.get("/api/worklist", params={"limit": 50, "q": self.random.choice(["", "scan", case])})
        client.get(f"/api/scans/{case}/image")
        super().step(client, headers, case)

    def take(self, answer: httpx.Response) -> None:
        answer.read()
        last = answer.url.path.rpartition("/")[2]
        kind = last if last in ("worklist", "image", "mask", "undo", "decisions") else "scan"
        kind = "masks" if "/masks/" in answer.url.path else kind
        self.seconds.setdefault(kind, []).append(answer.elapsed.total_seconds())


def batch(folder: Path, rows: int) -> Path:
    """A batch of a few scans, and of many rows that stand for others."""
    scans = [write_scan(folder / "in" / f"scan-{n}.nii.gz", ball(SHAPE, radius=18 + n)) for n in range(SCANS)]
    out = folder / "out"
    segment(model(folder / "model"), scans, out, discover(), predictor=Brightness(), ignore_contract=True)
    with Ledger(out) as ledger:
        row = ledger.get("scan-0")
        for number in range(rows):
            ledger.put(replace(row, case=f"row-{number:04}"))
    return out


def watch(process: psutil.Process, seconds: float) -> list[tuple[float, float, float]]:
    """Megabytes and seconds of processor time of a process, once a second."""
    begun, seen = time.monotonic(), []
    while (now := time.monotonic() - begun) < seconds:
        times = process.cpu_times()
        seen.append((now, process.memory_info().rss / 1e6, times.user + times.system))
        time.sleep(1)
    return seen


def flatness(seen: list[tuple[float, float, float]]) -> dict[str, float]:
    """Memory in the middle and at the end of the run."""
    fifth = max(1, len(seen) // 5)
    middle = median(mb for _, mb, _ in seen[2 * fifth : 3 * fifth] or seen)
    end = median(mb for _, mb, _ in seen[-fifth:])
    return {
        "mb_in_the_middle": round(middle, 1),
        "mb_at_the_end": round(end, 1),
        "mb_most": round(max(m for _, m, _ in seen), 1),
    }


def times(readers: list[Timed]) -> dict[str, Any]:
    """Milliseconds of each kind of request."""
    kinds = sorted({kind for reader in readers for kind in reader.seconds})
    found = {}
    for kind in kinds:
        every = sorted(1000 * second for reader in readers for second in reader.seconds.get(kind, []))
        found[kind] = {
            "n": len(every),
            "median_ms": round(median(every), 1),
            "p95_ms": round(every[int(0.95 * (len(every) - 1))], 1),
            "most_ms": round(every[-1], 1),
        }
    return found


def main() -> None:
    parser = parser_of(__doc__, "review_load")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(batch(Path(folder), options.rows))
        server.start()
        assert server.process is not None
        cases = [f"scan-{number}" for number in range(SCANS)]
        readers = [Timed(f"Reader {number}", server, cases, 0) for number in range(options.readers)]
        for reader in readers:
            reader.start()
        seen = watch(psutil.Process(server.process.pid), 60 * options.minutes)
        for reader in readers:
            reader.end.set()
        for reader in readers:
            reader.join(60)
        server.end(signal.SIGINT)
        found = {
            "minutes": options.minutes,
            "readers": options.readers,
            "rows": options.rows + SCANS,
            "shape": list(SHAPE),
            "processor_seconds_of_the_server": round(seen[-1][2] - seen[0][2], 1),
            **flatness(seen),
            "requests": times(readers),
            **judge(server.out, list(readers)),
        }
    record(options.out, found)
    sys.exit(bool(found["lost"] or found["wrong_masks"] or found["strange_answers"] or found["faults_of_the_chain"]))


if __name__ == "__main__":
    main()
