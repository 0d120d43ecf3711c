"""The picture of a curve: Dice over the number of labelled patients, a line for each way of training."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def picture(document: Mapping[str, Any]) -> str:
    """An SVG of what `curves.py` measured: means with their 95 % intervals over log2 of the number of labels."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "curves"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for index, arm in enumerate(dict.fromkeys(point["arm"] for point in document["points"])):
        rows = [point for point in document["points"] if point["arm"] == arm]
        labels = [row["labels"] for row in rows]
        axes.plot(labels, [row["dice"] for row in rows], "o-", color=f"C{index}", label=arm)
        low, high = zip(*(row["ci95"] for row in rows), strict=True)
        axes.fill_between(labels, low, high, color=f"C{index}", alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(labels, [str(n) for n in labels], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("labelled patients")
    axes.set_ylabel("Dice")
    draws = "1 draw" if document["draws"] == 1 else f"{document['draws']} draws"
    steps = document["steps"]
    budget = "equal minutes" if isinstance(steps, dict) else f"{steps} steps"
    axes.set_title(f"{document['data']}: {budget}, {draws}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()
