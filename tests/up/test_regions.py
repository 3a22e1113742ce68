"""Metros, distances and the settings made from them."""

from __future__ import annotations

import tomllib
from itertools import combinations

import pytest

from tradewind.up import plan
from tradewind.up.regions import FIBRE_KM_PER_MS, REGIONS, UnknownRegionError, distance_km, parse_regions, rtt_ms


def test_given_round_trip_times_stand() -> None:
    pairs = {("sg", "fra"): 160, ("fra", "iad"): 90, ("sg", "iad"): 230, ("bom", "sg"): 60, ("fra", "dxb"): 110}
    for (a, b), expected in pairs.items():
        assert rtt_ms(REGIONS[a], REGIONS[b]) == expected


def test_no_link_is_faster_than_light_in_fibre() -> None:
    for a, b in combinations(REGIONS.values(), 2):
        assert rtt_ms(a, b) >= 2 * distance_km(a, b) / FIBRE_KM_PER_MS, f"{a.name}-{b.name}"
        assert rtt_ms(a, b) == rtt_ms(b, a)


def test_distance_is_that_of_the_globe() -> None:
    assert distance_km(REGIONS["sg"], REGIONS["fra"]) == pytest.approx(10_260, rel=0.01)


def test_regions_are_read_in_order_and_checked() -> None:
    assert [region.name for region in parse_regions(" fra, SG ")] == ["fra", "sg"]
    with pytest.raises(UnknownRegionError, match="atlantis"):
        parse_regions("sg,atlantis")
    assert [region.name for region in parse_regions("gru")] == ["gru"]
    for text in ("sg,sg", "", ","):
        with pytest.raises(ValueError, match="region"):
            parse_regions(text)


def test_edges_reach_peers_by_their_own_side_of_the_link() -> None:
    def side(port: int) -> dict[str, str]:
        return {"trunk": f"127.0.0.1:{port}", "probe": f"127.0.0.1:{port + 1}"}

    ready = {"links": [{"a": "sg", "b": "fra", "a_side": side(10), "b_side": side(20)}]}
    assert plan.peer_addresses("sg", ready) == {"fra": side(10)}
    assert plan.peer_addresses("fra", ready) == {"sg": side(20)}


def test_settings_survive_toml() -> None:
    regions = parse_regions("sg,fra,gru")
    wan = plan.wan_settings(regions, "/tmp/wan", seed=3)
    assert tomllib.loads(plan.to_toml(wan)) == wan
    ready = {"links": [{"a": "sg", "b": "gru", "a_side": {"trunk": "a", "probe": "b"}, "b_side": {}}]}
    control = plan.ControlAddress(1, 2, "tw1.x")
    edge = plan.edge_settings(REGIONS["gru"], 2, "/tmp/gru", control, ready, plan.Ports(9000))
    assert tomllib.loads(plan.to_toml(edge)) == edge
    assert edge["region"] == "São Paulo"


def test_a_port_base_gives_every_process_its_own_ports() -> None:
    ports = plan.Ports(9000)
    given = [ports.control(offset) for offset in range(4)]
    given += [ports.edge(index, offset) for index in range(5) for offset in range(5)]
    assert len(set(given)) == len(given)
    assert plan.Ports().edge(1, 1) == 0
    assert sorted(port for _, port in ports.all(5)) == sorted(given)
    control = plan.ControlAddress(1, 2, "tw1.x")
    edge = plan.edge_settings(REGIONS["gru"], 2, "/tmp/gru", control, {"links": []}, ports)
    kinds = {"http": "tcp", "media": "udp", "trunk": "udp", "probe": "udp", "metrics": "tcp"}
    assert {(kind, edge[name]["port"]) for name, kind in kinds.items()} <= set(ports.all(3))
    assert plan.Ports().all(5) == []
