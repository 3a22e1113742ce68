"""Settings of a process: three sources, origins, and errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from edge.settings import EdgeSettings
from tradewind.common.settings import Loaded, SettingsInvalid, load_settings, parse_flags

NEEDED = 'edge_id = "sg"\ndata_dir = "/tmp/sg"\n'


def load(
    tmp_path: Path, toml: str = "", env: dict[str, str] | None = None, flags: dict[str, Any] | None = None
) -> Loaded[EdgeSettings]:
    path = tmp_path / "edge.toml"
    path.write_text(NEEDED + toml)
    return load_settings(EdgeSettings, toml_path=path, environ=env or {}, flags=flags)


def problems(tmp_path: Path, toml: str = "", **sources: Any) -> list[str]:
    with pytest.raises(SettingsInvalid) as raised:
        load(tmp_path, toml, **sources)
    return [line.replace(str(tmp_path), "") for line in raised.value.problems]


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path) -> None:
    toml = '[http]\nport = 1\nhost = "127.0.0.2"\n[media]\nport = 2\n'
    env = {"TRADEWIND_HTTP__PORT": "3", "TRADEWIND_MEDIA__SHARDS": "4", "OTHER": "x"}
    loaded = load(tmp_path, toml, env, {"media.shards": "5"})
    settings = loaded.settings
    assert (settings.http.host, settings.http.port) == ("127.0.0.2", 3)
    assert (settings.media.port, settings.media.shards) == (2, 5)
    assert loaded.origin("http.host").endswith("edge.toml:5")
    assert loaded.origin("http.port") == "environment TRADEWIND_HTTP__PORT"
    assert loaded.origin("media.shards") == "flag --set media.shards"
    assert loaded.origin("trunk.port") == "default"
    assert loaded.warnings == ()


def test_unknown_key_is_named_with_its_line_and_the_likely_meaning(tmp_path: Path) -> None:
    assert problems(tmp_path, "[http]\nprot = 1\n") == ["/edge.toml:4: unknown key http.prot (did you mean http.port?)"]
    assert problems(tmp_path, "", flags={"http.prot": "1"}) == [
        "flag --set http.prot: unknown key http.prot (did you mean http.port?)"
    ]
    assert problems(tmp_path, "[nothing]\n[nothing.inner]\na = 1\n")[0].endswith("unknown key nothing")


def test_unknown_variable_is_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, env={"TRADEWIND_DEMO__WAN_URL": "x", "TRADEWIND_HTTP__PROT": "1"})
    assert len(loaded.warnings) == 2
    assert "did you mean http.port?" in loaded.warnings[1]


def test_every_bad_value_is_told_with_its_place(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        '[http]\nport = "x"\n[media]\nshards = 0\n[mesh.peer_addresses.fra]\nprobe = "nowhere"\n',
        env={"TRADEWIND_TRUNK__PORT": "70000"},
    )
    assert [line.split(": ")[0] for line in told] == [
        "/edge.toml:4",
        "/edge.toml:6",
        "environment TRADEWIND_TRUNK__PORT",
        "/edge.toml:8",
    ]
    assert told[3].split(": ")[1] == "mesh.peer_addresses.fra.probe"


def test_missing_value_says_how_to_give_it() -> None:
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(EdgeSettings, environ={"TRADEWIND_EDGE_ID": "sg"})
    assert raised.value.problems == [
        "data_dir is missing: set it in the file, as TRADEWIND_DATA_DIR or with --set data_dir=…"
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"a = ", "Invalid value"), (b"\xff", "is not UTF-8"), (None, "cannot be read")],
)
def test_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "edge.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=told) as raised:
        load_settings(EdgeSettings, toml_path=path, environ={})
    assert len(raised.value.problems) == 1
    assert str(path) in raised.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("a,b", ("a", "b")), ('["a", "b"]', ("a", "b")), ("*", ("*",)), ("", ()), ("[]", ())],
)
def test_lists_are_written_plainly_or_as_json(tmp_path: Path, text: str, value: tuple[str, ...]) -> None:
    assert load(tmp_path, env={"TRADEWIND_ROOMS__OPEN_ROOMS": text}).settings.rooms.open_rooms == value
    assert load(tmp_path, flags=parse_flags([f"rooms.open_rooms={text}"])).settings.rooms.open_rooms == value


def test_tables_with_free_keys_come_from_every_source(tmp_path: Path) -> None:
    env = {"TRADEWIND_MESH__PEER_ADDRESSES__FRA__TRUNK": "127.0.0.1:1"}
    loaded = load(tmp_path, '[mesh.peer_addresses.iad]\ntrunk = "127.0.0.1:2"\n', env)
    assert {name: peer.trunk for name, peer in loaded.settings.mesh.peer_addresses.items()} == {
        "fra": "127.0.0.1:1",
        "iad": "127.0.0.1:2",
    }


def test_rows_show_everything_but_secrets(tmp_path: Path) -> None:
    loaded = load(tmp_path, env={"TRADEWIND_CONTROL__JOIN_TOKEN": "tw1.secret.x"})
    assert loaded.settings.control.join_token == SecretStr("tw1.secret.x")
    rows = {row.key: row for row in loaded.rows()}
    assert rows["control.join_token"].value == "(set)"
    assert all(row.description for row in rows.values()), "every setting is documented"
    assert "secret" not in str(rows)


def test_flag_without_a_value_says_how_to_write_it() -> None:
    with pytest.raises(SettingsInvalid, match="KEY=VALUE"):
        parse_flags(["http.port"])


def test_wild_address_needs_announced_ones(tmp_path: Path) -> None:
    assert "set announce" in problems(tmp_path, '[media]\nhost = ["0.0.0.0"]\n')[0]
    assert load(tmp_path, '[media]\nhost = ["0.0.0.0"]\nannounce = ["203.0.113.7"]\n').settings.media.port == 7700


@pytest.mark.parametrize(
    ("section", "wanted"), [("http", "public_url"), ("trunk", "public_address"), ("probe", "public_address")]
)
def test_an_address_that_nobody_can_reach_is_not_told_to_others(tmp_path: Path, section: str, wanted: str) -> None:
    (told,) = problems(tmp_path, f'[{section}]\nhost = "0.0.0.0"\n')
    assert f"set {wanted}" in told
    value = "https://sg.example.net" if wanted == "public_url" else "203.0.113.7:7701"
    load(tmp_path, f'[{section}]\nhost = "0.0.0.0"\n{wanted} = "{value}"\n')


@pytest.mark.parametrize(
    ("host", "is_open"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("0.0.0.0", False), ("a.b", False)],
)
def test_rooms_are_open_on_loopback_only(tmp_path: Path, host: str, is_open: bool) -> None:
    settings = load(
        tmp_path, flags={"http.host": host, "http.public_url": "https://a.b", "rooms.open_rooms": "demo"}
    ).settings
    assert settings.room_is_open("demo") is is_open
    assert not settings.room_is_open("other")
