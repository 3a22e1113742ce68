"""The way of a comment between edges: scripts of events in and commands out, and a world of edges in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict

import pytest

from edge.rooms.commands import Accept, Broadcast, Command, CountPeople, Dropped, Moment, Reject, SendToPeer
from edge.rooms.relay import CLAIM_AHEAD_MS, CLAIM_BEHIND_MS, RelayLimits, RoomRelay, media_time
from tradewind.v1.room_messages import Catchup, Comment, Down, Fill, Headcount, RelayMessage, RoomEntry, Submit

LIMITS = RelayLimits(batch_ms=80, log_messages=256, submit_timeout_s=5.0)
EPOCH = 1_800_000_000_000


def at(now: float, media_time_ms: int | None = None) -> Moment:
    return Moment(now, 1_800_000_000_000 + int(now * 1000), media_time_ms)


def comment(comment_id: str, person: str = "mei", media_time_ms: int | None = None) -> Comment:
    return Comment(comment_id, person, person.title(), f"text of {comment_id}", None, media_time_ms)


def drain(relay: RoomRelay) -> list[Command]:
    commands = []
    while (command := relay.poll_command()) is not None:
        commands.append(command)
    return commands


def member(parent: str = "fra", children: tuple[str, ...] = ()) -> RoomRelay:
    relay = RoomRelay(LIMITS)
    relay.handle_tree(EPOCH, parent, children, at(0))
    relay.handle_relayed(parent, Fill(epoch=EPOCH, first_offset=1, entries=()), at(0))
    drain(relay)
    return relay


def stamped(offset: int, comment_id: str, person: str = "jo") -> RoomEntry:
    return RoomEntry(EPOCH, offset, comment_id, person, "Jo", "text", 5, 6)


def test_edge_alone_gives_places_in_epoch_zero() -> None:
    relay = RoomRelay(LIMITS)
    relay.handle_comment(comment("a"), at(1.0))
    accept, broadcast = drain(relay)
    assert accept == Accept("mei", "a", 0, 1)
    assert isinstance(broadcast, Broadcast)
    assert [entry.text for entry in broadcast.entries] == ["text of a"]


def test_first_comment_goes_at_once_and_the_next_ones_share_a_batch() -> None:
    relay = RoomRelay(LIMITS)
    for number in range(5):
        relay.handle_comment(comment(f"c{number}"), at(1.0 + number * 0.01))
    batches = [command for command in drain(relay) if isinstance(command, Broadcast)]
    assert [len(batch.entries) for batch in batches] == [1]
    assert relay.poll_timeout() == pytest.approx(1.08)
    relay.handle_timeout(at(1.08))
    (batch,) = drain(relay)
    assert isinstance(batch, Broadcast)
    assert [entry.offset for entry in batch.entries] == [2, 3, 4, 5]
    assert relay.poll_timeout() is None


def test_home_gives_places_in_the_epoch_of_its_source_and_tells_children() -> None:
    relay = RoomRelay(LIMITS)
    relay.handle_local_source(EPOCH, at(0))
    relay.handle_tree(EPOCH, None, ("fra", "iad"), at(0))
    drain(relay)
    relay.handle_relayed("fra", Submit(comments=(comment("a"),)), at(1))
    commands = drain(relay)
    sent = [command for command in commands if isinstance(command, SendToPeer)]
    down = [command for command in sent if isinstance(command.message, Down)]
    assert [command.peer for command in down] == ["fra", "iad"], "its author's edge learns the place the same way"
    assert any(isinstance(command, Broadcast) for command in commands)
    assert not any(isinstance(command, Accept) for command in commands)


def test_member_sends_to_its_parent_and_accepts_when_the_comment_comes_back() -> None:
    relay = member("fra", ("iad",))
    relay.handle_comment(comment("a"), at(1))
    assert drain(relay) == [SendToPeer("fra", Submit(comments=(comment("a"),)))]
    relay.handle_relayed("fra", Down(entries=(stamped(1, "a", "mei"),)), at(1.2))
    commands = drain(relay)
    assert Accept("mei", "a", EPOCH, 1) in commands
    assert SendToPeer("iad", Down(entries=(stamped(1, "a", "mei"),))) in commands
    assert Broadcast((stamped(1, "a", "mei"),)) in commands


def test_comment_that_does_not_come_back_is_repeated_then_rejected() -> None:
    relay = member()
    relay.handle_comment(comment("a"), at(1))
    sent = len(drain(relay))
    rejects: list[Command] = []
    while (due := relay.poll_timeout()) is not None:
        relay.handle_timeout(at(due))
        commands = drain(relay)
        sent += sum(isinstance(command, SendToPeer) for command in commands)
        rejects += [command for command in commands if isinstance(command, Reject)]
    assert 4 <= sent <= 6
    (reject,) = rejects
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.comment_id) == ("unreachable", "a")


def test_repeated_comment_gets_its_first_place() -> None:
    home = RoomRelay(LIMITS)
    home.handle_local_source(EPOCH, at(0))
    home.handle_tree(EPOCH, None, ("fra", "iad"), at(0))
    home.handle_relayed("fra", Submit(comments=(comment("a"),)), at(1))
    drain(home)
    home.handle_relayed("fra", Submit(comments=(comment("a"),)), at(2))
    (answer,) = drain(home)
    assert isinstance(answer, SendToPeer)
    assert answer.peer == "fra"
    assert isinstance(answer.message, Down)
    assert [(entry.epoch, entry.offset) for entry in answer.message.entries] == [(EPOCH, 1)]
    home.handle_comment(comment("a"), at(3))
    assert drain(home) == [Accept("mei", "a", EPOCH, 1)]


def test_what_waited_for_a_lost_home_gets_its_place_where_the_source_now_is() -> None:
    relay = member()
    relay.handle_comment(comment("a"), at(1))
    drain(relay)
    relay.handle_local_source(EPOCH + 9, at(2))
    assert Accept("mei", "a", EPOCH + 9, 1) in drain(relay)


def test_what_waited_gets_its_place_alone_when_the_source_ends() -> None:
    relay = member()
    relay.handle_comment(comment("a"), at(1))
    relay.handle_source_gone(EPOCH, at(2))
    assert Accept("mei", "a", 0, 1) in drain(relay)


def test_new_parent_is_asked_for_what_was_missed_and_given_what_waits() -> None:
    relay = member("fra")
    relay.handle_relayed("fra", Down(entries=(stamped(1, "x"), stamped(2, "y"))), at(1))
    relay.handle_comment(comment("a"), at(1))
    drain(relay)
    relay.handle_tree(EPOCH, "iad", (), at(2))
    commands = drain(relay)
    assert SendToPeer("iad", Catchup(epoch=EPOCH, offset=2)) in commands
    assert SendToPeer("iad", Submit(comments=(comment("a"),))) in commands


def test_catchup_is_repeated_until_it_is_answered() -> None:
    relay = RoomRelay(LIMITS)
    relay.handle_tree(EPOCH, "fra", (), at(0))
    asked = [command for command in drain(relay) if isinstance(command, SendToPeer)]
    for _ in range(3):
        relay.handle_timeout(at(relay.poll_timeout() or 0))
        asked += [command for command in drain(relay) if isinstance(command, SendToPeer)]
    asked = [command for command in asked if isinstance(command.message, Catchup)]
    assert len(asked) >= 3
    relay.handle_relayed("fra", Fill(epoch=EPOCH, first_offset=1, entries=()), at(5))
    relay.handle_timeout(at(10))
    assert relay.poll_timeout() is None


def test_hole_is_asked_for_and_filled() -> None:
    relay = member()
    relay.handle_relayed("fra", Down(entries=(stamped(1, "x"), stamped(4, "z"))), at(1))
    assert SendToPeer("fra", Catchup(epoch=EPOCH, offset=1)) in drain(relay)
    relay.handle_relayed("fra", Fill(epoch=EPOCH, first_offset=3, entries=(stamped(3, "y"), stamped(4, "z"))), at(2))
    said = [entry.id for c in drain(relay) if isinstance(c, Broadcast) for entry in c.entries]
    assert said == ["y"]
    assert relay.log.contiguous(EPOCH) == 4, "offset 2 is gone for good"


def test_parent_answers_catchup_from_its_log() -> None:
    relay = member("fra", ("iad",))
    relay.handle_relayed("fra", Down(entries=tuple(stamped(n, f"c{n}") for n in range(1, 101))), at(1))
    drain(relay)
    relay.handle_relayed("iad", Catchup(epoch=EPOCH, offset=40), at(2))
    answers = [command.message for command in drain(relay) if isinstance(command, SendToPeer)]
    assert isinstance(answers[0], Fill)
    assert answers[0].first_offset == 41
    offsets = [entry.offset for message in answers if isinstance(message, Fill | Down) for entry in message.entries]
    assert offsets == list(range(41, 101))
    assert max(len(m.entries) for m in answers if isinstance(m, Fill | Down)) <= 32


def test_message_to_a_neighbour_fits_a_trunk_whatever_is_said() -> None:
    home = RoomRelay(LIMITS)
    home.handle_local_source(EPOCH, at(0))
    home.handle_tree(EPOCH, None, ("fra",), at(0))
    worst = 2**53 - 1
    for number in range(40):
        said = Comment(f"{number:064}", "人" * 128, '"' * 64, '"' * 2000, "#ffffff", worst)
        home.handle_comment(said, Moment(1 + number / 1000, worst, worst))
    home.handle_timeout(at(2))
    home.handle_relayed("fra", Catchup(epoch=EPOCH, offset=0), at(3))
    sent = [command.message for command in drain(home) if isinstance(command, SendToPeer)]
    assert sum(isinstance(message, Fill) for message in sent) == 1
    assert max(len(message.encode().encode()) for message in sent) < 65_000


def test_parent_that_is_not_caught_up_does_not_claim_to_know() -> None:
    relay = RoomRelay(LIMITS)
    relay.handle_tree(EPOCH, "fra", ("iad",), at(0))
    drain(relay)
    relay.handle_relayed("iad", Catchup(epoch=EPOCH, offset=0), at(1))
    relay.handle_relayed("iad", Catchup(epoch=EPOCH + 1, offset=0), at(1))
    assert drain(relay) == []


@pytest.mark.parametrize(
    ("peer", "message", "reason"),
    [
        ("iad", Down(entries=(stamped(1, "x"),)), "down_from_stranger"),
        ("bom", Fill(epoch=EPOCH, first_offset=1, entries=()), "down_from_stranger"),
        ("fra", Submit(comments=(comment("a"),)), "submit_from_parent"),
        ("fra", Catchup(epoch=EPOCH, offset=0), "catchup_from_parent"),
        ("bom", Headcount(count=9), "headcount_from_stranger"),
    ],
)
def test_neighbour_says_only_what_its_place_in_the_tree_allows(peer: str, message: RelayMessage, reason: str) -> None:
    relay = member("fra", ("iad",))
    relay.handle_relayed(peer, message, at(1))
    assert drain(relay) == [Dropped(reason)]


def test_epoch_zero_of_another_edge_is_not_taken() -> None:
    relay = member()
    relay.handle_relayed("fra", Down(entries=(RoomEntry(0, 1, "x", "jo", "Jo", "t", 1, 1),)), at(1))
    assert drain(relay) == [Dropped("epoch_zero_from_peer")]


def test_comments_that_wait_are_bounded() -> None:
    relay = member()
    for number in range(1100):
        relay.handle_comment(comment(f"c{number}"), at(1))
    rejects = [command for command in drain(relay) if isinstance(command, Reject)]
    assert len(rejects) == 1100 - 1024
    assert {reject.reason for reject in rejects} == {"room_busy"}


def test_people_are_counted_up_the_tree_and_told_down() -> None:
    home = RoomRelay(LIMITS)
    home.handle_local_source(EPOCH, at(0))
    home.handle_tree(EPOCH, None, ("fra",), at(0))
    home.handle_people(2, at(1))
    drain(home)
    home.handle_relayed("fra", Headcount(count=5), at(1.5))
    home.handle_timeout(at(home.poll_timeout() or 0))
    commands = drain(home)
    assert CountPeople(7) in commands
    assert SendToPeer("fra", Headcount(count=7)) in commands
    home.handle_tree(EPOCH, None, (), at(5))
    home.handle_timeout(at(6))
    assert CountPeople(2) in drain(home), "who has left the tree is not counted"


@pytest.mark.parametrize(
    ("claim", "newest", "expected"),
    [
        (None, 50_000, 50_000),
        (49_000, 50_000, 49_000),
        (50_000 - CLAIM_BEHIND_MS, 50_000, 50_000 - CLAIM_BEHIND_MS),
        (50_000 - CLAIM_BEHIND_MS - 1, 50_000, 50_000),
        (50_000 + CLAIM_AHEAD_MS, 50_000, 50_000 + CLAIM_AHEAD_MS),
        (50_000 + CLAIM_AHEAD_MS + 1, 50_000, 50_000),
        (2**53 - 1, 50_000, 50_000),
        (49_000, None, 49_000),
    ],
)
def test_claimed_time_in_the_picture_is_believed_within_bounds(
    claim: int | None, newest: int | None, expected: int
) -> None:
    assert media_time(claim, Moment(0.0, 50_000, newest)) == expected


def test_a_repeated_answer_keeps_the_time_in_the_picture_that_the_home_gave() -> None:
    middle = member("home", ("leaf",))
    given = RoomEntry(EPOCH, 1, "a", "mei", "Mei", "text of a", 5_000, 6_000)
    middle.handle_relayed("home", Down(entries=(given,)), at(1))
    drain(middle)
    # The leaf did not get it and asks again; nothing here knows the publisher's clock.
    middle.handle_relayed("leaf", Submit(comments=(comment("a"),)), at(2))
    assert SendToPeer("leaf", Down(entries=(given,))) in drain(middle)


class World:
    """Edges with relays, joined by links that delay, and lose what is in flight when a link is cut."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.relays: dict[str, RoomRelay] = {}
        self.queue: list[tuple[float, int, str, str, RelayMessage]] = []
        self.counter = itertools.count()
        self.cut: set[frozenset[str]] = set()
        self.shown: dict[str, list[RoomEntry]] = defaultdict(list)
        self.answered: dict[str, list[Accept | Reject]] = defaultdict(list)

    def add(self, *names: str) -> None:
        for name in names:
            self.relays[name] = RoomRelay(LIMITS)

    def tree(self, edges: dict[str, str | None]) -> None:
        """Child -> parent; the one without is home."""
        for name, parent in edges.items():
            children = tuple(child for child, of in edges.items() if of == name)
            if parent is None:
                self.relays[name].handle_local_source(EPOCH, at(self.now))
            self.relays[name].handle_tree(EPOCH, parent, children, at(self.now))
            self.carry(name)

    def say(self, name: str, comment_id: str) -> None:
        self.relays[name].handle_comment(comment(comment_id, person=f"person-{name}"), at(self.now))
        self.carry(name)

    def carry(self, name: str) -> None:
        for command in drain(self.relays[name]):
            match command:
                case SendToPeer() if frozenset((name, command.peer)) not in self.cut:
                    latest = max(
                        (due for due, _, peer, to, _ in self.queue if (peer, to) == (name, command.peer)), default=0.0
                    )
                    due = max(latest, self.now + self.random.uniform(0.02, 0.15))
                    heapq.heappush(self.queue, (due, next(self.counter), name, command.peer, command.message))
                case Broadcast():
                    self.shown[name] += command.entries
                case Accept() | Reject():
                    self.answered[name].append(command)
                case Dropped():
                    assert command.reason in (
                        "down_from_stranger",
                        "submit_from_parent",
                        "submit_without_parent",
                        "catchup_from_parent",
                        "headcount_from_stranger",
                    ), command
                case _:
                    pass

    def break_link(self, a: str, b: str) -> None:
        self.cut.add(frozenset((a, b)))
        self.queue = [item for item in self.queue if {item[2], item[3]} != {a, b}]
        heapq.heapify(self.queue)

    def run_until(self, end: float) -> None:
        while True:
            timers = [(due, name) for name, relay in self.relays.items() if (due := relay.poll_timeout()) is not None]
            arrival = self.queue[0][0] if self.queue else float("inf")
            timer, name = min(timers, default=(float("inf"), ""))
            if min(arrival, timer) > end:
                self.now = end
                return
            if arrival <= timer:
                self.now, _, peer, to, message = heapq.heappop(self.queue)
                self.relays[to].handle_relayed(peer, message, at(self.now))
                self.carry(to)
            else:
                self.now = max(self.now, timer)
                self.relays[name].handle_timeout(at(self.now))
                self.carry(name)


