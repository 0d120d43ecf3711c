"""Unfreezing with time: first the new part and then everything, or one stage after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from voxgraft.plugin import Context, Row, TrainingError

from .options import FineTuneOptions, FreezeOptions, GradualOptions, LpFtOptions
from .own import OwnStrategy
from .stages import ENCODER, Holder, encoder_stages, is_loaded, loaded_modules, stage_of
from .strategies import FineTune, Freeze


class LpFt(Freeze):
    """A linear probe, then fine-tuning (Kumar et al. 2022): the encoder is frozen for the first part of the budget; the
    schedule of the learning rate is gone through once before and once again after."""

    name = "lp-ft"
    once = True

    def __init__(self, options: LpFtOptions) -> None:
        super().__init__(FreezeOptions(until=options.probe))
        self._probe = options.probe
        self._tuning = FineTune(FineTuneOptions(encoder_lr=options.encoder_lr))

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return self._tuning.edit(rows, context)

    def schedule(self, progress: float) -> float:
        if progress < self._probe:
            return progress / self._probe
        return (progress - self._probe) / (1 - self._probe)


class Gradual(OwnStrategy):
    """Gradual unfreezing (Howard and Ruder 2018): the deepest stage learns first, the shallowest last.

    Every parameter is registered with the optimiser from the start; until its stage's time has come it has no gradient,
    and the optimiser keeps nothing for it.
    """

    name = "gradual"

    def __init__(self, options: GradualOptions) -> None:
        self._options = options
        self._stages: list[list[str]] = []
        self._due: list[float] = []
        """The share of the budget from which each stage learns, shallow to deep; one that never does has infinity."""

        self._holder = Holder()

    @property
    def until(self) -> float:
        """The share of the budget after which all that is to learn does."""
        return self._options.end if self._options.at is None else self._options.at[-1]

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        self._stages = encoder_stages(context.network)
        count, options = len(self._stages), self._options
        if options.at is None:
            each = [options.start + (options.end - options.start) * step / max(1, count - 1) for step in range(count)]
        elif len(options.at) > count:
            raise TrainingError(f"transfer: gradual.at has {len(options.at)} shares, the encoder has {count} stages")
        else:
            each = [*options.at, *[float("inf")] * (count - len(options.at))]
        self._due = each[::-1]
        return {}

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        """Stages that never learn are not trained."""
        return [row.but(train=False) if self._due_at(row.name, context) == float("inf") else row for row in rows]

    def before_step(self, context: Context) -> None:
        self._holder.hold(context.network, lambda name: self._due_at(name, context) > context.progress)

    def train_mode(self, context: Context) -> None:
        waiting = [
            prefix
            for prefixes, due in zip(self._stages, self._due, strict=True)
            if due > context.progress
            for prefix in prefixes
        ]
        if min(self._due) > context.progress:
            waiting = [ENCODER]
        for module in loaded_modules(context.network, waiting, context):
            module.training = False

    def settled(self, context: Context) -> bool:
        return all(due <= context.progress or due == float("inf") for due in self._due)

    def _due_at(self, name: str, context: Context) -> float:
        """From when a parameter learns; those of the decoder, and whatever else was not loaded, do at once."""
        stage = stage_of(name, self._stages)
        return 0.0 if stage is None or not is_loaded(name, context) else self._due[stage]
