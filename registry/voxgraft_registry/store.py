"""The store of model versions in an MLflow registry.

A version's files are a package and the file `MLmodel`. Only the package's own files are ever fetched, and nothing of
them is run: MLflow's loaders are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from voxgraft.errors import ModelError, NoSuchModel
from voxgraft.packages.package import Package, files_of, is_applied_alike, read_package
from voxgraft.packages.references import CHAMPION, Version
from voxgraft.support.files import write_text

from .alive import PROCESS, put_right, working
from .artifacts import FLAVOUR, fetch_package, mlmodel
from .connection import Address, absent, address, answers, connect, existing_address, pages
from .options import MlflowStoreOptions
from .parameters import key_of, name_of
from .references import check_name, demoted, forgotten, parse, promoted
from .tracker import HASH, experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

DESCRIPTION = 5000
"""Letters of a description, at most: MLflow's table of versions has no more."""

FILES, METRIC = "voxgraft.manifest", "metric."
"""Tags of a version: the hash of its manifest, and before each metric's name its mean."""

LOGGED = "voxgraft.logged_model"
"""The tag of a version: the model that it was logged as, which MLflow's registries in databases do not keep."""

EXPERIMENT = "voxgraft"
"""Where versions that no run of this registry made are kept."""


class MlflowStore:
    """Models by name and version. The connection is made at the first use."""

    def __init__(self, options: MlflowStoreOptions) -> None:
        self._options = options
        self._at: Address | None = None
        self._connected: MlflowClient | None = None

    def fetch(self, reference: str) -> Path:
        """The folder of the package that a reference names: in the registry itself, or a verified copy in the cache.

        Raises:
            ModelError: There is no such model, or its package is damaged or not the one that was registered.
            TrackingError: The registry does not answer.
        """
        client, at = self._client()
        with answers(at):
            version = self._find(reference)
            package = fetch_package(_place(client, version), at, f"models:/{version.name}/{version.version}")
        now = {HASH: package.hash, FILES: package.sha256}  # the second covers how it is applied
        if any(version.tags.get(tag, content) != content for tag, content in now.items()):
            raise ModelError(f"{reference}: its package is not the one that was registered (its hash differs)")
        return package.folder

    def models(self) -> dict[str, list[Version]]:
        """Every model's versions, the newest first."""
        client, at = self._client()
        with answers(at):
            models = pages(client.search_registered_models)
            return {model.name: self._versions(model) for model in sorted(models, key=lambda model: str(model.name))}

    def version(self, reference: str) -> Version:
        """The version that a reference names.

        Raises:
            ModelError: There is none; the message names those that there are.
        """
        client, at = self._client()
        with answers(at):
            version = self._find(reference)
            return _version(version, client.get_registered_model(version.name).aliases)

    def register(self, package: Package, name: str, *, run: str = "", note: Mapping[str, str] | None = None) -> Version:
        """Keep a package as a new version; no alias moves. The same package of the same run gives the version it has,
        with the card and the scores that it was registered with.

        Args:
            run: The id of the run in MLflow that made it; without one a run is made to hold it.
            note: More tags of the version.

        Raises:
            ModelError: The name cannot be a model's name.
            TrackingError: The registry does not answer, or refuses.
        """
        check_name(name)
        client, at = self._client()
        with answers(at):
            try:
                known = self._known(client.get_registered_model(name), package, run)
            except Exception as error:
                if not absent(error):
                    raise
                _named(client, name)
                known = None
            if known is not None:
                return known
            with working(at) as token:
                model_version, model = self._keep(client, at, package, name, run, {**(note or {}), PROCESS: token})
            return self._first(client, model_version, model, package, run)

    def _known(self, model: RegisteredModel, package: Package, run: str) -> Version | None:
        """The version that holds a package already: the very same, or of one run the same model, scored once more."""
        for version in self._versions(model, package, run):
            return version
        for version in self._versions(model) if run else ():
            if version.run == run and version.hash == package.hash:
                with suppress(ModelError):  # one whose files are lost is registered again
                    if is_applied_alike(read_package(self.fetch(version.reference)), package):
                        return version
        return None

    def _first(
        self, client: MlflowClient, model_version: ModelVersion, model: str, package: Package, run: str
    ) -> Version:
        """Of versions of one package that several processes made at once, the first; the one made here goes then."""
        first = self._versions(client.get_registered_model(model_version.name), package, run)[-1]
        if first.version != str(model_version.version):
            client.delete_model_version(model_version.name, model_version.version)
            client.delete_logged_model(model)
            if not run:
                client.delete_run(model_version.run_id)
        return first

    def promote(self, name: str, version: str, alias: str = CHAMPION, note: Mapping[str, str] | None = None) -> Version:
        """Let an alias point to a version; the one that was champion before is remembered.

        Args:
            note: Tags of the version that say why.

        Raises:
            ModelError: There is no such version, or the alias is none that MLflow takes.
        """
        client, at = self._client()
        with answers(at):
            self._find(f"models:/{name}/{version}")
            for key, value in (note or {}).items():
                client.set_model_version_tag(name, version, key, value)
            promoted(client, client.get_registered_model(name), version, alias)
        return self.version(f"models:/{name}/{version}")

    def rollback(self, name: str) -> Version:
        """Let `champion` point to the version that was champion before.

        Raises:
            ModelError: There is no such model, or no earlier champion.
        """
        client, at = self._client()
        with answers(at):
            model = self._model(name)
            existing = {version.version for version in self._versions(model)}
            version = demoted(client, model, existing)
        return self.version(f"models:/{name}/{version}")

    def delete(self, name: str, version: str) -> Version:
        """Remove a version with its aliases, the model that it was logged as, and the run that only held it.

        MLflow keeps the files and marks them as deleted; `mlflow gc` removes what is marked.

        Raises:
            NoSuchModel: There is no such version.
        """
        client, at = self._client()
        with answers(at):
            found = self._find(f"models:/{name}/{version}")
            model = client.get_registered_model(name)
            forgotten(client, model, version)
            client.delete_model_version(name, version)
            try:
                if logged := found.tags.get(LOGGED):
                    client.delete_logged_model(logged)
                if found.run_id and self._only_holds(client, found.run_id):
                    client.delete_run(found.run_id)
            except Exception as error:  # somebody has deleted its run by hand
                if not absent(error):
                    raise
            return _version(found, model.aliases)

    def _only_holds(self, client: MlflowClient, run: str) -> bool:
        """Whether a run was made to hold a version, and holds no other."""
        experiment = client.get_experiment_by_name(EXPERIMENT)
        made = experiment is not None and client.get_run(run).info.experiment_id == experiment.experiment_id
        return made and not pages(client.search_model_versions, filter_string=f"run_id = '{run}'")

    def _client(self) -> tuple[MlflowClient, Address]:
        if self._connected is None or self._at is None:
            self._at = address(self._options.uri) if self._options.uri else existing_address()
            self._connected = connect(self._at, create=self._options.create)
        return self._connected, self._at

    def _model(self, name: str) -> RegisteredModel:
        client, at = self._client()
        try:
            return client.get_registered_model(name)
        except Exception as error:
            if not absent(error):
                raise
            names = sorted(str(model.name) for model in pages(client.search_registered_models))
            raise NoSuchModel(
                f"no model is called {name!r}; there are {', '.join(names) or 'none'} in {at.shown}"
            ) from None

    def _find(self, reference: str) -> ModelVersion:
        client, _ = self._client()
        wanted = parse(reference)
        if wanted.run:
            versions = pages(client.search_model_versions, filter_string=f"run_id = '{wanted.run}'")
            if not versions:
                raise NoSuchModel(f"{reference}: no version of a model was registered by this run")
            return max(versions, key=lambda version: int(version.creation_timestamp))
        model = self._model(wanted.name)
        aliases: Mapping[str, Any] = model.aliases
        if wanted.alias and wanted.alias not in aliases:
            known = ", ".join(f"{alias} (version {version})" for alias, version in sorted(aliases.items()))
            raise NoSuchModel(f"{reference}: the model has no such alias; it has {known or 'none'}")
        number = str(aliases[wanted.alias]) if wanted.alias else wanted.version
        try:
            return client.get_model_version(wanted.name, number)
        except Exception as error:
            if not absent(error):
                raise
            known = ", ".join(sorted((version.version for version in self._versions(model)), key=int))
            raise NoSuchModel(f"{reference}: there is no version {number}; there are {known or 'none'}") from None

    def _versions(self, model: RegisteredModel, package: Package | None = None, run: str = "") -> list[Version]:
        """A model's versions, the newest first; of all, or of one package and run."""
        client, _ = self._client()
        quote = '"' if "'" in model.name else "'"
        versions = pages(client.search_model_versions, filter_string=f"name = {quote}{model.name}{quote}")
        if package is not None:
            ours = package.sha256
            versions = [
                version for version in versions if version.tags.get(FILES) == ours and run in ("", version.run_id)
            ]
        versions.sort(key=lambda version: int(version.version), reverse=True)
        return [_version(version, model.aliases) for version in versions]

    def _keep(
        self, client: MlflowClient, at: Address, package: Package, name: str, run: str, note: dict[str, str]
    ) -> tuple[ModelVersion, str]:
        """Log the package as a model of a run, then make a version of it; the version, and the id of that model.

        The version's source is the place of the files and never `models:/ID`: resolving that, MLflow would fall back
        on its global tracking URI.
        """
        own = "" if run else self._own_run(client, at, package, name, note[PROCESS])
        experiment = client.get_run(run or own).info.experiment_id
        put_right(client, at, experiment)
        tags = {**note, HASH: package.hash, FILES: package.sha256, **_facts(package)}
        logged = client.create_logged_model(
            experiment, name.replace(".", "-"), run or own, tags=tags, model_type=FLAVOUR
        )
        try:
            self._send(client, package, run or own, logged.model_id)
        except BaseException:
            client.finalize_logged_model(logged.model_id, "FAILED")
            if own:
                client.set_terminated(own, "FAILED")
            raise
        client.finalize_logged_model(logged.model_id, "READY")
        if own:
            client.set_terminated(own, "FINISHED")
        source = logged.artifact_location
        card = (package.folder / "card.md").read_text(encoding="utf-8")[:DESCRIPTION]
        model_version = client.create_model_version(
            name,
            source,
            run or own,
            tags={**tags, LOGGED: logged.model_id},
            description=card,
            model_id=logged.model_id,
        )
        return model_version, str(logged.model_id)

    def _send(self, client: MlflowClient, package: Package, run: str, model: str) -> None:
        from mlflow import __version__

        for member in files_of(package.folder):
            client.log_model_artifact(model, str(package.folder / member))
        with TemporaryDirectory(prefix="voxgraft-") as scratch:
            path = Path(scratch) / "MLmodel"
            write_text(path, mlmodel(package, run=run, model=model, mlflow=__version__))
            client.log_model_artifact(model, str(path))

    def _own_run(self, client: MlflowClient, at: Address, package: Package, name: str, token: str) -> str:
        """A run that stands for one of another place, with what the package says of it."""
        tags = {PROCESS: token, **_facts(package)}
        created = client.create_run(experiment_id(client, at, EXPERIMENT), run_name=name, tags=tags)
        for metric, mean in means_of(package).items():
            client.log_metric(created.info.run_id, key_of(metric), mean, step=0)
        return str(created.info.run_id)


