"""Where was it recorded? Reads ISO 6709, NMEA and EXIF positions into decimal degrees as text. Pure.

Degrees are text with seven decimals (a centimetre): the records of the log hold no floating-point numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TRACK_POINTS_MAX = 100  # of the summary kept in the facts; the whole track stays in the original
_SENTENCE = re.compile(r"\$(?P<body>G[PNLAB](?P<kind>RMC|GGA),[^*\r\n$]{10,120})(?:\*(?P<sum>[0-9A-Fa-f]{2}))?")
_ISO_6709 = re.compile(
    r"(?P<lat>[+-]\d{2}(?:\.\d{1,12})?)(?P<lon>[+-]\d{3}(?:\.\d{1,12})?)(?P<alt>[+-]\d{1,6}(?:\.\d{1,6})?)?"
)

# Bounded forms: `Fraction("1e999999999")` would be a number of a billion digits.
_FRACTION = re.compile(r"-?\d{1,10}(/[1-9]\d{0,9}|\.\d{1,12})?", re.ASCII)
_MINUTES = re.compile(r"[0-5]?\d(\.\d{1,12})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One position; `at` is UTC by the satellites, where known."""

    latitude: str
    longitude: str
    altitude: str = ""  # metres
    at: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the point as it stands in the facts."""
        row = {"lat": self.latitude, "lon": self.longitude, "alt": self.altitude, "at": self.at}
        return {name: value for name, value in row.items() if value}


def summary(points: Iterable[Point], source: str) -> dict[str, object]:
    """Return the `gps` of the facts: count, first, last and an evenly thinned track; {} without points."""
    track = list(points)
    if not track:
        return {}
    step = max(1, -(-len(track) // TRACK_POINTS_MAX))
    found: dict[str, object] = {"source": source, "count": len(track), "first": track[0].to_json()}
    if len(track) > 1:
        found |= {"last": track[-1].to_json(), "track": [point.to_json() for point in track[::step]]}
    return found


def parse_iso_6709(text: str) -> Point | None:
    """Read `+28.5183+112.1556+045.000/`, the decimal form that phones write."""
    match = _ISO_6709.match(text.strip())
    if match is None:
        return None
    return _point(Fraction(match["lat"]), Fraction(match["lon"]), altitude=(match["alt"] or "").lstrip("+"))


def parse_nmea(text: str) -> Iterator[Point]:
    """Yield the positions of RMC and GGA sentences whose checksum holds; one a moment where both are sent."""
    latest = ""
    date = ""
    for match in _SENTENCE.finditer(text):
        if match["sum"] is not None and _checksum(match["body"]) != int(match["sum"], 16):
            continue
        fields = match["body"].split(",")
        if match["kind"] == "RMC" and len(fields) >= 10 and fields[2] == "A":
            date, place = fields[9], fields[3:7]
        elif match["kind"] == "GGA" and len(fields) >= 7 and fields[6] not in {"", "0"}:
            place = fields[2:6]
        else:
            continue
        if fields[1] == latest:
            continue
        point = _nmea_point(place, fields[1], date)
        if point is not None:
            latest = fields[1]
            yield point


def parse_exif(latitude: Sequence[object], north: str, longitude: Sequence[object], east: str) -> Point | None:
    """Read degrees, minutes, seconds (fractions) with their references."""
    try:
        first, second = _sexagesimal(latitude), _sexagesimal(longitude)
    except (ValueError, TypeError, ZeroDivisionError, AttributeError):
        return None
    return _point(-first if north.strip().upper() == "S" else first, -second if east.strip().upper() == "W" else second)


def _sexagesimal(values: Sequence[object]) -> Fraction:
    texts = [str(value) for value in values]
    if not 1 <= len(texts) <= 3 or any(_FRACTION.fullmatch(text) is None for text in texts):
        raise ValueError("not degrees, minutes, seconds")
    parts = [Fraction(text) for text in texts]
    return sum((part / 60**power for power, part in enumerate(parts)), Fraction(0))


def _point(latitude: Fraction, longitude: Fraction, *, altitude: str = "", at: str = "") -> Point | None:
    """Make a point, or None for what is no place on Earth; 0, 0 is what receivers without a fix say."""
    if abs(latitude) > 90 or abs(longitude) > 180 or (latitude == 0 and longitude == 0):
        return None
    return Point(latitude=_degrees(latitude), longitude=_degrees(longitude), altitude=altitude, at=at)


def _degrees(value: Fraction) -> str:
    scaled = round(value * 10**7)
    return f"{'-' if scaled < 0 else ''}{abs(scaled) // 10**7}.{abs(scaled) % 10**7:07d}"


def _nmea_point(place: Sequence[str], time: str, date: str) -> Point | None:
    try:
        latitude, longitude = _nmea_degrees(place[0], 2), _nmea_degrees(place[2], 3)
    except ValueError:
        return None
    north = -latitude if place[1] == "S" else latitude
    east = -longitude if place[3] == "W" else longitude
    return _point(north, east, at=_nmea_time(date, time))


def _nmea_degrees(text: str, digits: int) -> Fraction:
    degrees, minutes = text[:digits], text[digits:]
    if re.fullmatch(r"\d+", degrees, re.ASCII) is None or _MINUTES.fullmatch(minutes) is None:
        raise ValueError(f"not degrees and minutes: {text[:20]!r}")
    return int(degrees) + Fraction(minutes) / 60


def _nmea_time(date: str, time: str) -> str:
    try:
        moment = datetime.strptime(date + time[:6], "%d%m%y%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _checksum(body: str) -> int:
    total = 0
    for character in body:
        total ^= ord(character)
    return total
