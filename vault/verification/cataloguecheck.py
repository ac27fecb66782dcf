"""Compare the catalogue with the log: the sequencer's own tables, and every projection against a fresh one (I7).

Reads catalogue.db through one read transaction opened before the checkpoint is read, so that a vault at work can be
checked: what the transaction shows can only be older than the log, never newer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import create_engine

from vault.catalogue import schema
from vault.catalogue.projection import project, set_projected_size
from vault.errors import CatalogueMismatchError
from vault.verification.verdict import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vault.entry import LogEntry
    from vault.verification.custody import Custody

FAULTS_MAX = 20  # of one table: one wrong row is enough to rebuild, a thousand say no more


class Snapshot:
    """catalogue.db as it was at one moment. Raises CatalogueMismatchError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._errors():
            self._connection = sqlite3.connect(_uri(path), uri=True, isolation_level=None, check_same_thread=False)
            self._connection.execute("BEGIN")
            row = self._connection.execute("SELECT body FROM cp").fetchone()
            self.checkpoint: bytes | None = row[0] if row else None
            row = self._connection.execute("SELECT size FROM projected").fetchone()
            self.projected: int = row[0] if row else 0
            query = "SELECT old_size, size FROM staged ORDER BY old_size"
            self.staged: list[tuple[int, int]] = self._connection.execute(query).fetchall()

    def can_publish(self, start: int, end: int) -> bool:
        """Tell whether the staged batches hold every entry from `start` to `end`: what a start would publish again."""
        for old_size, size in self.staged:
            if old_size <= start < size:
                start = size
        return start >= end

    def rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        with self._errors():
            yield from self._connection.execute(query)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise CatalogueMismatchError(f"{self._path} cannot be read: {err}") from err


class Expected:
    """A fresh catalogue in a temporary file, fed with the entries of the log; and the digests `ix` must hold."""

    def __init__(self, size: int) -> None:
        self._size = size  # entries that the catalogue under test shows
        self._folder = tempfile.TemporaryDirectory(prefix="liuhen-verify-")
        self._path = Path(self._folder.name) / "catalogue.db"
        self._engine = create_engine(f"sqlite:///{self._path}")
        self._connection = self._engine.connect()
        for pragma in ("synchronous=OFF", "journal_mode=OFF"):  # nobody needs this file after a crash
            self._connection.exec_driver_sql(f"PRAGMA {pragma}")
        schema.metadata.create_all(self._connection)
        self.digests = bytearray()  # SHA-256 of each statement, 32 bytes an entry

    def feed(self, index: int, data: bytes, entry: LogEntry, private: Mapping[str, object]) -> None:
        """Take the next entry of the log."""
        self.digests += hashlib.sha256(_statement_bytes(data)).digest()
        if index < self._size:
            project(self._connection, index, entry, private)

    def skip(self, count: int) -> None:
        """Pass over entries that cannot be read."""
        self.digests += bytes(32 * count)

    def compare(self, snapshot: Snapshot, custody: Custody, *, exact: bool) -> list[Fault]:
        """Return what the catalogue shows differently from the log; `exact` when both have the same checkpoint."""
        if self._size:
            set_projected_size(self._connection, self._size)
        self._connection.commit()
        faults = _index_faults(snapshot, custody, self.digests, exact=exact)
        fresh = sqlite3.connect(self._path)
        with contextlib.closing(fresh):
            for table in schema.metadata.sorted_tables:
                keys = [column.name for column in table.primary_key]
                others = [column.name for column in table.columns if column.name not in keys]
                columns, order = ", ".join(keys + others), ", ".join(keys)
                query = f"SELECT {columns} FROM {table.name} ORDER BY {order}"  # noqa: S608 # names of our schema
                faults += _table_faults(table.name, len(keys), snapshot.rows(query), fresh.execute(query))
        return faults

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._engine.dispose()
        self._folder.cleanup()


def _uri(path: Path) -> str:
    """Name the database for reading; on a read-only medium, where SQLite cannot make its lock file, as immutable."""
    writable = os.access(path.parent, os.W_OK) or path.with_name(path.name + "-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'' if writable else '&immutable=1'}"


def _table_faults(
    table: str, width: int, shown: Iterator[tuple[Any, ...]], implied: Iterator[tuple[Any, ...]]
) -> list[Fault]:
    """Compare two streams of rows ordered by their first `width` columns; stop after FAULTS_MAX differences."""
    faults: list[Fault] = []
    have, want = next(shown, None), next(implied, None)
    while (have or want) and len(faults) < FAULTS_MAX:
        key = min(row[:width] for row in (have, want) if row is not None)
        left = have if have is not None and have[:width] == key else None
        right = want if want is not None and want[:width] == key else None
        if left != right:
            where = f"catalogue {table}, row {', '.join(map(str, key))}"
            faults.append(
                Fault.of(CatalogueMismatchError, where, f"shows {_brief(left)}, the log says {_brief(right)}")
            )
        have = next(shown, None) if left is not None else have
        want = next(implied, None) if right is not None else want
    return faults


def _index_faults(snapshot: Snapshot, custody: Custody, digests: bytearray, *, exact: bool) -> list[Fault]:
    """Compare the sequencer's ids and subject heads with the log.

    Unless `exact`, an append was under way when the database or the checkpoint was read: one may be ahead of the other.
    """
    faults: list[Fault] = []

    def fault(where: str, what: str) -> None:
        faults.append(Fault.of(CatalogueMismatchError, f"catalogue {where}", what))

    seen = 0
    for identity, position, digest in snapshot.rows("SELECT id, position, statement_digest FROM ix"):
        seen += 1
        if position >= custody.size and not exact:
            continue
        if custody.ids.get(identity) != position or digests[32 * position : 32 * position + 32] != digest:
            fault(f"ix, id {identity}", f"says entry {position}, which the log does not bear out")
    if exact and seen < len(custody.ids):
        fault("ix", f"lacks {len(custody.ids) - seen} ids that the log holds")
    heads = dict(snapshot.rows("SELECT subject, position FROM subject_head"))
    for subject in sorted({*heads, *custody.heads} if exact else heads):
        shown, index = heads.get(subject, -1), custody.heads.get(subject, -1)
        ahead = not exact and shown >= custody.size
        if (shown > index and not ahead) or (exact and shown < index):
            fault(f"subject_head, {subject}", f"says its newest entry is {shown}, the log says {index}")
    return faults[:FAULTS_MAX]


def _statement_bytes(data: bytes) -> bytes:
    """Cut the statement out of a canonical entry: `{"prev":{…},"statement":{…},"t":"…","v":1}`."""
    start = data.find(b'"statement":') + len(b'"statement":')
    return data[start : data.rfind(b',"t":"')]


def _brief(row: tuple[Any, ...] | None) -> str:
    return "nothing" if row is None else repr(row)[:300]
