"""Model packages: a trained model as data only, every file named in a manifest with its SHA-256.

A package is a folder (or a zip of it) of `model.safetensors`, `plan.json`, `workflow.yaml`, `labels.json`, `card.md`
and `manifest.json`; an ensemble has `members.json` besides. It holds no pickle and no code, and reading one runs none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, NoSuchModel
from ..imaging.structures import Labels
from ..preprocessing.plan import Plan, read_plan
from ..support.files import atomic_write, digest, read_json, sha256, write_json, write_text
from .facts import fast_ways, fault_of
from .weights_file import check_weights

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MEMBERS = ("model.safetensors", "plan.json", "workflow.yaml", "labels.json", "card.md")
OPTIONAL = ("members.json",)
"""Of an ensemble: the plan of each of its networks, whose tensors are `0.NAME`, `1.NAME` and so on."""
MANIFEST = "manifest.json"
LARGEST = 32 * 2**30
HIGHEST = 65535
"""The highest value that a mask may hold."""
LARGEST_DOCUMENT = 64 * 2**20
"""Bytes of the longest file of a package beside its weights."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package on disk whose files are what its manifest says.

    Attributes:
        facts: The rest of the manifest: VoxGraft's version, plugins with versions and hashes, data hashes, scores.
        hash: The identity of the model: a fingerprint of weights, plan and structures. Its card, its scores and its
            workflow may be amended; see `sha256`.
        members: Of an ensemble, the plan of each network; empty where there is one network, which follows `plan`.
    """

    folder: Path
    plan: Plan
    labels: Labels
    facts: Mapping[str, Any]
    hash: str
    members: tuple[Plan, ...] = ()

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def sha256(self) -> str:
        """Of the manifest, which has the hash of every file and all facts: the same for the very same package only."""
        return sha256(self.folder / MANIFEST)

    @property
    def name(self) -> str:
        return str(self.facts.get("name", self.folder.name))

    def check_finds_structures(self) -> None:
        """Complain where it was trained without masks, such as by self-supervision: it would leave every mask empty.

        Raises:
            ModelError: It has no structure to find.
        """
        if not self.labels.items and not self.labels.regions:
            raise ModelError(
                f"{self.folder}: was trained without masks and finds no structures; train it further on cases with "
                f"masks, in a workflow with model.encoder.weights: file:{self.weights.as_posix()}"
            )


def write_package(
    folder: Path,
    *,
    tensors: Mapping[str, Tensor],
    plan: Plan,
    workflow: str,
    labels: Labels,
    card: str,
    facts: Mapping[str, Any],
    members: Sequence[Plan] = (),
) -> Package:
    """Write a package, whole or not at all.

    Args:
        members: Of an ensemble, the plan of each network.
        workflow: The resolved workflow as YAML.
        card: What a person should know of the model, as Markdown.
    """
    from safetensors.torch import save_file

    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / "model.safetensors")
        write_json(temporary / "plan.json", plan.model_dump(mode="json"))
        write_text(temporary / "workflow.yaml", workflow)
        write_json(temporary / "labels.json", _label_document(plan, labels))
        write_text(temporary / "card.md", card)
        if members:
            write_json(temporary / "members.json", [member.model_dump(mode="json") for member in members])
        _write_manifest(temporary, facts)
    return read_package(folder)


def amend_package(folder: Path, *, card: str, facts: Mapping[str, Any]) -> Package:
    """Give a package another card and more facts, such as its scores; weights and plan stay untouched.

    The whole folder is replaced: a card and a manifest that do not belong together would make the package useless.

    Args:
        folder: The package.
        card: The new model card, Markdown.
        facts: Are added to those of the package, or replace them.
    """
    package = read_package(folder)
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        for name in files_of(folder):
            if name not in ("card.md", MANIFEST):
                _link(folder / name, temporary / name)
        write_text(temporary / "card.md", card)
        _write_manifest(temporary, {**package.facts, **facts})
    return read_package(folder)


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_package(path: Path) -> Package:
    """Open a package folder, after comparing every file with the manifest.

    Raises:
        ModelError: It is not a package, a file is missing, or a file is not what the manifest says.
    """
    files, facts = _read_manifest(path)
    for name in files:
        member, entry = path / name, files[name]
        if not member.is_file() or member.is_symlink():
            raise ModelError(f"{path}: the package lacks its file {name}")
        if member.stat().st_size > most_bytes(name):
            raise ModelError(f"{member}: is larger than the {most_bytes(name)} bytes of any such file")
        if member.stat().st_size != entry.get("size") or sha256(member) != entry.get("sha256"):
            raise ModelError(f"{member}: is not the file the manifest names (its hash differs)")
    check_weights(path / "model.safetensors")
    plan, labels = read_plan(path / "plan.json"), _labels(path / "labels.json")
    _check_same_structures(path, plan, labels)
    return Package(
        folder=path,
        plan=plan,
        labels=labels,
        facts=facts,
        hash=_identity(files),
        members=_plans(path / "members.json", plan) if "members.json" in files else (),
    )


def files_of(folder: Path) -> tuple[str, ...]:
    """The names of a package's files: an ensemble has one more."""
    return (*MEMBERS, *(name for name in OPTIONAL if (folder / name).is_file()), MANIFEST)


