"""Walk through the data elements of a DICOM file without making objects of them (PS3.5, chapter 7).

Only little endian files are walked, explicit or implicit; anything odd is left to pydicom, which knows how to
forgive.

Where a walk goes depends on the bytes under its feet alone, and on whether they are written implicitly. So a stretch
that stands in a file byte for byte as in the file before leads to the same end and the same values; nothing is taken
for granted of a file that differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct, error

PREAMBLE = 128
MAGIC = b"DICM"
PIXELS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009})
"""Pixels as whole numbers, and as numbers in single and in double precision; a file has one of the three."""
UNDEFINED = 0xFFFFFFFF
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN, GE_PRIVATE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.113619.5.2"
SYNTAX = 0x00020010

_TAG = Struct("<HH").unpack_from
_SHORT = Struct("<HH2sH").unpack_from
_LENGTH = Struct("<I").unpack_from
_ITEM = Struct("<HHI").unpack_from
_LONG_VRS = frozenset(b"OB OW OF OD OL OV SQ UC UN UR UT SV UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())


class Odd(ValueError):
    """The file is not written as this walk expects."""


class Short(ValueError):
    """The walk needs more bytes than it was given."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found.

    Attributes:
        values: The bytes of the wanted elements, by tag.
        syntax: The transfer syntax UID.
        pixels: Where the value of the pixel data begins; -1 where the walk met none.
        length: The length of that value; -1 where it is not defined (compressed pixels).
        complete: The walk reached the pixel data, or the end of the file between two elements.
    """

    values: dict[int, bytes]
    syntax: str
    pixels: int
    length: int
    complete: bool


def walk(data: bytes, size: int, wanted: frozenset[int], memory: Memory) -> Walk:
    """Go through the elements up to the pixel data.

    Args:
        data: The first bytes of the file.
        size: The size of the whole file.
        wanted: The tags, as group * 65536 + element, whose values are kept.
        memory: What the files walked before for the same tags share; it learns from this one.

    Raises:
        Short: The pixel data begin beyond `data`.
        Odd: The file is deflated, big endian, without preamble, or broken.
    """
    if data[PREAMBLE : PREAMBLE + 4] != MAGIC:
        raise Odd("no preamble")
    values: dict[int, bytes] = {}
    syntax, implicit, at, last = "", False, PREAMBLE + 4, len(data) - 8
    steps: list[Step] = []
    known = memory.explicit
    try:
        while at <= last + 7:
            stretch = known.get(data[at : at + 8]) if syntax else None
            if stretch is not None and data.startswith(stretch[0], at):
                values.update(stretch[1])
                at += len(stretch[0])
                continue
            group, element, vr, length = _SHORT(data, at) if at <= last else (*_TAG(data, at), b"", 0)
            if group != 2 and not syntax:
                syntax = values.get(SYNTAX, b"").rstrip(b"\0 ").decode("ascii", "replace")
                if syntax in ("", DEFLATED, BIG_ENDIAN, GE_PRIVATE):
                    raise Odd(syntax)
                implicit = syntax == IMPLICIT
                known = memory.implicit if implicit else memory.explicit
            tag = group << 16 | element
            if vr in _SHORT_VRS and not (implicit and group != 2):  # most elements; the call below would say the same
                start, unknown = at + 8, False
            else:
                start, length, unknown = _value(data, at, implicit and group != 2)
            if tag in PIXELS:
                memory.learn(data, steps, implicit, wanted)
                values |= {tag: b""} if tag in wanted else {}
                return Walk(values, syntax, start, -1 if length == UNDEFINED else length, True)
            end = _after_items(data, start, implicit or unknown) if length == UNDEFINED else start + length
            if tag in wanted:
                if end > len(data):
                    break
                values[tag] = data[start:end]
            steps.append((tag, at, start, end))
            at = end
    except error:
        at = len(data) + 1
    except RecursionError:
        raise Odd("sequences within sequences without end") from None
    if len(data) < size:
        raise Short
    return Walk(values, syntax, -1, -1, at == size)


def _value(data: bytes, at: int, implicit: bool) -> tuple[int, int, bool]:
    """Where the value of the element at `at` starts, its length, and whether it is of the unknown VR."""
    if implicit:
        return at + 8, _LENGTH(data, at + 4)[0], False
    _, _, vr, short = _SHORT(data, at)
    if vr in _SHORT_VRS:
        return at + 8, short, False
    if vr in _LONG_VRS:
        return at + 12, _LENGTH(data, at + 8)[0], vr == b"UN"
    raise Odd("an unknown VR")


def _after_items(data: bytes, at: int, implicit: bool) -> int:
    """The offset behind a sequence of undefined length."""
    while True:
        group, element, length = _ITEM(data, at)
        at += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return at
        if (group, element) != (0xFFFE, 0xE000):
            raise Odd("a sequence without items")
        at = _after_item(data, at, implicit) if length == UNDEFINED else at + length


def _after_item(data: bytes, at: int, implicit: bool) -> int:
    """The offset behind an item of undefined length."""
    while True:
        if _TAG(data, at) == (0xFFFE, 0xE00D):
            return at + 8
        start, length, unknown = _value(data, at, implicit)
        # A value of unknown VR and undefined length is a sequence written implicitly (PS3.5, 6.2.2).
        at = _after_items(data, start, implicit or unknown) if length == UNDEFINED else start + length


Step = tuple[int, int, int, int]
"""One element: its tag, and where it begins, where its value begins, and where it ends."""
Stretch = tuple[bytes, dict[int, bytes]]
"""Consecutive elements as they stand in a file, and the values of the wanted ones among them."""
LONGEST = 4096
"""Bytes of an element that is remembered; most files that differ, differ in longer ones."""
MOST = 512
"""Stretches that are kept."""


@dataclass(slots=True)
class Memory:
    """The stretches of the files that were walked last, for one set of wanted tags.

    Attributes:
        explicit: Stretches by the first eight bytes of their first element.
        implicit: The same for files that are written implicitly.
        before: The elements of the last file that no stretch covered.
    """

    explicit: dict[bytes, Stretch] = field(default_factory=dict)
    implicit: dict[bytes, Stretch] = field(default_factory=dict)
    before: set[bytes] = field(default_factory=set)

    def learn(self, data: bytes, steps: list[Step], implicit: bool, wanted: frozenset[int]) -> None:
        """Join neighbouring elements that the file before had, too, into stretches.

        Args:
            data: The beginning of the file, its header included.
            steps: Where its elements begin and end in `data`.
            implicit: Its elements do not say their VR.
            wanted: Tags whose values a stretch keeps.
        """
        known = self.implicit if implicit else self.explicit
        if len(known) > MOST:
            known.clear()
        elements: set[bytes] = set()
        run: list[Step] = []
        for step in steps:
            _, start, _, end = step
            if run and run[-1][3] != start:
                _keep(known, data, run, wanted)
                run = []
            if end > len(data) or end - start > LONGEST:
                continue
            element = data[start:end]
            elements.add(element)
            if element in self.before:
                run.append(step)
        _keep(known, data, run, wanted)
        self.before = elements


def _keep(known: dict[bytes, Stretch], data: bytes, run: list[Step], wanted: frozenset[int]) -> None:
    if len(run) < 2:
        return
    start, end = run[0][1], run[-1][3]
    known[data[start : start + 8]] = data[start:end], {tag: data[at:to] for tag, _, at, to in run if tag in wanted}
