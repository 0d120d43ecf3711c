"""A server on loopback for the tests of `voxgraft serve`, with a model that knows right from left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from batch_scans import Found, model

from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.orientation import reoriented
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft.serve.app import Settings, make_app
from voxgraft.web.listen import Listening

STRUCTURES = ((1, "right kidney"), (2, "left kidney"))
SHAPE = (24, 20, 12)
"""Of a scan, axes to the left, to the back, up."""
SPACING = (1.0, 1.5, 3.0)


class Sides:
    """A predictor that calls what is bright right or left by where it lies in the patient.

    Attributes:
        seen: How many scans it was asked for.
        slow: Seconds that each takes.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, slow: float = 0.0) -> None:
        self.seen, self.slow, self.loaded = 0, slow, 0

    def __call__(self, package: Package) -> Sides:
        self.loaded += 1
        return self

    def predict(self, volume: Volume) -> Found:
        self.seen += 1
        time.sleep(self.slow)
        turned, orientation = reoriented(volume)
        right = np.arange(turned.shape[0]) >= turned.shape[0] // 2
        mask = np.where(turned.array > 100, np.where(right[:, None, None], 1, 2), 0).astype(np.uint8)
        labels = np.ascontiguousarray(orientation.undo(mask))
        return Found(Volume(labels, volume.affine, item=volume.item), {"right kidney": 0.9, "left kidney": 0.8})


def package(folder: Path, hash: str = "a" * 64, **facts: Any) -> Package:
    """A model of two kidneys; its contract and weights do not matter here."""
    return model(folder, labels=STRUCTURES, hash=hash, facts={"name": "kidneys", **facts})


def kidneys() -> np.ndarray[Any, Any]:
    """Two bright boxes of different shapes in noise, int16 (i, j, k), axes to the left, to the back, up."""
    scan = np.random.default_rng(4).integers(0, 40, SHAPE).astype(np.int16)
    scan[3:9, 5:10, 2:8] = 150  # the patient's right
    scan[15:21, 9:16, 4:10] = 180  # the patient's left, lower and further back
    return scan


def affine() -> np.ndarray[Any, Any]:
    """Of `kidneys`, from voxel indices to RAS millimetres."""
    return np.array([[-1.0, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 3.0, -30], [0, 0, 0, 1]])


@contextmanager
def serving(packages: Sequence[Package], settings: Settings, catalogue: Catalogue, load: Any = None) -> Iterator[str]:
    """The address of a server that is there until the block ends."""
    import uvicorn

    settings = replace(settings, listening=replace(settings.listening, port=0))
    app = make_app(packages, settings, catalogue, load or Sides())
    with settings.listening.bind() as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield settings.listening.url(sock)
        finally:
            server.should_exit = True
            thread.join(10)


def with_token(token: str, folder: Path) -> Listening:
    """A server on loopback that asks for a token."""
    (folder / "token").touch(0o600)
    (folder / "token").write_text(token)
    return Listening(token_file=folder / "token")
