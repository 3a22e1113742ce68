"""Access tokens: who gets in, and by which name everybody else is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tradewind.common.tokens import (
    LEEWAY_S,
    REASONS,
    Claims,
    Role,
    TokenIssuer,
    TokenRefused,
    TokenVerifier,
    decode_public_key,
    key_id,
)

NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.generate()
ISSUER = TokenIssuer(KEY)
VERIFIER = TokenVerifier([ISSUER.public_key])
KID = key_id(KEY.public_key())
VIEWERS = frozenset({Role.VIEWER, Role.MODERATOR})


def verify(token: str, *, room: str = "demo", roles: frozenset[Role] = VIEWERS, now: float | None = NOW) -> Claims:
    return VERIFIER.verify(token, room=room, roles=roles, unix_s=now)


def refused(token: str, **options: Any) -> str:
    with pytest.raises(TokenRefused) as raised:
        verify(token, **options)
    assert raised.value.status == REASONS[raised.value.reason]
    assert raised.value.detail.endswith(".")
    return raised.value.reason


def signed(key: Any = KEY, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {"room": "demo", "role": "viewer", "sub": "mei", "exp": NOW + 60, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": KID} if headers is None else headers)


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def test_good_token_says_who_it_is() -> None:
    token = ISSUER.issue(room="demo", role=Role.MODERATOR, person="mei", name="Mei", unix_s=NOW, valid_s=60)
    assert verify(token) == Claims("demo", Role.MODERATOR, "mei", "Mei", NOW + 60)
    assert len(token) < 400


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: "", "token_missing"),
        (lambda: "x", "token_malformed"),
        (lambda: "a.b.c", "token_malformed"),
        (lambda: "." * 3, "token_malformed"),
        (lambda: "é.é.é", "token_malformed"),
        (lambda: "[" * 4000, "token_malformed"),
        (lambda: signed(extra="x" * 4096), "token_malformed"),
        (lambda: by_hand({"alg": "none"}, {"room": "demo", "role": "viewer", "sub": "a"}), "token_algorithm"),
        (lambda: by_hand({"alg": "None", "kid": KID}, {}), "token_algorithm"),
        (lambda: by_hand({"kid": KID}, {}), "token_algorithm"),
        (lambda: signed(ISSUER.public_key * 2, "HS256"), "token_algorithm"),
        (lambda: signed(generate_private_key(SECP256R1()), "ES256"), "token_algorithm"),
        (lambda: signed(headers={"kid": "0" * 16}), "token_unknown_key"),
        (lambda: signed(Ed25519PrivateKey.generate(), headers={}), "token_unknown_key"),
        (lambda: by_hand({"alg": "EdDSA", "kid": ["a"]}, {}), "token_malformed"),
        (lambda: signed(Ed25519PrivateKey.generate()), "token_signature"),
        (lambda: signed()[:-4] + "AAAA", "token_signature"),
        (lambda: by_hand({"alg": "EdDSA", "kid": KID}, {"room": "demo"}), "token_signature"),
        (lambda: signed(exp=NOW - LEEWAY_S), "token_expired"),
        (lambda: signed(nbf=NOW + LEEWAY_S + 1), "token_not_yet_valid"),
        (lambda: signed(exp=None), "token_claims"),
        (lambda: signed(exp="soon"), "token_claims"),
        (lambda: signed(exp=True), "token_claims"),
        (lambda: signed(exp=float("inf")), "token_claims"),
        (lambda: signed(exp=float("nan")), "token_claims"),
        (lambda: signed(sub=None), "token_claims"),
        (lambda: signed(sub=""), "token_claims"),
        (lambda: signed(sub="x" * 129), "token_claims"),
        (lambda: signed(name=["x"]), "token_claims"),
        (lambda: signed(room="other"), "token_wrong_room"),
        (lambda: signed(room=None), "token_wrong_room"),
        (lambda: signed(room=["demo"]), "token_wrong_room"),
        (lambda: signed(role="host"), "token_wrong_role"),
        (lambda: signed(role="king"), "token_wrong_role"),
        (lambda: signed(role=None), "token_wrong_role"),
    ],
)  # fmt: skip
def test_every_other_token_is_refused_by_name(make: Callable[[], str], reason: str) -> None:
    assert refused(make()) == reason


def test_a_token_may_leave_out_which_key_has_signed_it() -> None:
    other = TokenIssuer(Ed25519PrivateKey.generate())
    verifier = TokenVerifier([other.public_key, ISSUER.public_key])
    assert verifier.verify(signed(headers={}), room="demo", roles=VIEWERS, unix_s=NOW).person == "mei"
    assert refused(signed(headers={}, room="other")) == "token_wrong_room"


def test_clocks_may_differ_a_little() -> None:
    assert verify(signed(exp=NOW - LEEWAY_S + 1)).person == "mei"
    assert verify(signed(nbf=NOW + LEEWAY_S - 1)).person == "mei"


def test_without_a_clock_only_time_is_not_looked_at() -> None:
    assert verify(signed(exp=1), now=None).person == "mei"
    assert refused(signed(exp=1, room="other"), now=None) == "token_wrong_room"


def test_keys_are_replaced_all_or_none() -> None:
    verifier = TokenVerifier([ISSUER.public_key])
    other = TokenIssuer(Ed25519PrivateKey.generate())
    with pytest.raises(ValueError, match="no Ed25519 public key"):
        verifier.apply_keys([other.public_key, "nonsense"])
    assert verifier.key_ids == [KID]
    verifier.apply_keys([other.public_key])
    assert KID not in verifier.key_ids


@pytest.mark.parametrize("text", ["", "AAAA", "é", "A" * 43 + "=", ISSUER.public_key + "A", "?" * 43])
def test_text_that_is_no_key_is_refused(text: str) -> None:
    if text == "A" * 43 + "=":
        decode_public_key(text)  # padding is harmless
        return
    with pytest.raises(ValueError, match="no Ed25519 public key"):
        decode_public_key(text)


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{0,40}"))
def test_any_text_is_refused_by_a_known_name(text: str) -> None:
    assert refused(text) in REASONS


@given(st.integers(0, 400), st.integers(1, 255))
def test_token_with_any_changed_byte_is_refused(position: int, change: int) -> None:
    token = bytearray(signed().encode())
    position %= len(token)
    token[position] ^= change
    text = token.decode("latin-1")
    try:
        claims = verify(text)
    except TokenRefused:
        return
    # The last character of a part may carry unused bits: the same token, written differently.
    assert claims == verify(signed())
