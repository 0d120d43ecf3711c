"""The documentation says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from voxgraft import plugin
from voxgraft.hookspecs import KINDS

DOCS = Path(__file__).parents[1] / "docs"


def test_every_hook_is_documented_with_its_spec_and_its_interface() -> None:
    rows = re.findall(r"^\| `(voxgraft_\w+)` \| `(\w+)`[^|]*\| `(\w+)`:", (DOCS / "plugins.md").read_text(), re.M)
    assert [hook for hook, _, _ in rows] == list(KINDS.values())
    for _, spec, interface in rows:
        assert spec in plugin.__all__ and (interface in plugin.__all__ or interface == click.Command.__name__)


def test_links_between_pages_lead_somewhere() -> None:
    root = DOCS.parent
    for page in (root / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_figures_of_the_results_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "hippocampus.json").read_text())
    curve = re.findall(r"^\| (\d+\.\d\d) \| (0\.\d{4}) \|", text, re.M)
    assert curve == [(f"{row['minutes']:.2f}", f"{row['dice']:.4f}") for row in result["curve"]]
    rows = re.findall(r"^\| (\w+) \| (0\.\d{4}) \| (0\.\d{4}) to (0\.\d{4}) \|", text, re.M)
    wanted = [
        (name, *(f"{value:.4f}" for value in (one["mean"], *one["ci95"])))
        for name, one in result["summary"]["dice"].items()
    ]
    assert rows == wanted
    for metric in ("hd95", "nsd"):
        assert f"{result['summary'][metric]['mean']['mean']:.3f}" in text
    assert f"{result['training']['steps']:,} steps" in text and f"{result['training']['seconds']:.0f} s" in text


@pytest.mark.parametrize(
    ("name", "numbers"), [("hippocampus_slower", "float32"), ("hippocampus_slower_bf16", "bfloat16")]
)
def test_the_figures_of_the_slower_machine_are_those_of_the_benchmark(name: str, numbers: str) -> None:
    result = json.loads((DOCS.parent / "benchmarks" / "results" / f"{name}.json").read_text())
    five = next(row["dice"] for row in result["curve"] if row["minutes"] >= 5)
    ten = result["summary"]["dice"]["mean"]["mean"]
    row = rf"^\| {numbers}.* \| {result['training']['steps']:,} \| {five:.4f} \| {ten:.4f} \|"
    assert re.search(row, (DOCS / "results.md").read_text(), re.M)


def test_the_figures_of_the_batch_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "batch_masks.json").read_text())
    states = [scan["state"] for scan in result["scans"]]
    assert f"| masks written | {states.count('done')} |" in text
    assert f"| seconds | {result['seconds']:.1f} |" in text
    assert f"(mm) | {result['largest_distance_mm']:.1f} |" in text
    assert f"| done by a second call | {result['second_call']['done']} |" in text
    assert f"| series left out, with the reason | {states.count('left-out')} |" in text


def test_the_figures_of_a_killed_node_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "cluster_thousand.json").read_text())
    ways = [result[way] for way in ("threads", "processes", "two_nodes", "one_node_killed")]
    for title, key in (("seconds", "seconds"), ("scans done", "done"), ("predicted twice", "predicted_twice")):
        assert f"| {title} | {' | '.join(f'{way[key]:,}' for way in ways)} |" in text
    differing = " | ".join(str(way["masks_that_differ"]) for way in ways[1:])
    assert f"| masks that differ from those of threads | | {differing} |" in text
    assert f"after {ways[-1]['killed_after_predictions']} of {result['scans']:,} predictions" in text


def test_the_figures_of_many_scans_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "many_scans.json").read_text())
    assert result["masks_equal"] and result["states"] == [result["scans"]] * 2 == [1000] * 2
    assert result["in_one_report"] == result["scans"] and result["called_again"]["predicted"] == 0
    pairs = (("CPU time per scan (ms)", "cpu_ms_a_scan"), ("scans per second, on a busy machine", "scans_a_second"))
    for said, key in pairs:
        assert f"| {said} | {result['whole'][key]} | {result['parts'][key]} |" in text
    flat = [result["killed"], result["resumed"], *result["parts"]["each"]]
    assert all(one["max_rss_mb_second_half"] < 1.1 * one["max_rss_mb_from_tenth_to_half"] for one in flat)


def test_the_figures_of_workers_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "many_scans_spread.json").read_text())
    columns = [result[name] for name in ("one_thread", "two_processes", "two_nodes")]
    for said, key in (("CPU time per scan (ms)", "cpu_ms_a_scan"), ("scans per second", "scans_a_second")):
        assert f"| {said} | {' | '.join(str(one[key]) for one in columns)} |" in text
    assert result["masks_equal"] and [one["done"] for one in columns] == [result["scans"]] * 3 == [1000] * 3
    assert all(one["largest_process_mb_second_half"] < 1.1 * one["largest_process_mb_first_half"] for one in columns)


def test_the_exponents_are_those_of_the_benchmark() -> None:
    text = (DOCS / "results.md").read_text()
    result = json.loads((DOCS.parent / "benchmarks" / "results" / "scaling.json").read_text())
    for name in ("voxels", "classes", "scans", "workers"):
        low, high = result[name]["exponent_of_rounds"]
        assert f"| {result[name]['exponent']:.2f} ({low:.2f} to {high:.2f}) |" in text, name
