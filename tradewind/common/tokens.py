"""Access tokens: Ed25519-signed JWTs (RFC 8037, RFC 7519) that name a room, a role and a person.

Edges verify them alone, with public keys they hold, so that joining works while control is away. Issuing is control's
(and a test's) business. Claims: `room`, `role`, `sub` (the person), `exp`; `iat` and `nbf` are honoured when present.
`name` is the name to show. The header names the key by `kid`, the first 16 hex digits of the SHA-256 of the raw key;
without it the known keys are tried.

TokenRefused
    A token that does not open the door. `status` is 401 when nobody was identified and 403 when somebody was, who may
    not do this; `reason` is one of REASONS and a metric label; the text says what to do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHM: Final = "EdDSA"
TOKEN_MAX_BYTES: Final = 4096
"""Longer ones are refused unread; our own are about 300 bytes."""
LEEWAY_S: Final = 10
"""Clocks of edges and issuers may differ by this much; a badly set clock is off by seconds, rarely by more."""
KEYS_TRIED_MAX: Final = 8
"""A token that names no key is held against so many; each costs 0.1 ms."""

REASONS: Final = {
    "token_missing": 401,
    "token_malformed": 401,
    "token_algorithm": 401,
    "token_unknown_key": 401,
    "token_signature": 401,
    "token_expired": 401,
    "token_not_yet_valid": 401,
    "token_claims": 401,
    "token_wrong_room": 403,
    "token_wrong_role": 403,
}
"""Every reason with its HTTP status."""


class Role(StrEnum):
    """What a person may do in a room: hosts publish, moderators watch and moderate, viewers watch."""

    HOST = "host"
    VIEWER = "viewer"
    MODERATOR = "moderator"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    room: str
    role: Role
    person: str
    name: str
    expires_unix: float


class TokenRefused(Exception):
    """The token does not open this door."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.status = REASONS[reason]


class TokenVerifier:
    """Checks tokens against a set of public keys that can be replaced while it runs."""

    def __init__(self, public_keys: Iterable[str] = ()) -> None:
        """Keys as in `encode_public_key`. Raises ValueError for one that is no Ed25519 key."""
        self._keys: dict[str, Ed25519PublicKey] = {}
        self.apply_keys(public_keys)

    @property
    def key_ids(self) -> list[str]:
        """Known keys by `kid`."""
        return list(self._keys)

    def apply_keys(self, public_keys: Iterable[str]) -> None:
        """Replaces all keys, or none when one of them cannot be read (ValueError)."""
        keys = [decode_public_key(text) for text in public_keys]
        self._keys = {key_id(key): key for key in keys}

    def verify(self, token: str, *, room: str, roles: frozenset[Role], unix_s: float | None) -> Claims:
        """The claims of a token that is good for `room` in one of `roles`; without a clock, at any time.

        Raises TokenRefused.
        """
        named = self._key_id(token)
        # RFC 7515 §4.1.4: `kid` is a hint that issuers may leave out.
        keys = [key for name, key in self._keys.items() if not named or name == named][:KEYS_TRIED_MAX]
        claims = next((found for key in keys if (found := _decode(token, key)) is not None), None)
        if claims is None and named in self._keys:
            raise TokenRefused("token_signature", "The token's signature does not match. Ask for a new one.")
        if claims is None:
            raise TokenRefused("token_unknown_key", "The token is signed by a key this edge does not know.")
        return _check(claims, room, roles, unix_s)

    def _key_id(self, token: str) -> str:
        if not token:
            raise TokenRefused("token_missing", "Send the room's token as 'Authorization: Bearer …'.")
        if len(token) > TOKEN_MAX_BYTES:
            raise TokenRefused("token_malformed", f"A token has at most {TOKEN_MAX_BYTES} bytes.")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("token_malformed", "This is not a JWT. Ask for a new token.") from None
        # RFC 8725 §3.1: the algorithm is ours to choose, never the token's (`none`, HMAC with a public key).
        if header.get("alg") != ALGORITHM:
            raise TokenRefused("token_algorithm", f"Tokens are signed with {ALGORITHM} (Ed25519), nothing else.")
        kid = header.get("kid")
        return kid if isinstance(kid, str) else ""


class TokenIssuer:
    """Signs tokens."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = encode_public_key(key.public_key())

    def issue(self, *, room: str, role: Role, person: str, name: str = "", unix_s: float, valid_s: float) -> str:
        """A token for one person in one room, valid from now for `valid_s` seconds."""
        claims = {
            "room": room,
            "role": role.value,
            "sub": person,
            "iat": int(unix_s),
            "exp": int(unix_s + valid_s),
            **({"name": name} if name else {}),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": key_id(self._key.public_key())})


def encode_public_key(key: Ed25519PublicKey) -> str:
    """The raw 32 bytes in base64url without padding, as in a JWK's `x` (RFC 8037 §2)."""
    return base64.urlsafe_b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode().rstrip("=")


def decode_public_key(text: str) -> Ed25519PublicKey:
    """Reads `encode_public_key`'s form. Raises ValueError."""
    try:
        raw = base64.b64decode(text.strip() + "=" * (-len(text.strip()) % 4), altchars=b"-_", validate=True)
        return Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:60]!r} is no Ed25519 public key (32 bytes in base64url)") from None


def key_id(key: Ed25519PublicKey) -> str:
    """`kid` of a key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _decode(token: str, key: Ed25519PublicKey) -> Mapping[str, Any] | None:
    """The claims, or None when another key has signed them. Raises TokenRefused for what is no JWT."""
    try:
        # Times are checked later, against the caller's clock.
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidSignatureError:
        return None
    except jwt.PyJWTError:
        raise TokenRefused("token_malformed", "This is not a JWT. Ask for a new token.") from None
    return claims


def _check(claims: Mapping[str, Any], room: str, roles: frozenset[Role], unix_s: float | None) -> Claims:
    expires, not_before = _number(claims.get("exp")), _number(claims.get("nbf", 0))
    person, name = claims.get("sub"), claims.get("name", "")
    if expires is None or not_before is None:
        raise TokenRefused("token_claims", "The token has no usable expiry (exp). Ask for a new one.")
    if not isinstance(person, str) or not 0 < len(person) <= 128 or not isinstance(name, str):
        raise TokenRefused("token_claims", "The token names no person (sub). Ask for a new one.")
    if unix_s is not None and unix_s >= expires + LEEWAY_S:
        raise TokenRefused("token_expired", "The token has expired. Ask for a new one.")
    if unix_s is not None and unix_s < not_before - LEEWAY_S:
        raise TokenRefused("token_not_yet_valid", "The token is not valid yet. Check the clocks.")
    if claims.get("room") != room:
        raise TokenRefused("token_wrong_room", "The token is for another room.")
    if claims.get("role") not in {role.value for role in roles}:
        wanted = " or ".join(sorted(role.value for role in roles))
        raise TokenRefused("token_wrong_role", f"This needs a token with the role {wanted}.")
    return Claims(room, Role(claims["role"]), person, name, expires)


def _number(value: object) -> float | None:
    # NaN compares false with everything and would never expire.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        return None
    return float(value)
