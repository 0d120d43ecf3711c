"""The model card: what a person should know before using a model, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..preprocessing.plan import Plan
from .facts import said, said_around


def model_card(facts: Mapping[str, Any], plan: Plan) -> str:
    """The card of a package."""
    training, split = facts["training"], facts["split"]
    members = facts.get("members", 0)
    size = " x ".join(f"{low:g} to {high:g}" for low, high in plan.contract.get("size_mm", []))
    spacing = " x ".join(f"{low:g} to {high:g}" for low, high in plan.contract.get("spacing_mm", []))
    weights = facts.get("weights") or {}
    origin = (
        f"{weights['origin']} ({weights['licence'] or 'licence not stated'})"
        if weights
        else "none (trained from scratch)"
    )
    lines = [
        f"# {facts['name']}",
        "",
        f"Segments {', '.join(name for _, name in plan.labels)} in {plan.modality.upper()} images "
        f"({', '.join(_channel(name, plan) for name in plan.channels)}).",
        "",
        "**For research. Not a medical device: a person must review every mask.**",
        "",
        "## Trained on",
        "",
        f"- {len(split['train'])} cases, {len(split['validation'])} held out, split by patient; "
        f"data hash `{facts['data']['hash'][:16]}`",
        f"- image size {size or 'not recorded'} mm, spacing {spacing or 'not recorded'} mm, axes right, anterior, "
        "superior; scans outside these ranges are flagged",
        f"- initial weights of the encoder: {origin}",
        *_seen(weights),
        f"- {training['steps']} steps in {training['seconds']:g} s on {training['device']}, "
        f"{training['parameters']:,} parameters",
        f"- VoxGraft {facts['voxgraft']}, {facts['created']}",
        "",
        *(_ensemble(facts) if members else []),
        *_section("In half precision", said(facts)),
        *_section("Around the body", said_around(facts)),
        *_guard(facts),
        *_scores(facts),
    ]
    return "\n".join(lines)


def _channel(name: str, plan: Plan) -> str:
    return f"{name}, may be missing" if name in plan.optional else name


def _seen(weights: Mapping[str, Any]) -> list[str]:
    contract: Mapping[str, Any] = weights.get("contract") or {}
    if not contract:
        return []
    units = "as they come"
    if contract["mean"]:
        means, deviations = (", ".join(f"{number:g}" for number in contract[key]) for key in ("mean", "std"))
        units = f"as brightness from 0 to 1 less {means}, over {deviations}"
    return [
        f"- these had seen {contract['seen'] or 'images that are not recorded'} of "
        f"{contract['channels'] or 'an unknown number of'} channels; the encoder takes images {units}, and extends to "
        f"{contract['smallest']} voxels along an edge those that are smaller"
    ]


def _ensemble(facts: Mapping[str, Any]) -> list[str]:
    return [
        f"## An ensemble of {facts['members']} networks",
        "",
        "Their probabilities are averaged, so prediction takes as long as all of them together. The scores below "
        "are those of the single networks, each on cases that it did not learn from; the ensemble itself was not "
        "scored.",
        "",
    ]


def _section(title: str, sentences: Sequence[str]) -> list[str]:
    lines = [f"{text[0].upper()}{text[1:]}." for text in sentences]
    return [f"## {title}", "", *lines, ""] if lines else []


def _guard(facts: Mapping[str, Any]) -> list[str]:
    verdict: Mapping[str, Any] = facts.get("guard", {})
    return ["## Does transfer help?", "", f"{verdict['said']}.", ""] if verdict else []


def _scores(facts: Mapping[str, Any]) -> list[str]:
    summary: Mapping[str, Any] = facts.get("scores", {})
    if not summary:
        return ["## Scores", "", "Not evaluated yet.", ""]
    lines = [
        "## Scores on the held-out cases",
        "",
        "| metric | structure | mean | 95 % interval | cases |",
        "|---|---|---|---|---|",
    ]
    for metric, structures in summary.items():
        for name, scores in structures.items():
            low, high = scores["ci95"]
            interval = "" if low is None else f"{low:.3f} to {high:.3f}"
            mean = "undefined" if scores["mean"] is None else f"{scores['mean']:.3f}"
            behind = f"{scores['n']} of {scores['n'] + scores.get('undefined', 0)}"
            lines.append(f"| {metric} | {name} | {mean} | {interval} | {behind} |")
    return [*lines, ""]
