"""`voxgraft models`: which versions there are, which one is live, and how they move."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..support.progress import print_fitted, print_result
from . import PATH, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..packages.models import Models
    from ..packages.references import Version

tracking_option = click.option(
    "--tracking",
    metavar="URI",
    help="Registry: sqlite:///FILE.db or http://HOST:PORT; by default MLFLOW_TRACKING_URI, else ./voxgraft.db.",
)


@click.group()
def models() -> None:
    """List, show, promote, roll back, delete and move registered models."""


@models.command("list")
@tracking_option
@json_option
def list_(tracking: str | None, as_json: bool) -> None:
    """List models and their versions, newest first."""
    registered = _models(tracking).list()
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
            print_fitted(f"  {_line(version.version, version.aliases, version.metrics)}")
        if not versions:
            click.echo("  no versions")
    if not registered:
        click.echo("no model is registered here yet", err=True)


@models.command()
@click.argument("model")
@tracking_option
@json_option
def show(model: str, tracking: str | None, as_json: bool) -> None:
    """Show what a model is for and how good it is.

    MODEL is NAME@ALIAS, NAME/VERSION or NAME. This prints its registration, its training data and its scores.
    """
    document = _models(tracking).show(model)
    if as_json:
        _print_json(document)
    else:
        _show(document)


def _show(document: dict[str, Any]) -> None:
    """What a person reads of a model."""
    plan = document["plan"]
    patch, spacing = _shape(plan["patch"]), _shape(plan["spacing"])
    lines = [
        f"{document['name']}  {_line(document['version'], document['aliases'], document['metrics'])}",
        f"registered  {document['created']}",
        f"run         {document['run'] or '-'}",
        f"model       {document['hash']}",
        f"package     {document['package'] or 'not recorded'}",
        f"data        {document['data'].get('hash', 'not recorded')}",
        f"plan        {patch} voxels of {spacing} mm, {plan['modality']}, {plan['dims']}D",
    ]
    for name, plugin in document["lineage"].get("plugins", {}).items():
        lines.append(f"plugin      {name} {plugin.get('version', '')} {str(plugin.get('sha256', ''))[:16]}")
    print_fitted("\n".join([*lines, "", document["card"].rstrip()]))


@models.command()
@click.argument("package", type=PATH)
@click.option("--name", help="Name of the model; by default the one in the package.")
@tracking_option
def register(package: Path, name: str | None, tracking: str | None) -> None:
    """Register a package as a new version.

    PACKAGE is a package folder or file. No alias moves.
    """
    _say_kept(_models(tracking).register(package, name))


@models.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--alias", default="champion", show_default=True, help="Alias to set on this version.")
@tracking_option
def promote(name: str, version: int, alias: str, tracking: str | None) -> None:
    """Make a version the champion.

    With --alias, VERSION of the model NAME gets another alias instead.
    """
    done = _models(tracking).promote(name, version, alias)
    click.echo(f"{done.name}@{alias} is version {done.version}")


@models.command()
@click.argument("name")
@tracking_option
def rollback(name: str, tracking: str | None) -> None:
    """Roll a model back to its previous champion."""
    done = _models(tracking).rollback(name)
    click.echo(f"{done.name}@champion is version {done.version} again")


@models.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete it although it is the champion, or has an alias of your own.")
@tracking_option
def delete(name: str, version: int, yes: bool, force: bool, tracking: str | None) -> None:
    """Delete a version of a model.

    Its number is not given to another version. On a terminal the command asks first. The champion, and a version with
    an alias that somebody set, are deleted with --force only.
    """
    registered = _models(tracking)
    found = registered.version(f"models:/{name}/{version}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{name}/{version}: nobody is here to be asked; delete it with --yes")
        click.echo(_line(found.version, found.aliases, found.metrics), err=True)
        click.confirm(f"delete {name} version {version}?", abort=True, err=True)
    done = registered.delete(name, version, force=force)
    gone = f"; {name} has no {', '.join(done.aliases)} any more" if done.aliases else ""
    click.echo(f"deleted {name} version {done.version}, package {done.package}{gone}")


@models.command()
@click.argument("model")
@click.argument("target", type=PATH)
@tracking_option
def export(model: str, target: Path, tracking: str | None) -> None:
    """Write a version of a model to one file.

    MODEL is NAME@ALIAS or NAME/VERSION, TARGET a file such as spleen.voxgraft.zip.
    """
    version = _models(tracking).export(model, target)
    print_fitted(f"{target}: {version.name} version {version.version}, package {version.package}")


@models.command("import")
@click.argument("file", type=PATH)
@click.option("--name", help="Name of the model; by default the one in the package.")
@click.option(
    "--hash", "expected", help="Expected hash of the package, as `export` printed it; any other package is refused."
)
@tracking_option
def import_(file: Path, name: str | None, expected: str | None, tracking: str | None) -> None:
    """Import a package file as a new version.

    Every part of FILE is checked first. No alias moves.
    """
    _say_kept(_models(tracking).import_(file, name, expected))


def _models(tracking: str | None) -> Models:
    from ..discovery import discover
    from ..packages.models import Models

    return Models(discover(), tracking)


def _line(version: str, aliases: Sequence[str], metrics: Mapping[str, float]) -> str:
    named = f" ({', '.join(aliases)})" if aliases else ""
    scores = "  ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
    return f"version {version}{named}  {scores}".rstrip()


def _say_kept(version: Version) -> None:
    print_fitted(f"{version.name} version {version.version}, package {version.package}")
    if "champion" not in version.aliases:
        click.echo(f"next: voxgraft models promote {version.name} {version.version} makes it champion", err=True)


def _shape(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _print_json(document: dict[str, Any]) -> None:
    import json

    print_result(json.dumps(document, indent=2))
