"""`voxgraft schema`: the JSON Schema of workflow files."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of workflow files, for editors."""
    import json

    from ..discovery import discover
    from ..workflow.schema import workflow_schema

    click.echo(json.dumps(workflow_schema(discover()), indent=2))
