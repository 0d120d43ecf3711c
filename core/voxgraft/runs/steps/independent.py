"""What cannot matter to the steps that come with VoxGraft, with the reason: see `StepSpec.independent_of`.

A step is done again when anything changes that is not in its list, so a new option counts until somebody says here why
it does not. Nothing is listed that is merely unlikely to matter.
"""

from __future__ import annotations

from collections.abc import Mapping

Reasons = Mapping[str, str]

_LEARNS = "used in training, by the step train"
_MODEL = "used with the finished model"
_SCORES = "used by the step evaluate"
_PACKAGE = "acts through the model, which is compared"
_PLAN = "acts through the plan, which is compared"
_FOUND = "what the layout found, with the content of the files, is compared"

_ELSEWHERE: Reasons = {
    "tracking": "where events are kept",
    "registry": "used by the step register",
    "review": "used in a review of the finished model's masks",
    "steps": "each step compares its own options and its own code",
    "before.check": "a check judges and changes nothing",
}
_WRITES: Reasons = {"writer": "masks are written by the step evaluate"}
_PLACES: Reasons = {
    "data.cache": "arrays are the same wherever they are kept",
    "data.layout.path": _FOUND,
    "data.source.path": _FOUND,
    "data.added.path": _FOUND,
    "data.unlabelled.path": _FOUND,
    "dataset.notes": "notes are messages for people",
    "dataset.problems": "problems are messages for people",
}
_LEARNING: Reasons = dict.fromkeys(
    (
        *("training.budget", "training.precision", "training.loss", "training.optimiser", "training.schedule"),
        *("training.ema", "training.clip", "training.augment", "training.foreground", "training.validate_every"),
        *("training.validation_cases", "training.patience", "training.seed"),
    ),
    "used in training, by the step train",
)

CHECK: Reasons = {
    **_ELSEWHERE,
    **_WRITES,
    **_LEARNING,
    "name": "the name of the run",
    "guard": "used by the step guard",
    "evaluation": _SCORES,
}
PLAN: Reasons = {
    **_ELSEWHERE,
    **_WRITES,
    **_PLACES,
    **_LEARNING,
    "name": "the name of the run",
    "guard": "used by the step guard",
    "evaluation": _SCORES,
    "inference": _MODEL,
    **dict.fromkeys(("model.encoder", "model.decoder", "model.start", "model.deep_supervision"), _LEARNS),
    "transfer": "what strategies need, and whether labels are looked at, is compared; the rest is used in training",
    "data.modality.augmentation": "images are augmented while training",
    "case.facts": "facts are for tables of subgroups",
}
PREPARE: Reasons = {
    **{name: reason for name, reason in PLAN.items() if name != "data.cache"},
    **dict.fromkeys(
        ("training.batch", "training.patch", "training.device"), "acts through the plan, which is compared"
    ),
}
TRAIN: Reasons = {
    **_WRITES,
    **{name: reason for name, reason in _ELSEWHERE.items() if name not in ("registry", "review")},
    **_PLACES,
    "registry.promote": "used by the step register",
    "guard": "used by the step guard",
    "evaluation": _SCORES,
    "inference.device": _MODEL,
    "case.facts": "facts are for tables of subgroups",
}
LABELS_OF_PACKAGE: Reasons = dict.fromkeys(
    (
        *("name", "registry", "review", "inference.mirror", "inference.batch", "inference.skip_empty"),
        *("inference.precision", "inference.body"),
    ),
    "it stands in the package; the network does not learn from it",
)
"""What makes a package be written again with the network that was trained."""

EVALUATE: Reasons = {
    **_ELSEWHERE,
    **_PLACES,
    "guard": "used by the step guard",
    **dict.fromkeys(("model", "transfer", "training"), _PACKAGE),
}
GUARD: Reasons = {**_ELSEWHERE, **_PLACES}
REGISTER: Reasons = {
    **{name: reason for name, reason in _ELSEWHERE.items() if name not in ("tracking", "registry")},
    **dict.fromkeys(("data", "case", "dataset", "reader", "roles", "writer"), _PACKAGE),
    **dict.fromkeys(("model", "transfer", "training", "inference", "before.plan", "before.prepare"), _PACKAGE),
    "guard": "acts through the verdict, which is compared",
}

_STANDS = "is part of the plan, or of how a mask is read, which are compared"
_CASE = "the case itself is compared, with the content of its files"

ARRAYS: Reasons = {
    **PREPARE,
    **dict.fromkeys(("data.layout", "data.source", "data.added", "data.unlabelled", "data.raters"), _CASE),
    **dict.fromkeys(("dataset", "case", "roles"), _CASE),
    **dict.fromkeys(("data.split", "data.limit", "data.leave_out"), "which other cases there are"),
    **dict.fromkeys(
        ("data.labels", "data.others", "data.ignore", "data.overlap", "data.regions", "data.paint", "data.channels"),
        _STANDS,
    ),
    "data.spacing": _STANDS,
    "data.interpolation": _STANDS,
    "data.cache": "arrays are the same wherever they are kept",
    "model": _PLAN,
}
"""What cannot matter to the prepared arrays of one case, besides other cases."""

PLAN_OF_ARRAYS: Reasons = {
    **dict.fromkeys(("patch", "batch", "strides", "dims", "slice_axis"), "how arrays are cut up while training"),
    **dict.fromkeys(("channels", "optional", "contract", "version"), "information for people and for later scans"),
}
"""The parts of a plan that cannot matter to prepared arrays."""

CASE: Reasons = {
    "id": "the name of the case",
    "patient": "whose image it is",
    "facts": "facts are for tables of subgroups",
    "raters": "the mask that was made of them is compared",
}
"""The fields of a case that cannot matter to its prepared arrays."""
