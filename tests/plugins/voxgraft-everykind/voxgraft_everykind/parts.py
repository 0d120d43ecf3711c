"""The components; a file `.every` is an array in NumPy's format whose voxels are 1 mm apart, axes to RAS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from voxgraft.plugin import (
    BadImage,
    Case,
    Dataset,
    DecoderModule,
    EncoderModule,
    ImageRef,
    Item,
    Options,
    Outcome,
    Problem,
    Quantity,
    TransferStrategy,
    Volume,
)


class EveryOptions(Options):
    """The options of all of them."""

    path: Path = Path()
    workers: int = 1


class Part:
    def __init__(self, options: EveryOptions) -> None:
        self.options = options


class Reader(Part):
    def scan(self, files: Any) -> list[Item]:
        return [self._item(file) for file in files]

    def _item(self, file: Path) -> Item:
        try:
            shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
        except (OSError, ValueError) as error:
            return Item(file, "every", (), np.eye(4), problems=(Problem("damaged", f"it cannot be read: {error}"),))
        return Item(file, "every", shape, np.eye(4))

    def read(self, item: Item) -> Volume:
        try:
            return Volume(np.load(item.path, allow_pickle=False), np.eye(4), item=item)
        except (OSError, ValueError) as error:
            raise BadImage(item.path, str(error)) from error


class Writer(Part):
    def write(self, volume: Volume, target: Path, *, labels: Any = None, facts: Any) -> None:
        with target.open("wb") as file:
            np.save(file, volume.array)


class Layout(Part):
    def read(self) -> Dataset:
        images = sorted((self.options.path / "images").glob("*.every"))
        labels = self.options.path / "labels"
        return Dataset(tuple(Case(one.stem, one.stem, (ImageRef(one),), ImageRef(labels / one.name)) for one in images))


class Modality(Part):
    def __init__(self, options: EveryOptions) -> None:
        super().__init__(options)
        self.augmentation = {"noise": 0.1}

    def plan(self, intensities: Any) -> list[dict[str, float]]:
        return [{"scale": max(one["p50"], 1.0)} for one in intensities]

    def normalise(self, array: Any, params: Any) -> Any:
        scales = np.array([one["scale"] for one in params], np.float32).reshape(-1, *[1] * (array.ndim - 1))
        return (array / scales).astype(np.float32)

    def window(self, array: Any) -> tuple[float, float]:
        return float(array.min()), float(array.max())


class Levels(EncoderModule):
    """Two maps: one at the image's resolution, one half as fine."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        conv = nn.Conv3d if dims == 3 else nn.Conv2d
        self.channels, self.strides = (4, 8), ((1,) * dims, (2,) * dims)
        self.stages = [["fine"], ["coarse"]]
        self.fine, self.coarse = conv(channels, 4, 3, padding=1), conv(4, 8, 3, stride=2, padding=1)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        fine = torch.relu(self.fine(image))
        return [fine, torch.relu(self.coarse(fine))]


class Encoder(Part):
    def make(self, dims: int, channels: int, strides: Any) -> EncoderModule:
        return Levels(dims, channels)

    def weights(self, models: Any = None) -> None:
        raise AssertionError("an encoder whose options are not StartValues is never asked for any")


class Raised(DecoderModule):
    def __init__(self, dims: int, channels: Any) -> None:
        super().__init__()
        conv = nn.Conv3d if dims == 3 else nn.Conv2d
        self.channels = (4,)
        self.mix = conv(sum(channels), 4, 1)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        size = maps[0].shape[2:]
        return [self.mix(torch.cat([nn.functional.interpolate(one, size) for one in maps], 1))]


class Decoder(Part):
    def make(self, dims: int, channels: Any, strides: Any) -> DecoderModule:
        return Raised(dims, channels)


class Strategy(TransferStrategy):
    name = "every"

    def __init__(self, options: EveryOptions) -> None:
        self.options = options

    def edit(self, rows: Any, context: Any) -> list[Any]:
        return [row.but(lr=row.lr / 2) if row.name.startswith("encoder.") else row for row in rows]


class Loss(Part):
    def __call__(self, logits: Any, target: Any, counted: Any = None) -> Any:
        return nn.functional.cross_entropy(logits, target)


class Metric(Part):
    def __call__(self, pair: Any) -> float:
        prediction, reference = pair.masks()
        return float((prediction == reference).mean())


class Measurement(Part):
    def __call__(self, inside: Any) -> list[Quantity]:
        return [Quantity("voxels", float(inside.mask.sum()), ("1", "UCUM", "no units"))]


class Step(Part):
    def outputs(self, run: Any) -> list[Path]:
        return [run.folder / "every.json"]

    def do(self, run: Any) -> None:
        run.write("every.json", {"package": (run.package / "model.safetensors").stat().st_size})


class Tracker(Part):
    def start(self, run: Any) -> None:
        self.file_ = run.folder / "tracked.jsonl"

    def params(self, values: Any) -> None: ...

    def tags(self, values: Any) -> None: ...

    def metrics(self, values: Any, step: int) -> None:
        with self.file_.open("a") as file:
            file.write(json.dumps([step, dict(values)]) + "\n")

    def file(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: str) -> None:
        with self.file_.open("a") as file:
            file.write(json.dumps(status) + "\n")


class Store(Part):
    def fetch(self, reference: str) -> Path:
        return Path(reference.removeprefix("every:"))


class Executor(Part):
    def run(self, work: Any, tasks: Any) -> Any:
        for task in tasks:
            try:
                yield Outcome(task, work(task))
            except Exception as error:
                yield Outcome(task, error=error)


def Command(options: EveryOptions) -> click.Command:  # called as the classes are
    @click.command("every")
    @click.argument("word")
    def every(word: str) -> None:
        """Say a word."""
        click.echo(word)

    return every
