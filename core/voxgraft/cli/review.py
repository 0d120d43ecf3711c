"""`voxgraft review`: look at the scans of a batch in the browser, accept, correct and reject; what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..support.progress import print_fitted, print_result
from . import PATH, THERE, json_option


@click.command()
@click.argument("out", metavar="DIR", type=PATH)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need a token.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--reader", default="", help="Name of the reader; by default chosen in the page. With --export: only this reader's."
)
@click.option("--token-file", type=THERE, help="File with tokens, or READER:TOKEN, one per line.")
@click.option("--certificate", type=THERE, help="TLS certificate (PEM).")
@click.option("--key", type=THERE, help="Private key of the certificate (PEM).")
@click.option("--behind-proxy", metavar="HOST", help="Host name of the proxy with TLS in front of the page.")
@click.option(
    "--assign",
    "table",
    type=THERE,
    help="CSV table with columns case, reader, role (reader, second, adjudicator, gold) and mask (reference for gold).",
)
@click.option("--summary", is_flag=True, help="Print a summary of the review instead of serving the page.")
@click.option("--track", is_flag=True, help="With --summary: also log the numbers of each model version to MLflow.")
@click.option(
    "--export",
    "target",
    metavar="TARGET",
    type=PATH,
    help="Write the accepted and corrected scans to the folder TARGET as a data set to train on, and their DICOM "
    "objects to DIR/review/dicom.",
)
@click.option("--partial", is_flag=True, help="With --export: also scans with open or rejected structures.")
@click.option("--link", is_flag=True, help="With --export: hard-link images instead of copying them.")
@click.option("--patients", type=THERE, help="With --export: CSV with the columns case, patient.")
@click.option(
    "--pseudonym-key",
    type=THERE,
    help="With --export: key file for the hashes of patients, as in the layout `dicom`.",
)
@click.option("--name-readers", is_flag=True, help="With --export: name the readers in DICOM objects.")
@click.option("--organisation", default="", help="With --name-readers: where they work; reports are then verified.")
@click.option("--unverified", is_flag=True, help="With --export: export although the audit log is damaged.")
@json_option
def review(out: Path, as_json: bool, summary: bool, track: bool, target: Path | None, **options: Any) -> None:
    """Review the scans of DIR, the folder that `voxgraft segment --out DIR` made, in the browser.

    The page shows doubtful scans first; the batch may still be running. Neither the model nor a GPU is needed.
    Decisions are kept in DIR/review. Ctrl-C ends the server.

    --summary and --export need no further packages, and also work while the page is open.
    """
    from ..errors import UsageError

    names = ("partial", "link", "patients", "pseudonym_key", "name_readers", "organisation", "unverified")
    wishes = {name: options.pop(name) for name in names}
    if summary and target is not None:
        raise UsageError("--summary and --export cannot be combined; leave one of them out")
    if options["table"] is not None and (summary or target is not None):
        raise UsageError("--assign goes with the page; leave out --summary and --export")
    if track and not summary:
        raise UsageError("--track goes with --summary")
    if target is None and any(wishes.values()):
        name = next(name for name, value in wishes.items() if value)
        raise UsageError(f"--{name.replace('_', '-')} goes with --export TARGET")
    if summary:
        _summarise(out, as_json, track)
    elif target is not None:
        _export(out, target, as_json, options["reader"], **wishes)
    else:
        _check_packages()
        _serve(out, as_json, **options)


def _check_packages() -> None:
    from ..errors import UsageError

    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UsageError("the review page needs two more packages: pip install 'voxgraft[review]'") from None


def _summarise(out: Path, as_json: bool, track: bool) -> None:
    from ..discovery import discover
    from ..review.worth.snapshot import take_snapshot
    from ..review.worth.summary import summary_of, text_of, tolerance_of
    from ..support.files import json_text

    snapshot = take_snapshot(out, discover())
    found = summary_of(snapshot, tolerance_of(snapshot), points=as_json)
    lines: list[str] = []
    if track:
        from ..review.worth.tracking import track as keep

        lines = keep(snapshot)
    if as_json:
        print_result(json_text({**found, "tracked": lines} if track else found))
    else:
        print_fitted(text_of(found))
    for line in lines:
        click.echo(f"logged {line}", err=True)


def _export(
    out: Path,
    target: Path,
    as_json: bool,
    reader: str,
    *,
    patients: Path | None,
    pseudonym_key: Path | None,
    name_readers: bool,
    organisation: str,
    **flags: bool,
) -> None:
    from ..discovery import discover
    from ..review.worth.export import Wishes, export, read_key, read_patients
    from ..review.worth.reviewed_objects import Signed, write_objects
    from ..review.worth.snapshot import take_snapshot
    from ..review.worth.summary import text_of_export
    from ..support.files import json_text

    snapshot = take_snapshot(out, discover())
    wishes = Wishes(
        reader=reader,
        patients=read_patients(patients) if patients else {},
        key=read_key(pseudonym_key) if pseudonym_key else None,
        **flags,
    )
    exported = export(snapshot, target, wishes)
    objects = write_objects(snapshot, reader, Signed(name_readers, organisation))
    document = {**exported.document(), "dicom": objects.document()}
    if as_json:
        print_result(json_text(document))
    else:
        print_fitted(text_of_export(exported, objects))
    code = exported.exit_code
    click.get_current_context().exit(3 if not code and objects.failed else code)


def _serve(out: Path, as_json: bool, behind_proxy: str | None, table: Path | None, **options: Any) -> None:
    from ..discovery import discover
    from ..review.state.assigning import assign_all
    from ..review.state.store import ReviewStore
    from ..review.web.server import Listening, serve
    from ..support.texts import counted

    listening = Listening(proxy=behind_proxy, **options)
    listening.check()
    store = ReviewStore(out, discover())

    def started(url: str) -> None:
        for message in store.told:
            click.echo(f"voxgraft: {message}", err=True)
        print_result(json.dumps({"url": url}) if as_json else f"{url}  (Ctrl-C ends it)")

    try:
        if table is not None:
            number = assign_all(store, table)
            click.echo(f"voxgraft: {counted(number, 'new assignment')}", err=True)
        serve(store, listening, started)
    finally:
        store.close()
