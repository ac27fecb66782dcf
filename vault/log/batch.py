"""What one batch of statements becomes: indices, envelopes, links to earlier entries, duplicates. Pure.

Calls are planned one after the other, each whole or not at all, as if each had come alone; the sequencer then commits
the lot in one transaction.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vault.entry import LogEntry, Statement, canonical, check_statement, format_time
from vault.errors import ConflictError, EntryInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATEMENT_BYTES_MAX = 8000  # an entry has 8192; its envelope takes at most 150
INTEGER_MAX = (1 << 53) - 1  # RFC 8785: what every JSON reader holds exactly


class Prepared(NamedTuple):
    """A statement that may be logged, with its canonical bytes and their SHA-256."""

    statement: Statement
    data: bytes
    digest: bytes
    subjects: dict[str, str]  # kind -> subject


class Known(NamedTuple):
    """An id that is in the log already: at which index, and what it said."""

    position: int
    digest: bytes


class Planned(NamedTuple):
    """One statement's place: `entry` is None when the log had it before this batch."""

    position: int
    entry: LogEntry | None
    data: bytes
    repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One row of the table that finds entries by id."""

    id: str
    digest: bytes
    position: int


def prepare(statement: Statement) -> Prepared:
    """Check a statement and encode it; raises EntryInvalidError."""
    check_statement(statement)
    subjects = statement.subjects()
    for key in (statement.id, *subjects.values()):  # what the index finds entries by
        if not (key.isascii() and key.isprintable() and key):
            raise EntryInvalidError(f"entry {statement.id!r} ({statement.type}): {key!r} is not printable ASCII")
    for name, value in statement.fields.items():
        if isinstance(value, int) and abs(value) > INTEGER_MAX:
            raise EntryInvalidError(f"entry {statement.id}: {name} is {value}, beyond ±{INTEGER_MAX}")
    try:
        data = canonical(statement.to_json())
    except (UnicodeEncodeError, TypeError, ValueError) as err:
        raise EntryInvalidError(f"entry {statement.id!r} cannot be written as JSON: {err}") from err
    if len(data) > STATEMENT_BYTES_MAX:
        raise EntryInvalidError(f"entry {statement.id} has {len(data)} bytes, more than {STATEMENT_BYTES_MAX}")
    return Prepared(statement, data, hashlib.sha256(data).digest(), subjects)


def envelope(statement: bytes, prev: Mapping[str, int], time: str) -> bytes:
    """Return the entry around a statement's canonical bytes, equal to `LogEntry.encode()`; `time` in its text form."""
    links = ",".join([f'"{kind}":{prev[kind]}' for kind in sorted(prev)])
    return f'{{"prev":{{{links}}},"statement":'.encode() + statement + f',"t":"{time}","v":1}}'.encode()


class Batch:
    """Statements gathered for one commit."""

    def __init__(self, *, size: int, time_ms: int, known: Mapping[str, Known], heads: Mapping[str, int]) -> None:
        """Start after `size` entries; `known` and `heads` speak of the ids and subjects that will be added."""
        self.time_ms = time_ms
        self.entries: list[bytes] = []
        self.rows: list[IndexRow] = []
        self.heads: dict[str, int] = {}  # subject -> index of its newest entry, of this batch
        self._size = size
        self._time = format_time(time_ms)
        self._known = dict(known)
        self._old_heads = heads

    def add(self, call: Sequence[Prepared]) -> list[Planned]:
        """Plan one call; raises ConflictError, without a trace in the batch, when an id said something else before."""
        self._check_ids(call)
        return [self._plan(each) for each in call]

    def _check_ids(self, call: Sequence[Prepared]) -> None:
        within: dict[str, bytes] = {}
        for each in call:
            known = self._known.get(each.statement.id)
            digest = known.digest if known else within.setdefault(each.statement.id, each.digest)
            if digest != each.digest:
                place = f"entry {known.position}" if known else "another statement of this call"
                raise ConflictError(f"id {each.statement.id} already says something else: {place}")

    def _plan(self, prepared: Prepared) -> Planned:
        statement = prepared.statement
        known = self._known.get(statement.id)
        if known is None:
            return self._plan_new(prepared)
        if known.position < self._size:
            return Planned(known.position, None, b"", repeated=True)
        data = self.entries[known.position - self._size]
        prev = json.loads(data)["prev"]
        return Planned(known.position, self._entry(statement, prev), data, repeated=True)

    def _plan_new(self, prepared: Prepared) -> Planned:
        statement = prepared.statement
        index = self._size + len(self.entries)
        subjects = prepared.subjects
        prev = {kind: self.heads.get(value, self._old_heads.get(value, -1)) for kind, value in subjects.items()}
        data = envelope(prepared.data, prev, self._time)
        self.entries.append(data)
        self.rows.append(IndexRow(id=statement.id, digest=prepared.digest, position=index))
        self._known[statement.id] = Known(index, prepared.digest)
        for value in subjects.values():
            self.heads[value] = index
        return Planned(index, self._entry(statement, prev), data, repeated=False)

    def _entry(self, statement: Statement, prev: Mapping[str, int]) -> LogEntry:
        return LogEntry(time_ms=self.time_ms, prev=prev, statement=statement)
