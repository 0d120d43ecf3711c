"""Points of curves: in order, none twice, none lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.errors import TrackingError
from voxgraft_registry import outbox
from voxgraft_registry.outbox import Outbox, Point


class Server:
    """Takes points, or is away."""

    def __init__(self) -> None:
        self.got: list[Point] = []
        self.said: list[str] = []
        self.away = False
        self.tries = 0

    def send(self, points: list[Point]) -> None:
        self.tries += 1
        if self.away:
            raise TrackingError("nobody answers")
        self.got += points

    def box(self, folder: Path, known: dict[tuple[str, int], float] | None = None) -> Outbox:
        return Outbox(self.send, self.said.append, folder / "unsent.jsonl", known or {})

    @property
    def points(self) -> list[tuple[str, int, float]]:
        return [(point.key, point.step, point.value) for point in self.got]


def test_points_are_sent_at_once(tmp_path: Path) -> None:
    server = Server()
    box = server.box(tmp_path)
    box.add({"loss": 1.0, "lr": 0.1}, 10)
    box.add({"loss": 0.5}, 20)
    assert server.points == [("loss", 10, 1.0), ("lr", 10, 0.1), ("loss", 20, 0.5)]
    assert not list(tmp_path.iterdir()) and not server.said


def test_a_point_that_is_there_is_not_sent_again(tmp_path: Path) -> None:
    server = Server()
    box = server.box(tmp_path, {("loss", 10): 1.0})
    box.add({"loss": 1.0}, 10)
    box.add({"loss": 0.5}, 20)
    box.add({"loss": 0.4}, 20)
    assert server.points == [("loss", 20, 0.5)]


def test_a_single_number_is_sent_again_when_it_has_changed(tmp_path: Path) -> None:
    server = Server()
    box = server.box(tmp_path, {("test_dice", 0): 0.8, ("loss", 10): 1.0})
    box.add({"test_dice": 0.8}, 0)
    box.add({"test_dice": 0.9}, 0)
    box.add({"loss": 2.0}, 10)
    assert server.points == [("test_dice", 0, 0.9)]


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    server = Server()
    server.box(tmp_path).add({"a": float("nan"), "b": float("inf"), "c": 1}, 0)
    assert server.points == [("c", 0, 1.0)]


def test_names_are_of_letters_that_mlflow_takes(tmp_path: Path) -> None:
    server = Server()
    server.box(tmp_path).add({"dice_GM (grau)": 1.0}, 0)
    assert server.points == [("dice_GM :28:grau:29:", 0, 1.0)]


def test_while_the_server_is_away_points_wait_and_training_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(outbox.time, "monotonic", lambda: now)
    server = Server()
    server.away = True
    box = server.box(tmp_path)
    for step in range(10):
        box.add({"loss": step}, step)
    assert server.tries == 1 and box.waiting == 10 and box.away
    assert len((tmp_path / "unsent.jsonl").read_text().splitlines()) == 10
    server.away = False
    now += outbox.PAUSE + 1
    box.add({"loss": 10}, 10)
    assert [step for _, step, _ in server.points] == list(range(11))
    assert box.waiting == 0 and not (tmp_path / "unsent.jsonl").exists()
    assert len(server.said) == 2 and "nobody answers" in server.said[0] and "11 points" in server.said[1]


def test_a_killed_process_leaves_its_points_to_the_next(tmp_path: Path) -> None:
    server = Server()
    server.away = True
    server.box(tmp_path).add({"loss": 1.0}, 10)
    with (tmp_path / "unsent.jsonl").open("a") as file:
        file.write('["loss", 0.5, 2')  # the line it was writing when it was killed
    server.away = False
    box = server.box(tmp_path)
    box.add({"loss": 1.0}, 10)
    box.add({"loss": 0.5}, 20)
    assert server.points == [("loss", 10, 1.0), ("loss", 20, 0.5)]
    assert not (tmp_path / "unsent.jsonl").exists()


def test_a_forced_flush_does_not_wait_for_the_pause(tmp_path: Path) -> None:
    server = Server()
    server.away = True
    box = server.box(tmp_path)
    box.add({"loss": 1.0}, 10)
    server.away = False
    box.flush()
    assert server.points == [("loss", 10, 1.0)] and not box.away
