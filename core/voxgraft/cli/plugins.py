"""`voxgraft plugins`: what is installed, and what was set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..component import AnySpec
    from ..discovery import Catalogue


@click.group()
def plugins() -> None:
    """Show what the installed plugins offer."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--kind", help="Only components of this kind.")
def list_(as_json: bool, kind: str | None) -> None:
    """List every component, and the plugins that were set aside."""
    from ..discovery import discover
    from ..errors import UsageError
    from ..hookspecs import KINDS

    if kind and kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    catalogue = discover()
    rows = [_row(catalogue, plugin, spec) for one in ([kind] if kind else KINDS) for plugin, spec in catalogue.of(one)]
    if as_json:
        import json

        document = {
            "components": rows,
            "failures": [{"plugin": one.plugin, "reason": one.reason} for one in catalogue.failures],
            "conflicts": [{"kind": one.kind, "name": one.name, "plugins": one.plugins} for one in catalogue.conflicts],
        }
        click.echo(json.dumps(document, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        origin = f"{row['distribution']} {row['version']}".strip()
        click.echo(f"{row['kind']:9} {row['name']:{width}}  {row['summary']}  [{origin}]")
    for trouble in (*catalogue.conflicts, *catalogue.failures):
        click.secho(f"warning: {trouble}", fg="yellow", err=True)


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def show(name: str, as_json: bool) -> None:
    """Show a component and its options; NAME is `unet` or, where kinds share a name, `decoder:unet`."""
    from ..discovery import discover
    from ..errors import UnknownComponent
    from ..hookspecs import KINDS

    catalogue = discover()
    wanted, _, bare = name.rpartition(":")
    found = [
        (plugin, spec)
        for kind in KINDS
        if wanted in ("", kind)
        for plugin, spec in catalogue.of(kind)
        if spec.name == bare
    ]
    if not found:
        known = {spec.name for kind in KINDS for _, spec in catalogue.of(kind)}
        raise UnknownComponent(wanted or "component", bare, known, map(str, catalogue.failures))
    documents: list[dict[str, Any]] = [
        {**_row(catalogue, plugin, spec), "plugin": plugin, "options": _options(spec)} for plugin, spec in found
    ]
    if as_json:
        import json

        click.echo(json.dumps({"components": documents}, indent=2))
        return
    for document in documents:
        click.echo(f"{document['kind']} {document['name']}: {document['summary']}")
        click.echo(f"  from {document['plugin']} ({document['distribution']} {document['version']})")
        for option, field in document["options"].items():
            default = f" [default: {field['default']}]" if "default" in field else " (needed)"
            click.echo(f"  {option}: {field.get('description', '')}{default}")


def _row(catalogue: Catalogue, plugin: str, spec: AnySpec) -> dict[str, str]:
    origin = catalogue.origins[plugin]
    return {
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
        "distribution": origin.distribution,
        "version": origin.version,
    }


def _options(spec: AnySpec) -> dict[str, Any]:
    properties: dict[str, Any] = spec.config().model_json_schema().get("properties", {})
    return properties
