"""MONAI Label's REST API, which 3D Slicer's and OHIF's modules speak, before our models and our engine.

Read from `monailabel` 0.8.5 (Apache-2.0), whose client the tests drive. Nothing is trained here, and no path of this
machine is told.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..correction.clicks import Click, click
from ..imaging.read import read
from ..imaging.volume import ImageRef, Volume
from ..labels.masks import in_grid_of, read_values
from ..support.files import digest, read_json, write_json
from .answers import Answer, bare
from .datastore import FINAL, Datastore, Image
from .engine import REACH_MM
from .marks import index_of
from .models import Found, Models, Served
from .refused import Refused
from .uploads import Uploads

CLICKS = "-clicks"
"""Behind a model's name: the same model, of which points correct one structure (Slicer's tab `SmartEdit`)."""

STRATEGIES = {
    "uncertainty": "the scan of which the model is least sure, of those without a final label",
    "first": "the first scan without a final label",
    "random": "any scan without a final label",
}
NOT_TRAINED = "this server does not train; train with `voxgraft run`, and serve the new version"


class Service:
    """What the addresses of MONAI Label's API do.

    Args:
        models: What predicts.
        data: The scans; None where none are named.
        uploads: The images that viewers send for a while.
        folder: Keeps how sure the models were of the scans.
    """

    def __init__(self, models: Models, data: Datastore | None, uploads: Uploads, folder: Path) -> None:
        self.models, self.data, self.uploads = models, data, uploads
        place = "" if data is None else str(data.folder.resolve())
        self._file = folder / f"{digest(place)[:16]}.json"
        self._seen: dict[str, float] = _read_confidences(self._file)
        """The lowest confidence of each scan that was predicted here, by its id."""
        self._mutex = threading.Lock()

    def info(self) -> dict[str, Any]:
        """The models, the ways to choose the next scan, the state of the scans."""
        models: dict[str, Any] = {}
        for name, one in self.models.served.items():
            plan = one.package.plan
            base = {"labels": one.structures, "dimension": plan.image_dims, "config": {}}
            told = f"{one.package.name} {one.version}; licence: {one.licence}"
            models[name] = {"type": "segmentation", "description": told, **base}
            if plan.image_dims == 3:
                models[f"{name}{CLICKS}"] = {"type": "deepgrow", "description": f"points correct {told}", **base}
        labels = dict.fromkeys(name for one in self.models.served.values() for name in one.structures)
        return {
            "name": "VoxGraft",
            "description": "VoxGraft serves trained models; masks are for review, not for diagnosis",
            "version": version("voxgraft"),
            "labels": list(labels),
            "models": models,
            "trainers": {},
            "strategies": {name: {"description": text} for name, text in STRATEGIES.items()},
            "scoring": {},
            "train_stats": {},
            "datastore": self.stats(),
        }

    def stats(self) -> dict[str, Any]:
        """How many scans there are, and how many have a final label."""
        images = [] if self.data is None else list(self.images().images.values())
        tags: dict[str, int] = {}
        for image in images:
            for tag in self.images().tags(image):
                tags[tag] = tags.get(tag, 0) + 1
        open_ = 0 if self.data is None else len(self.data.unlabelled())
        return {"total": len(images), "completed": len(images) - open_, "label_tags": tags, "train": []}

    def objects(self) -> dict[str, Any]:
        """Every scan and its labels, in the shape that Slicer reads."""
        data = self.images()
        objects = {
            image.id: {"image": {"ext": ".nii.gz", "info": {"name": image.id}}, "labels": data.tags(image)}
            for image in data.images.values()
        }
        return {"name": "voxgraft", "description": "", "images_dir": "", "labels_dir": "", "objects": objects}

    def next(self, strategy: str) -> dict[str, Any]:
        """The scan that is looked at next; nothing where all have a final label.

        Raises:
            Refused: 404, there is no such strategy, or no folder of scans.
        """
        if strategy not in STRATEGIES:
            raise Refused(404, f"there is no strategy {strategy[:40]!r}; known are {', '.join(STRATEGIES)}")
        open_ = self.images().unlabelled()
        if not open_:
            return {}
        image, sure = open_[0], None
        if strategy == "random":
            image = random.choice(open_)
        if strategy == "uncertainty":
            known = [(least, one) for one in open_ if (least := self.confidence(one)) is not None]
            sure, image = min(known, key=lambda pair: pair[0], default=(None, image))
        told = {"id": image.id, "name": f"{image.id}.nii.gz", "strategy": strategy}
        return told if sure is None else {**told, "confidence": sure}

    def confidence(self, image: Image) -> float | None:
        """The lowest of the confidences of a scan's structures, where it was predicted; None where nobody knows."""
        return self._seen.get(image.id, min(image.confidence.values(), default=None))

    def infer(self, name: str, image: str, session: str, params: Mapping[str, Any], file: Path | None) -> Answer:
        """What a model finds in a scan, or makes of one structure of it around points.

        Args:
            name: Of the model.
            image: The id of a scan; of no interest where a session or a file is given.
            session: The id of a session.
            params: What the viewer says: `label`, `foreground` and `background` for points (voxel indices).
            file: A scan that was sent along.

        Raises:
            Refused: 404, there is no such model, scan or session; 400, they do not fit.
        """
        points = name.endswith(CLICKS) and name not in self.models.served
        model = self.models.get(name.removesuffix(CLICKS) if points else name)
        volume = self._scan(model, image, session, file)
        found = self.models.find(model, volume)
        if self.data is not None and not session and file is None and found.confidence:
            self._note(self.data.get(image).id, min(found.confidence.values()))
        told = {"latencies": {}, "model": model.name, "confidence": dict(found.confidence)}
        if points:
            mask, label = self._corrected(model, volume, found, params)
            return Answer(mask, {label: 1}, {**told, "label_names": {label: 1}})
        array = found.labels
        if array.ndim > volume.dims:  # regions that overlap: in a map of values the later one lies on top
            array = np.zeros(volume.shape, np.uint8)
            for place, region in enumerate(found.labels, 1):
                array[region != 0] = place
        there = set(np.unique(array).tolist())
        names = {
            label: value for label, value in sorted(model.structures.items(), key=lambda p: p[1]) if value in there
        }
        mask = Volume(array, volume.affine, dims=volume.dims, item=volume.item)
        return Answer(mask, names, {**told, "label_names": names})

    def save(self, image: str, tag: str, params: Mapping[str, Any], file: Path, called: str) -> dict[str, Any]:
        """Keep a mask that a person made, in the grid of its scan.

        Args:
            image: The id of the scan.
            tag: Under which it is kept.
            params: `label_info` names the structures of the values.
            file: The mask: NIfTI, NRRD or MetaImage, or the bare voxels of OHIF's `label.bin`.
            called: The name of its file at the viewer.

        Raises:
            Refused: 404, there is no such scan; 400, the mask is none, or does not lie in its grid.
        """
        data = self.images()
        chosen = data.get(image)
        like = data.read(chosen, data.catalogue)
        like = like.with_array(like.array.reshape(like.channels, *like.shape)[0])
        if called.lower().endswith(".bin"):
            mask = like.with_array(bare(file.read_bytes(), like.shape))
        else:
            mask = in_grid_of(read_values(ImageRef(file), None, data.catalogue), like, "the label")
        mask, names = self._named(mask, params)
        kept = {key: params[key] for key in ("label_info", "client_id") if key in params}
        data.save(chosen, mask, tag or FINAL, kept, names)
        return {"image": chosen.id, "label": chosen.id, "tag": tag or FINAL, "label_names": names}

    def _note(self, image: str, sure: float) -> None:
        """Remember how sure a model was of a scan."""
        with self._mutex:
            if self._seen.get(image) != sure:
                self._seen[image] = sure
                write_json(self._file, self._seen)

    def _named(self, mask: Volume, params: Mapping[str, Any]) -> tuple[Volume, dict[str, int]]:
        """A mask with the values of the models' structures, where the viewer names all of its values so.

        Viewers number the structures that are there, from 1; a model has its own numbers.
        """
        rows = params.get("label_info")
        called: dict[int, str] = {}
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and isinstance(row.get("idx"), int) and isinstance(row.get("name"), str):
                called[row["idx"]] = row["name"][:80]
        there = [int(value) for value in np.unique(mask.array) if value]
        known = {name: value for one in self.models.served.values() for name, value in one.structures.items()}
        if not there or not all(called.get(value) in known for value in there):
            return mask, {called.get(value, str(value)): value for value in there}
        names = {called[value]: known[called[value]] for value in there}
        if len(names) != len(there) or len(set(names.values())) != len(there):
            return mask, {f"{called[value]} {value}": value for value in there}
        table = np.zeros(max(there) + 1, np.uint16)
        for value in there:
            table[value] = known[called[value]]
        return mask.with_array(table[mask.array]), names

    def _scan(self, model: Served, image: str, session: str, file: Path | None) -> Volume:
        """The scan that is meant, read as the model's training data were."""
        catalogue = self.models.catalogue(model.name)
        if file is not None:
            return read(file, catalogue)
        if session:
            return read(self.uploads.image(session), catalogue)
        data = self.images()
        return data.read(data.get(image), catalogue)

    def _corrected(self, model: Served, volume: Volume, found: Found, params: Mapping[str, Any]) -> tuple[Volume, str]:
        """One structure after points: 1 where it is."""
        label = params.get("label")
        if not isinstance(label, str) or label not in model.structures:
            known = ", ".join(model.structures)
            raise Refused(400, f"name the structure that the points belong to as `label`, one of {known}")
        mask = found.structure(label, model.structures).astype(np.uint8)
        clicks = []
        for key, add in (("foreground", True), ("background", False)):
            rows = params.get(key) or []
            if not isinstance(rows, list) or len(rows) > 1000:
                raise Refused(400, f"{key} must be a list of at most 1000 points")
            clicks += [Click(index_of(row, volume.shape), add) for row in rows]
        first = volume.array.reshape(volume.channels, *volume.shape)[0]
        for one in clicks:
            click(first, mask, 1, [one], volume.spacing, (), REACH_MM).apply(mask)
        return Volume(mask, volume.affine, dims=volume.dims, item=volume.item), label

    def images(self) -> Datastore:
        """The scans.

        Raises:
            Refused: 404, none are named.
        """
        if self.data is None:
            raise Refused(404, "this server was started without --data, so it has no images of its own")
        self.data.follow()
        return self.data


def _read_confidences(path: Path) -> dict[str, float]:
    """Confidences by the ids of scans; none where there is no such file, or it is damaged."""
    try:
        return {str(name): float(sure) for name, sure in read_json(path).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
