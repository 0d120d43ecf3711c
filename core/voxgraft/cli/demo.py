"""`voxgraft demo`: the main job, start to end, on data that it makes itself."""

from __future__ import annotations

from pathlib import Path

import click

from ..support.progress import print_result
from .numbers import Amount


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default="voxgraft-demo", show_default=True, help="Folder for the demo."
)
@click.option("--minutes", type=Amount(0.05, 10_000), default=2.0, show_default=True, help="Training time in minutes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def demo(out: Path, minutes: float, as_json: bool) -> None:
    """Train on synthetic labelled heads, register the model, segment new patients' DICOM series, show the scores.

    Everything stays in one folder. A second call skips what is done; another number of minutes trains again and
    registers another version. The heads are variations of one brain: they show that everything works here, not how
    well it does on patients.
    """
    import json

    from ..demo.demo import run_demo, table
    from ..discovery import discover
    from ..support.progress import Progress

    outcome = run_demo(out, minutes, discover(), Progress())
    print_result(json.dumps(outcome.document(), indent=2, ensure_ascii=False) if as_json else table(outcome))
    if outcome.failed:
        click.get_current_context().exit(3)
