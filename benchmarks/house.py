"""Measure the structure of the source: files, lines, circles of imports, and how many files a command enters.

    python benchmarks/house.py                  # this checkout
    python benchmarks/house.py --tree FOLDER    # another checkout, to compare before and after
    python benchmarks/house.py --save after     # keep it under that name in benchmarks/results/house.json
    python benchmarks/house.py --files segment  # the files that a command enters, and the functions called in each

Imports are read from the source (`ast`), those under `TYPE_CHECKING` included; a circle is a set of files each of which
reaches every other by imports at module level. `entered` counts the files of ours in which at least one function is
called, or a class made, by a command on one scan, which is made here. The plugins are those of the checkout.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOTS = ("core", "plugins", "registry")
FACE = ("voxgraft", "voxgraft.plugin", "voxgraft.testing")
"""What plugins may import of the core."""

TRACE = """
import json, sys, threading
from pathlib import Path
roots, target, arguments = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:]
entered = {}
def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name != "<module>":
        kind = "" if code.co_flags & 1 else "class "  # functions have local variables of their own
        entered.setdefault(code.co_filename, {})[kind + code.co_qualname] = None
threading.setprofile(note)
sys.setprofile(note)
from voxgraft.cli import main
try:
    main(arguments)
except SystemExit:
    pass
sys.setprofile(None)
own = {name: list(entered[name]) for name in sorted(entered) if any(name.startswith(root) for root in roots)}
Path(target).write_text(json.dumps(own))
"""


def sources(tree: Path) -> dict[str, Path]:
    """Every source file of the three roots by its module's name."""
    found = {}
    for root in ROOTS:
        for path in sorted((tree / root).rglob("*.py")):
            parts = list(path.relative_to(tree / root).with_suffix("").parts)
            if parts[0].startswith("voxgraft-"):
                continue
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, known: dict[str, Path], *, late: bool = False) -> Iterator[str]:
    """The modules of ours that a file imports at module level; with `late` those imported inside functions too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if late else _at_module_level(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                yield from (each for each in (inner if inner in known else name,) if each in known)


def _at_module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield node
        if isinstance(node, ast.If):
            yield from node.body


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that reach each other (Tarjan's strongly connected components), larger than one."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    result: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            component = stack[stack.index(module) :]
            del stack[-len(component) :]
            if len(component) > 1:
                result.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for module in graph:
        if module not in order:
            visit(module)
    return sorted(result, key=len, reverse=True)


def structure(tree: Path) -> dict[str, Any]:
    """What can be counted without running anything."""
    known = sources(tree)
    graph = {name: set(imports(name, path, known)) - {name} for name, path in known.items()}
    rings = circles(graph)
    outside = {
        f"{name}: {other}"
        for name, path in known.items()
        if not name.startswith("voxgraft.") and name != "voxgraft" and not name.startswith("voxgraft_registry")
        for other in imports(name, path, known, late=True)
        if other.startswith("voxgraft.") and not any(other == face or other.startswith(face + ".") for face in FACE[1:])
    }
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in known.values()]
    root = tree / "core" / "voxgraft"
    return {
        "files": len(known),
        "lines": sum(lines),
        "median_lines": statistics.median(lines),
        "largest_file": max(lines),
        "names_at_root_of_core": len([p for p in root.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]),
        "circles": len(rings),
        "largest_circle": len(rings[0]) if rings else 0,
        "in_circles": rings,
        "imports_of_core_by_plugins_outside_the_face": len(outside),
    }


def entered(tree: Path) -> dict[str, dict[str, list[str]]]:
    """The files of ours that each command enters, on one scan made here, with the functions called in them."""
    with tempfile.TemporaryDirectory() as folder:
        _declare(tree, Path(folder) / "declared")
        jobs = _jobs(Path(folder), tree)
        return {name: _traced(tree, Path(folder), arguments) for name, arguments in jobs.items()}


def _declare(tree: Path, folder: Path) -> None:
    """Make a folder by which Python takes the checkout's entry points for those that are installed."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    info = folder / f"voxgraft-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: voxgraft\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


