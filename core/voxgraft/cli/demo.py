"""`voxgraft demo`: the main job, start to end, on data that it makes itself."""

from __future__ import annotations

from pathlib import Path

import click

from ..support.progress import print_result
from . import PATH, Amount, json_option


@click.command()
@click.option("--out", type=PATH, default="voxgraft-demo", show_default=True, help="Folder for the demo.")
@click.option("--minutes", type=Amount(0.05, 10_000), default=2.0, show_default=True, help="Training time in minutes.")
@click.option("--data", type=PATH, help="Only write the demo's own scans into this folder.")
@json_option
def demo(out: Path, minutes: float, data: Path | None, as_json: bool) -> None:
    """Train on synthetic labelled heads, register the model, segment new patients' DICOM series, show the scores.

    Everything stays in one folder. A second call skips what is done; another number of minutes trains again and
    registers another version. The heads are variations of one brain: they show that everything works here, not how
    well it does on patients.
    """
    import json

    from ..demo.demo import run_demo, table
    from ..discovery import discover
    from ..support.progress import Progress

    if data is not None:
        _only_data(data, as_json)
        return
    outcome = run_demo(out, minutes, discover(), Progress())
    print_result(json.dumps(outcome.document(), indent=2, ensure_ascii=False) if as_json else table(outcome))
    if outcome.failed:
        click.get_current_context().exit(3)


def _only_data(folder: Path, as_json: bool) -> None:
    """Make the scans, and say where which of them are."""
    import json

    from ..demo.demo import write_data
    from ..discovery import discover
    from ..support.progress import Progress

    data = write_data(folder, discover(), Progress())
    places = {"labelled": str(data.labelled), "dicom": str(data.dicom), "truth": str(folder / "truth")}
    if as_json:
        print_result(json.dumps(places, indent=2, ensure_ascii=False))
        return
    click.echo(f"{data.labelled}: {len(data.cases)} labelled heads in the layout decathlon")
    click.echo(f"{data.dicom}: {len(data.scans)} DICOM series of new patients")
    click.echo(f"{folder / 'truth'}: their masks")
    click.echo(f"next: voxgraft new {data.labelled} --out heads.yaml")
