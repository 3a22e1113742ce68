"""The packet path: sessions, trunks and everything that happens per packet, in Rust.

Python gives commands and fetches events and one snapshot of numbers; it never sees a packet. The classes are those of
the native module; `_native.pyi` describes them.
"""

try:
    from edge.dataplane._native import (
        CommandRejected,
        Dataplane,
        DataplaneConfig,
        Event,
        OfferRejected,
        PeerConfig,
        SessionAnswer,
        Snapshot,
        StreamRoute,
        StreamStats,
        TrunkStats,
    )
except ModuleNotFoundError as error:
    if error.name != "edge.dataplane._native":
        raise
    raise ImportError("the packet path is not built yet: run `make setup`") from error

__all__ = [
    "CommandRejected",
    "Dataplane",
    "DataplaneConfig",
    "Event",
    "OfferRejected",
    "PeerConfig",
    "SessionAnswer",
    "Snapshot",
    "StreamRoute",
    "StreamStats",
    "TrunkStats",
]
