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
_LEARNING: Reasons = {
    f"training.{name}": _LEARNS
    for name in (
        "budget",
        "precision",
        "loss",
        "optimiser",
        "schedule",
        "ema",
        "clip",
        "augment",
        "foreground",
        "validate_every",
        "validation_cases",
        "patience",
        "seed",
    )
}

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
    "model.encoder": _LEARNS,
    "model.decoder": _LEARNS,
    "model.start": _LEARNS,
    "model.deep_supervision": _LEARNS,
    "transfer": "what strategies need, and whether labels are looked at, is compared; the rest is used in training",
    "data.modality.augmentation": "images are augmented while training",
    "case.facts": "facts are for tables of subgroups",
}
PREPARE: Reasons = {
    **{name: reason for name, reason in PLAN.items() if name != "data.cache"},
    "training.batch": "acts through the plan, which is compared",
    "training.patch": "acts through the plan, which is compared",
    "training.device": "acts through the plan, which is compared",
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
LABELS_OF_PACKAGE: Reasons = {
    "name": "it stands in the package; the network does not learn from it",
    "registry": "it stands in the package; the network does not learn from it",
    "review": "it stands in the package; the network does not learn from it",
    "inference.mirror": "it stands in the package; the network does not learn from it",
    "inference.batch": "it stands in the package; the network does not learn from it",
    "inference.skip_empty": "it stands in the package; the network does not learn from it",
    "inference.precision": "it stands in the package; the network does not learn from it",
    "inference.body": "it stands in the package; the network does not learn from it",
}
"""What makes a package be written again with the network that was trained."""

EVALUATE: Reasons = {
    **_ELSEWHERE,
    **_PLACES,
    "guard": "used by the step guard",
    "model": _PACKAGE,
    "transfer": _PACKAGE,
    "training": _PACKAGE,
}
GUARD: Reasons = {**_ELSEWHERE, **_PLACES}
REGISTER: Reasons = {
    **{name: reason for name, reason in _ELSEWHERE.items() if name not in ("tracking", "registry")},
    "data": _PACKAGE,
    "case": _PACKAGE,
    "dataset": _PACKAGE,
    "reader": _PACKAGE,
    "roles": _PACKAGE,
    "writer": _PACKAGE,
    "model": _PACKAGE,
    "transfer": _PACKAGE,
    "training": _PACKAGE,
    "inference": _PACKAGE,
    "guard": "acts through the verdict, which is compared",
    "before.plan": _PACKAGE,
    "before.prepare": _PACKAGE,
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
    "model": "acts through the plan, which is compared",
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
