"""Metros with their coordinates, and what a packet between two of them goes through.

Round-trip times of some pairs are given, as in the demonstrations; the others are estimated from the distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0
# Light in fibre does about 200 km per ms; real routes are about half as long again as the great circle (160 ms for the
# 10,260 km between Singapore and Frankfurt), and the last kilometres and routers add some ms.
FIBRE_KM_PER_MS = 200.0
DETOUR = 1.5
ACCESS_RTT_MS = 4.0


@dataclass(frozen=True, slots=True)
class Region:
    """A metro where an edge stands."""

    name: str
    city: str
    latitude: float
    longitude: float


REGIONS = {
    region.name: region
    for region in (
        Region("sg", "Singapore", 1.35, 103.82),
        Region("fra", "Frankfurt", 50.11, 8.68),
        Region("iad", "Ashburn", 39.04, -77.49),
        Region("dxb", "Dubai", 25.20, 55.27),
        Region("bom", "Mumbai", 19.08, 72.88),
        Region("nrt", "Tokyo", 35.68, 139.69),
        Region("icn", "Seoul", 37.57, 126.98),
        Region("hkg", "Hong Kong", 22.32, 114.17),
        Region("syd", "Sydney", -33.87, 151.21),
        Region("lhr", "London", 51.51, -0.13),
        Region("cdg", "Paris", 48.86, 2.35),
        Region("arn", "Stockholm", 59.33, 18.07),
        Region("jnb", "Johannesburg", -26.20, 28.05),
        Region("gru", "São Paulo", -23.55, -46.63),
        Region("sfo", "San Francisco", 37.77, -122.42),
        Region("ord", "Chicago", 41.88, -87.63),
    )
}

KNOWN_RTT_MS = {
    frozenset(pair): rtt_ms
    for pair, rtt_ms in (
        (("sg", "fra"), 160.0),
        (("fra", "iad"), 90.0),
        (("sg", "iad"), 230.0),
        (("sg", "bom"), 60.0),
        (("bom", "fra"), 120.0),
        (("sg", "dxb"), 80.0),
        (("dxb", "fra"), 110.0),
    )
}

# A quiet long-haul link: one packet in five hundred, in short bursts, and a millisecond of queueing.
LOSS_RATIO = 0.002
BURST_PACKETS = 3.0
JITTER_MS = 1.0


class UnknownRegionError(ValueError):
    """A name that is not in the table; the text lists those that are."""


def parse_regions(text: str) -> tuple[Region, ...]:
    """`sg,fra,iad` as regions, in that order. Raises UnknownRegionError or ValueError."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if not 1 <= len(names) <= len(REGIONS):
        raise ValueError(f"give 1 to {len(REGIONS)} regions separated by commas, for example --regions sg,fra,iad")
    if len(set(names)) != len(names):
        raise ValueError("each region stands once in --regions")
    unknown = [name for name in names if name not in REGIONS]
    if unknown:
        raise UnknownRegionError(f"unknown region {', '.join(unknown)}; there are {', '.join(REGIONS)}")
    return tuple(REGIONS[name] for name in names)


def distance_km(a: Region, b: Region) -> float:
    """Great-circle distance (haversine)."""
    latitude_a, latitude_b = math.radians(a.latitude), math.radians(b.latitude)
    half_chord = (
        math.sin((latitude_b - latitude_a) / 2) ** 2
        + math.cos(latitude_a) * math.cos(latitude_b) * math.sin(math.radians(b.longitude - a.longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half_chord)))


def rtt_ms(a: Region, b: Region) -> float:
    """Round-trip time between two metros, to a tenth of a millisecond."""
    known = KNOWN_RTT_MS.get(frozenset((a.name, b.name)))
    if known is not None:
        return known
    return round(2 * distance_km(a, b) / FIBRE_KM_PER_MS * DETOUR + ACCESS_RTT_MS, 1)
