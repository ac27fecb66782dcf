"""The sequencer: the only writer of the log.

    append -> queue                                                  not acknowledged
    batch: duplicates, indices, envelopes, tiles, root, signature    in memory
    one transaction: staged batch, ids, subject heads, CAS of cp     <== COMMIT POINT, one fdatasync
    tiles and bundles (rename, no fsync), then `checkpoint`          published
    acknowledge
    now and then: syncfs, remove partial tiles that are full, drop staged batches

Dead before the commit: the batch never happened; its submitters come again with the same ids. Dead after it: the next
`open`, or the next batch of another process, writes the files again from the staged batch (`vault.log.recovery`).

Several processes may have the log open. An exclusive lock on sequencer.lock is held from before cp is read until the
checkpoint is published, so that files never go back; that no two batches follow the same tree rests on the
compare-and-swap alone. A caller must not hold a write transaction on catalogue.db while it appends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from vault import durable
from vault.entry import decode
from vault.errors import CheckpointInvalidError, StorageError, VaultError, VaultExistsError, VaultMissingError
from vault.log import restore
from vault.log.batch import Batch, prepare
from vault.log.checkpoint import parse_checkpoint, parse_vkeys
from vault.log.gather import Call, Gatherer
from vault.log.merkle import EMPTY_ROOT
from vault.log.publish import Publication
from vault.log.reader import LogReader
from vault.log.recovery import Recovery, State
from vault.log.staging import CommitUncertainError, SequencerConflictError, StagedBatch, Staging
from vault.log.tiles import encode_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vault.entry import LogEntry, Statement
    from vault.log.batch import Planned
    from vault.log.checkpoint import Checkpoint
    from vault.log.signer import Signer
    from vault.log.tiles import Tile

BATCH_STATEMENTS = 4096  # calls are gathered up to so many; one call is never split below CALL_STATEMENTS_MAX
CALL_STATEMENTS_MAX = 16_384  # 128 MiB of entries in one transaction at the very most
SETTLE_BATCHES = 256  # so many batches a recovery replays at most ...
SETTLE_BYTES = 64 << 20  # ... or so many bytes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The log's answer to a statement: durable, and under a signed, published checkpoint. Not yet witnessed."""

    index: int
    entry: LogEntry
    data: bytes  # the entry as the leaf hashes it
    checkpoint: Checkpoint
    repeated: bool  # the log had it before


