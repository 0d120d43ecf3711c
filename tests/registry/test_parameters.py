"""Names as keys of MLflow: other names have other keys, and MLflow takes every one of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from voxgraft_registry.parameters import LONGEST_KEY, flat, key_of, name_of

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.text(
    "aä (p)[]/.: _-%3", min_size=1, max_size=12
)


def takes(key: str) -> bool:
    for check in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        check(key)
    return len(key) <= LONGEST_KEY


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_every_name_is_a_key_and_comes_back(name: str) -> None:
    key = key_of(name)
    assert takes(key) and (name_of(key) == name or ":cut:" in key)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("X (p)", "X [p]"),
        ("a b", "a_b"),
        ("a/b", "a//b"),
        ("a/b", "a/./b"),
        ("../a", "a"),
        ("a:28:", "a("),
        ("a ", "a"),
        ("100%", "100 "),
        ("Ödem", "O\u0308dem"),
        ("x" * 400 + "1", "x" * 400 + "2"),
        ("x(" * 200, "x[" * 200),
    ],
)
def test_names_that_look_alike_stay_apart(one: str, other: str) -> None:
    assert key_of(one) != key_of(other) and takes(key_of(one)) and takes(key_of(other))


def test_common_names_are_read_as_they_are() -> None:
    for name in ("test_dice_box", "test_dice_Ödem links", "liver/left", "loss", "hd95-2.5"):
        assert key_of(name) == name
    assert key_of("X (p)") == "X :28:p:29:"


def test_settings_stay_apart_too() -> None:
    document = {"labels": {"X (p)": 1, "X [p]": 2, "a.b": 3, "a": {"b": 4}}}
    assert flat(document) == {
        "labels.X :28:p:29:": "1",
        "labels.X :5b:p:5d:": "2",
        "labels.a:2e:b": "3",
        "labels.a.b": "4",
    }
