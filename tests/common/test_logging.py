"""Logs are one JSON object a line, from every library."""

from __future__ import annotations

import io
import json
import logging

from tradewind.common.logging import configure_logging, get_logger


def test_every_line_is_json_with_its_process() -> None:
    stream = io.StringIO()
    configure_logging(level="info", stream=stream, process="edge", edge_id="sg")
    get_logger("edge.rooms").info("room_opened", people=3)
    get_logger("edge.rooms").debug("not_written")
    logging.getLogger("somebody.else").warning("odd %s", "thing")
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        get_logger("edge").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["room_opened", "odd thing", "failed"]
    assert all(line["process"] == "edge" and line["edge_id"] == "sg" and line["timestamp"] for line in lines)
    assert (lines[0]["people"], lines[0]["level"], lines[0]["logger"]) == (3, "info", "edge.rooms")
    assert lines[2]["exception"][0]["exc_type"] == "ValueError"


def test_what_passes_by_an_exception_stays_out_of_the_log() -> None:
    stream = io.StringIO()
    configure_logging(level="info", stream=stream, process="edge")

    def verify(token: str) -> None:
        raise ValueError(f"{len(token)} characters are too few")

    try:
        verify("-".join(("a", "token")))
    except ValueError:
        get_logger("edge").exception("failed")
    (exception,) = json.loads(stream.getvalue())["exception"]
    assert exception["frames"][-1]["name"] == "verify"
    assert "a-token" not in stream.getvalue()
