"""The weights that the package `deepbet` ships (MIT licence), as plain tensors.

The file is a TorchScript archive, which is code. It is opened only when it is, byte for byte, the known file; its
tensors are taken and nothing of it is called. The package itself is never imported: it asks for a window toolkit.
"""

from __future__ import annotations

import warnings

from voxgraft.plugin import InputContract, Weights, check_sha256, packaged_file

PACKAGE = "deepbet"
FILE = "data/models/model.pt"
SHA256 = "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd"
LICENCE = "MIT"


def bundled_weights() -> Weights:
    """The tensors under deepbet's own names, which are those of `LinkNetMaps`.

    Raises:
        ModelError: The package is not installed, or its file is not the known one.
    """
    import torch

    path, version = packaged_file(PACKAGE, FILE, install="voxgraft[demo]")
    known = check_sha256(path, SHA256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        archive = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        tensors = dict(archive.state_dict())
    return Weights(
        tensors,
        origin=f"{PACKAGE} {version}",
        licence=LICENCE,
        sha256=known,
        contract=InputContract(channels=1, seen="T1-weighted MR images of heads of healthy adults"),
    )
