"""Byte ranges of HTTP (RFC 9110 §14), decided before anything is read. Pure.

One range at a time: a server may ignore a Range header it does not want to serve, and players never ask for several, so
a request for several gets the whole resource rather than a multipart answer nobody needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=\s*(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What to send of a resource: bytes [start, end), and whether the answer is 206."""

    start: int
    end: int
    partial: bool

    @property
    def length(self) -> int:
        """How many bytes to send."""
        return self.end - self.start


def select(header: str | None, if_range: str | None, *, size: int, etag: str) -> Slice | None:
    """Return the slice a request asks for, or None when its range lies outside (416).

    A malformed header, several ranges, or an If-Range that does not name exactly this representation (a date never
    does: we hand none out) mean the whole resource.
    """
    whole = Slice(start=0, end=size, partial=False)
    if header is None or (if_range is not None and if_range != etag):
        return whole
    match = _RANGE.fullmatch(header)
    if match is None:
        return whole
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)  # of nothing there is no last byte
        return Slice(start=size - length, end=size, partial=True) if length else None
    start = int(first)
    if last and int(last) < start:
        return whole  # syntactically invalid: ignored, §14.1.1
    if start >= size:
        return None
    return Slice(start=start, end=min(int(last) + 1, size) if last else size, partial=True)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the client already has this representation."""
    if if_none_match is None:
        return False
    candidates = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in candidates or etag in candidates
