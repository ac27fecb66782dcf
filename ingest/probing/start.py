"""When did a recording begin? Weighs what the container, EXIF, the name and the file time claim. Pure.

No claim is thrown away: the answer names its source, its confidence and where its zone comes from, and carries the other
claims. Times without a zone are taken as Asia/Shanghai (UTC+8), and the answer says that this was assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hardware.names import NameFacts

CHINA = timezone(timedelta(hours=8))
AGREE_S = 120  # a recorder names a file and writes its header within this time
OLDEST_YEAR = 2000  # earlier claims come from clocks that were never set
ASSUMED = "assumed Asia/Shanghai"
_LOOSE_SCHEMES = frozenset({"time_in_name", "date_folder", "session_folder"})  # names that people or exports make

Source = Literal["container", "exif", "name", "mtime"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A time that something in or around the file claims; naive when it states no zone."""

    source: Source
    at: datetime
    zone: str = ""  # where the zone comes from
    confidence: Confidence = "medium"
    loose: bool = False  # made by people or exports: gives way where the device itself says otherwise


def read_time(text: str) -> datetime | None:
    """Read ISO 8601 or EXIF (`2026:03:04 05:06:07`) text; None when there is no such time."""
    text = text.strip().rstrip("\0").replace("Z", "+00:00")
    if text[4:5] == ":" and text[7:8] == ":":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def name_claim(name: NameFacts) -> Claim | None:
    """Return what the name claims."""
    if name.started_at is None:
        return None
    loose = name.scheme in _LOOSE_SCHEMES
    if name.utc:
        return Claim(source="name", at=name.started_at.replace(tzinfo=UTC), zone="stated", loose=loose)
    return Claim(source="name", at=name.started_at, loose=loose)


def container_claim(tags: dict[str, str]) -> Claim | None:
    """Return what the container claims: a time with its zone where Apple's tag gives one, else what should be UTC."""
    local = read_time(tags.get("com.apple.quicktime.creationdate", ""))
    if local is not None and local.tzinfo is not None:
        return Claim(source="container", at=local, zone="stated", confidence="high")
    moment = read_time(tags.get("creation_time", ""))
    if moment is None:
        return None
    # The standard says UTC and many recorders write local time: only another claim can tell.
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Claim(source="container", at=aware, zone="unstated")


def exif_claim(exif: dict[str, str], gps_utc: datetime | None) -> Claim | None:
    """Return when the photograph was taken; the zone by its own tag, else by the satellites' time beside it."""
    moment = read_time(exif.get("date_time_original", "") or exif.get("date_time_digitized", ""))
    if moment is None:
        return None
    stated = read_time("2000-01-01T00:00:00" + exif.get("offset_time_original", "").strip())
    if stated is not None and stated.tzinfo is not None:
        return Claim(source="exif", at=moment.replace(tzinfo=stated.tzinfo), zone="stated", confidence="high")
    if gps_utc is not None:
        ahead = moment - gps_utc.replace(tzinfo=None)
        quarters = round(ahead / timedelta(minutes=15))
        if abs(quarters) <= 56 and abs((ahead - quarters * timedelta(minutes=15)).total_seconds()) <= AGREE_S:
            zone = timezone(quarters * timedelta(minutes=15))
            return Claim(source="exif", at=moment.replace(tzinfo=zone), zone="by GPS time", confidence="high")
    return Claim(source="exif", at=moment)


def mtime_claim(modified_ns: int | None, duration_ms: int) -> Claim | None:
    """Return the file's time less its duration: recorders close a file when it is full."""
    if modified_ns is None:
        return None
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=modified_ns // 1_000_000 - duration_ms)
    except OverflowError:
        return None
    return Claim(source="mtime", at=at, zone="file system", confidence="low")


def choose(claims: list[Claim], duration_ms: int) -> dict[str, object]:
    """Return the best claim as the `start` of the facts, {} without any."""
    set_clocks = [claim for claim in claims if claim.at.year >= OLDEST_YEAR]
    found = {claim.source: claim for claim in set_clocks or claims}
    best = _best(found, duration_ms)
    if best is None:
        return {}
    aware = best.at if best.at.tzinfo is not None else best.at.replace(tzinfo=CHINA)
    return {
        "at": _text(aware),
        "source": best.source,
        "confidence": best.confidence if set_clocks else "low",
        "zone": best.zone or ASSUMED,
        "claims": {claim.source: _text(claim.at) for claim in claims},
    }


def _best(found: dict[Source, Claim], duration_ms: int) -> Claim | None:
    container, name = found.get("container"), found.get("name")
    if (exif := found.get("exif")) is not None:
        return exif
    if container is not None and name is not None and container.zone == "unstated":
        return _agreement(container, name, duration_ms)
    return container or name or found.get("mtime")


def _agreement(container: Claim, name: Claim, duration_ms: int) -> Claim:
    """Decide between two clocks of one device: equal digits mean local time, eight hours apart mean true UTC."""
    written = container.at.astimezone(UTC).replace(tzinfo=None)
    named = name.at.replace(tzinfo=None)
    for end in (timedelta(0), timedelta(milliseconds=duration_ms)):  # some write the header's time when they close it
        if abs((written - end - named).total_seconds()) <= AGREE_S:
            return name if name.zone else Claim(source="name", at=name.at, zone=ASSUMED)
        if not name.zone and abs((written - end + timedelta(hours=8) - named).total_seconds()) <= AGREE_S:
            at = container.at - end
            return Claim(source="container", at=at, zone="UTC, confirmed by the name", confidence="high")
    trusted = container if name.loose else name
    return Claim(source=trusted.source, at=trusted.at, zone=trusted.zone, confidence="low")


def _text(at: datetime) -> str:
    text = at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