@pytest.mark.parametrize("seed", range(25))
def test_everybody_sees_every_comment_once_although_the_tree_changes(seed: int) -> None:
    world = World(seed)
    print(f"seed {seed}")
    world.add("sg", "fra", "iad", "bom", "dxb")
    world.tree({"sg": None, "fra": "sg", "iad": "fra", "bom": "iad", "dxb": "sg"})
    said = 0
    for step in range(60):
        if step == 20:
            world.break_link("sg", "fra")
        if step == 24:
            world.tree({"sg": None, "fra": "dxb", "iad": "fra", "bom": "iad", "dxb": "sg"})
        if step == 40:
            world.break_link("fra", "iad")
            world.tree({"sg": None, "fra": "dxb", "iad": "sg", "bom": "iad", "dxb": "sg"})
        for name in world.relays:
            if world.random.random() < 0.4:
                world.say(name, f"{name}-{step}")
                said += 1
        world.run_until(world.now + world.random.uniform(0.0, 0.3))
    world.run_until(world.now + 20)
    reference = {(entry.person, entry.id): (entry.epoch, entry.offset) for entry in world.shown["sg"]}
    assert len(reference) == said
    for name in world.relays:
        places = [(entry.epoch, entry.offset) for entry in world.shown[name]]
        assert len(set(places)) == len(places), f"{name} shows nothing twice"
        assert {(entry.person, entry.id): (entry.epoch, entry.offset) for entry in world.shown[name]} == reference
        answers = world.answered[name]
        assert all(isinstance(answer, Accept) for answer in answers)
        assert len(answers) == sum(person == f"person-{name}" for person, _ in reference)


