"""Conformance checks of stores: what is fetched is the whole package that was kept, or a sentence."""

from __future__ import annotations

from pathlib import Path

from ..components.choice import TrackingOptions
from ..errors import VoxGraftError
from ..imaging.structures import Label, Labels
from ..packages.package import Package, read_package, write_package
from ..packages.references import Registry
from ..packages.store import StoreSpec
from ..preprocessing.plan import Plan
from .conformance import NotApplicable, Subject, check, require

PLAN = Plan(
    dims=2,
    image_dims=2,
    channels=("mr",),
    labels=((1, "box"),),
    modality="mr",
    normalisation=({"mean": 0.0, "std": 1.0},),
    spacing=(1.0, 1.0),
    patch=(16, 16),
    batch=2,
    strides=((1, 1),),
)


@check("store", "what was kept is fetched, whole and each time")
def _what_was_kept_is_fetched(subject: Subject, folder: Path) -> None:
    package = _package(folder / "package")
    reference = _keep(subject, package)
    for _ in range(2):
        try:
            found = read_package(subject.build().fetch(reference))
        except VoxGraftError as error:
            raise _unless_kept(subject, error) from None
        require(found.hash == package.hash, f"{reference}: another package is fetched than the one that was kept")


@check("store", "a damaged package is refused with a plain message")
def _a_damaged_package_is_refused(subject: Subject, folder: Path) -> None:
    package = _package(folder / "package")
    if subject.keep is not None or isinstance(subject.build(), Registry):
        raise NotApplicable("packages in it are out of reach")
    reference = _keep(subject, package)
    try:
        subject.build().fetch(reference)
    except VoxGraftError as error:
        raise _unless_kept(subject, error) from None
    content = bytearray(package.weights.read_bytes())
    content[-1] ^= 1
    package.weights.write_bytes(content)
    _refused(subject, reference, "a package with one changed bit")


@check("store", "a reference to nothing is refused with a plain message")
def _what_is_not_there_is_a_sentence(subject: Subject, folder: Path) -> None:
    _usable(subject)
    for scheme in subject.spec.schemes or (f"{folder}/",):
        _refused(subject, f"{scheme}no-such-model", "a reference to nothing")


@check("store", "no other store answers to its schemes")
def _its_schemes_are_its_own(subject: Subject, folder: Path) -> None:
    for scheme in subject.spec.schemes:
        require(scheme.endswith(":"), f"its scheme {scheme!r} does not end with a colon")
        stores = [spec for _, spec in subject.catalogue.of("store") if isinstance(spec, StoreSpec)]
        others = [spec.name for spec in stores if spec.name != subject.spec.name and scheme in spec.schemes]
        require(not others, f"the store {', '.join(others)} answers to {scheme!r} as well")


def _refused(subject: Subject, reference: str, what: str) -> None:
    try:
        subject.build().fetch(reference)
    except VoxGraftError as error:
        require(str(error).isprintable() and len(str(error)) < 600, f"{what}: no plain sentence: {error}")
    else:
        raise AssertionError(f"{what}: it is fetched anyway")


def _keep(subject: Subject, package: Package) -> str:
    """The reference of a package that is kept: by the subject's own means, by `register`, or as a path."""
    _usable(subject)
    if subject.keep is not None:
        return subject.keep(package.folder)
    store = subject.build()
    if isinstance(store, Registry):
        return store.register(package, "conformance").reference
    return f"{next(iter(subject.spec.schemes), '')}{package.folder}"


def _usable(subject: Subject) -> None:
    options = subject.chosen.options
    if isinstance(options, TrackingOptions) and options.uri is None:
        raise NotApplicable("name a place to try it at: --option uri=...")


def _unless_kept(subject: Subject, error: VoxGraftError) -> Exception:
    """What a refusal means: where the check could only try a path, the store may not take any."""
    if subject.keep is None and not isinstance(subject.build(), Registry):
        return NotApplicable(f"say how a package is kept in it, by Subject.of(..., keep=...): {error}")
    return AssertionError(f"it refuses what was kept: {error}")


def _package(folder: Path) -> Package:
    import torch

    labels, card = Labels((Label(1, "box"),)), "# conformance\n"
    tensors = {"weight": torch.arange(24.0).reshape(4, 6)}
    facts = {"name": "conformance", "data": {"hash": "0" * 64}}
    return write_package(
        folder, tensors=tensors, plan=PLAN, workflow="voxgraft: 1\n", labels=labels, card=card, facts=facts
    )
