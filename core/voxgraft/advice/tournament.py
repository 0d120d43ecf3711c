"""The tournament of advice: pairs of encoder and strategy, and the same network from scratch, trained for a short time.

In the first round every arm has the same time. In the second the best pair and its twin from scratch take the same
number of steps, so that they differ in nothing but what was transferred; only this gives the verdict. Differences are
over the held-out volumes, by the guard's tests; those of the first round are corrected for being looked at together,
the verdict for the choice among pairs on the same volumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..inference.recipe import network_of
from ..preprocessing.prepare import Prepared
from ..runs.run import Run
from ..scoring.comparison import ALPHA, TOO_FEW, compare_all, smallest_p
from ..scoring.pair import Counts
from ..scoring.pairs import MEAN
from ..scoring.scores import Scores
from ..scoring.transfer_verdict import FEWEST_STEPS, judge
from ..support.files import write_json
from ..support.lock import remove
from ..training.session import train
from ..training.validation import dice_of, validate_case
from ..workflow.workflow import Workflow
from .candidates import Document, label_of, strategies_for
from .clock import Clock

PAIRS = 3
TRAINING = 0.8
"""The share of the time left that is planned for; evaluation and what cannot be foreseen have the rest."""

Change = Callable[..., Workflow]
"""The workflow with another encoder, transfer and training."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train; from scratch where the encoder has no weights."""

    encoder: Document
    transfer: list[Document]

    @property
    def label(self) -> str:
        return label_of(self.encoder, self.transfer)

    @property
    def twin(self) -> Arm:
        return Arm({**self.encoder, "weights": "none"}, [])


@dataclass(frozen=True, slots=True)
class Trial:
    """An arm that was trained: a row of the table, its scores, and seconds beside those of training."""

    arm: Arm
    row: dict[str, Any]
    scores: Scores
    overhead: float


