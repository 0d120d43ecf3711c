"""Run the notebooks of docs/notebooks and keep what came out: `python docs/development/notebooks.py FOLDER`.

FOLDER is where their files go; it need not exist. `pip install -e '.[demo,dev]'` brings what this needs.
tests/test_notebooks.py runs the same cells with trainings of one step, and keeps nothing.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ORDER = ("train_and_segment.ipynb", "look_and_compare.ipynb")
"""The second goes on in the folder of the first."""

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
"""Colours and movements of the cursor."""


def execute(notebook: nbformat.NotebookNode, folder: Path, timeout: int = 1800) -> None:
    """Run every cell in `folder`; a cell that fails raises `CellExecutionError`."""
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=timeout, record_timing=False, resources=where).execute()


def tidy(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """What is kept of an output: lines as a terminal would leave them; none of a bar that moved."""
    if output.output_type == "stream":
        lines = [CONTROL.sub("", line) for line in output.text.splitlines() if "\x1b[2K" not in line]
        output.text = "\n".join(lines).strip() + "\n"
        return output if output.text.strip() else None
    return output


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs of a cell, pieces of one stream put together."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = kept[-1] if kept else None
        if before is not None and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            kept.append(output)
    return [clean for output in kept if (clean := tidy(output)) is not None]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ORDER:
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        execute(notebook, folder)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = joined(cell.outputs)
            cell.metadata.clear()
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, NOTEBOOKS / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