def _traced(tree: Path, folder: Path, arguments: list[str]) -> dict[str, list[str]]:
    target = folder / "entered.json"
    target.unlink(missing_ok=True)
    roots = json.dumps([str((tree / root).resolve()) for root in ROOTS])
    command = [sys.executable, "-c", TRACE, roots, str(target), *arguments]
    subprocess.run(command, env=_environment(tree, folder / "declared"), cwd=folder, check=True, capture_output=True)
    files: dict[str, list[str]] = json.loads(target.read_text())
    return {str(Path(name).relative_to(tree.resolve())): calls for name, calls in files.items()}


def _environment(tree: Path, *more: Path) -> dict[str, str]:
    path = os.pathsep.join(str(part) for part in (*more, *((tree / root).resolve() for root in ROOTS)))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


def _jobs(folder: Path, tree: Path) -> dict[str, list[str]]:
    """Arguments of the three commands; a model for `segment` is trained here in a few steps."""
    import nibabel as nib
    import numpy as np

    draw = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(6):
        mask = np.zeros((24, 24, 24), np.uint8)
        mask[4 + number : 14, 8:16, 8:16] = 1
        image = (mask * 100 + draw.normal(0, 10, mask.shape)).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "images" / f"case{number}.nii.gz")
        nib.save(nib.Nifti1Image(mask, np.eye(4)), folder / "labels" / f"case{number}.nii.gz")
    workflow = folder / "workflow.yaml"
    workflow.write_text(
        "voxgraft: 1\nname: house\ndata:\n  layout: {use: pairs, path: ., images: images, labels: labels}\n"
        "  modality: mr\n  labels: {box: 1}\nmodel: {dims: 3, encoder: residual, decoder: unet}\n"
        "training: {budget: 2 steps, device: cpu}\ntracking: null\nsteps: [check, plan, prepare, train]\n"
    )
    call = [sys.executable, "-m", "voxgraft", "run", str(workflow), "--out", str(folder / "run")]
    subprocess.run(call, env=_environment(tree, folder / "declared"), cwd=folder, check=True, capture_output=True)
    scan = str(folder / "images" / "case0.nii.gz")
    return {
        "inspect": ["inspect", scan],
        "evaluate": ["evaluate", str(folder / "labels"), str(folder / "labels")],
        "segment": ["segment", str(folder / "run" / "package"), scan, "--out", str(folder / "batch")],
    }


def startup(tree: Path, runs: int = 5) -> dict[str, float]:
    """Median processor seconds of commands that do next to nothing; other work on the machine hardly changes them."""
    with tempfile.TemporaryDirectory() as folder:
        _declare(tree, Path(folder))
        return _startup(_environment(tree, Path(folder)), runs)


def _startup(environment: dict[str, str], runs: int) -> dict[str, float]:
    result = {}
    for name, arguments in {"--help": ["--help"], "plugins list": ["plugins", "list"]}.items():
        seconds = []
        for _ in range(runs):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "voxgraft", *arguments]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        result[name] = round(statistics.median(seconds), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("--tree", type=Path, default=here, help="the checkout to measure")
    parser.add_argument("--save", metavar="NAME", help="keep it under this name in benchmarks/results/house.json")
    parser.add_argument("--files", metavar="COMMAND", help="only list what this command enters")
    options = parser.parse_args()
    files = entered(options.tree)
    if options.files:
        for name, calls in files[options.files].items():
            print(f"{name}: {', '.join(calls)}")
        return
    counts = {name: len(calls) for name, calls in files.items()}
    result = {**structure(options.tree), "entered": counts, "startup_cpu_s": startup(options.tree)}
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.save:
        file = here / "benchmarks" / "results" / "house.json"
        kept = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**kept, options.save: result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
