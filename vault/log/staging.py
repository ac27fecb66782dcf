"""The database side of the commit protocol: staged batches, the signed checkpoint, ids and subject heads.

One transaction (`Staging.commit`) is the moment a batch enters the log. Everything under log/ is a copy that can be
made again from what stands here or, once synced, needs no more than itself. The tables share catalogue.db with the
catalogue; a caller must not hold a write transaction of its own on that file while it appends to the log.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from typing import TYPE_CHECKING, NamedTuple

from vault import durable
from vault.errors import CatalogueMismatchError, StorageError, VaultError, VaultExistsError, VaultMissingError
from vault.log.batch import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from vault.log.batch import IndexRow

BUSY_TIMEOUT_S = 60.0
SQLITE_OLDEST = (3, 37)  # STRICT tables
WAL_PAGES = 4000  # 32 MiB of log before SQLite copies it into the database

LOG_TABLES = """
CREATE TABLE IF NOT EXISTS cp (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS staged (
    old_size INTEGER PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size > old_size),
    checkpoint BLOB NOT NULL,
    entries BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ix (
    id TEXT PRIMARY KEY,
    statement_digest BLOB NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subject_head (
    subject TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

# Refusals after which the transaction is certainly not in the log and the same process may try again.
_CERTAIN = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CANTOPEN")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class CommitUncertainError(StorageError):
    """The disk failed during a commit; whether the batch is in the log only the next start can tell."""

    remedy = "Stop, look at the disk, start again; then repeat the work: what is in the log is recognised by its id."


class SequencerConflictError(StorageError):
    """Another sequencer committed in between although this one held the lock: the lock does not work here."""

    remedy = "Keep the data directory on a local file system and run one Liuhen at a time."


class SqliteTooOldError(VaultError):
    """The sqlite3 module of this Python lacks what the catalogue needs."""

    remedy = (
        "Use a Python with a newer SQLite: that of Debian 12 or Ubuntu 24.04, of python.org, or of `uv python install`."
    )


class StagedBatch(NamedTuple):
    """One committed batch, from which its tiles can be made again."""

    old_size: int
    size: int
    checkpoint: bytes  # the signed note at `size`
    entries: bytes  # as a bundle encodes them


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the log's tables where they are missing."""
    connection.executescript(LOG_TABLES)


class Staging:
    """A connection of the sequencer's own. Each method is one step; threads take turns."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._turn = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Staging:
        """Open catalogue.db; raises VaultMissingError when there is none: opening never creates."""
        if not path.exists():
            raise VaultMissingError(f"there is no {path}")
        return cls(_connect(path, "rw"), path)

    @classmethod
    def create(cls, path: Path) -> Staging:
        """Open catalogue.db, making the file and the log's tables where they are missing."""
        connection = _connect(path, "rwc")
        with _sqlite_errors(path):
            create_tables(connection)
        return cls(connection, path)

    def close(self) -> None:
        """Close the connection."""
        with self._turn, _sqlite_errors(self._path):
            self._connection.close()

    def checkpoint(self) -> bytes | None:
        """Return the signed note of the newest commit, None when the log was never created here."""
        with self._turn, _sqlite_errors(self._path):
            row = self._connection.execute("SELECT body FROM cp").fetchone()
            return row[0] if row else None

    def required_checkpoint(self) -> bytes:
        """Return the same; raises CatalogueMismatchError when there is none."""
        note = self.checkpoint()
        if note is None:
            raise CatalogueMismatchError(f"{self._path} holds no log")
        return note

    def batches(self) -> list[tuple[int, int]]:
        """Return (old_size, size) of every staged batch, oldest first."""
        with self._turn, _sqlite_errors(self._path):
            return self._connection.execute("SELECT old_size, size FROM staged ORDER BY old_size").fetchall()

    def batch(self, old_size: int) -> StagedBatch:
        """Return the batch staged at `old_size`; raises CatalogueMismatchError when there is none."""
        with self._turn, _sqlite_errors(self._path):
            query = "SELECT old_size, size, checkpoint, entries FROM staged WHERE old_size = ?"
            row = self._connection.execute(query, (old_size,)).fetchone()
        if row is None:
            raise CatalogueMismatchError(f"{self._path} holds no batch at {old_size}")
        return StagedBatch(*row)

    def known(self, ids: Iterable[str]) -> dict[str, Known]:
        """Return those of `ids` that are in the log."""
        query = "SELECT id, position, statement_digest FROM ix WHERE id IN (SELECT value FROM json_each(?))"
        with self._turn, _sqlite_errors(self._path):
            rows = self._connection.execute(query, (json.dumps(list(ids)),))
            return {identity: Known(position, digest) for identity, position, digest in rows}

    def heads(self, subjects: Iterable[str]) -> dict[str, int]:
        """Return the index of the newest entry of those of `subjects` that have one."""
        query = "SELECT subject, position FROM subject_head WHERE subject IN (SELECT value FROM json_each(?))"
        with self._turn, _sqlite_errors(self._path):
            return dict(self._connection.execute(query, (json.dumps(list(subjects)),)))

    def create_log(self, note: bytes) -> None:
        """Store the first checkpoint; raises VaultExistsError when there is one."""
        if self.checkpoint() is not None:
            raise VaultExistsError(f"{self._path} already holds a log")
        with self._turn, _sqlite_errors(self._path), self._transaction():
            self._connection.execute("INSERT INTO cp(one, body) VALUES (1, ?)", (note,))

    def commit(
        self, batch: StagedBatch, *, old: bytes, rows: Iterable[IndexRow], heads: Mapping[str, int], settled: int
    ) -> None:
        """Bring a batch into the log: durable when it returns, gone when it raises (but see CommitUncertainError).

        `old` is the note that this batch extends: the compare-and-swap on it is what keeps two sequencers from
        forking the log. Batches up to `settled` entries, whose files are synced, are dropped on the way.
        """
        with self._turn, _sqlite_errors(self._path), self._transaction() as execute:
            self._connection.execute("INSERT INTO staged VALUES (?, ?, ?, ?)", batch)
            self._insert(rows, heads)
            execute("DELETE FROM staged WHERE size <= ?", (settled,))
            if execute("UPDATE cp SET body = ? WHERE body = ?", (batch.checkpoint, old)).rowcount != 1:
                raise SequencerConflictError(f"another sequencer committed to {self._path} at {batch.old_size} entries")

    def discard(self, settled: int) -> None:
        """Drop the batches up to `settled` entries: their files are synced."""
        with self._turn, _sqlite_errors(self._path), self._transaction() as execute:
            execute("DELETE FROM staged WHERE size <= ?", (settled,))

    @contextlib.contextmanager
    def restoring(self, note: bytes) -> Iterator[Staging]:
        """Fill an empty index in one transaction: call `add` inside; `note` becomes the checkpoint at the end."""
        if self.checkpoint() is not None:
            raise VaultExistsError(f"{self._path} already holds a log")
        with _sqlite_errors(self._path), self._transaction() as execute:
            execute("DELETE FROM ix")
            execute("DELETE FROM subject_head")
            execute("DELETE FROM staged")
            yield self
            execute("INSERT INTO cp(one, body) VALUES (1, ?)", (note,))

    def add(self, rows: Iterable[IndexRow], heads: Mapping[str, int]) -> None:
        """Add ids and subject heads, inside `restoring`."""
        with self._turn:
            self._insert(rows, heads)

    def _insert(self, rows: Iterable[IndexRow], heads: Mapping[str, int]) -> None:
        self._connection.executemany(
            "INSERT INTO ix(id, statement_digest, position) VALUES (?, ?, ?)",
            [(row.id, row.digest, row.position) for row in rows],
        )
        self._connection.executemany(
            "INSERT INTO subject_head(subject, position) VALUES (?, ?)"
            " ON CONFLICT (subject) DO UPDATE SET position = excluded.position",
            heads.items(),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:  # SQLite rolls back by itself after some errors, not after all
                self._connection.execute("ROLLBACK")


def create_database(path: Path) -> None:
    """Create an empty database file with the settings that only an empty file takes; durable when it returns."""
    connection = _connect(path, "rwc")
    with _sqlite_errors(path):
        connection.close()
    durable.sync_directory(path.parent)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < SQLITE_OLDEST:
        raise SqliteTooOldError(f"this Python has SQLite {sqlite3.sqlite_version}, the catalogue needs 3.37 or newer")
    with _sqlite_errors(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _configure(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA page_size = 8192")  # only an empty file takes it
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":  # SQLite says "delete" instead of failing, and every promise below would be another
        raise StorageError(f"{path} cannot use a write-ahead log (journal mode {mode})")
    connection.execute("PRAGMA synchronous = FULL")  # one fdatasync per commit; a commit survives a power cut
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    connection.execute("PRAGMA cache_size = -65536")


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as err:
        raise SequencerConflictError(f"another sequencer wrote to {path}: {err}") from err
    except sqlite3.Error as err:
        name = getattr(err, "sqlite_errorname", "")
        if name.startswith(_DAMAGED):
            raise CatalogueMismatchError(f"{path} is damaged: {err}") from err
        if name.startswith(_CERTAIN):
            raise StorageError(f"cannot write {path}: {err}") from err
        raise CommitUncertainError(f"{path}: {err} ({name or type(err).__name__})") from err
