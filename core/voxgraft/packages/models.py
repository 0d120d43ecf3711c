"""The registered models of one registry, as a person handles them: list, show, promote, roll back, move."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UsageError
from .archive import SUFFIX, pack, unpack
from .package import Package, read_package
from .references import CHALLENGER, CHAMPION, Registry, Resolver, Version, registry

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

LINEAGE = ("created", "voxgraft", "packages", "plugins", "split", "training", "weights")
"""What of a package's facts says where it comes from."""


class Models:
    """The models of a registry.

    A MODEL is NAME@ALIAS, NAME/VERSION or NAME, which means its champion, or its newest version where it has none.

    Args:
        catalogue: Offers the store that keeps versions.
        uri: `sqlite:///FILE.db` or `http://HOST:PORT`; by default `MLFLOW_TRACKING_URI`, else ./voxgraft.db.
    """

    def __init__(self, catalogue: Catalogue, uri: str | None = None) -> None:
        self._catalogue, self._uri = catalogue, uri

    def list(self) -> Mapping[str, Sequence[Version]]:
        """Every model's versions, the newest first.

        Raises:
            TrackingError: There is no registry, or it does not answer.
        """
        return self._registry().models()

    def version(self, model: str) -> Version:
        """The version that a MODEL names.

        Raises:
            ModelError: There is none.
        """
        found = self._registry()
        reference = model if model.startswith(("models:/", "runs:")) else f"models:/{model}"
        if reference.startswith("runs:") or "@" in model or "/" in model.removeprefix("models:/"):
            return found.version(reference)
        versions = found.models().get(model.removeprefix("models:/"))
        if not versions:
            return found.version(f"{reference}@{CHAMPION}")
        return next((version for version in versions if CHAMPION in version.aliases), versions[0])

    def package(self, model: str) -> Package:
        """The package of a MODEL, fetched and verified; `vg.segment` takes it."""
        return read_package(self._registry().fetch(self.version(model).reference))

    def show(self, model: str) -> dict[str, Any]:
        """What a MODEL is for, what it was trained on and how good it is, as `voxgraft models show --json` prints it.

        Raises:
            ModelError: There is no such model, or its package is damaged.
        """
        version = self.version(model)
        package = read_package(self._registry().fetch(version.reference))
        facts = package.facts
        return {
            "name": version.name,
            **version.document(),
            "data": facts.get("data", {}),
            "plan": package.plan.model_dump(mode="json"),
            "labels": package.labels.document(),
            "scores": facts.get("scores", {}),
            "lineage": {name: facts[name] for name in LINEAGE if name in facts},
            "card": (package.folder / "card.md").read_text(encoding="utf-8"),
        }

    def register(self, package: str | Path, name: str | None = None) -> Version:
        """Register a package folder or file as a new version. No alias moves.

        Raises:
            ModelError: It is not a package, or is damaged.
        """
        resolved = Resolver(self._catalogue, self._uri).resolve(package)
        return self._registry(create=True).register(resolved, name or resolved.name)

    def promote(self, name: str, version: int | str, alias: str = CHAMPION) -> Version:
        """Make a version of a model its champion, or give it another alias.

        Args:
            name: Of the model.
            version: Its number.
            alias: Such as `challenger`.

        Raises:
            NoSuchModel: There is no such version.
            UsageError: The alias cannot stand in a reference.
        """
        if not re.fullmatch(r"[\w-]+", alias, re.ASCII):
            raise UsageError(f"{alias!r} cannot be an alias: use letters, digits, dash and underscore")
        return self._registry().promote(name, str(version), alias)

    def rollback(self, name: str) -> Version:
        """Roll a model back to its previous champion.

        Raises:
            ModelError: There is none.
        """
        return self._registry().rollback(name)

    def delete(self, name: str, version: int | str, *, force: bool = False) -> Version:
        """Delete a version of a model; its number is not given to another.

        Args:
            name: Of the model.
            version: Its number.
            force: Also where it is the champion, or programs may ask for it by an alias that somebody set.

        Returns:
            The version as it was.

        Raises:
            NoSuchModel: There is no such version.
            UsageError: It has an alias, and `force` was not given.
        """
        found = self.version(f"models:/{name}/{version}")
        if not force and (used := [alias for alias in found.aliases if alias != CHALLENGER]):
            raise UsageError(
                f"{name} version {version} is {', '.join(used)}, and whoever asks for {name}@{used[0]} would find no "
                "model; let another version be it first (`voxgraft models promote`), or delete it with --force"
            )
        return self._registry().delete(name, str(version))

    def export(self, model: str, target: str | Path) -> Version:
        """Write a MODEL as one file, such as spleen.voxgraft.zip.

        Raises:
            UsageError: The file's name does not end with .zip.
            ModelError: There is no such model.
        """
        if not str(target).endswith(".zip"):
            raise UsageError(f"{target}: a package file's name ends with {SUFFIX}")
        version = self.version(model)
        folder = self._registry().fetch(version.reference)
        pack(folder, Path(target))
        return replace(version, package=read_package(folder).sha256)

    def import_(self, file: str | Path, name: str | None = None, expected: str | None = None) -> Version:
        """Import a package file from another site as a new version, after checking every part of it. No alias moves.

        Args:
            file: What `export` wrote.
            name: Of the model; by default the one in the package.
            expected: SHA-256 of the package; any other package is refused, also one with another card or workflow.

        Raises:
            ModelError: It is damaged, or is not the expected package.
        """
        with TemporaryDirectory(prefix="voxgraft-") as scratch:
            package = unpack(Path(file), Path(scratch) / "package")
            if expected is not None and package.sha256 != expected:
                raise ModelError(f"{file}: {_not_expected(package, expected)}")
            return self._registry(create=True).register(package, name or package.name)

    def _registry(self, *, create: bool = False) -> Registry:
        return registry(self._catalogue, self._uri, create=create)


def _not_expected(package: Package, expected: str) -> str:
    if package.hash == expected:
        return (
            "that is the hash of its model, which says nothing of its workflow, card and scores; ask for the hash of "
            "the package, as `voxgraft models export` prints it"
        )
    return f"is the package {package.sha256}, not the one that is expected"
