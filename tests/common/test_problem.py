"""A refusal can be written down whatever it quotes."""

from __future__ import annotations

import json

from tradewind.common.problem import Problem


def test_a_detail_may_quote_half_a_surrogate_pair() -> None:
    response = Problem(404, "unknown_link", "There is no link \ud83d-fra, nor é-fra.").response()
    body = json.loads(bytes(response.body))
    assert body["detail"] == "There is no link ?-fra, nor é-fra."
    assert (body["status"], body["reason"], body["title"]) == (404, "unknown_link", "Not Found")
