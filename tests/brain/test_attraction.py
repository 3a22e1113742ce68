"""Streams flock to no edge faster than a tenth of them in a minute, however good it says it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.brain.attraction import GAIN_FLOOR_STREAMS, GAIN_WINDOW_S, Attraction
from control.brain.world import Gain

Arrivals = st.lists(st.tuples(st.sampled_from(["bom", "dxb"]), st.integers(0, 300), st.floats(0.0, 20.0)), max_size=200)


@given(Arrivals, st.integers(1, 300))
def test_no_window_of_a_minute_holds_more_than_the_share(arrivals: list[tuple[str, int, float]], streams: int) -> None:
    limit = max(GAIN_FLOOR_STREAMS, streams // 10)
    gains: dict[str, tuple[Gain, ...]] = {}
    relayed: dict[str, frozenset[str]] = {}
    taken: dict[str, list[tuple[float, str]]] = {"bom": [], "dxb": []}
    now = 0.0
    for edge, number, pause in arrivals:
        now += pause
        room = f"room{number}"
        attraction = Attraction(gains, relayed, streams, now, counting=True)
        if attraction.allows(room, (edge,)):
            if room not in relayed.get(edge, frozenset()):
                taken[edge].append((now, room))
            attraction.handle_routed(room, (edge,))
            relayed[edge] = relayed.get(edge, frozenset()) | {room}
        gains = attraction.gains
    for times in taken.values():
        for begin, _ in times:
            assert sum(begin <= at < begin + GAIN_WINDOW_S for at, _ in times) <= limit


def test_what_an_edge_relays_already_costs_it_nothing() -> None:
    full = {"bom": tuple(Gain(f"room{number}", 0.0) for number in range(GAIN_FLOOR_STREAMS))}
    attraction = Attraction(full, {"bom": frozenset({"old"})}, 10, 1.0, counting=True)
    assert attraction.allows("old", ("bom",))
    assert attraction.allows("room0", ("bom",)), "another leaf of a room that it gained just now"
    assert not attraction.allows("new", ("bom",))
    assert not attraction.allows("new", ("dxb", "bom")), "each relay of a path is asked"
    assert attraction.allows("new", ("dxb",))
    assert attraction.allows("new", ())


def test_a_leader_that_has_just_begun_gives_everyone_its_first_routes() -> None:
    attraction = Attraction({}, {}, 1, 0.0, counting=False)
    for number in range(100):
        assert attraction.allows(f"room{number}", ("bom",))
        attraction.handle_routed(f"room{number}", ("bom",))
    assert attraction.gains == {}
