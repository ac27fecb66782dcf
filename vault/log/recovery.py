"""Bringing files and memory up to what the database committed: after a crash, and after another process's batch.

Everything is checked before the first file is written: a vault that is refused is left as it was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vault.entry import decode
from vault.errors import CheckpointInvalidError, EntryInvalidError, LogForkError
from vault.log.checkpoint import Checkpoint, verify_checkpoint
from vault.log.merkle import verify_consistency
from vault.log.reader import read_bundle, read_tile
from vault.log.tail import Tail
from vault.log.tiles import decode_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vault.log.publish import Publication
    from vault.log.reader import LogReader
    from vault.log.staging import Staging


class State(NamedTuple):
    """What the sequencer holds in memory: the published log's end."""

    tail: Tail
    checkpoint: Checkpoint
    time_ms: int  # of the newest entry


class Recovery:
    """One look at the database and the files, by the holder of the sequencer's lock."""

    def __init__(self, reader: LogReader, staging: Staging, publication: Publication) -> None:
        self._reader = reader
        self._staging = staging
        self._publication = publication
        self.committed = verify_checkpoint(staging.required_checkpoint(), reader.verifiers, reader.origin)
        self._batches = staging.batches()
        self._published = self._read_published()

    def run(self, tail: Tail | None) -> State:
        """Return the state at the committed checkpoint, published; `tail` is what this process knew before, if any.

        Raises LogForkError when a checkpoint was published that the database does not know (it was restored from an
        older copy), EntryInvalidError when the files do not lead to the committed root.
        """
        committed, published = self.committed, self._published
        self._refuse_fork()
        base, batches = self._base(tail)
        grown = self._replay(base, batches)
        if (grown.size, grown.root()) != (committed.size, committed.root):
            self._reader.root_at(committed.size, committed)  # names the tile or entry, if the fault is in the files
            raise EntryInvalidError(
                f"the {grown.size} entries found lead to root {grown.root().hex()},"
                f" the {committed.size} committed to {committed.root.hex()}"
            )
        self._refuse_other_past(base)
        if tail is None or published is None or published.note != committed.note:
            # Nothing is written before this line, and everything was checked.
            self._replay(base, batches, self._publication)
            self._publication.write_checkpoint(committed.note)
        return State(grown, committed, self._last_time_ms())

    def _read_published(self) -> Checkpoint | None:
        """Return the published checkpoint; None when there is none, or one that a power cut may have torn."""
        path = self._reader.directory / "checkpoint"
        if not path.exists():
            return None
        try:
            return self._reader.checkpoint()
        except CheckpointInvalidError:
            # Without staged batches the file was synced whole, so nothing innocent explains its damage.
            if not self._batches:
                raise
            return None

    def _refuse_fork(self) -> None:
        committed, published = self.committed, self._published
        if published is None or published.size < committed.size:
            return
        if (published.size, published.root) != (committed.size, committed.root):
            raise LogForkError(
                f"log/checkpoint has {published.size} entries (root {published.root.hex()}), catalogue.db knows"
                f" {committed.size} (root {committed.root.hex()}): was the database restored from an older copy?"
            )

    def _base(self, tail: Tail | None) -> tuple[Tail, Sequence[tuple[int, int]]]:
        """Return the newest tree to start from, and the batches after it."""
        if tail is not None:
            following = [each for each in self._batches if each[0] >= tail.size]
            if following and following[0][0] == tail.size:
                return tail, following
        start = self._batches[0][0] if self._batches else self.committed.size
        directory = self._reader.directory
        loaded = Tail.load(start, lambda tile: read_tile(directory, tile), lambda tile: read_bundle(directory, tile))
        return loaded, self._batches

    def _replay(self, base: Tail, batches: Sequence[tuple[int, int]], publication: Publication | None = None) -> Tail:
        """Append the staged batches to a copy of `base`, checking each; write their files when told where."""
        tail = base
        for old_size, _ in batches:
            batch = self._staging.batch(old_size)
            entries = decode_bundle(batch.entries)
            grown = tail.copy()
            files = grown.append(entries)
            signed = verify_checkpoint(batch.checkpoint, self._reader.verifiers, self._reader.origin)
            if (grown.size, grown.root()) != (signed.size, signed.root):
                raise EntryInvalidError(
                    f"the batch staged at {old_size} leads to {grown.size} entries with root {grown.root().hex()},"
                    f" its checkpoint says {signed.size} with {signed.root.hex()}"
                )
            self._refuse_other_batch(tail, entries)
            if publication is None:
                self._publication.remember_filled(files)
            else:
                publication.write_tiles(files, self.committed.size)
            tail = grown
        return tail

    def _refuse_other_batch(self, tail: Tail, entries: Sequence[bytes]) -> None:
        """Raise LogForkError if a checkpoint was published within this batch over other entries (I3)."""
        published = self._published
        if published is None or not tail.size < published.size <= tail.size + len(entries):
            return
        seen = tail.copy()
        seen.append(entries[: published.size - tail.size])
        if seen.root() != published.root:
            raise LogForkError(f"log/checkpoint and catalogue.db disagree on the first {published.size} entries")

    def _refuse_other_past(self, base: Tail) -> None:
        """Raise LogForkError if the published checkpoint is no beginning of the tree that the batches extend (I3)."""
        published = self._published
        if published is None or published.size > base.size:
            return
        # The replay has led from this tree to a signed one, so its root may be trusted like a signed root.
        tree = Checkpoint(self._reader.origin, base.size, base.root(), b"")
        verify_consistency(
            old_size=published.size,
            new_size=tree.size,
            old_root=published.root,
            new_root=tree.root,
            proof=self._reader.consistency_proof(published.size, tree),
        )

    def _last_time_ms(self) -> int:
        size = self.committed.size
        return decode(self._reader.entry(size - 1, self.committed)).time_ms if size else 0
