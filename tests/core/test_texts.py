"""Texts for other programs: names in any bytes come back, and no cell of a table is calculated."""

from __future__ import annotations

import csv
import io
import math
import os

import pytest

from voxgraft.support.texts import as_written, encodable, escaped, write_rows


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain \xc3\xbc.nii", "plain ü.nii"),
        (b"M\xfcller.nii", r"M\xfcller.nii"),
        (b"two\nlines", r"two\nlines"),
        (b"a\tb\rc", r"a\tb\rc"),
        (b"red\x1b[31m", r"red\u001b[31m"),
        (b"back\\nslash", r"back\\nslash"),
        ("turned\u202egnp.exe".encode(), r"turned\u202egnp.exe"),
        ("next\u0085line\u2028".encode(), r"next\u0085line\u2028"),
    ],
)
def test_a_name_of_any_bytes_is_one_line_of_valid_text(name: bytes, text: str) -> None:
    found = escaped(os.fsdecode(name))
    assert found == text and found.encode() and len(found.splitlines()) == 1


def test_two_names_never_give_the_same_text() -> None:
    names = [b"a\n", b"a\\n", b"a\\\\n", b"\xfc", b"\\xfc", "\u00fc".encode(), b"\x85", "\u0085".encode(), b"\\u0085"]
    assert len({escaped(os.fsdecode(name)) for name in names}) == len(names)


def test_json_keeps_what_utf_8_can_hold() -> None:
    assert encodable("two\nlines\\") == "two\nlines\\" and encodable("M\udcfcller\\") == r"M\xfcller\\"


CALCULATED = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "\uff1d1+1", "=cmd|' /C calc'!A0", "-", "-x"]


@pytest.mark.parametrize("text", CALCULATED)
def test_no_cell_is_a_formula_and_each_comes_back(text: str) -> None:
    file = io.StringIO()
    write_rows(file, [(text, "b")])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert row[0].startswith("'") and as_written(row[0]) == text


@pytest.mark.parametrize("number", ["-1.5", "+3", "-2e-05", ".5", "-7."])
def test_numbers_are_not_spoiled(number: str) -> None:
    file = io.StringIO()
    write_rows(file, [(number, float(number), -3, math.nan, -math.inf)])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row == [number, repr(float(number)), "-3", "", ""]


def test_a_carriage_return_breaks_no_row() -> None:
    file = io.StringIO()
    write_rows(file, [("a\r=1", "b")])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [[r"a\r=1", "b"]]


def test_an_apostrophe_of_the_users_own_stays() -> None:
    assert as_written("'tis") == "'tis" and as_written("O'Neill") == "O'Neill"