def most_bytes(name: str) -> int:
    """How large a file of a package may be."""
    return LARGEST if name == MEMBERS[0] else LARGEST_DOCUMENT


def _read_manifest(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What a package's manifest says of its files, and the facts in it."""
    manifest = path / MANIFEST
    try:
        document = read_json(manifest, LARGEST_DOCUMENT)
        files, facts, version = document["files"], document["facts"], document["format"]
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchModel(f"{path}: is not a model package: it has no {MANIFEST}") from None
    except OSError as error:
        raise ModelError(f"{manifest}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{manifest}: is damaged") from None
    if version != FORMAT:
        raise ModelError(f"{path}: has package format {version}; this VoxGraft reads format {FORMAT}")
    if not isinstance(files, dict) or not isinstance(facts, dict):
        raise ModelError(f"{manifest}: is damaged")
    if lacking := [name for name in MEMBERS if not isinstance(files.get(name), dict)]:
        raise ModelError(f"{manifest}: does not name {lacking[0]}")
    if strange := sorted(set(files) - {*MEMBERS, *OPTIONAL}):
        raise ModelError(f"{manifest}: names {strange[0]!r}, which is not part of a package")
    if not all(isinstance(entry, dict) for entry in files.values()):
        raise ModelError(f"{manifest}: is damaged")
    if fault := fault_of(facts):
        raise ModelError(f"{manifest}: is damaged: facts.{fault}")
    return files, facts


def _write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    files = {
        name: {"size": os.path.getsize(folder / name), "sha256": sha256(folder / name)}  # noqa: PTH202
        for name in files_of(folder)
        if name != MANIFEST
    }
    write_json(folder / MANIFEST, {"format": FORMAT, "files": files, "facts": dict(facts)})


def _label_document(plan: Plan, labels: Labels) -> dict[str, Any]:
    """The structures, and for people and other programs how the network finds them; the plan says it to the engine."""
    document: dict[str, Any] = {"labels": labels.document(), "kind": "sigmoid" if plan.regions else "softmax"}
    if plan.regions:
        document["regions"] = {region.name: list(region.members) for region in plan.regions}
        document["paint"] = list(plan.paint)
    if plan.ignored is not None:
        document["ignored"] = True
    return document


def _labels(path: Path) -> Labels:
    try:
        return Labels.from_document(read_json(path)["labels"])
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(f"{path}: is damaged") from None


def _check_same_structures(path: Path, plan: Plan, labels: Labels) -> None:
    """Refuse names for other values than the network gives: what it finds would not be measured, or be called nothing.

    Raises:
        ModelError: It is so.
    """
    values, named = [value for value, _ in plan.labels], [label.value for label in labels.items]
    names = [label.name for label in labels.items]
    if len({*values}) < len(values) or any(not 0 < value <= HIGHEST for value in values):
        raise ModelError(
            f"{path / 'plan.json'}: gives the values {values} to structures; each needs its own, from 1 on"
        )
    if not plan.regions and sorted(named) != sorted(values):
        raise ModelError(f"{path / 'labels.json'}: names the values {named}, and the plan has {values}; it is damaged")
    if len({*names}) < len(names) or not all(name.strip() for name in names):
        raise ModelError(f"{path / 'labels.json'}: calls structures {names}; each needs a name of its own")


def _plans(path: Path, common: Plan) -> tuple[Plan, ...]:
    """The plans of an ensemble's networks, which see and find the same."""
    try:
        plans = tuple(Plan.model_validate(row) for row in read_json(path))
    except (OSError, ValueError, TypeError):
        raise ModelError(f"{path}: is damaged") from None
    if not plans:
        raise ModelError(f"{path}: is damaged: an ensemble has networks")
    for name in ("dims", "image_dims", "channels", "labels", "regions", "paint"):
        if any(getattr(plan, name) != getattr(common, name) for plan in plans):
            raise ModelError(f"{path}: is damaged: a network has other {name} than the ensemble")
    return plans


def is_applied_alike(package: Package, other: Package) -> bool:
    """Whether two packages hold the same model, applied in the same way; cards and scores may differ."""
    ways = [(one.hash, sha256(one.folder / "workflow.yaml"), fast_ways(one.facts)) for one in (package, other)]
    return ways[0] == ways[1]


def _identity(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Weights, plan and labels make the model; its card and workflow text may be amended."""
    makes = ("model.safetensors", "plan.json", "labels.json", *OPTIONAL)
    return digest({name: files[name]["sha256"] for name in makes if name in files})
