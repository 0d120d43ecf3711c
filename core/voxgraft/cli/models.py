"""`voxgraft models`: which versions there are, which one is live, and how they move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.progress import print_result

if TYPE_CHECKING:
    from ..packages.references import Registry, Version

tracking_option = click.option(
    "--tracking",
    metavar="URI",
    help="Registry: sqlite:///FILE.db or http://HOST:PORT; by default MLFLOW_TRACKING_URI, else ./voxgraft.db.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


@click.group()
def models() -> None:
    """List, show, promote, roll back and move registered models."""


@models.command("list")
@tracking_option
@json_option
def list_(tracking: str | None, as_json: bool) -> None:
    """List every model and its versions, the newest first."""
    registered = _registry(tracking).models()
    if as_json:
        rows = [
            {"name": name, "versions": [version.document() for version in versions]}
            for name, versions in registered.items()
        ]
        _print_json({"models": rows})
        return
    for name, versions in registered.items():
        click.echo(name)
        for version in versions:
            click.echo(f"  {_line(version)}")
    if not registered:
        click.echo("no model is registered here yet", err=True)


@models.command()
@click.argument("model")
@tracking_option
@json_option
def show(model: str, tracking: str | None, as_json: bool) -> None:
    """Show MODEL, which is NAME@ALIAS, NAME/VERSION or NAME: what it is for, what it was trained on, how good it is."""
    from ..packages.package import read_package

    registry = _registry(tracking)
    version = _version(registry, model)
    package = read_package(registry.fetch(version.reference))
    card = (package.folder / "card.md").read_text(encoding="utf-8")
    facts = package.facts
    document = {
        "name": version.name,
        **version.document(),
        "data": facts.get("data", {}),
        "plan": package.plan.model_dump(mode="json"),
        "labels": package.labels.document(),
        "scores": facts.get("scores", {}),
        "lineage": {name: facts[name] for name in _LINEAGE if name in facts},
        "card": card,
    }
    if as_json:
        _print_json(document)
        return
    click.echo(f"{version.name}  {_line(version)}")
    click.echo(f"registered  {version.created}")
    click.echo(f"run         {version.run or '-'}")
    click.echo(f"package     {version.hash}")
    click.echo(f"data        {document['data'].get('hash', 'not recorded')}")
    plan = package.plan
    click.echo(f"plan        {_shape(plan.patch)} voxels of {_shape(plan.spacing)} mm, {plan.modality}, {plan.dims}D")
    for name, plugin in facts.get("plugins", {}).items():
        click.echo(f"plugin      {name} {plugin.get('version', '')} {str(plugin.get('sha256', ''))[:16]}")
    click.echo("")
    click.echo(card)


@models.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the model; by default the one in the package.")
@tracking_option
def register(package: Path, name: str | None, tracking: str | None) -> None:
    """Register PACKAGE, a package folder or file, as a new version. No alias moves."""
    from ..discovery import discover
    from ..packages.references import Resolver, registry

    catalogue = discover()
    resolved = Resolver(catalogue, tracking).resolve(package)
    version = registry(catalogue, tracking, create=True).register(resolved, name or resolved.name)
    _say_kept(version)


@models.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--alias", default="champion", show_default=True, help="Alias to set on this version.")
@tracking_option
def promote(name: str, version: int, alias: str, tracking: str | None) -> None:
    """Make VERSION of the model NAME its champion, or give it another alias."""
    done = _registry(tracking).promote(name, str(version), alias)
    click.echo(f"{done.name}@{alias} is version {done.version}")


@models.command()
@click.argument("name")
@tracking_option
def rollback(name: str, tracking: str | None) -> None:
    """Roll the model NAME back to its previous champion."""
    done = _registry(tracking).rollback(name)
    click.echo(f"{done.name}@champion is version {done.version} again")


@models.command()
@click.argument("model")
@click.argument("target", type=click.Path(path_type=Path))
@tracking_option
def export(model: str, target: Path, tracking: str | None) -> None:
    """Write MODEL, which is NAME@ALIAS or NAME/VERSION, as one file TARGET, such as spleen.voxgraft.zip."""
    from ..errors import UsageError
    from ..packages.package import SUFFIX, pack

    if not target.name.endswith(".zip"):
        raise UsageError(f"{target}: a package file's name ends with {SUFFIX}")
    registry = _registry(tracking)
    version = _version(registry, model)
    pack(registry.fetch(version.reference), target)
    click.echo(f"{target}: {version.name} version {version.version}, package {version.hash}")


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the model; by default the one in the package.")
@click.option(
    "--hash", "expected", help="Expected hash of the package, as `export` printed it; any other package is refused."
)
@tracking_option
def import_(file: Path, name: str | None, expected: str | None, tracking: str | None) -> None:
    """Import package FILE from another site as a new version, after checking every part of it. No alias moves."""
    from tempfile import TemporaryDirectory

    from ..discovery import discover
    from ..errors import ModelError
    from ..packages.package import unpack
    from ..packages.references import registry

    with TemporaryDirectory(prefix="voxgraft-") as scratch:
        package = unpack(file, Path(scratch) / "package")
        if expected is not None and package.hash != expected:
            raise ModelError(f"{file}: is the package {package.hash}, not the one that is expected")
        version = registry(discover(), tracking, create=True).register(package, name or package.name)
    _say_kept(version)


_LINEAGE = ("created", "voxgraft", "packages", "plugins", "split", "training", "weights")
"""What of a package's facts says where it comes from."""


def _registry(tracking: str | None) -> Registry:
    from ..discovery import discover
    from ..packages.references import registry

    return registry(discover(), tracking)


def _version(registry: Registry, model: str) -> Version:
    """The version that NAME@ALIAS, NAME/VERSION or NAME names; a bare name means its champion, else its newest."""
    reference = model if model.startswith(("models:", "runs:")) else f"models:/{model}"
    if reference.startswith("runs:") or "@" in model or "/" in model.removeprefix("models:/"):
        return registry.version(reference)
    versions = registry.models().get(model.removeprefix("models:/"))
    if not versions:
        return registry.version(f"{reference}@champion")
    return next((version for version in versions if "champion" in version.aliases), versions[0])


def _line(version: Version) -> str:
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    metrics = "  ".join(f"{metric} {value:.4f}" for metric, value in version.metrics.items())
    return f"version {version.version}{aliases}  {metrics}".rstrip()


def _say_kept(version: Version) -> None:
    click.echo(f"{version.name} version {version.version}, package {version.hash}")
    if "champion" not in version.aliases:
        click.echo(f"voxgraft models promote {version.name} {version.version}   makes it champion", err=True)


def _shape(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _print_json(document: dict[str, Any]) -> None:
    import json

    print_result(json.dumps(document, indent=2))
