"""The room's message reader against the vectors it shares with TypeScript."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.v1 import room_messages
from tradewind.v1.room_messages import Danmaku, MessageInvalid, parse_client_message

ROOT = Path(__file__).resolve().parents[2]
VECTORS: list[dict[str, Any]] = json.loads((ROOT / "protos/room/v1/vectors.json").read_text())["vectors"]
READERS = {"ClientMessage": parse_client_message, "ServerMessage": room_messages.parse_server_message}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_reads_the_same_as_in_typescript(vector: dict[str, Any]) -> None:
    read = READERS[vector["union"]]
    if vector["valid"]:
        message = read(vector["text"])
        assert message.fields() == vector.get("normal", json.loads(vector["text"]))
        assert read(message.encode()) == message
    else:
        with pytest.raises(MessageInvalid) as raised:
            read(vector["text"])
        assert raised.value.path == vector["path"]


def test_generated_files_are_what_the_schema_says() -> None:
    done = subprocess.run(
        [sys.executable, "protos/room/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_list_longer_than_its_bound_is_refused_before_its_items_are_read() -> None:
    with pytest.raises(MessageInvalid, match="at most 512 items"):
        room_messages.parse_server_message(json.dumps({"type": "batch", "messages": [None] * 513}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_message_or_message_invalid(value: object) -> None:
    try:
        parse_client_message(json.dumps(value))
    except MessageInvalid:
        pass


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_message_invalid(value: bytes) -> None:
    try:
        parse_client_message(value)
    except MessageInvalid:
        pass


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 10_000, '{"type":"ping","id":' + "9" * 10_000 + "}"])
def test_json_that_exhausts_the_reader_is_refused(text: str) -> None:
    with pytest.raises(MessageInvalid):
        parse_client_message(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2000))
def test_text_survives_the_wire_unchanged(text: str) -> None:
    message = Danmaku(id="a", text=text)
    assert parse_client_message(message.encode().encode()) == message
