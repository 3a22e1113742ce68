"""The newest comments of one room."""

from __future__ import annotations

import random

import pytest

from edge.rooms.log import RoomLog
from tradewind.v1.room_messages import RoomEntry


def entry(offset: int, *, epoch: int = 7, person: str = "mei", comment_id: str = "") -> RoomEntry:
    return RoomEntry(epoch, offset, comment_id or f"c{epoch}-{offset}", person, "Mei", "hi", 0, 0)


def test_same_place_or_same_comment_is_taken_once() -> None:
    log = RoomLog(10)
    assert log.add(entry(1, comment_id="a"))
    assert not log.add(entry(1, comment_id="b"))
    assert not log.add(entry(2, comment_id="a"))
    assert log.add(entry(3, comment_id="a", person="jo")), "ids are unique per person"
    assert log.place("mei", "a") == (7, 1)
    assert not log.has_hole(7), "a comment known under another place leaves no hole"


def test_oldest_leave_first_and_are_known_to_be_gone() -> None:
    log = RoomLog(3)
    for offset in range(1, 6):
        log.add(entry(offset))
    assert [e.offset for e in log.tail(10)] == [3, 4, 5]
    first, entries = log.after(7, 0)
    assert (first, [e.offset for e in entries]) == (3, [3, 4, 5])
    assert log.place("mei", "c7-1") == (7, 1), "a late retry is still recognised"


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_arrival_ends_without_holes(seed: int) -> None:
    offsets = list(range(1, 101))
    random.Random(seed).shuffle(offsets)
    log = RoomLog(200)
    for offset in offsets:
        log.add(entry(offset))
        assert not log.add(entry(offset))
    assert log.contiguous(7) == 100
    assert not log.has_hole(7)


def test_hole_that_cannot_be_filled_is_given_up() -> None:
    log = RoomLog(10)
    log.add(entry(5))
    assert log.has_hole(7)
    log.give_up_before(7, 5)
    assert log.contiguous(7) == 5
    assert not log.has_hole(7)
    assert log.after(7, 0)[0] == 5


def test_reader_gets_what_it_missed() -> None:
    log = RoomLog(10)
    for offset in range(1, 6):
        log.add(entry(offset))
    assert [e.offset for e in log.since((7, 3), 10)] == [4, 5]
    assert log.since((7, 5), 10) == []
    assert [e.offset for e in log.since((7, 1), 2)] == [4, 5]
    assert [e.offset for e in log.since((0, 0), 3)] == [3, 4, 5]
    log.add(entry(1, epoch=9))
    assert [(e.epoch, e.offset) for e in log.since((7, 5), 10)] == [(9, 1)]


def test_place_of_an_unknown_epoch_brings_everything() -> None:
    log = RoomLog(10)
    log.add(entry(1, epoch=0))
    log.add(entry(2, epoch=0))
    assert len(log.since((0, 2), 10)) == 2, "epoch 0 of another edge is another log"
    assert len(log.since((5, 99), 10)) == 2


def test_memory_is_bounded_whatever_offsets_come() -> None:
    log = RoomLog(16)
    for step in range(20_000):
        log.add(entry(2 * step + 2))
    assert len(log) == 16
    assert log.contiguous(7) > 20_000, "holes far behind were given up"
    for epoch in range(100):
        log.add(entry(1, epoch=1000 + epoch))
    assert len(log) == 16