class Log:
    """An open log. Safe for threads; several processes may have one open."""

    def __init__(self, root: Path, signer: Signer, origin: str, staging: Staging, now_ms: Callable[[], int]) -> None:
        """Use `Log.open`."""
        self.origin = origin
        self.reader = LogReader(root / "log", [signer.verifier], origin)
        self._signer = signer
        self._now_ms = now_ms
        self._staging = staging
        self._publication = Publication(root / "log")
        self._lock = _open_lock(root / "sequencer.lock")
        self._directory = os.open(root / "log", os.O_RDONLY | os.O_DIRECTORY)
        self._state: State | None = None
        self._stopped: StorageError | None = None
        self._clock_regress_ms = 0
        self._gatherer = Gatherer(self._commit, statements_max=BATCH_STATEMENTS)
        self._turn = threading.Lock()  # the file lock keeps processes apart, this one the threads of one
        self._settler: threading.Thread | None = None
        self._settled = 0  # entries whose files are synced
        self._unsettled_batches = 0
        self._unsettled_bytes = 0
        self._wrote = False

    @staticmethod
    def create(root: Path, signer: Signer, origin: str) -> None:
        """Make an empty log in `root`: its key, its first checkpoint, its tables. Raises VaultExistsError."""
        directory = root / "log"
        checkpoint = signer.checkpoint(origin, 0, EMPTY_ROOT)
        with durable.storage_errors(directory, "read"):
            published = directory / "checkpoint"
            if published.exists() and published.read_bytes() != checkpoint.note:  # equal: an earlier create was cut off
                raise VaultExistsError(f"{directory} already holds a log")
        durable.write_new(directory / "vkey", f"{signer.vkey}\n".encode())
        durable.replace_recreatable(directory / "checkpoint", checkpoint.note)
        durable.sync_file_system(directory)
        staging = Staging.create(root / "catalogue.db")
        try:
            # Dead before this line: no log; `create` again does the same. Dead after it: an empty, whole log.
            staging.create_log(checkpoint.note)
        finally:
            staging.close()
        durable.sync_directory(root)

    @classmethod
    def open(cls, root: Path, signer: Signer, *, now_ms: Callable[[], int]) -> Self:
        """Open the log and finish what a crash left: raises IntegrityError rather than guess."""
        if not (root / "log").is_dir():  # lost, or on a disk that is not mounted: never begin a new one beside it
            raise VaultMissingError(f"there is no {root / 'log'}")
        staging = Staging.open(root / "catalogue.db")
        try:
            origin = parse_checkpoint(staging.required_checkpoint()).origin
            _check_vkey(root / "log" / "vkey", signer)
            log = cls(root, signer, origin, staging, now_ms)
        except BaseException:
            staging.close()
            raise
        try:
            with log._exclusive():
                log._publication.tidy()
        except BaseException:
            log._release()
            raise
        return log

    @staticmethod
    def restore_index(root: Path, signer: Signer, database: Path) -> Checkpoint:
        """Fill an empty `database` from the files of the log alone; see `vault.log.restore`."""
        directory = root / "log"
        with durable.storage_errors(directory, "read"):
            origin = parse_checkpoint((directory / "checkpoint").read_bytes()).origin
        return restore.restore_index(LogReader(directory, [signer.verifier], origin), database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sync what was published and let go; raises StorageError when the sync fails."""
        if self._lock < 0:
            return
        try:
            if self._settler is not None:
                self._settler.join()
            if self._wrote and self._stopped is None:
                with self._exclusive() as state:
                    self._settle(state.checkpoint.size, self._publication.take_filled())
                    self._check_running()
                    self._staging.discard(self._settled)
        finally:
            self._release()

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint this process knows to be published; another process may be further."""
        assert self._state is not None  # noqa: S101 # `open` set it
        return self._state.checkpoint

    @property
    def clock_regress_ms(self) -> int:
        """How far the clock stood behind the newest entry, at worst, since the log was opened; 0 if never."""
        return self._clock_regress_ms

    def last_index(self, subject: str) -> int:
        """Return the index of the newest entry about a subject, -1 if none; a checkpoint read afterwards covers it."""
        index = self._staging.heads([subject]).get(subject, -1)
        if index >= self.checkpoint.size:  # committed by another process, perhaps not published yet
            with self._exclusive():
                pass  # whoever holds the lock has published
        return index

    def append(self, statements: Sequence[Statement]) -> list[Receipt]:
        """Log statements; return when they are durable and under a published checkpoint.

        All of a call or none (up to CALL_STATEMENTS_MAX, longer calls in such pieces), in order, one index after the
        other. A statement whose id the log has gives the old receipt; an id that said something else raises
        ConflictError. After a StorageError the statements may or may not be in the log: come again with the same ids.
        """
        if len(statements) > CALL_STATEMENTS_MAX:
            pieces = range(0, len(statements), CALL_STATEMENTS_MAX)
            return [each for at in pieces for each in self.append(statements[at : at + CALL_STATEMENTS_MAX])]
        call = Call([prepare(statement) for statement in statements])
        if not call.prepared:
            return []
        self._gatherer.run(call)
        receipts: list[Receipt] = call.answer
        return receipts

    # --- one batch ---------------------------------------------------------------------------------------------------

    def _commit(self, calls: list[Call]) -> None:
        with self._exclusive() as state:
            batch = self._plan(calls, state)
            checkpoint = self._write(batch, state) if batch.entries else state.checkpoint
            for call in calls:
                if call.error is None:
                    self._answer(call, checkpoint)
        self._settle_sometimes()

    def _plan(self, calls: list[Call], state: State) -> Batch:
        prepared = [each for call in calls for each in call.prepared]
        now = self._now_ms()
        self._clock_regress_ms = max(self._clock_regress_ms, state.time_ms - now)
        batch = Batch(
            size=state.checkpoint.size,
            time_ms=max(now, state.time_ms),
            known=self._staging.known(each.statement.id for each in prepared),
            heads=self._staging.heads({value for each in prepared for value in each.subjects.values()}),
        )
        for call in calls:
            try:
                call.planned = batch.add(call.prepared)
            except VaultError as err:  # this call's own fault: the others go on
                call.error = err
        return batch

    def _write(self, batch: Batch, state: State) -> Checkpoint:
        """Commit a batch and publish it."""
        tail = state.tail.copy()
        files = tail.append(batch.entries)
        checkpoint = self._signer.checkpoint(self.origin, tail.size, tail.root())
        staged = StagedBatch(state.checkpoint.size, tail.size, checkpoint.note, encode_bundle(batch.entries))
        # Dead (or refused: a full disk) before the next line returns: the batch never happened.
        self._staging.commit(
            staged, old=state.checkpoint.note, rows=batch.rows, heads=batch.heads, settled=self._settled
        )
        # Dead from here on: the batch is in the log; whoever comes next writes these files from the staged row.
        self._publication.write_tiles(files, tail.size)
        self._publication.remember_filled(files)
        self._publication.write_checkpoint(checkpoint.note)
        self._state = State(tail, checkpoint, batch.time_ms)
        self._wrote = True
        self._unsettled_batches += 1
        self._unsettled_bytes += len(staged.entries)
        return checkpoint

    def _answer(self, call: Call, checkpoint: Checkpoint) -> None:
        try:
            call.answer = [self._receipt(each, checkpoint) for each in call.planned]
        except VaultError as err:  # an older entry could not be read back
            call.error = err

    def _receipt(self, planned: Planned, checkpoint: Checkpoint) -> Receipt:
        entry, data = planned.entry, planned.data
        if entry is None:
            data = self.reader.entry(planned.position, checkpoint)
            entry = decode(data)
        return Receipt(index=planned.position, entry=entry, data=data, checkpoint=checkpoint, repeated=planned.repeated)

    # --- lock, state, sync -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[State]:
        """Hold the sequencer's lock and the newest state."""
        with self._turn:
            self._check_running()
            with durable.storage_errors(self.reader.directory.parent / "sequencer.lock", "lock"):
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield self._refresh()
            except (CommitUncertainError, SequencerConflictError) as err:
                self._stopped = err
                raise
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _refresh(self) -> State:
        """Follow what another process, or a batch of ours that could not be published, committed."""
        state = self._state
        if state is None or self._staging.checkpoint() != state.checkpoint.note:
            recovery = Recovery(self.reader, self._staging, self._publication)
            state = self._state = recovery.run(state.tail if state else None)
        return state

    def _check_running(self) -> None:
        if self._stopped is not None:
            raise StorageError(f"the sequencer of this process stopped: {self._stopped}") from self._stopped

    def _settle_sometimes(self) -> None:
        """Start to sync what was published, beside the next batches: the disk may be busy with footage."""
        if self._unsettled_batches < SETTLE_BATCHES and self._unsettled_bytes < SETTLE_BYTES:
            return
        if self._settler is not None and self._settler.is_alive():
            return
        self._unsettled_batches = self._unsettled_bytes = 0
        work = (self.checkpoint.size, self._publication.take_filled())
        self._settler = threading.Thread(target=self._settle, args=work, name="liuhen-log-settle", daemon=True)
        self._settler.start()

    def _settle(self, size: int, filled: list[Tile]) -> None:
        """Make the files of the first `size` entries durable; later commits may then drop their staged batches."""
        try:
            durable.sync_file_system(self.reader.directory, self._directory)
            # Durable: every file of these entries. Dead here: some partial tiles stay beside their full ones.
            self._publication.prune(filled)
            self._settled = size
        except StorageError as err:
            self._stopped = err  # what a failed sync dropped nobody can tell: never try again

    def _release(self) -> None:
        self._staging.close()
        os.close(self._directory)
        os.close(self._lock)
        self._lock = -1


def _open_lock(path: Path) -> int:
    with durable.storage_errors(path, "open"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _check_vkey(path: Path, signer: Signer) -> None:
    """Refuse a signing key that is not the log's; write the public key again if its file was lost."""
    with durable.storage_errors(path, "read"):
        try:
            text = path.read_text()
        except FileNotFoundError:
            text = ""
    if not text:
        durable.write_new(path, f"{signer.vkey}\n".encode())
    elif signer.verifier not in parse_vkeys(text):
        raise CheckpointInvalidError(f"{path} names another key than the signing key {signer.verifier.name}")
