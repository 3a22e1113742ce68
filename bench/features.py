"""What `--without` takes away, said in the product's own settings: nothing else of a run changes.

A feature is one mechanism that a scenario claims makes the difference. Most are names that an edge's
`media.disabled_features` knows; the others are settings of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

from edge.settings import Feature

#: Names that the packet path knows.
_PACKET_PATH: Final = frozenset(get_args(Feature))

#: Settings of an edge besides those names, by feature: section → setting → value.
_SETTINGS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    # Bodies of up to a mebibyte reach the parser, which then takes whatever comes.
    "offer_limits": {"http": {"sdp_max_bytes": 1 << 20}},
    "last_good": {"mesh": {"keep_last_good": False}},
}

KNOWN: Final = _PACKET_PATH | set(_SETTINGS)


def apply_without(settings: dict[str, Any], without: Iterable[str]) -> None:
    """Switch features off in one edge's settings, in place. Raises ValueError for a name that is no feature."""
    names = list(without)
    if unknown := sorted(set(names) - KNOWN):
        raise ValueError(f"no feature {unknown[0]!r}; there are: {', '.join(sorted(KNOWN))}")
    settings["media"]["disabled_features"] = [name for name in names if name in _PACKET_PATH]
    for name in names:
        for section, values in _SETTINGS.get(name, {}).items():
            settings.setdefault(section, {}).update(values)
