"""What follows from a trial, in a sentence; and what is proposed where it cannot tell.

With few held-out patients no trial can show a gain, and to train from scratch for that reason loses what the curves of
docs/transfer.md have. So what other data sets showed is proposed then, unless the trial speaks against it; it is said
to come from elsewhere, never to have been found on this data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..scoring.comparison import TOO_FEW
from ..scoring.transfer_verdict import FEWEST_STEPS, TOO_EARLY
from ..support.texts import counted
from ..transfer.prior import Prior, prior
from ..workflow.workflow import Workflow
from .candidates import Document
from .tournament import Arm

DONE = "all was done"
STOPPED = "stopped by hand; the rest was not tried"
HERE, ELSEWHERE, NOWHERE = "this data", "other data sets", "nothing"
"""What a proposal rests on."""
UNCHANGED = "the workflow stays as it is"


def conclude(
    result: dict[str, Any], chosen: Arm | None, workflow: Workflow, encoders: Sequence[Document]
) -> Arm | None:
    """Say in one sentence what follows, beginning with the verdict, so "no evidence" where that is the truth.

    Args:
        result: What was found; `advice`, `verdict` and `basis` are filled in.
        chosen: What the evidence is for, if for anything.
        workflow: What is advised on.
        encoders: Those whose weights are here.

    Returns:
        What is proposed in place of the workflow's own; None where that stays.
    """
    final = result.get("final")
    by = ""
    if final is not None:
        low, high = final["ci95"]
        interval = "" if low is None else f", 95 % interval {low:+.3f} to {high:+.3f}"
        by = f"difference in Dice {final['difference']:+.3f}{interval}, {final['patients']} held-out patients, p "
        by += f"{final['p_chosen']:.2g} corrected for the choice among pairs"
        steps = result["tournament"][0]["steps"]
        result["verdict"] = TOO_EARLY if steps < FEWEST_STEPS else result["verdict"]
    verdict = result["verdict"]
    if final is not None and verdict in ("helps", "hurts"):
        arm, result["basis"] = result["tournament"][0]["arm"], HERE
        use = f"use {arm}: after so short a training transfer helps"
        result["advice"] = (
            f"{use if verdict == 'helps' else f'train from scratch: after so short a training {arm} hurts'} ({by})"
        )
        return chosen
    usual, clause = _fallback(workflow, encoders, result)
    result["basis"] = ELSEWHERE if usual else NOWHERE
    result["advice"] = f"{_unknown(result, by)}; {clause}"
    return usual


def _unknown(result: Mapping[str, Any], by: str) -> str:
    """Why the trial cannot tell."""
    final, verdict = result.get("final"), result["verdict"]
    if final is None:
        return f"no evidence: {_why_none(result)}"
    arm, steps = result["tournament"][0]["arm"], result["tournament"][0]["steps"]
    if steps < FEWEST_STEPS:
        return f"{TOO_EARLY}: there was time for {counted(steps, 'step')} only; give it more minutes"
    if verdict in (TOO_EARLY, TOO_FEW):
        why = f": {final['early']}" if final["early"] else f" whether {arm} does better than from scratch"
        return f"{verdict}{why} ({by})"
    return (
        f"no evidence that {arm} does better than the same network from scratch ({by}). Few held-out patients or a "
        "short time show large differences only: try more minutes, or guard: twin"
    )


def _why_none(result: Mapping[str, Any]) -> str:
    if result["ended"] == STOPPED:
        return "it was stopped before the best pair could be compared with its twin from scratch"
    if result["ended"] != DONE:
        return "time was up before the best pair could be compared with its twin from scratch; give it more minutes"
    return "no pretrained encoder is available for this workflow; install weights, or name a model with --model"


def _fallback(workflow: Workflow, encoders: Sequence[Document], result: Mapping[str, Any]) -> tuple[Arm | None, str]:
    """The arm that other data sets speak for, and a clause that says so; None, and why the workflow stays as it is.

    Args:
        workflow: What is advised on. Only one from scratch is changed: what a person chose stays.
        encoders: Those whose weights are here.
        result: What was found.
    """
    known = prior(workflow.model.dims)
    if workflow.model.pretrained or workflow.transfer:
        return None, UNCHANGED
    said = known.said(workflow.data.modality.name, result["facts"].get("patients", 0))
    if known.encoder is None:
        return None, f"{UNCHANGED}; {said}"
    own = {key: known.encoder[key] for key in ("use", "weights")}
    encoder = next((one for one in encoders if own.items() <= one.items()), None)
    if encoder is None or any("error" in row and row["encoder"] == encoder for row in result["probes"]):
        return None, UNCHANGED
    arm = Arm(encoder, [dict(strategy) for strategy in known.transfer])
    if _speaks_against(result, arm, known):
        return None, f"{UNCHANGED}, although {said}"
    return arm, f"nothing was found on this data, but {said}: therefore {arm.label} is proposed, with a guard"


def _speaks_against(result: Mapping[str, Any], arm: Arm, known: Prior) -> bool:
    """Whether the arm did worse than scratch, or the best pair's interval lies below all that was gained elsewhere."""
    if any(row["arm"] == arm.label and row.get("evidence") in ("worse", "hurts") for row in result["tournament"]):
        return True
    final = result.get("final")
    if final is None or result["verdict"] == TOO_EARLY or final["ci95"][1] is None:
        return False
    return bool(final["ci95"][1] < known.gain[0])
