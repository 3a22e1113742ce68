"""The pure parts of scenarios: what chance draws, what counts as a pause, what makes a run no proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from bench.client_hello import offered_srtp_profiles
from bench.generator_process import SRTP_PROFILES
from bench.network import ViewerNetwork
from bench.scenario import RunOptions
from bench.scenarios import failover, forward, offers
from tests.peer.dtls import Certificate, Dtls


def test_a_seed_decides_faults_and_another_seed_others() -> None:
    draws = failover.draw_faults(1, 20)
    assert draws == failover.draw_faults(1, 20)
    assert draws != failover.draw_faults(2, 20)
    assert sorted(draw.kind for draw in draws) == ["blackout"] * 20 + ["kill"] * 20
    assert {draw.hop for draw in draws} == {0, 1}
    assert len({draw.phase_s for draw in draws}) == 40
    alarms = failover.draw_alarms(1, 10)
    assert alarms != failover.draw_alarms(2, 10)
    assert sorted(alarm.kind for alarm in alarms) == ["blackout"] * 10 + ["burst"] * 10


def test_the_backups_round_trip_is_that_of_its_whole_path() -> None:
    assert failover.rtt_of_path_ms(["sg", "dxb", "fra"]) == 190
    assert failover.rtt_of_path_ms(["fra", "bom", "sg"]) == 180
    assert failover.rtt_of_path_ms(["sg", "fra"]) == 560


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"active_path": ["sg", "fra"]}, False),
        ({"active_path": []}, False),
        ({"phase": "armed"}, False),
        ({"backup": []}, False),
        ({"backup": ["fra", "bom", "sg"]}, False),
    ],
)
def test_a_fault_waits_for_a_relay_in_the_active_route_and_a_disjoint_backup(
    changes: dict[str, Any], usable: bool
) -> None:
    route = {"active_path": ["sg", "bom", "fra"], "backup": ["fra", "dxb", "sg"], "phase": "steady"}
    assert failover._is_relayed({**route, **changes}) is usable


def _fault(**changes: Any) -> dict[str, Any]:
    row = {
        "kind": "kill",
        "gap_ms": 400.0,
        "backup_rtt_ms": 190.0,
        "host_frames": 180,
        "host_s": 6.0,
        "wrong": 0,
        "watcher_turn_max_ms": 3.0,
        "host_late_max_ms": 2.0,
        "relay": "bom",
        "exit_status": -9,
        "darkened": 0,
    }
    return row | changes


@pytest.mark.parametrize(
    ("fault", "alarm", "words"),
    [
        ({}, {}, ""),
        ({"host_late_max_ms": 80.0, "gap_ms": 500.0}, {}, "80 ms late around fault 1"),
        ({"watcher_turn_max_ms": 80.0, "gap_ms": 1001.0, "backup_rtt_ms": 900.0}, {}, "80 ms late around fault 1"),
        ({"host_late_max_ms": 80.0}, {}, ""),
        ({"gap_ms": 500.0}, {}, ""),
        ({"host_frames": 150}, {}, "the host sent 150 frames in 6.0 s"),
        ({"exit_status": None}, {}, "fault 1 broke nothing: kill of bom"),
        ({"kind": "blackout", "exit_status": None}, {}, "fault 1 broke nothing: blackout of bom"),
        ({"kind": "blackout", "exit_status": None, "darkened": 300}, {}, ""),
        ({"wrong": 2}, {}, "2 packets of fault 1 were wrong"),
        ({}, {"kind": "burst", "lost": 7}, "a burst of 8 lost 7"),
        ({}, {"kind": "blackout", "darkened": 0}, "met no packet"),
    ],
)
def test_a_failover_whose_fault_was_not_as_told_is_no_proof(
    fault: dict[str, Any], alarm: dict[str, Any], words: str
) -> None:
    moves = [{"kind": "burst", "lost": 8, "darkened": 0} | alarm]
    found = failover._doubts([_fault(**fault)], moves, {"sg–dxb": 9, "dxb–fra": 0})
    assert len(found) == (1 if words else 0)
    assert all(words in line for line in found)


def test_a_backup_that_carries_nothing_at_all_is_not_warm() -> None:
    assert "not warm" in failover._doubts([_fault()], [], {"sg–dxb": 0, "dxb–fra": 0})[0]


def _found(**changes: Any) -> forward._Findings:
    load = {
        "pps_per_busy_core": 300_000.0,
        "fewest_packets_in_stage": 3_120,
        "offered_packets": 3_120,
        "generator_cpu_seconds": 2.0,
        "seconds": 13.0,
    }
    found = forward._Findings(
        rss={50: 1, 200: 2},
        memory=[{"fewest_packets_per_viewer": 3_000}],
        load=[load | changes.get("load", {})] * 5,
        floors=[{"pps_per_busy_core": 800_000.0, "reached_packets": 1_000} | changes.get("floor", {})] * 5,
        disturbed=[{}] * changes.get("disturbed", 0),
        end={"asked_again": 200, "sockets": 200, "sockets_with_gro": 0} | changes.get("end", {}),
        chromium={"srtp_cipher": "SRTP_AEAD_AES_128_GCM", "offered": list(SRTP_PROFILES)} | changes.get("chromium", {}),
    )
    if "memory" in changes:
        found.memory = [changes["memory"]]
    return found


TOTAL = {"packets": 10_000, "decrypted": 200, "missing": 0, "wrong": 0, "late": 0, "repeated": 0, "answered": 200}


@pytest.mark.parametrize(
    ("changes", "total", "words"),
    [
        ({}, {}, ""),
        ({}, {"missing": 1}, "1 packets missing"),
        ({}, {"decrypted": 99}, "only 99 of 10000 packets were decrypted"),
        ({}, {"answered": 150}, "150 of 200 repairs came"),
        ({"load": {"fewest_packets_in_stage": 3_000}}, {}, "a viewer had 3000 of 3120"),
        ({"memory": {"fewest_packets_per_viewer": 999}}, {}, "memory was read after 999"),
        ({"end": {"sockets_with_gro": 3}}, {}, "UDP_GRO"),
        ({"chromium": {"srtp_cipher": "AES_CM_128_HMAC_SHA1_80"}}, {}, "Chromium itself got"),
        ({"chromium": {"offered": list(reversed(SRTP_PROFILES))}}, {}, "Chromium offers"),
        ({"floor": {"pps_per_busy_core": 599_000.0}}, {}, "bad floor"),
        ({"floor": {"reached_packets": 0}}, {}, "none of a floor's packets reached a socket"),
        ({"load": {"generator_cpu_seconds": 12.9}}, {}, "it is the limit"),
        ({"disturbed": 10}, {}, "10 rounds were disturbed"),
    ],
)
def test_a_forward_run_that_fails_one_check_is_no_proof(
    changes: dict[str, Any], total: dict[str, int], words: str
) -> None:
    network = ViewerNetwork("veth", "198.18.0.1", "198.18.0.2", ())
    found = forward._doubts(network, _found(**changes), TOTAL | total)
    assert len(found) == (1 if words else 0)
    assert all(words in line for line in found)


def test_floors_and_their_sinks_are_named_among_the_processes_with_their_cpu() -> None:
    floor = {"pid": 31, "sink_pid": 30, "cpu_seconds": 2.9, "seconds": 3.0, "sink_cpu_seconds": 1.5}
    floors = [floor, {**floor, "pid": 41, "sink_pid": 40, "cpu_seconds": 2.7}]
    assert forward.floor_processes(floors) == {"floor_1": 31, "floor_sink_1": 30, "floor_2": 41, "floor_sink_2": 40}
    used = forward.generators([{"generator_cpu_seconds": 6.5, "seconds": 13.0}], floors)
    assert used == pytest.approx(
        {"viewers_cpu_s": 6.5, "viewers_cores": 0.5, "floor_cpu_s": 5.6, "floor_cores": 0.9, "floor_sink_cores": 0.5}
    )


def test_a_floor_over_loopback_has_no_bar() -> None:
    network = ViewerNetwork("loopback", "127.0.0.1", "127.0.0.1", ())
    assert forward._doubts(network, _found(floor={"pps_per_busy_core": 400_000.0}), TOTAL) == []


def test_hostile_offers_are_what_the_promise_names() -> None:
    found = offers.hostile_offers()
    assert len(found["one_megabyte"]) > 1_000_000
    for name in ("ten_thousand_m_lines", "ten_thousand_m_lines_after_a_good_one"):
        assert found[name].count(b"\r\nm=") >= 10_000


def test_a_run_has_three_lengths() -> None:
    assert RunOptions().pick(3, 2, 1) == 3
    assert RunOptions(quick=True).pick(3, 2, 1) == 2
    assert RunOptions(quick=True, untimed=True).pick(3, 2, 1) == 1


def _fragmented(record: bytes, sizes: Iterable[int]) -> list[bytes]:
    """The one handshake message of a DTLS record as several, each in a record of its own (RFC 6347 §4.2.3)."""
    header, message = record[:11], record[13:]
    found, start, body = [], 0, message[12:]
    for size in sizes:
        part = body[start : start + size]
        fragment = message[:6] + start.to_bytes(3) + len(part).to_bytes(3) + part
        found.append(header + len(fragment).to_bytes(2) + fragment)
        start += len(part)
    return found


def test_profiles_are_read_from_a_client_hello_whole_or_in_pieces() -> None:
    profiles = b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"
    (hello,) = Dtls(Certificate(), is_client=True, profiles=profiles).start()
    wanted = profiles.decode().split(":")
    assert offered_srtp_profiles([hello]) == wanted
    pieces = _fragmented(hello, [50, 20, 10_000])
    assert offered_srtp_profiles(pieces) == wanted
    assert offered_srtp_profiles([b"".join(pieces[:2]), pieces[2]]) == wanted
    assert offered_srtp_profiles(pieces[:2]) == []
    assert offered_srtp_profiles([]) == []
    assert offered_srtp_profiles([bytes(40)]) == []
