"""Workflows as parameters: every value under a dotted key, nothing too long."""

from __future__ import annotations

from voxgraft_registry.parameters import flat


def test_nested_values_get_dotted_keys() -> None:
    document = {"a": {"b": 1, "c": [1, 2], "d": None}, "transfer": [{"use": "freeze", "until": 0.2}], "on": True}
    assert flat(document) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "transfer.0.use": "freeze",
        "transfer.0.until": "0.2",
        "on": "true",
    }


def test_keys_and_values_are_of_a_kind_that_mlflow_takes() -> None:
    ((key, value),) = flat({"weiße Substanz (links)" * 30: "x" * 9000}).items()
    assert len(key) == 250 and "(" not in key
    assert len(value) == 500 and value.endswith("...")
