"""The files of log/: copies of what the database committed, made so that any C2SP reader can use them.

Nothing here is durable when written. Until `prune` was called after a syncfs, the staged batches can make it again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from vault import durable
from vault.log.tiles import TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from vault.log.tail import TileFile
    from vault.log.tiles import Tile


class Publication:
    """Writes tiles, bundles and the checkpoint. Only for the holder of the sequencer's lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # One name suffices, the lock keeps writers apart; what a killed one left is overwritten.
        self._temporary = directory / ".publishing"
        self._filled: list[Tile] = []

    def write_tiles(self, files: Iterable[TileFile], final_size: int) -> None:
        """Write the files of a batch. In a replay the log ends at `final_size`: partial tiles filled by then go."""
        for tile, data in files:
            path = self.directory / tile.path
            if tile.width < TILE_WIDTH and (tile.number + 1) * TILE_WIDTH <= final_size >> 8 * max(tile.level, 0):
                with durable.storage_errors(path, "remove"):
                    path.unlink(missing_ok=True)  # a power cut may have torn it; the full tile replaces it
                continue
            durable.replace_recreatable(path, data, temporary=self._temporary)

    def write_checkpoint(self, note: bytes) -> None:
        """Publish a checkpoint; its tiles must stand."""
        durable.replace_recreatable(self.directory / "checkpoint", note, temporary=self._temporary)

    def remember_filled(self, files: Iterable[TileFile]) -> None:
        """Keep in mind which tiles became full, whoever wrote them: their partial copies can go after a sync."""
        self._filled += [tile for tile, _ in files if tile.width == TILE_WIDTH]

    def take_filled(self) -> list[Tile]:
        """Return the tiles that were filled since the last call."""
        filled, self._filled = self._filled, []
        return filled

    def prune(self, filled: Iterable[Tile]) -> None:
        """Remove the partial copies of tiles that are full and synced."""
        for tile in filled:
            directory = self.directory / f"{tile.path}.p"
            # Another process that replayed the same batch may be at the same work: what is gone is gone.
            with durable.storage_errors(directory, "remove"), contextlib.suppress(FileNotFoundError):
                for path in list(directory.iterdir()):
                    path.unlink(missing_ok=True)
                directory.rmdir()

    def tidy(self) -> None:
        """Remove what a killed writer left half written."""
        with durable.storage_errors(self._temporary, "remove"):
            self._temporary.unlink(missing_ok=True)
