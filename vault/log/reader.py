"""Reading a log from its directory, trusting nothing but a verified checkpoint.

Every hash tile is folded up to the checkpoint's root and every entry is hashed against its tile, each time for the
checkpoint at hand. Folded tiles are kept in a small cache together with the hash they fold to; a hit is still compared
with its parent, so a cached tile of another (forked) tree is never believed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, TypeVar

from vault import durable
from vault.errors import CheckpointInvalidError, EntryInvalidError
from vault.log.checkpoint import verify_checkpoint
from vault.log.merkle import Edge, consistency_ranges, fold, inclusion_ranges, leaf_hash, perfect_root, range_hash
from vault.log.proof import TlogProof
from vault.log.tiles import BUNDLE, TILE_WIDTH, Tile, decode_bundle, partial_tiles, tile_at

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from pathlib import Path

    from vault.log.checkpoint import Checkpoint, Verifier

TILES_CACHED = 512  # 4 MiB
EDGES_CACHED = 16  # trees of as many sizes read at once

Value = TypeVar("Value")


class LogReader:
    """Reads one log. Safe for threads, and beside a writer in any process: files are replaced whole or not at all."""

    def __init__(self, directory: Path, verifiers: Sequence[Verifier], origin: str) -> None:
        self.directory = directory
        self.verifiers = tuple(verifiers)
        self.origin = origin
        self._tiles: _Cache[tuple[list[bytes], bytes]] = _Cache(TILES_CACHED)
        self._edges: _Cache[dict[int, list[bytes]]] = _Cache(EDGES_CACHED)

    def checkpoint(self) -> Checkpoint:
        """Read the published checkpoint; raises CheckpointInvalidError."""
        path = self.directory / "checkpoint"
        with durable.storage_errors(path, "read"):
            try:
                data = path.read_bytes()
            except FileNotFoundError as err:
                raise CheckpointInvalidError(f"there is no {path}") from err
        return verify_checkpoint(data, self.verifiers, self.origin)

    def entry(self, index: int, checkpoint: Checkpoint) -> bytes:
        """Return one entry; raises EntryInvalidError when the log does not hold it as the checkpoint says."""
        number, offset = divmod(index, TILE_WIDTH)
        hashes = self._tile(0, number, checkpoint)
        if not 0 <= offset < len(hashes):
            raise EntryInvalidError(f"entry {index} is not in a log of {checkpoint.size} entries")
        data = read_bundle(self.directory, tile_at(BUNDLE, number, checkpoint.size))[offset]
        if leaf_hash(data) != hashes[offset]:
            raise EntryInvalidError(f"entry {index} is not the one that was logged")
        return data

    def entries(self, start: int, end: int, checkpoint: Checkpoint) -> Iterator[tuple[int, bytes]]:
        """Yield (index, entry) of [start, end) in order, each authenticated before it is yielded."""
        if not 0 <= start <= end <= checkpoint.size:
            raise EntryInvalidError(f"entries {start} to {end} are not in a log of {checkpoint.size} entries")
        for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = number * TILE_WIDTH
            entries = self._bundle(number, checkpoint)
            yield from enumerate(entries[max(start - first, 0) : end - first], max(start, first))

    def inclusion_proof(self, index: int, checkpoint: Checkpoint) -> list[bytes]:
        """Return the hashes that lead from entry `index` to the root; raises EntryInvalidError."""
        if not 0 <= index < checkpoint.size:
            raise EntryInvalidError(f"entry {index} is not in a log of {checkpoint.size} entries")
        return [self.range_hash(start, end, checkpoint) for start, end in inclusion_ranges(index, checkpoint.size)]

    def consistency_proof(self, old_size: int, checkpoint: Checkpoint) -> list[bytes]:
        """Return the hashes that show this tree to extend the one of `old_size`; raises EntryInvalidError."""
        if not 0 <= old_size <= checkpoint.size:
            raise EntryInvalidError(f"a log of {checkpoint.size} entries never had {old_size}")
        return [self.range_hash(start, end, checkpoint) for start, end in consistency_ranges(old_size, checkpoint.size)]

    def tlog_proof(self, index: int, checkpoint: Checkpoint) -> bytes:
        """Return the tlog-proof file of one entry."""
        hashes = tuple(self.inclusion_proof(index, checkpoint))
        return TlogProof(index=index, hashes=hashes, note=checkpoint.note).encode()

    def root_at(self, size: int, checkpoint: Checkpoint) -> bytes:
        """Return the root this log had at an earlier size."""
        return self.range_hash(0, size, checkpoint)

    def range_hash(self, start: int, end: int, checkpoint: Checkpoint) -> bytes:
        """Return the tree hash over leaves [start, end), where `start` is a multiple of the largest subtree in it."""
        return range_hash(start, end, lambda at, exponent: self._subtree(at, exponent, checkpoint))

    # --- tiles -------------------------------------------------------------------------------------------------------

    def _subtree(self, start: int, exponent: int, checkpoint: Checkpoint) -> bytes:
        """Return the root over the 2^exponent leaves from `start`, out of a single tile."""
        level, width = exponent // 8, 1 << exponent % 8
        number, offset = divmod(start >> 8 * level, TILE_WIDTH)
        return perfect_root(self._tile(level, number, checkpoint)[offset : offset + width])

    def _tile(self, level: int, number: int, checkpoint: Checkpoint) -> list[bytes]:
        """Return the hashes of a tile of this checkpoint's tree; raises EntryInvalidError."""
        tile = tile_at(level, number, checkpoint.size)
        if tile.width < TILE_WIDTH:
            return self._edge(checkpoint)[level]
        hashes, folded = self._folded(tile)
        above, offset = divmod(number, TILE_WIDTH)
        if folded != self._tile(level + 1, above, checkpoint)[offset]:
            self._tiles.drop(tile)  # the file may be mended later; the refusal must not outlive it
            raise EntryInvalidError(f"{tile.path} does not lead to the root of {checkpoint.size} entries")
        return hashes

    def _folded(self, tile: Tile) -> tuple[list[bytes], bytes]:
        cached = self._tiles.get(tile)
        if cached is None:
            hashes = read_tile(self.directory, tile)
            cached = hashes, perfect_root(hashes)
            self._tiles.put(tile, cached)
        return cached

    def _edge(self, checkpoint: Checkpoint) -> dict[int, list[bytes]]:
        """Return the partial tiles on the right edge, by level, once they are known to fold to the root."""
        edge = self._edges.get((checkpoint.size, checkpoint.root))
        if edge is None:
            edge = {tile.level: read_tile(self.directory, tile) for tile in partial_tiles(checkpoint.size)}
            levels = [_edge_hashes(edge[level]) for level in sorted(edge, reverse=True)]
            if fold([each for hashes in levels for each in hashes]) != checkpoint.root:
                raise self._blame(edge, checkpoint)
            self._edges.put((checkpoint.size, checkpoint.root), edge)
        return edge

    def _blame(self, edge: dict[int, list[bytes]], checkpoint: Checkpoint) -> EntryInvalidError:
        """Say which entry or tile on the right edge differs from what lies below it, if that can be told."""
        for tile in partial_tiles(checkpoint.size):
            below = tile.level - 1
            for offset, stored in enumerate(edge[tile.level]):
                child = tile.number * TILE_WIDTH + offset
                if below < 0:
                    found = leaf_hash(read_bundle(self.directory, Tile(BUNDLE, tile.number, tile.width))[offset])
                    name = f"entry {child}"
                else:
                    found = self._folded(Tile(below, child))[1]
                    name = Tile(below, child).path
                if found != stored:
                    return EntryInvalidError(f"{name} is not what {tile.path} says of it")
        paths = ", ".join(tile.path for tile in partial_tiles(checkpoint.size))
        return EntryInvalidError(f"{paths} do not lead to the root of {checkpoint.size} entries")

    def _bundle(self, number: int, checkpoint: Checkpoint) -> list[bytes]:
        """Return all entries of one bundle, authenticated."""
        hashes = self._tile(0, number, checkpoint)
        entries = read_bundle(self.directory, tile_at(BUNDLE, number, checkpoint.size))
        found = [sha256(b"\x00" + entry).digest() for entry in entries]
        if found != hashes:
            wrong = next(offset for offset, pair in enumerate(zip(found, hashes, strict=True)) if pair[0] != pair[1])
            raise EntryInvalidError(f"entry {number * TILE_WIDTH + wrong} is not the one that was logged")
        return entries