@pytest.mark.parametrize("seed", range(10))
def test_comments_are_shown_within_the_tree_delay_and_one_batch(seed: int) -> None:
    world = World(seed)
    world.add("sg", "fra", "iad")
    world.tree({"sg": None, "fra": "sg", "iad": "fra"})
    world.run_until(5)
    world.say("iad", "a")
    world.run_until(world.now + 4 * 0.15 + 3 * 0.02 + 0.08)
    assert all([entry.id for entry in world.shown[name]] == ["a"] for name in world.relays)


def test_edge_that_joins_late_gets_the_history() -> None:
    world = World(1)
    world.add("sg", "fra")
    world.tree({"sg": None})
    for number in range(50):
        world.say("sg", f"c{number}")
        world.run_until(world.now + 0.2)
    world.tree({"sg": None, "fra": "sg"})
    world.run_until(world.now + 2)
    assert [entry.id for entry in world.shown["fra"]] == [f"c{number}" for number in range(50)]


def test_host_that_moves_to_another_edge_takes_the_room_along() -> None:
    world = World(2)
    world.add("sg", "fra")
    world.tree({"sg": None, "fra": "sg"})
    world.run_until(1)
    world.say("fra", "before")
    world.run_until(2)
    later = EPOCH + 60_000
    world.relays["fra"].handle_local_source(later, at(world.now))
    world.relays["fra"].handle_tree(later, None, ("sg",), at(world.now))
    world.relays["sg"].handle_tree(later, "fra", (), at(world.now))
    world.say("sg", "after")
    world.run_until(4)
    world.relays["sg"].handle_source_gone(EPOCH, at(world.now))
    world.say("sg", "last")
    world.run_until(6)
    for name in world.relays:
        assert [entry.id for entry in world.shown[name]] == ["before", "after", "last"]
        assert [entry.epoch for entry in world.shown[name]] == [EPOCH, later, later]
