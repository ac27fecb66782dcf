"""C2SP tlog-tiles: where tiles and entry bundles lie, and what is in them. Pure; the one module for writer and readers.

A hash tile holds up to 256 sibling hashes: hash i of tile n at level l covers the leaves [(256n+i)·256^l, …+256^l).
An entry bundle holds the entries of the level-0 tile of the same number. Paths are relative to the log's directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vault.errors import EntryInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable

TILE_WIDTH = 256
ENTRY_BYTES_MAX = 65_535  # what the two length bytes of a bundle can say
LEVEL_MAX = 63


class Tile(NamedTuple):
    """One hash tile or, at level -1, one entry bundle; `width` < 256 says it is partial."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path under the log's directory, as a static web server serves it."""
        kind = "entries" if self.level == BUNDLE else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{number_path(self.number)}{partial}"

    @property
    def full(self) -> Tile:
        """The same tile once it is full."""
        return Tile(self.level, self.number)


BUNDLE = -1


def number_path(number: int) -> str:
    """Cut a tile number into groups of three digits, every group but the last marked: 1234067 → x001/x234/067."""
    path = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03d}/{path}"
    return path


def partial_tiles(size: int) -> list[Tile]:
    """Return the partial hash tiles on the right edge of a tree of `size`, lowest level first."""
    tiles = []
    for level in range(LEVEL_MAX + 1):
        count = size >> 8 * level
        if count == 0:
            break
        if count % TILE_WIDTH:
            tiles.append(Tile(level, count // TILE_WIDTH, count % TILE_WIDTH))
    return tiles


def tile_at(level: int, number: int, size: int) -> Tile:
    """Return the tile of that level and number as it stands in a tree of `size`; raises EntryInvalidError if absent."""
    count = size >> 8 * max(level, 0)
    width = min(count - number * TILE_WIDTH, TILE_WIDTH)
    if width <= 0 or number < 0:
        raise EntryInvalidError(f"a log of {size} entries has no {Tile(level, abs(number)).path}")
    return Tile(level, number, width)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Write entries one after the other, each behind its length in two big-endian bytes."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """Read the entries of a bundle; raises EntryInvalidError on missing bytes."""
    entries: list[bytes] = []
    position, end = 0, len(data)
    while position < end:
        start = position + 2
        position = start + (data[position] << 8 | data[start - 1]) if start <= end else end + 1
        if position > end:
            raise EntryInvalidError(f"entry {len(entries)} of a bundle of {end} bytes is cut off")
        entries.append(data[start:position])
    return entries
