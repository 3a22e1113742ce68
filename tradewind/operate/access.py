"""Access tokens, signed on the machine where control runs with the key whose public half it pushes to all edges."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.signaling.access import ROOM_NAME
from tradewind.common.tokens import Role, TokenIssuer

HOURS_MAX = 24 * 366
"""A token cannot be taken back, so none lasts for ever."""


def issue_token(
    data_dir: Path, *, room: str, role: str, person: str, name: str, valid_hours: float, unix_s: float
) -> str:
    """A token for one person in one room. Raises ValueError for what no edge would take, OSError without the key."""
    if not ROOM_NAME.fullmatch(room):
        raise ValueError(f"{room!r} is no room: a name is 1-64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    if role not in set(Role):
        raise ValueError(f"there is no role {role!r}: say {', '.join(Role)}")
    if not 0 < len(person) <= 128:
        raise ValueError("--person has 1 to 128 characters: the id that your own system knows this person by")
    if not 0 < valid_hours <= HOURS_MAX:
        raise ValueError(f"--hours lies above 0 and up to {HOURS_MAX}")
    path = data_dir / "keys" / "token.key"
    try:
        key = Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        raise OSError(
            f"{path} is missing: run this where control runs, with control's data_dir as --data-dir"
        ) from None
    except ValueError:
        raise OSError(f"{path} is no Ed25519 key: restore it from a backup") from None
    issuer = TokenIssuer(key)
    return issuer.issue(room=room, role=Role(role), person=person, name=name, unix_s=unix_s, valid_s=valid_hours * 3600)
