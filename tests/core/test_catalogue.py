"""Discovery: good plugins are found, broken ones are set aside with a reason, conflicts are named."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import cloudpickle
import pytest

from voxgraft.discovery import discover
from voxgraft.errors import ComponentConflict, UnknownComponent
from voxgraft.hookspecs import KINDS, Hooks

GOOD = """
from voxgraft import MetricSpec, hookimpl

@hookimpl
def voxgraft_metrics():
    return [MetricSpec(name="{name}", summary="s", higher_is_better=True, options=lambda: None, build=lambda c: None)]
"""
HOSTILE = {
    "imports_what_is_not_there": "import no_such_module",
    "has_a_syntax_error": "def (:",
    "exits": "raise SystemExit(3)",
    "asks_for_a_wrong_argument": (
        "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_metrics(no_such_argument):\n    return []"
    ),
    "knows_no_such_hook": "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_no_such_hook():\n    return []",
    "raises": "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_metrics():\n    raise RuntimeError('no')",
    "gives_the_wrong_kind": "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_metrics():\n    return ['dice']",
    "gives_nothing_iterable": "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_metrics():\n    return 3",
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes an entry point to a module of the given source."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, source: str, group: str = "voxgraft") -> EntryPoint:
        (tmp_path / f"plugin_{name}.py").write_text(source)
        made.append(f"plugin_{name}")
        return EntryPoint(name, f"plugin_{name}", group)

    yield make
    for name in made:
        sys.modules.pop(name, None)


class Installed(Distribution):
    """A distribution that counts how often its metadata is read: parsing them takes longer than many plugins do."""

    def __init__(self) -> None:
        self.reads = 0

    def read_text(self, filename: str) -> str | None:
        self.reads += filename == "METADATA"
        return "Metadata-Version: 2.4\nName: ours\nVersion: 1.2\n" if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def test_the_metadata_of_a_distribution_are_read_once_for_all_its_plugins(plugin) -> None:
    ours = Installed()
    entries = [plugin(name, GOOD.format(name=name)) for name in ("one", "two", "three")]
    for entry in entries:
        vars(entry)["dist"] = ours
    catalogue = discover(entries, without=["ours:two"])
    assert [spec.name for _, spec in catalogue.of("metric")] == ["one", "three"]
    origin = catalogue.origins["ours:one"]
    assert (origin.distribution, origin.version) == ("ours", "1.2") and ours.reads == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_plugin_is_set_aside_and_the_rest_works(plugin, name) -> None:
    catalogue = discover([plugin(name, HOSTILE[name]), plugin("good", GOOD.format(name="mine"))])
    assert [failure.plugin for failure in catalogue.failures] == [name]
    assert catalogue.failures[0].reason
    assert [spec.name for _, spec in catalogue.of("metric")] == ["mine"]


def test_two_plugins_of_one_name_conflict_only_when_it_is_used(plugin) -> None:
    catalogue = discover([plugin("one", GOOD.format(name="same")), plugin("two", GOOD.format(name="same"))])
    assert [(c.kind, c.name) for c in catalogue.conflicts()] == [("metric", "same")]
    with pytest.raises(ComponentConflict, match=r"one and two|two and one"):
        catalogue.get("metric", "same")


def test_a_plugin_can_be_left_out(plugin) -> None:
    entries = [plugin("one", GOOD.format(name="same")), plugin("two", GOOD.format(name="same"))]
    assert discover(entries, without=["two"]).get("metric", "same").name == "same"


def test_an_unknown_name_gets_a_suggestion_and_the_plugins_set_aside(plugin) -> None:
    catalogue = discover([plugin("good", GOOD.format(name="surface")), plugin("raises", HOSTILE["raises"])])
    with pytest.raises(UnknownComponent, match=r"did you mean 'surface'(.|\n)*'raises' was set aside"):
        catalogue.get("metric", "surfce")


def test_a_plugin_is_imported_when_a_kind_is_asked_for_that_it_may_offer(plugin) -> None:
    catalogue = discover(
        [plugin("metric", GOOD.format(name="mine"), "voxgraft.metrics"), plugin("any", GOOD.format(name="other"))]
    )
    assert not {"plugin_metric", "plugin_any"} & set(sys.modules)
    assert list(catalogue.of("reader")) == []
    assert {"plugin_metric", "plugin_any"} & set(sys.modules) == {"plugin_any"}
    assert [spec.name for _, spec in catalogue.of("metric")] == ["mine", "other"]
    assert not catalogue.failures and list(catalogue.origins) == ["any", "metric"]


@pytest.mark.parametrize("first", [*KINDS, None])
def test_what_is_offered_does_not_depend_on_what_was_asked_for_before(plugin, first) -> None:
    broken = "from voxgraft import hookimpl\n@hookimpl\ndef voxgraft_losses():\n    raise RuntimeError('no')\n"
    source = broken + GOOD.format(name="mine")
    catalogue = discover([plugin("half", source), plugin("absent", "import no_such_module", "voxgraft.writers")])
    catalogue.ask(first)
    assert catalogue.get("metric", "mine").name == "mine"
    assert {failure.plugin for failure in catalogue.failures} == {"half", "absent"}


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (["voxgraft.readers"], "it has the hook voxgraft_metrics, and no entry point of the group voxgraft.metrics"),
        (
            ["voxgraft.metrics", "voxgraft.readers"],
            "it has an entry point of the group voxgraft.readers, and no hook voxgraft_readers",
        ),
    ],
)
def test_a_plugin_whose_groups_are_not_what_it_offers_is_set_aside(plugin, groups, reason) -> None:
    catalogue = discover([plugin("odd", GOOD.format(name="mine"), group) for group in groups])
    assert [failure.reason for failure in catalogue.failures] == [f"PluginError: {reason}"]
    assert list(catalogue.of("metric")) == []


def test_two_plugins_of_one_name_in_two_groups_are_told(plugin) -> None:
    one, two = (plugin(name, GOOD.format(name=name), "voxgraft.metrics") for name in ("one", "two"))
    catalogue = discover([one, EntryPoint("one", two.value, "voxgraft")])
    assert len(catalogue.failures) == 1 and "one" in catalogue.failures[0].plugin


def test_a_catalogue_that_goes_to_another_process_is_whole(plugin) -> None:
    catalogue = discover([plugin("one", GOOD.format(name="mine"), "voxgraft.metrics")])
    there = cloudpickle.loads(cloudpickle.dumps(catalogue))
    assert there.get("metric", "mine").name == "mine" and list(there.origins) == ["one"]


def test_every_builtin_plugin_loads_and_every_kind_but_sources_is_offered(catalogue) -> None:
    assert catalogue.failures == [] and catalogue.conflicts() == []
    offered = {kind for kind in KINDS if any(True for _ in catalogue.of(kind))}
    assert offered == set(KINDS)


def test_every_card_gives_documented_options(catalogue) -> None:
    for kind in KINDS:
        for _, spec in catalogue.of(kind):
            model = spec.options()
            assert model.__doc__, spec.name
            for name, field in model.model_fields.items():
                assert field.description, f"{spec.name}.{name} says nothing"


def test_every_kind_has_a_hook_that_says_what_it_is_for() -> None:
    for hook in KINDS.values():
        assert getattr(Hooks, hook).__doc__
