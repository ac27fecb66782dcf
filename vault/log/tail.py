"""The growing end of the log: the partial tile of each level and the partial bundle, in memory. Pure.

A `Tail` turns entries into the files of the grown tree. The sequencer and the recovery after a crash both use it, so
a tile that is written again comes out byte for byte as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vault.errors import EntryInvalidError
from vault.log.merkle import Edge, fold, leaf_hash
from vault.log.tiles import BUNDLE, TILE_WIDTH, Tile, encode_bundle, partial_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class TileFile(NamedTuple):
    """A tile or bundle and its bytes."""

    tile: Tile
    data: bytes


class _Level:
    """One level's partial tile: its hashes, and the same hashes folded as far as they go."""

    __slots__ = ("edge", "hashes", "number")

    def __init__(self, number: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.number = number
        self.hashes: list[bytes] = []
        self.edge = Edge()
        for each in hashes:
            self.append(each)

    def append(self, value: bytes) -> None:
        self.hashes.append(value)
        self.edge.append(value)

    def copy(self) -> _Level:
        level = _Level(self.number)
        level.hashes = self.hashes[:]
        level.edge = Edge(self.edge.size, self.edge.hashes)
        return level


class Tail:
    """What of a log of `size` entries must be known to append to it."""

    def __init__(self) -> None:
        self.size = 0
        self._levels = [_Level()]
        self._bundle: list[bytes] = []  # the entries of the partial bundle

    @classmethod
    def load(
        cls, size: int, read_tile: Callable[[Tile], Sequence[bytes]], read_bundle: Callable[[Tile], Sequence[bytes]]
    ) -> Tail:
        """Read the partial tiles and bundle of a log of `size`; raises EntryInvalidError if they disagree.

        The hashes are not checked here: the caller compares `root()` with a signed one.
        """
        tail = cls()
        tail.size = size
        partial = {tile.level: tile for tile in partial_tiles(size)}
        tail._levels = [
            _Level(size >> 8 * (level + 1), read_tile(partial[level]) if level in partial else ())
            for level in range(max(partial, default=0) + 1)
        ]
        if width := size % TILE_WIDTH:
            bundle = Tile(BUNDLE, size // TILE_WIDTH, width)
            tail._bundle = list(read_bundle(bundle))
            if [leaf_hash(entry) for entry in tail._bundle] != tail._levels[0].hashes:
                raise EntryInvalidError(f"the entries of {bundle.path} are not those that {partial[0].path} hashes")
        return tail

    def copy(self) -> Tail:
        """Return a tail that can grow without changing this one."""
        tail = Tail()
        tail.size = self.size
        tail._levels = [level.copy() for level in self._levels]
        tail._bundle = self._bundle[:]
        return tail

    def root(self) -> bytes:
        """Return the tree hash of all entries so far."""
        return fold([each for level in reversed(self._levels) for each in level.edge.hashes])

    def append(self, entries: Sequence[bytes]) -> list[TileFile]:
        """Add entries; return every tile and bundle that is new or grew, full ones and the partial ones of now."""
        files = self._append_bundles(entries)
        hashes = [leaf_hash(entry) for entry in entries]
        for number in range(len(self._levels) + 1):
            if not hashes:
                break
            if number == len(self._levels):
                self._levels.append(_Level())
            hashes = self._append_level(number, hashes, files)
        self.size += len(entries)
        return files

    def _append_bundles(self, entries: Sequence[bytes]) -> list[TileFile]:
        files = []
        first = self.size // TILE_WIDTH
        pending = self._bundle + list(entries)
        for start in range(0, len(pending), TILE_WIDTH):
            part = pending[start : start + TILE_WIDTH]
            files.append(TileFile(Tile(BUNDLE, first + start // TILE_WIDTH, len(part)), encode_bundle(part)))
        self._bundle = pending[len(pending) // TILE_WIDTH * TILE_WIDTH :]
        return files

    def _append_level(self, number: int, hashes: list[bytes], files: list[TileFile]) -> list[bytes]:
        """Add hashes to one level; return those that its filled tiles add to the level above."""
        level = self._levels[number]
        above = []
        for each in hashes:
            level.append(each)
            if level.edge.size == TILE_WIDTH:
                files.append(TileFile(Tile(number, level.number), b"".join(level.hashes)))
                above.append(level.edge.root())
                level = self._levels[number] = _Level(level.number + 1)
        if level.hashes:
            files.append(TileFile(Tile(number, level.number, len(level.hashes)), b"".join(level.hashes)))
        return above
