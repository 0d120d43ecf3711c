"""The step `register`: keep the run's package as a version, and judge whether it becomes champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from voxgraft.errors import DataError, ModelError
from voxgraft.packages.package import Package, amend_package, read_package
from voxgraft.packages.references import CHALLENGER, CHAMPION, Version
from voxgraft.runs.run import Run
from voxgraft.scoring.metric import MetricSpec
from voxgraft.scoring.scores import Scores
from voxgraft.scoring.transfer_verdict import HURTS
from voxgraft.scoring.worth import summed_up, worthless
from voxgraft.support.texts import without_paths
from voxgraft.workflow.sections import Registry

from .connection import Address, address, default_address
from .options import MlflowStoreOptions, MlflowTrackerOptions
from .promotion import Verdict, compare, held_out
from .store import MlflowStore, means_of
from .tracker import IDENTITY

PROMOTION = "voxgraft.promotion"
"""The tag of a run and of a version: which role it was given, and why."""


class Register:
    """Leaves `register.json`: the version, whether it became champion, and why."""

    def outputs(self, run: Run) -> Sequence[Path]:
        return [run.folder / "register.json"]

    def do(self, run: Run) -> None:
        options = run.workflow.registry
        assert options is not None, "a workflow with this step has the section `registry`"
        at = _address(run)
        store = MlflowStore(MlflowStoreOptions(uri=at.uri, create=True))
        package = _with_scores(run)
        version = store.register(package, options.name, run=run.identity.get(IDENTITY, ""))
        before, verdict = self._against_champion(run, store, package, version)
        held = _held_back(run)
        already = before is not None and before.version == version.version
        champion = already or _is_promoted(options, verdict, bool(held))
        role = f"is now {CHAMPION}" if champion else f"is {CHALLENGER}, not {CHAMPION}"
        reason = _reason(options, verdict, held)
        if not already:
            alias = CHAMPION if champion else CHALLENGER
            version = store.promote(options.name, version.version, alias, note={PROMOTION: f"{role}: {reason}"})
        run.write("register.json", {**_outcome(version, champion, before, verdict, at), "reason": reason})
        run.tag({PROMOTION: f"{role}: {reason}"})
        if version.package != package.sha256:
            run.progress.say(f"register: {_kept(version, package, run)}")
        run.progress.say(f"register: {options.name} version {version.version} {role}: {reason}")
        if not champion:
            run.remarks.append(f"{options.name} version {version.version} {role}")

    def _against_champion(
        self, run: Run, store: MlflowStore, package: Package, version: Version
    ) -> tuple[Version | None, Verdict | None]:
        """The champion, and the comparison with it: again where another process has promoted a version meanwhile."""
        champion = _champion(store, version.name)
        while True:
            before, verdict = champion, self._judge(run, store, package, version, champion)
            champion = _champion(store, version.name)
            if getattr(champion, "version", None) == getattr(before, "version", None):
                return champion, verdict

    def _judge(
        self, run: Run, store: MlflowStore, package: Package, version: Version, before: Version | None
    ) -> Verdict | None:
        """Compare with the champion, where there is another one."""
        if before is None or before.version == version.version:
            return None
        metric = run.workflow.evaluation.metrics[0]
        higher = not isinstance(metric.component, MetricSpec) or metric.component.higher_is_better
        try:
            champion = read_package(store.fetch(before.reference))
            return compare(package.facts, champion.facts, metric.name, higher_is_better=higher)
        except ModelError as error:
            return Verdict(True, _unread(error, version))


def registry_there(run: Run) -> Mapping[str, Any]:
    """Where the registry is, whether it is there, and the version that it holds of this run: a version goes with its
    registry, and may be deleted from it."""
    at = _address(run)
    there = at.database.exists() if at.database else True
    return {
        "the registry": at.uri,
        "whether the registry is there": there,
        "the registered version": (_registered(run, at) if there else "") or "none",
    }


def _registered(run: Run, at: Address) -> str:
    """The version that this run has registered; empty where it has none, or it was deleted.

    Looked up in the registry's file itself, which takes milliseconds where MLflow takes seconds to load. With a server
    the run's word is taken: asking would wait for one that is away.
    """
    import sqlite3

    try:
        known = run.read("register.json")
        name, version, reference = str(known["name"]), str(known["version"]), str(known["reference"])
    except (DataError, KeyError, TypeError):
        return ""
    if at.database is None:
        return reference
    wanted = "SELECT 1 FROM model_versions WHERE name = ? AND version = ? AND current_stage IS NOT 'Deleted_Internal'"
    try:
        with closing(sqlite3.connect(f"{at.database.absolute().as_uri()}?mode=ro", uri=True)) as file:
            found = file.execute(wanted, (name, version)).fetchone()
    except sqlite3.Error:  # whoever registers says what is wrong with it
        return reference
    return reference if found else ""


def _unread(error: ModelError, version: Version) -> str:
    """Why a champion that cannot be read stays, and how a person decides otherwise."""
    told = str(error).removesuffix(".")
    command = f"voxgraft models promote {version.name} {version.version}"
    return f"it cannot be read ({told}) and stays; `{command}` makes this version champion all the same"


def _kept(version: Version, package: Package, run: Run) -> str:
    """Why a model that was evaluated again is no new version, and what the version says of it."""
    metric = run.workflow.evaluation.metrics[0].name
    now, before = means_of(package).get(metric), version.metrics.get(metric)
    scores = f" ({metric} {before:.4f}, now {now:.4f})" if before is not None and now is not None else ""
    return (
        f"{version.name} version {version.version} holds this model already and keeps the scores that it was "
        f"registered with{scores}; delete it first to register it with the new ones"
    )


def _outcome(
    version: Version, champion: bool, before: Version | None, verdict: Verdict | None, at: Address
) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "reference": version.reference,
        "hash": version.hash,
        "champion": champion,
        "previous": before.version if before and before.version != version.version else None,
        "comparison": verdict.document() if verdict else None,
        "registry": without_paths(at.shown),
        "run": version.run,
    }


def _is_promoted(options: Registry, verdict: Verdict | None, held: bool) -> bool:
    if options.promote == "if-not-worse":
        return not held and (verdict is None or not verdict.worse)
    return options.promote == "always"


def _held_back(run: Run) -> str:
    """Why a version is not to be champion whatever it is compared with; empty where there is no such reason."""
    if _guard(run) == HURTS:
        return "the guard says that transfer hurts, a network from scratch is better"
    scores = _scores(run)
    return summed_up(worthless(Scores.from_document(scores))) if scores is not None else ""


def _reason(options: Registry, verdict: Verdict | None, held: str) -> str:
    compared = f"against the champion, {verdict.reason}" if verdict else "there was no other champion"
    compared = f"{held}; {compared}" if held else compared
    return compared if options.promote == "if-not-worse" else f"promote is {options.promote!r}; {compared}"


def _guard(run: Run) -> str | None:
    """What the run's guard said of this very package: one that was trained anew has no verdict until it is judged."""
    if run.workflow.guard is None:
        return None
    verdict: str | None = read_package(run.package).facts.get("guard", {}).get("verdict")
    return verdict


def _champion(store: MlflowStore, name: str) -> Version | None:
    try:
        return store.version(f"models:/{name}@{CHAMPION}")
    except ModelError:
        return None


def _with_scores(run: Run) -> Package:
    """The run's package; the scores of its held-out cases are put into its manifest, for later comparisons."""
    package = read_package(run.package)
    scores = _scores(run)
    if scores is None:
        return package
    hashes = {case: facts["hash"] for case, facts in run.read("fingerprint.json")["cases"].items()}
    card = (run.package / "card.md").read_text(encoding="utf-8")
    return amend_package(run.package, card=card, facts={"held_out": held_out(scores, hashes)})


def _scores(run: Run) -> Any:
    """The scores of the held-out cases, if this workflow evaluates."""
    try:
        return run.read("evaluate/scores.json")
    except DataError:
        return None


def _address(run: Run) -> Address:
    """Where the workflow's tracker keeps runs; the registry is there too."""
    tracking = run.workflow.tracking
    if tracking is not None and isinstance(tracking.options, MlflowTrackerOptions) and tracking.options.uri:
        return address(tracking.options.uri)
    return default_address()
