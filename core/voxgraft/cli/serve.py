"""`voxgraft serve`: trained models behind the protocols that viewers speak."""

from __future__ import annotations

from typing import Any

import click

from ..support.progress import print_result
from . import PATH, THERE, Amount


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=1527, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--token-file",
    type=THERE,
    help="File with tokens, one per line; viewers send one as API key (nnInteractive) or password (MONAI Label).",
)
@click.option("--data", type=THERE, help="Folder of scans for MONAI Label, or the folder of a batch.")
@click.option(
    "--sessions",
    type=PATH,
    default="voxgraft-sessions",
    show_default=True,
    help="Folder that keeps what is drawn and predicted.",
)
@click.option(
    "--axes",
    default="SPL",
    show_default=True,
    help="Directions of the axes of nnInteractive's arrays (R or L, A or P, S or I), for scans outside of --data.",
)
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda or cuda:1.")
@click.option(
    "--clients",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Largest number of viewers at the same time.",
)
@click.option(
    "--idle",
    type=Amount(1, 1e6),
    default=600.0,
    show_default=True,
    help="End a session after this many seconds without a mark.",
)
@click.option(
    "--liveness",
    type=Amount(1, 1e6),
    default=60.0,
    show_default=True,
    help="End a session after this many seconds without any request.",
)
@click.option("--certificate", type=THERE, help="TLS certificate (PEM).")
@click.option("--key", type=THERE, help="Private key of the certificate (PEM).")
@click.option("--behind-proxy", metavar="HOST", help="Host name of the proxy with TLS in front of this server.")
@click.option(
    "--origin", "origins", multiple=True, help="Web page that may send requests, such as https://ohif.example."
)
def serve(models: tuple[str, ...], **options: Any) -> None:
    """Serve models to 3D Slicer, MITK, napari and OHIF, with tools to correct the masks.

    MODEL is a package folder or file, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID; a viewer that does not
    choose one gets the first. The server speaks two protocols at one address: nnInteractive's and MONAI Label's.
    Drawings are kept in --sessions, and are restored when the same scan is opened again.
    """
    from ..batch.segment import resolve_package
    from ..discovery import discover
    from ..errors import ModelError, UsageError
    from ..serve.app import Settings, check_installed, run
    from ..support.texts import legible
    from ..web.listen import Listening

    check_installed()
    listening = Listening(
        options["host"],
        options["port"],
        options["token_file"],
        options["certificate"],
        options["key"],
        options["behind_proxy"],
    )
    listening.check()
    catalogue = discover()
    try:
        packages = [resolve_package(model, catalogue) for model in models]
    except ModelError as error:
        raise UsageError(str(error)) from error
    names = ("sessions", "data", "axes", "device", "clients", "idle", "liveness", "origins")
    settings = Settings(**{name: options[name] for name in names}, listening=listening)
    served = legible(", ".join(package.name for package in packages))
    run(packages, settings, catalogue, lambda url: print_result(f"{url}  serves {served} (Ctrl-C ends it)"))
