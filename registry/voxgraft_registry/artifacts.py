"""A version's files: where they are, how they come here, and `MLmodel`, which makes a package a model for MLflow.

`MLmodel` is data only, of a flavour that MLflow cannot load.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from voxgraft.errors import ModelError
from voxgraft.packages.package import FORMAT, LARGEST, MANIFEST, MEMBERS, OPTIONAL, Package, read_package
from voxgraft.packages.references import cache_folder
from voxgraft.preprocessing.plan import Plan
from voxgraft.support.files import atomic_write, digest
from voxgraft.workflow.yaml import dump

from .connection import Address


def fetch_package(uri: str, at: Address, name: str) -> Package:
    """The verified package at a place that a registry gave.

    Files on this disk are used where they are. Others are copied into the cache, the package's own and no more, and
    only a copy that passes verification stays there.

    Args:
        name: Of the version, for messages.

    Raises:
        ModelError: It is not a package, or damaged.
    """
    try:
        folder = _local(uri, at)
        if folder is not None:
            if not folder.is_dir():
                raise ModelError(
                    f"{name}: its files are not where the registry says, or cannot be seen from this machine"
                )
            return _read(folder, name)
    except OSError as error:
        raise ModelError(f"{name}: its files cannot be read: {error.strerror or error}") from None
    target = cache_folder() / "fetched" / digest([at.uri, uri])
    try:
        return read_package(target)
    except ModelError:
        _download(uri, at, target, name)
    return read_package(target)


def _local(uri: str, at: Address) -> Path | None:
    """The folder, where the place is one on this disk; also when database and files were moved together."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path) if parts.scheme else uri)
    if not folder.is_dir() and at.database is not None and "mlartifacts" in folder.parts:
        tail = folder.parts[folder.parts.index("mlartifacts") :]
        folder = at.database.parent.joinpath(*tail)
    return folder


def _download(uri: str, at: Address, target: Path, name: str) -> None:
    from mlflow.artifacts import download_artifacts, list_artifacts

    listed = list_artifacts(artifact_uri=uri, tracking_uri=at.uri)
    sizes = {str(file.path).rpartition("/")[2]: int(file.file_size or 0) for file in listed if not file.is_dir}
    members: tuple[str, ...] = (*MEMBERS, MANIFEST)
    if lacking := [member for member in members if member not in sizes]:
        raise ModelError(f"{name}: is not a VoxGraft package: it has no {lacking[-1]}")
    members = (*members, *(member for member in OPTIONAL if member in sizes))
    if sum(sizes[member] for member in members) > LARGEST:
        raise ModelError(f"{name}: is larger than any model package")
    with atomic_write(target) as temporary:
        for member in members:
            download_artifacts(artifact_uri=f"{uri}/{member}", dst_path=str(temporary), tracking_uri=at.uri)
        _read(temporary, name)


def _read(folder: Path, name: str) -> Package:
    try:
        return read_package(folder)
    except ModelError as error:
        raise ModelError(str(error).replace(str(folder), name)) from None


FLAVOUR = "voxgraft"


def mlmodel(package: Package, *, run: str, model: str, mlflow: str) -> str:
    """The text of `MLmodel`: flavour, signature, and ids; no path of this machine and no code to load.

    Args:
        run: The id of the run in MLflow.
        model: The id of the logged model in MLflow.
        mlflow: MLflow's version.
    """
    facts = package.facts
    document = {
        "flavors": {FLAVOUR: {"format": FORMAT, "hash": package.hash, "voxgraft": str(facts.get("voxgraft", ""))}},
        "metadata": {
            "labels": {str(label.value): label.name for label in package.labels.items},
            "modality": package.plan.modality,
            "spacing_mm": list(package.plan.spacing),
        },
        "mlflow_version": mlflow,
        "model_id": model,
        "model_uuid": model,
        "run_id": run,
        "signature": signature(package.plan),
        "utc_time_created": str(facts.get("created", "")),
    }
    return dump(document)


def signature(plan: Plan) -> dict[str, Any]:
    """Of the network: normalised patches (batch, channel, *spatial) in, logits (batch, class, *spatial) out."""
    spatial = [-1] * plan.dims
    return {
        "inputs": _tensor([-1, len(plan.channels), *spatial]),
        "outputs": _tensor([-1, plan.classes, *spatial]),
        "params": None,
    }


def _tensor(shape: list[int]) -> str:
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": shape}}])