def read_tile(directory: Path, tile: Tile) -> list[bytes]:
    """Read a tile's hashes, from the full tile when the partial one is gone; raises EntryInvalidError. Not verified."""
    for candidate in _candidates(tile):
        data = _read(directory, candidate)
        if data is not None and len(data) == 32 * candidate.width:
            return [data[start : start + 32] for start in range(0, 32 * tile.width, 32)]
    raise EntryInvalidError(f"{tile.path} is missing or cut off")


def read_bundle(directory: Path, tile: Tile) -> list[bytes]:
    """Read the entries of a bundle, as `read_tile` reads hashes. Not verified."""
    damage = "is missing"
    for candidate in _candidates(tile):
        data = _read(directory, candidate)
        if data is None:
            continue
        try:
            entries = decode_bundle(data)
        except EntryInvalidError as err:
            damage = f"is damaged: {err}"
            continue
        if len(entries) == candidate.width:
            return entries[: tile.width]
        damage = f"holds {len(entries)} entries, not {candidate.width}"
    first = tile.number * TILE_WIDTH
    raise EntryInvalidError(f"{tile.path} (entries {first} to {first + tile.width - 1}) {damage}")


def _candidates(tile: Tile) -> tuple[Tile, ...]:
    # A partial tile is removed once the full one is durable; one torn by a power cut has the full one beside it.
    return (tile,) if tile.width == TILE_WIDTH else (tile, tile.full)


def _read(directory: Path, tile: Tile) -> bytes | None:
    path = directory / tile.path
    with durable.storage_errors(path, "read"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _edge_hashes(hashes: Sequence[bytes]) -> list[bytes]:
    """Fold a partial tile into its perfect subtrees, largest first."""
    edge = Edge()
    for each in hashes:
        edge.append(each)
    return edge.hashes


class _Cache(Generic[Value]):
    """Keeps the values used last."""

    def __init__(self, count_max: int) -> None:
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._count_max = count_max
        self._turn = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        with self._turn:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        with self._turn:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._count_max:
                self._values.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        with self._turn:
            self._values.pop(key, None)
