"""What a file's name claims: a table of parsers, tried in order, with a fallback. Pure.

A name is a claim of the device or of whoever renamed the file. A date that cannot be (month 13, 30 February, hour 24)
means that the name is not of that form, never an error. Times are as written: naive, and `utc` says when the name
itself states UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFacts:
    """What one path claims; empty where it claims nothing. `scheme` names the row of the table that matched."""

    scheme: str
    serial: str = ""
    officer: str = ""
    started_at: datetime | None = None  # naive, as written
    utc: bool = False
    sequence: int | None = None
    prefix: str = ""  # what names of one numbered series share


_OLDEST, _NEWEST = 1970, 2099  # a recorder with a flat battery writes 1970; no name of ours is older or newer


def _moment(digits: str) -> datetime | None:
    """Read YYYYMMDDhhmmss, or return None when there is no such moment."""
    try:
        moment = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007 # the zone is not stated: that is the point
    except ValueError:
        return None
    return moment if len(digits) == 14 and _OLDEST <= moment.year <= _NEWEST else None


def _dated(match: re.Match[str], scheme: str) -> NameFacts | None:
    """Build the facts of a scheme whose names carry a time in the groups `date` and `time`."""
    groups = {name: value or "" for name, value in match.groupdict().items()}
    started_at = _moment(re.sub(r"\D", "", groups["date"] + groups["time"]))
    if started_at is None:
        return None
    return NameFacts(
        scheme=scheme,
        serial=groups.get("serial", ""),
        officer=groups.get("officer", ""),
        started_at=started_at,
        utc=bool(groups.get("utc")),
        sequence=int(groups["sequence"]) if groups.get("sequence") else None,
        prefix=groups.get("prefix", ""),
    )


def _numbered(match: re.Match[str], scheme: str) -> NameFacts:
    """Build the facts of a scheme whose names carry only a running number."""
    return NameFacts(scheme=scheme, sequence=int(match["sequence"]), prefix=match["prefix"])


def _session(match: re.Match[str], scheme: str) -> NameFacts | None:
    """Build the facts of a session folder, whose year has two digits."""
    started_at = _moment("20" + match["date"] + match["time"])
    if started_at is None:
        return None
    return NameFacts(scheme=scheme, officer=match["officer"], started_at=started_at)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII | re.DOTALL)  # only 0-9 are digits here, and a name may hold a line feed


_DATE = r"(?P<date>\d{4}[-_.]?\d{2}[-_.]?\d{2})"
_TIME = r"(?P<time>\d{2}[-_.:]?\d{2}[-_.:]?\d{2})"

# Scheme, what of the path is matched ("stem" without extension, "folder" the parent's name, "tail" folder/stem),
# pattern, builder. The first row that matches and whose date is possible wins.
_TABLE: tuple[tuple[str, str, re.Pattern[str], Callable[[re.Match[str], str], NameFacts | None]], ...] = (
    (  # AA00000_BB0000_20260304050607.MP4, the names of GA/T 947 style recorders
        "serial_officer_time",
        "stem",
        _pattern(
            r"(?P<serial>[0-9A-Za-z]{7})_(?P<officer>[0-9A-Za-z]{6})_(?P<date>\d{8})(?P<time>\d{6})"
            r"(?:[_-]?(?P<sequence>\d{1,5}))?(?:[_-][0-9A-Za-z]{1,8})?"
        ),
        _dated,
    ),
    (  # AA00000@2026030405060700001
        "serial_at_time",
        "stem",
        _pattern(r"(?P<serial>[0-9A-Za-z]{7})@(?P<date>\d{8})(?P<time>\d{6})(?P<sequence>\d{5})"),
        _dated,
    ),
    (  # the 65 characters of one platform: domain_device(20) shot type mark import sequence
        "platform_number",
        "stem",
        _pattern(
            r"(?P<prefix>[0-9A-Za-z]{8})_(?P<serial>[0-9A-Za-z]{20})(?P<date>\d{8})(?P<time>\d{6})"
            r"[0-9A-Za-z]{4}\d{14}(?P<sequence>\d{4})"
        ),
        _dated,
    ),
    (  # 2026_0304_050607_001A under Video/Normal and Video/Event
        "normal_event",
        "stem",
        _pattern(r"(?P<date>\d{4}_\d{4})_(?P<time>\d{6})_(?P<sequence>\d{3,4})(?P<prefix>[A-Z]?)"),
        _dated,
    ),
    (  # 20260304T050607Z_1A2B of a controller that writes UTC
        "utc_recording",
        "stem",
        _pattern(r"(?P<date>\d{8})T(?P<time>\d{6})(?P<utc>Z)(?:_.*)?"),
        _dated,
    ),
    (  # IMG_20260304_050607, VID-20260304-050607123
        "kind_time",
        "stem",
        _pattern(r"(?P<prefix>[A-Za-z]{2,10})[_-]?(?P<date>\d{8})[_-]?(?P<time>\d{6})(?:\d{3})?(?:[_~(.-].*)?"),
        _dated,
    ),
    (  # 20260304_050607_1A2B of one controller's clips
        "time_recording",
        "stem",
        _pattern(r"(?P<date>\d{8})[_-](?P<time>\d{6})(?:[_-].*)?"),
        _dated,
    ),
    (  # 2026-03-04/05.06.07-05.16.07[M].dav
        "date_folder",
        "tail",
        _pattern(r"(?P<date>\d{4}-?\d{2}-?\d{2})/(?P<time>\d{2}[-.:]?\d{2}[-.:]?\d{2})(?:\D.*)?"),
        _dated,
    ),
    (  # a date and a time anywhere in a free name, Chinese names too
        "time_in_name",
        "stem",
        _pattern(r".*?(?<!\d)" + _DATE + r"[T _-]{0,3}" + _TIME + r"(?!\d)(?P<utc>Z(?![0-9A-Za-z]))?.*"),
        _dated,
    ),
    (  # 260304_050607_officer/anything
        "session_folder",
        "folder",
        _pattern(r"(?P<date>\d{6})_(?P<time>\d{6})_(?P<officer>[^/]{1,64})"),
        _session,
    ),
    (  # DSC_0001, MOV_0001, PICT0001, 100_0001: the names of DCF cameras
        "dcf",
        "stem",
        _pattern(r"(?P<prefix>[A-Za-z]{3}_?|[A-Za-z]{4}|\d{3}_)(?P<sequence>\d{4,5})"),
        _numbered,
    ),
)
FALLBACK = NameFacts(scheme="free")


def parse_name(path: str) -> NameFacts:
    """Read what a "/"-separated path claims; the fallback claims nothing. Never raises."""
    folders, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    folder = folders.rpartition("/")[2]
    views = {"stem": stem, "folder": folder, "tail": f"{folder}/{stem}"}
    for scheme, view, pattern, build in _TABLE:
        match = pattern.fullmatch(views[view])
        if match is not None and (facts := build(match, scheme)) is not None:
            return facts
    return FALLBACK


def is_factory(serial: str) -> bool:
    """Say whether a serial is the one of a recorder nobody set up: zeros only."""
    return set(serial) == {"0"}


class Segment(Protocol):
    """What `loop_groups` needs of an item."""

    @property
    def path(self) -> str:
        """As the inventory gives it."""

    @property
    def modified_ns(self) -> int:
        """When the file was closed, by the device."""


_SegmentT = TypeVar("_SegmentT", bound=Segment)
_JOIN_TOLERANCE_S = 3  # FAT times have steps of two seconds, names of one
_ZONE_STEP_S = 900  # every time zone is a multiple of a quarter of an hour off UTC


def loop_groups(items: Sequence[_SegmentT]) -> tuple[tuple[_SegmentT, ...], ...]:
    """Partition items into runs that look like one recording cut into segments, in order.

    Two neighbours of one folder, series and extension belong together when their running numbers follow each other,
    or when one was closed in the moment at which the next says it began (whatever the zone of either clock). It is a
    proposal by names alone: the joins of the media decide.
    """
    ordered = sorted(items, key=_order)
    groups: list[list[_SegmentT]] = []
    for item in ordered:
        if groups and _follows(groups[-1][-1], item):
            groups[-1].append(item)
        else:
            groups.append([item])
    return tuple(tuple(group) for group in groups)


def _series(path: str) -> tuple[str, ...]:
    facts = parse_name(path)
    folder, _, name = path.rpartition("/")
    return (folder, name.rpartition(".")[2].lower(), facts.scheme, facts.serial, facts.officer, facts.prefix)


def _order(item: Segment) -> tuple[tuple[str, ...], datetime, int, str]:
    facts = parse_name(item.path)
    return (_series(item.path), facts.started_at or datetime.min, facts.sequence or 0, item.path)  # noqa: DTZ901 # a sort key


def _follows(earlier: Segment, later: Segment) -> bool:
    first, second = parse_name(earlier.path), parse_name(later.path)
    if first.scheme == FALLBACK.scheme or _series(earlier.path) != _series(later.path):
        return False
    if first.sequence is not None and second.sequence is not None:
        return second.sequence == first.sequence + 1
    if first.started_at is None or second.started_at is None or first.started_at == second.started_at:
        return False
    closed_at = datetime(1970, 1, 1) + timedelta(microseconds=earlier.modified_ns // 1000)  # noqa: DTZ001 # as naive as names
    gap_s = (second.started_at - closed_at).total_seconds()
    beside_s = (gap_s + _ZONE_STEP_S / 2) % _ZONE_STEP_S - _ZONE_STEP_S / 2
    return abs(gap_s) <= 14 * 3600 + _JOIN_TOLERANCE_S and abs(beside_s) <= _JOIN_TOLERANCE_S
