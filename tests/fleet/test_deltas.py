"""A delta turns the slice that an edge has into the one that control means, and nothing else into anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.brain.world import Route
from control.fleet.planner import ProbeTarget, Slice
from control.fleet.registry import EdgeRecord
from control.fleet.wire import encode_delta, encode_slice
from edge.mesh.errors import SliceRefused
from edge.mesh.slices import merge_delta
from tradewind.v1 import routes_pb2


class FakeKeys:
    """Keys that can be told apart."""

    def pair_key(self, one: str, other: str) -> bytes:
        return f"{one}-{other}".encode().ljust(32)

    def token_public_keys(self) -> tuple[tuple[str, bytes], ...]:
        return (("kid", bytes(32)),)


EDGES = ("dxb", "iad", "sg")


@st.composite
def slices(draw: st.DrawFn, version: int) -> Slice:
    """What fra might be told."""
    names = sorted(draw(st.sets(st.sampled_from(EDGES))))
    rooms = sorted(draw(st.sets(st.sampled_from(["demo", "other", "third"]))))
    return Slice(
        version,
        tuple(
            (
                EdgeRecord(name, trunk_address=draw(st.sampled_from(["a:1", "b:2"]))),
                draw(st.sampled_from(["up", "down"])),
            )
            for name in names
        ),
        tuple(ProbeTarget(name, draw(st.booleans())) for name in names),
        tuple(
            Route("fra", room, draw(st.integers(1, 2)), "sg", ("fra", "sg"), (), draw(st.sampled_from("ab")), 1.0, 1.0)
            for room in rooms
        ),
    )


@given(slices(4), slices(9))
def test_base_and_delta_make_the_new_slice(base: Slice, fresh: Slice) -> None:
    whole = encode_slice("fra", base, 2, FakeKeys())
    delta = encode_delta("fra", base, fresh, 2, FakeKeys())
    delta = routes_pb2.RouteDelta.FromString(delta.SerializeToString())
    assert merge_delta(whole, delta) == encode_slice("fra", fresh, 2, FakeKeys())


def test_a_takeover_with_another_codec_is_news() -> None:
    base = Slice(1, (), (), (replace(route("demo"), codecs=("h264",)),))
    fresh = Slice(2, (), (), (replace(route("demo"), codecs=("vp8",)),))
    delta = encode_delta("fra", base, fresh, 2, FakeKeys())
    assert [list(each.codecs) for each in delta.routes] == [["vp8"]]


def route(room: str, cost_ms: float = 90.0) -> Route:
    return Route("fra", room, 1, "sg", ("fra", "sg"), ("fra", "iad", "sg"), "direct 160 ms", cost_ms, 80.0)


def test_one_new_room_among_a_thousand_costs_one_route() -> None:
    base = Slice(1, (), (), tuple(route(f"room{number:04}") for number in range(1000)))
    # Costs wander with every report and are no news.
    fresh = Slice(2, (), (), (*(route(each.room, 91.0) for each in base.routes), route("room1000")))
    delta = encode_delta("fra", base, fresh, 2, FakeKeys())
    assert [each.room for each in delta.routes] == ["room1000"]
    assert delta.ByteSize() * 500 < encode_slice("fra", fresh, 2, FakeKeys()).ByteSize()


@pytest.mark.parametrize("have", [None, (1, 4), (2, 3), (2, 5)])
def test_a_delta_to_another_slice_is_refused(have: tuple[int, int] | None) -> None:
    base = None if have is None else routes_pb2.RouteSlice(leader_epoch=have[0], version=have[1])
    with pytest.raises(SliceRefused) as refusal:
        merge_delta(base, routes_pb2.RouteDelta(leader_epoch=2, base_version=4, version=5))
    assert refusal.value.reason == "missing_base"
