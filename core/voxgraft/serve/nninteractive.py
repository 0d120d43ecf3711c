"""nnInteractive's client/server protocol, which 3D Slicer's extension, MITK and napari speak, before our engine.

Read from `nninteractive-client` 2.6.0 (Apache-2.0), whose client the tests drive. The client sends an array with the
spacing of its axes and no directions; where they run is taken from the same scan among `--data`, or from `--axes`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..imaging.structures import Box, union
from ..imaging.volume import Volume
from ..support.machine import free_memory
from ..support.texts import counted
from .engine import Scan, Work
from .frames import pack, unpack
from .leases import Leases
from .marks import LARGEST, Mark, spacing_of
from .models import Found, Models, Served, name_of
from .pieces import Pieces, note_scan
from .places import Places
from .refused import Refused

if TYPE_CHECKING:
    pass

VERSION = 2
"""Of the protocol, as its `inference_session_version`."""
PATIENCE = 540.0
"""Seconds in which `set_image` waits for the model; clients give it 600."""
MOST_SCANS = 64
"""Scans whose objects are remembered, beside those that somebody works on."""
SHORT = 50.0
"""Seconds in which a click waits for the model; clients give it 60."""
BUFFERS = frozenset(("bool", "uint8", "uint16", "int16", "int32", "float32"))
"""Types of the mask at the client."""


@dataclass
class Client:
    """What one client has sent.

    Attributes:
        model: Which of the models it works with.
        work: The scan and its object; None until an image is there.
        waiting: Marks that are to be made at the next prediction.
        open: Ends the use of what it worked on.
    """

    model: Served
    image: Volume | None = None
    work: Work | None = None
    waiting: list[Mark] = field(default_factory=list)


class Protocol:
    """The routes of the protocol.

    Args:
        models: What predicts.
        places: Knows where the axes of an array run.
        folder: Keeps what was drawn.
        most, idle, liveness: Of the leases, see `Leases`.
    """

    def __init__(
        self,
        models: Models,
        places: Places,
        folder: Path,
        most: int = 8,
        idle: float = 600.0,
        liveness: float = 60.0,
    ) -> None:
        self.models, self.places, self.folder = models, places, folder
        self.leases: Leases[Client] = Leases(
            lambda: Client(models.get()), _end, most=most, idle=idle, liveness=liveness
        )
        self._scans: dict[str, Pieces] = {}
        self._mutex = threading.Lock()

    def capabilities(self, model: Served) -> dict[str, Any]:
        """What a client asks first."""
        return {
            "supported_interactions": {
                "points": True,
                "bbox2d": True,
                "bbox3d": True,
                "scribble": True,
                "lasso": True,
            },
            "channel_mapping": {},
            "num_interaction_channels": 0,
            "supports_initial_label": True,
            "supports_zero_shot_label_refinement": True,
            "preferred_scribble_thickness": [1, 1, 1],
            "interaction_decay": None,
            "patch_size": None,
            "do_autozoom": False,
            "inference_session_version": VERSION,
            "supports_undo": True,
            "license": model.licence,
            "server": "VoxGraft",
            "model": model.name,
            "structures": model.structures,
            "models": [
                {"name": one.name, "path": f"/models/{one.name}", "license": one.licence, "structures": one.structures}
                for one in self.models.served.values()
            ],
        }

    def claim(self, model: Served) -> dict[str, Any]:
        """Give a client a place."""
        token = self.leases.claim(lambda: Client(model))
        return {
            "lease_token": token,
            "idle_timeout_seconds": self.leases.idle,
            "liveness_timeout_seconds": self.leases.liveness,
            "max_sessions": self.leases.most,
        }

    def set_image(self, client: Client, data: bytes, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Take the scan, and let the model look at it: the first click then finds its prediction ready.

        Args:
            client: Who sends it.
            data: The array in its frame, (channel, *axes).
            meta: `image_properties` holds `spacing`, and may hold `affine`.

        Raises:
            Refused: 400, it is not a scan for this model; 413, it is too large; 503, memory is short.
        """
        array = unpack(data, min(LARGEST, free_memory() // 2))
        if array.ndim != 4:
            raise Refused(400, f"the image has {array.ndim} axes; it needs four, the channels first")
        channels = len(client.model.package.plan.channels)
        if len(array) != channels:
            raise Refused(
                400, f"the image has {counted(len(array), 'channel')}, and {client.model.name} needs {channels}"
            )
        properties = meta.get("image_properties") or {}
        if not isinstance(properties, dict):
            raise Refused(400, "image_properties must be a JSON object")
        spacing = spacing_of(properties.get("spacing"), array.shape[1:])
        _end(client)
        client.work, client.waiting = None, []
        client.image = self._volume(client.model, array, spacing, properties)
        self._ready(client, PATIENCE)
        return {"original_image_shape": list(array.shape)}

    def set_target(self, client: Client, body: Mapping[str, Any]) -> dict[str, Any]:
        """The client begins another object, in a mask of zeros."""
        if client.image is None:
            raise Refused(409, "there is no image yet; send it first")
        shape = body.get("shape")
        if not isinstance(shape, list) or tuple(shape) != client.image.shape:
            raise Refused(400, f"the mask has the shape {shape}, and the image {list(client.image.shape)}")
        if str(body.get("dtype")) not in BUFFERS:
            raise Refused(400, f"a mask of the type {str(body.get('dtype'))[:40]!r} is not taken here")
        return self.reset(client)

    def reset(self, client: Client) -> dict[str, Any]:
        """What comes next is another object; this one is kept."""
        client.waiting = []
        if client.work is not None:
            client.work.put_aside()
        return {}

    def mark(self, client: Client, mark: Mark, run: bool = True) -> tuple[bool, Box | None]:
        """Make a mark, or keep it until the next prediction.

        Args:
            client: Whose mark it is.
            mark: What is to be done.
            run: False keeps it until the next prediction.

        Returns:
            Whether anything was done, and the box in which the object changed.
        """
        work = self._ready(client, SHORT)
        if not run:
            client.waiting.append(mark)
            return False, None
        marks, client.waiting = [*client.waiting, mark], []
        changed: Box | None = None
        for one in marks:
            changed = union(changed, one(work))
        return True, changed

    def predict(self, client: Client) -> tuple[bool, Box | None]:
        """Make the marks that wait; where there is none and nothing is drawn, give the object that there is."""
        work = self._ready(client, SHORT)
        if client.waiting:
            return self.mark(client, client.waiting.pop())
        if not work.empty:
            return False, None
        changed = work.whole()
        return changed is not None, changed

    def undo(self, client: Client) -> tuple[bool, Box | None]:
        """Take back the last mark that waits, or the last change."""
        work = self._ready(client, SHORT)
        if client.waiting:
            client.waiting.pop()
            return False, None
        changed = work.undo()
        return changed is not None, changed

    def _volume(
        self, model: Served, array: NDArray[Any], spacing: tuple[float, ...], properties: Mapping[str, Any]
    ) -> Volume:
        """The client's array where it lies in space; its axes stay as they are."""
        affine = self.places.affine(array, spacing, properties.get("affine"), self.models.catalogue(model.name))
        return Volume(array[0] if len(array) == 1 else array, affine, dims=3)

    def _ready(self, client: Client, seconds: float) -> Work:
        """What a client works on, once the model has looked at the scan."""
        if client.image is None:
            raise Refused(409, "there is no image yet; send it first")
        if client.work is None:
            found = self.models.find(client.model, client.image, seconds)
            client.work = self._work(client.model, client.image, found)
        return client.work

    def _pieces(self, key: str, shape: tuple[int, ...]) -> Pieces:
        """The objects of a scan, one for all clients that have it open; those nobody works on are let go of."""
        with self._mutex:
            if len(self._scans) > MOST_SCANS:
                self._scans = {name: pieces for name, pieces in self._scans.items() if pieces.used}
            return self._scans.setdefault(key, Pieces(self.folder / key / "objects", shape))

    def _work(self, model: Served, image: Volume, found: Found) -> Work:
        key = scan_key(model.name, image)
        pieces = self._pieces(key, image.shape)
        facts = {"shape": list(image.shape), "spacing_mm": list(image.spacing), "model": model.name}
        note_scan(self.folder / key, {**facts, "version": model.version, "hash": model.package.hash})
        first = image.array.reshape(image.channels, *image.shape)[0]
        return Work(Scan(first, image.spacing, found, model.structures), pieces)


def scan_key(model: str, image: Volume) -> str:
    """One name for a scan and a model's name: another version of the model, or other `--axes`, find what was drawn."""
    head = [model, image.array.dtype.str, list(image.array.shape), [round(step, 4) for step in image.spacing]]
    return name_of(head, image)


def _end(client: Client) -> None:
    """Close what a client worked on; it is on disk."""
    if client.work is not None:
        client.work.put_aside()


def changed_part(client: Client, ran: bool, box: Box | None) -> tuple[bytes, dict[str, Any]]:
    """Body and `X-Meta` of the answer: the changed box of the mask alone.

    Args:
        client: Who asked.
        ran: Whether anything was done.
        box: Where the mask changed; None where it did not.
    """
    if client.work is None or not ran or box is None:
        return b"", {"ran_prediction": ran, "bbox": None}
    part = np.ascontiguousarray(client.work.mask[box])
    bounds = [[int(side.start), int(side.stop)] for side in box]
    return pack(part), {"ran_prediction": True, "bbox": bounds, "dtype": "uint8", "shape": list(part.shape)}