class Tournament:
    """What the rounds share.

    Args:
        held_out: The volumes that arms are scored on.
        change: Makes an arm's workflow.
    """

    def __init__(
        self, run: Run, held_out: Sequence[Prepared], clock: Clock, change: Change, say: Callable[[str], None]
    ) -> None:
        self._run, self._held_out, self._clock, self._change, self._say = run, held_out, clock, change, say

    def play(self, encoders: Sequence[Document], result: dict[str, Any]) -> Arm | None:
        """Fill in `tournament`, `verdict` and `final` of what was found, as far as time allows.

        Returns:
            The arm that the evidence is for: the best pair, or the twin from scratch; None where there is none.

        Raises:
            TimeUp: Time was up before the verdict.
        """
        stacks = strategies_for(self._run.workflow)
        pairs = [Arm(encoders[0], stack) for stack in stacks[:2]] + [
            Arm(encoder, stacks[0]) for encoder in encoders[1:2]
        ]
        arms = [pairs[0], pairs[0].twin, *pairs[1:PAIRS]]
        share = max(1.0, TRAINING * self._clock.left) / (len(arms) + 4)
        trials: list[Trial] = []
        for number, arm in enumerate(arms):
            self._say(f"advise: round 1, training {arm.label}, {number + 1} of {len(arms)}; {self._clock.said}")
            trials.append(self._trial(arm, f"round1_{number}", f"{share / 60:.6f} min"))
            result["tournament"] = _ranked([trial.row for trial in trials], trials)
            self._say(f"advise: round 1, {arm.label}: Dice {trials[-1].row['dice']:.3f}, {number + 1} of {len(arms)}")
        scratch = trials.pop(1)
        best = max(trials, key=lambda trial: _rank(trial.row))
        steps = self._affordable(best, scratch)
        first = result["tournament"]
        self._say(f"advise: round 2, training {best.arm.label} and its twin, {steps} steps each; {self._clock.said}")
        final, twin = (
            self._trial(arm, f"round2_{name}", f"{steps} steps")
            for name, arm in (("best", best.arm), ("scratch", best.arm.twin))
        )
        verdict = judge(final.scores, twin.scores, "dice", True, steps)
        verdict["p_chosen"] = min(1.0, len(trials) * float(verdict["p"]))  # Bonferroni: any of them could be the best
        if verdict["verdict"] in ("helps", "hurts") and verdict["p_chosen"] >= ALPHA:
            few = len(trials) * smallest_p(int(verdict["patients"])) >= ALPHA
            verdict["verdict"] = TOO_FEW if few else "no evidence"
        both = [{**final.row, "evidence": verdict["verdict"], "against_scratch": verdict}, twin.row]
        result["tournament"] = [{**row, "round": 2} for row in both] + first
        result.update(final=verdict, verdict=verdict["verdict"])
        chosen = {"helps": best.arm, "hurts": best.arm.twin}
        return chosen.get(verdict["verdict"])

    def _affordable(self, trial: Trial, other: Trial) -> int:
        """How many steps both can take in the time that is left, by what a step of each has taken."""
        left = TRAINING * self._clock.left - 1.5 * (trial.overhead + other.overhead)
        step_seconds = sum(float(entry.row["seconds"]) / max(1, int(entry.row["steps"])) for entry in (trial, other))
        return max(1, int(left / max(step_seconds, 1e-6)))

    def _trial(self, arm: Arm, name: str, budget: str) -> Trial:
        """Train one arm, and score it on the held-out volumes."""
        self._clock.check()
        begun = self._clock.used
        training = {"budget": budget, "validate_every": 1.0, "validation_cases": 1, "patience": None}
        workflow = self._change(self._run, arm.encoder, arm.transfer, **training)
        folder = self._run.folder / name
        try:
            summary, scores = self._trained(workflow, folder)
        finally:
            remove(folder)  # also where the time is up in the middle of a training
        row = {
            "round": 1,
            "arm": arm.label,
            "dice": float(scores.summary["dice"][MEAN]["mean"]),
            "volumes": len(scores.cases),
            "defined": scores.summary["dice"][MEAN]["n"],
            "steps": summary["steps"],
            "seconds": summary["seconds"],
        }
        return Trial(arm, row, scores, max(0.0, self._clock.used - begun - float(summary["seconds"])))

    def _trained(self, workflow: Workflow, folder: Path) -> tuple[dict[str, Any], Scores]:
        """The training's summary and its scores on the held-out volumes."""
        remove(folder)  # of an earlier advice that was killed
        for document in ("plan.json", "split.json", "prepared.json"):
            write_json(folder / document, self._run.read(document))
        check = self._clock.check
        summary = train(folder, workflow, self._run.models, lambda numbers, step: check(), lambda share, note: None)
        return summary, self._scores(workflow, folder)

    def _scores(self, workflow: Workflow, folder: Path) -> Scores:
        from safetensors.torch import load_file

        plan = self._run.plan
        network = network_of(workflow.model, plan)
        network.load_state_dict(load_file(folder / "train" / "weights.safetensors"))
        rows: dict[str, dict[str, dict[str, float]]] = {}
        counts: dict[str, dict[str, Counts]] = {}
        for case in self._held_out:
            self._clock.check()
            if (seen := validate_case(network, case, plan, 0.25)) is not None:
                counts[case.case] = seen
                rows[case.case] = {"dice": {name: dice_of(measured) for name, measured in seen.items()}}
        return Scores.of(rows, {case.id: case.patient for case in self._run.dataset.cases}, counts=counts)


def _rank(row: Mapping[str, Any]) -> float:
    """Its Dice; an arm whose Dice is undefined comes after all others."""
    dice = float(row["dice"])
    return dice if math.isfinite(dice) else -1.0


def _ranked(rows: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The rows of the first round, best first, each with its difference from the arm from scratch."""
    against = {trials[1].row["arm"]: trials[1].scores} if len(trials) > 1 else {}
    others = {trial.row["arm"]: trial.scores for trial in trials if trial.row["arm"] not in against}
    compared = compare_all({**against, **others}, {"dice": True}) if against else []
    known = {comparison.run: comparison for comparison in compared}
    ranked: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: -_rank(row)):
        comparison = known.get(str(row["arm"]))
        if comparison is not None and trials[1].row["steps"] < FEWEST_STEPS:
            comparison = replace(comparison, verdict="no evidence")
        more = {} if comparison is None else {"evidence": comparison.verdict, "against_scratch": comparison.document()}
        ranked.append({**row, **more})
    return ranked
