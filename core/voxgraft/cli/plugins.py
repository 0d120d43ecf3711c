"""`voxgraft plugins`: what is installed or was set aside, its conformance checks, and a start for new ones."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.progress import fitted, print_fitted, print_result
from . import PATH, json_option

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue


_COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}


@click.group()
def plugins() -> None:
    """List, show and test what the installed plugins offer, and start new plugins."""


@plugins.command("list")
@json_option
@click.option("--kind", help="Show only components of this kind.")
def list_(as_json: bool, kind: str | None) -> None:
    """List components, and plugins that were set aside."""
    from ..discovery import discover
    from ..errors import UsageError
    from ..hookspecs import KINDS

    if kind and kind not in KINDS:
        raise UsageError(f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    catalogue = discover()
    rows = [
        _row(catalogue, plugin, spec) for name in ([kind] if kind else KINDS) for plugin, spec in catalogue.of(name)
    ]
    if as_json:
        import json

        document = {
            "components": rows,
            "failures": [{"plugin": failure.plugin, "reason": failure.reason} for failure in catalogue.failures],
            "conflicts": [
                {"kind": conflict.kind, "name": conflict.name, "plugins": conflict.plugins}
                for conflict in catalogue.conflicts()
            ],
        }
        print_result(json.dumps(document, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        origin = f"{row['distribution']} {row['version']}".strip()
        _line(f"{row['kind']:9} {row['name']:{width}}  ", f"{row['summary']}  [{origin}]")
    for trouble in (*catalogue.conflicts(), *catalogue.failures):
        click.secho(f"warning: {trouble}", fg="yellow", err=True)


def _line(head: str, text: str) -> None:
    """A row of a table: in a terminal within its width, elsewhere on one line, for programs that search it."""
    import shutil
    from textwrap import wrap

    room = shutil.get_terminal_size().columns - len(head)
    lines = (
        wrap(text, room, break_long_words=False, break_on_hyphens=False) if sys.stdout.isatty() and room > 20 else []
    )
    for number, line in enumerate(lines or [text]):
        click.echo(f"{'' if number else head:{len(head)}}{line}")


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a component and its options.

    NAME is `unet` or, where kinds share a name, `decoder:unet`.
    """
    from ..discovery import discover

    catalogue = discover()
    matching = _named(catalogue, name)
    documents: list[dict[str, Any]] = [
        {**_row(catalogue, plugin, spec), "plugin": plugin, "options": _options(spec)} for plugin, spec in matching
    ]
    if as_json:
        import json

        print_result(json.dumps({"components": documents}, indent=2))
        return
    for document in documents:
        print_fitted(f"{document['kind']} {document['name']}: {document['summary']}")
        print_fitted(f"  from {document['plugin']} ({document['distribution']} {document['version']})")
        for option, field in document["options"].items():
            default = "" if field.get("default", "") is None else f" [default: {field.get('default')}]"
            print_fitted(f"  {option}: {field.get('description', '')}{default if 'default' in field else ' (needed)'}")


@plugins.command()
@click.argument("name")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the component.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="For readers: a real file to test with; damaged copies of it are tried too.",
)
@json_option
def test(name: str, options: tuple[str, ...], files: tuple[Path, ...], as_json: bool) -> None:
    """Run the conformance tests of a component.

    NAME is `nifti` or, where kinds share a name, `reader:nifti`.
    """
    import json
    import tempfile

    from ..discovery import discover
    from ..errors import UsageError
    from ..testing import Subject, run_checks

    catalogue = discover()
    matching = _named(catalogue, name)
    if strange := [file for file in files if not file.is_file()]:
        raise UsageError(f"--file {strange[0]}: is not a regular file")
    document: list[dict[str, Any]] = []
    for _, spec in matching:
        try:
            subject = Subject.of(spec.kind, spec.name, options=_values(options), catalogue=catalogue, files=files)
        except ValueError as error:
            raise UsageError(f"the options of {spec.kind} {spec.name!r} do not fit: {_reason(error)}") from None
        with tempfile.TemporaryDirectory() as folder:
            outcomes = run_checks(subject, Path(folder))
        checks = [{"check": outcome.check, "state": outcome.state, "reason": outcome.reason} for outcome in outcomes]
        document.append({"kind": spec.kind, "name": spec.name, "checks": checks})
        for outcome in () if as_json else outcomes:
            reason = f"\n         {outcome.reason}" if outcome.reason else ""
            line = fitted(f"{outcome.state:7}  {spec.kind} {spec.name}: {outcome.check}{reason}", sys.stdout)
            click.echo(click.style(line[:7], fg=_COLOURS[outcome.state]) + line[7:])
    if as_json:
        print_result(json.dumps({"components": document}, indent=2))
    states = Counter(check["state"] for component in document for check in component["checks"])
    if not as_json:
        click.echo(", ".join(f"{states[state]} {state}" for state in _COLOURS if states[state]))
    if states["failed"]:
        click.get_current_context().exit(1)


@plugins.command()
@click.argument("name")
@click.option(
    "--kind",
    default="reader",
    show_default=True,
    help="Kind of component: reader, writer, layout, ...; see `plugins list`.",
)
@click.option("--out", type=PATH, default=".", help="Folder in which the project is created.")
def new(name: str, kind: str, out: Path) -> None:
    """Start a new plugin.

    This writes the project voxgraft-NAME, which installs, works and passes the conformance tests of its kind.
    """
    from ..scaffold import start

    for path in start(name, kind, out):
        click.echo(str(path))
    click.echo(f"next: pip install -e {out / f'voxgraft-{name}'}; voxgraft plugins test {kind}:{name}")


def _named(catalogue: Catalogue, name: str) -> list[tuple[str, AnySpec]]:
    """The components of a name, of any kind or of the kind before the colon.

    Raises:
        UnknownComponent: There is none.
    """
    from ..errors import UnknownComponent
    from ..hookspecs import KINDS

    kind_name, _, bare = name.rpartition(":")
    kinds = [kind for kind in KINDS if kind_name in ("", kind)]
    matching = [(plugin, spec) for kind in kinds for plugin, spec in catalogue.of(kind) if spec.name == bare]
    if not matching:
        known = {spec.name for kind in KINDS for _, spec in catalogue.of(kind)}
        raise UnknownComponent(kind_name or "component", bare, known, map(str, catalogue.failures))
    return matching


def _values(options: tuple[str, ...]) -> dict[str, Any]:
    from ..errors import UsageError
    from ..workflow.yaml import parse

    pairs = [option.partition("=") for option in options]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UsageError(f"--option {key!r}: expected KEY=VALUE")
    return {key: parse(value) for key, _, value in pairs}


def _reason(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return (
        "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in errors()) if errors else str(error)
    )


def _row(catalogue: Catalogue, plugin: str, spec: AnySpec) -> dict[str, str]:
    origin = catalogue.origin_of(plugin)
    return {
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
        "distribution": origin.distribution,
        "version": origin.version,
    }


def _options(spec: AnySpec) -> dict[str, Any]:
    properties: dict[str, Any] = spec.options().model_json_schema().get("properties", {})
    return properties