def _place(client: MlflowClient, version: ModelVersion) -> str:
    """Where the files of a version are.

    Raises:
        ModelError: The model that it was logged as was deleted.
    """
    uri = str(client.get_model_version_download_uri(version.name, version.version))
    if not uri.startswith("models:/m-"):
        return uri
    try:
        return str(client.get_logged_model(uri.removeprefix("models:/")).artifact_location)
    except Exception as error:
        if not absent(error):
            raise
        raise ModelError(f"models:/{version.name}/{version.version}: its files were deleted") from None


def _named(client: MlflowClient, name: str) -> None:
    """Make a registered model, unless another process makes it at this moment."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(model_version: ModelVersion, aliases: Mapping[str, Any]) -> Version:
    metrics = {
        name_of(key.removeprefix(METRIC)): _number(value)
        for key, value in model_version.tags.items()
        if key.startswith(METRIC)
    }
    return Version(
        name=str(model_version.name),
        version=str(model_version.version),
        aliases=tuple(
            sorted(alias for alias, version in aliases.items() if str(version) == str(model_version.version))
        ),
        run=model_version.run_id or "",
        metrics={name: value for name, value in metrics.items() if value is not None},
        hash=model_version.tags.get(HASH, ""),
        created=datetime.fromtimestamp(int(model_version.creation_timestamp) / 1000, UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        package=model_version.tags.get(FILES, ""),
    )


def _facts(package: Package) -> dict[str, str]:
    """What of a package is worth a tag."""
    facts = package.facts
    tags = {f"{METRIC}{key_of(metric)}": f"{mean:.6g}" for metric, mean in means_of(package).items()}
    data = facts.get("data")
    if isinstance(data, dict) and data.get("hash"):
        tags["voxgraft.data"] = str(data["hash"])
    return {**tags, "voxgraft.version": str(facts.get("voxgraft", "unknown"))}


def means_of(package: Package) -> dict[str, float]:
    """The mean of each metric that the package was scored with."""
    means = {}
    scores = package.facts.get("scores")
    for metric, structures in scores.items() if isinstance(scores, dict) else ():
        mean = structures.get("mean", {}).get("mean") if isinstance(structures, dict) else None
        if isinstance(mean, (int, float)):
            means[str(metric)] = float(mean)
    return means


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
