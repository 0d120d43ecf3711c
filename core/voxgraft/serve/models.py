"""The models that are served: each is loaded when it is first used, and one thread predicts for all clients in turn."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batch.contract import bytes_beside
from ..errors import VoxGraftError
from ..imaging.read import as_in_training
from ..imaging.volume import Array, Volume
from ..packages.package import Package
from ..support.files import atomic_write, read_json, write_json
from ..support.machine import free_memory, gigabytes
from .refused import Refused, plainly

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..inference.predictor import Applied

MOST_WAITING = 64
"""Scans in the queue at once."""
LOADED = 1.5
"""How many times the bytes of its file the weights of a model take at most while they are loaded."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model finds in a scan.

    Attributes:
        labels: Values of the model's structures (i, j[, k]), or 0 and 1 (region, i, j[, k]), in the volume's grid.
        confidence: Of each structure that was found, from 0 to 1.
    """

    labels: Array
    confidence: Mapping[str, float]
    dims: int = 3

    def structure(self, name: str, structures: Mapping[str, int], box: tuple[slice, ...] = ()) -> Array:
        """Where one structure is, as bool (i, j[, k]).

        Args:
            name: Of the structure.
            structures: The values of the model's structures by their names.
            box: The part of the scan that is wanted; empty for all of it.
        """
        if self.labels.ndim > self.dims:
            found: Array = self.labels[list(structures).index(name)][box] != 0
        else:
            found = self.labels[box] == structures[name]
        return found


@dataclass(frozen=True, slots=True)
class Served:
    """One model as clients see it.

    Attributes:
        name: In addresses: letters, digits, `.`, `_` and `-`.
        structures: The values in masks by the names of the structures, in their order.
    """

    name: str
    package: Package

    @property
    def structures(self) -> dict[str, int]:
        if self.package.plan.regions and not self.package.plan.paint:
            return {region.name: place for place, region in enumerate(self.package.plan.regions, 1)}
        called = {label.value: label.name for label in self.package.labels.items}
        return {called.get(value, name): value for value, name in self.package.plan.labels}

    @property
    def licence(self) -> str:
        """What is known of the model's licence, in words that a viewer shows; never another model's."""
        facts = self.package.facts
        if stated := facts.get("licence"):
            return str(stated)
        weights: Mapping[str, Any] = facts.get("weights") or {}
        if not weights:
            return f"not stated by the makers of {self.name}; trained from scratch"
        origin = f"{weights.get('origin', 'unknown')} ({weights.get('licence') or 'licence not stated'})"
        return f"not stated by the makers of {self.name}; its encoder began with {origin}"

    @property
    def version(self) -> str:
        return str(self.package.facts.get("version", self.package.hash[:12]))


class Models:
    """The models of a server; its methods may be called from several threads.

    What was predicted is kept on disk, by the hash of model and voxels, so that it is predicted once.

    Args:
        packages: The models, the first of which answers where none is named.
        catalogue: Offers encoders, decoders, modalities and readers.
        folder: Keeps what was predicted.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        load: Makes a package ready; by default `voxgraft.inference.predictor.predictor_of`.
    """

    def __init__(
        self,
        packages: Sequence[Package],
        catalogue: Catalogue,
        folder: Path,
        device: str = "auto",
        load: Callable[[Package], Applied] | None = None,
    ) -> None:
        self.served = {name: Served(name, package) for name, package in _named(packages).items()}
        self.catalogues = {
            name: as_in_training(one.package.plan.readers, catalogue) for name, one in self.served.items()
        }
        self.folder, self.device, self._load_with = folder, device, load
        self._ready: dict[str, Applied] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="voxgraft-predict")
        self._waiting = 0
        self._mutex = threading.Lock()

    @property
    def waiting(self) -> int:
        """Predictions under way or in the queue."""
        return self._waiting

    def get(self, name: str = "") -> Served:
        """The model of a name, the first one where none is given.

        Raises:
            Refused: 404, there is none.
        """
        if not name:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise Refused(404, f"no model is called {name[:80]!r}; served are {', '.join(self.served)}")
        return self.served[name]

    def catalogue(self, name: str = "") -> Catalogue:
        """What reads scans as the training data of a model were read."""
        return self.catalogues[self.get(name).name]

    def find(self, model: Served, volume: Volume, seconds: float | None = None) -> Found:
        """What a model finds in a scan, from the disk where it was predicted before.

        Args:
            model: One of those served.
            volume: The scan, in any orientation.
            seconds: How long to wait for the queue and the prediction; None for ever.

        Raises:
            Refused: 400 the scan is not for this model; 409 it takes longer; 503 memory is short.
        """
        key = key_of(model, volume)
        if (kept := self._kept(key, volume)) is not None:
            return kept
        with self._mutex:
            if self._waiting >= MOST_WAITING:
                raise Refused(503, f"{MOST_WAITING} scans are already waiting for the model; try again later")
            self._waiting += 1
        future = self._worker.submit(self._predict, model, volume, key)
        future.add_done_callback(self._one_less)
        try:
            return future.result(seconds)
        except TimeoutError:
            raise Refused(
                409, f"the model is still busy; scans in its queue: {self._waiting}; try again in a while"
            ) from None
        except VoxGraftError as error:
            raise Refused(400, plainly(error)) from error

    def confidence(self, key: str) -> Mapping[str, float] | None:
        """How sure a model was of a scan, by the key of both; None where it was not predicted."""
        try:
            document = read_json(self.folder / key / "prediction.json")
            return {str(name): float(value) for name, value in document["confidence"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def close(self) -> None:
        """Take no more work."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _one_less(self, _: Future[Found]) -> None:
        with self._mutex:
            self._waiting -= 1

    def _predict(self, model: Served, volume: Volume, key: str) -> Found:
        if (kept := self._kept(key, volume)) is not None:  # two clients opened one scan
            return kept
        self._check_memory(bytes_beside(volume, model.package.plan), model.name)
        predicted = self._predictor(model).predict(volume)
        found = Found(np.ascontiguousarray(predicted.labels.array), dict(predicted.confidence), volume.dims)
        self._keep(key, found, model)
        return found

    def _predictor(self, model: Served) -> Applied:
        if model.name not in self._ready:
            weights = model.package.weights
            size = weights.stat().st_size if weights.is_file() else 0
            self._check_memory(int(LOADED * size), model.name)
            self._ready[model.name] = self._loaded(model)
        return self._ready[model.name]

    def _loaded(self, model: Served) -> Applied:
        if self._load_with is not None:
            return self._load_with(model.package)
        from ..inference.predictor import predictor_of

        return predictor_of(model.package, self.catalogues[model.name], device=self.device)

    def _check_memory(self, need: int, keep: str) -> None:
        """See that there is room, letting go of models that are not needed now.

        Raises:
            Refused: 503, there is not.
        """
        if need > free_memory():
            self._ready = {name: ready for name, ready in self._ready.items() if name == keep}
        if need > (free := free_memory()):
            raise Refused(503, f"this takes {gigabytes(need)} of memory at least, and {gigabytes(free)} are free here")

    def _kept(self, key: str, volume: Volume) -> Found | None:
        folder = self.folder / key
        confidence = self.confidence(key)
        if confidence is None:
            return None
        try:
            with np.load(folder / "labels.npz", allow_pickle=False) as file:
                labels = file["labels"]
        except (OSError, ValueError, KeyError, EOFError):
            return None
        return Found(labels, confidence, volume.dims) if labels.shape[-volume.dims :] == volume.shape else None

    def _keep(self, key: str, found: Found, model: Served) -> None:
        with atomic_write(self.folder / key) as folder:
            folder.mkdir(parents=True)
            with (folder / "labels.npz").open("wb") as file:
                np.savez_compressed(file, labels=found.labels)
            facts = {"model": model.name, "version": model.version, "hash": model.package.hash}
            write_json(folder / "prediction.json", {**facts, "confidence": dict(found.confidence)})


def key_of(model: Served, volume: Volume) -> str:
    """One name for a model and the voxels of a scan in their place: equal for both, and silent about the patient."""
    place = [round(float(number), 4) for number in volume.affine[:3].ravel()]
    head = [model.package.hash, volume.array.dtype.str, list(volume.array.shape), place]
    return name_of(head, volume)


def name_of(head: Sequence[Any], volume: Volume) -> str:
    """A name for plain values and the voxels of a scan."""
    told = sha256(json.dumps(head).encode())
    told.update(np.ascontiguousarray(volume.array).reshape(-1).view(np.uint8).data)
    return told.hexdigest()[:32]


def _named(packages: Sequence[Package]) -> dict[str, Package]:
    """The packages by names of their own that can stand in an address."""
    named: dict[str, Package] = {}
    for package in packages:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", package.name).strip(".-") or "model"
        free = (name if number == 1 else f"{name}-{number}" for number in range(1, len(packages) + 1))
        named[next(one for one in free if one not in named)] = package
    return named
