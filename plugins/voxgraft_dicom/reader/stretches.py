"""What the headers of a series share: stretches of elements that a walk has seen before and need not walk again.

Where a walk goes depends on the bytes under its feet alone, and on whether they are written implicitly. So a stretch
that stands in a file byte for byte as in the file before leads to the same end and the same values; nothing is taken
for granted of a file that differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
