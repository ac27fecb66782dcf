"""The catalogue: projections of the log that people and programs search. Never the truth (I7).

Reading side and bookkeeping of the projection; how each entry changes the tables is `vault.catalogue.projection`. Safe for several
threads and processes: readers see a committed projection, and only one writer at a time moves it forward.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, false, func, select

from vault.catalogue import schema
from vault.errors import AmbiguousError, CatalogueMismatchError, NotFoundError, StorageError
from vault.model import (
    Acquisition,
    CaseId,
    CaseRecord,
    Clip,
    ClipLink,
    Device,
    DeviceId,
    Digest,
    PersonId,
    SessionId,
    View,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Row, Select
    from sqlalchemy.engine import ExceptionContext

TEXT_MAX = 4096  # no name is longer; SQLite refuses patterns of more than 50,000 bytes
BUSY_MS = 30_000  # another process may hold the database for one batch, never for this long


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the vault holds, for the head of a page."""

    clips: int
    bytes: int
    damaged: int
    unlinked: int
    cases: int
    devices: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DockSession:
    """One docking of a device; open as long as a file of its inventory is not sealed."""

    id: SessionId
    device: DeviceId
    opened_at: datetime
    closed: bool


def open_engine(path: Path) -> Engine:
    """Open catalogue.db for projections: WAL, and NORMAL because every row can be made again."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says, not where sqlite3 guesses
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MS}"):
                connection.execute(f"PRAGMA {pragma}").close()
        except sqlite3.Error as err:
            raise _fault(path, err) from err

    @event.listens_for(engine, "handle_error")
    def refuse(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, sqlite3.Error):
            raise _fault(path, context.original_exception) from context.original_exception

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _fault(path: Path, err: sqlite3.Error) -> StorageError | CatalogueMismatchError:
    """Say what SQLite refused in our own words: the disk's fault, or a damaged database."""
    if isinstance(err, sqlite3.OperationalError):  # full, read-only, locked, failing; a missing table is damage
        if "no such " in str(err):
            return CatalogueMismatchError(f"{path} is damaged: {err}")
        return StorageError(f"cannot use {path}: {err}")
    return CatalogueMismatchError(f"{path} is damaged: {err}")


class Catalogue:
    """Searches over clips, cases, devices and views."""

    def __init__(self, path: Path) -> None:
        self.engine = open_engine(path)

    def close(self) -> None:
        """Release all connections."""
        self.engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a write transaction; commits on leaving, rolls back on an error."""
        with self.engine.connect().execution_options(writing=True) as connection, connection.begin():
            yield connection

    def projected_size(self) -> int:
        """Return how many log entries the tables show."""
        with self.engine.connect() as connection:
            return self.projected_size_in(connection)

    def projected_size_in(self, connection: Connection) -> int:
        """As `projected_size`, inside a transaction."""
        return connection.execute(select(schema.projected.c.size)).scalar_one_or_none() or 0

    # --- clips -----------------------------------------------------------------------------------------------------

    def clips(
        self,
        *,
        text: str = "",
        media: str | None = None,
        condition: str | None = None,
        case: CaseId | None = None,
        unlinked: bool = False,
        limit: int = 200,
        offset: int = 0,
    ) -> list[Clip]:
        """Return clips, newest recording first."""
        query = _clip_filter(
            select(schema.clip), text=text, media=media, condition=condition, case=case, unlinked=unlinked
        )
        order = (
            func.coalesce(schema.clip.c.started_ms, schema.clip.c.sealed_ms).desc(),
            schema.clip.c.sealed_position.desc(),
        )
        return [_clip(row) for row in self._rows(query.order_by(*order).limit(limit).offset(offset))]

    def count_clips(
        self,
        *,
        text: str = "",
        media: str | None = None,
        condition: str | None = None,
        case: CaseId | None = None,
        unlinked: bool = False,
    ) -> int:
        """Count what `clips` would return without its limit."""
        query = _clip_filter(
            select(func.count()).select_from(schema.clip),
            text=text,
            media=media,
            condition=condition,
            case=case,
            unlinked=unlinked,
        )
        return int(self._rows(query)[0][0])

    def clip(self, digest: Digest) -> Clip:
        """Return one clip; raises NotFoundError."""
        return _clip(self._one(select(schema.clip).where(schema.clip.c.id == str(digest)), f"clip {digest}"))

    def seals(self, digests: Sequence[Digest]) -> dict[Digest, int]:
        """Return the log index of the seal of each of these clips that the vault holds."""
        query = select(schema.clip.c.id, schema.clip.c.sealed_position).where(schema.clip.c.id.in_(map(str, digests)))
        return {Digest.parse(row.id): row.sealed_position for row in self._rows(query)}

    def find_clip(self, text: str) -> Clip:
        """Return the clip of a digest or a unique beginning of one (at least 6 hex characters)."""
        digits = text.removeprefix("sha256:").lower()
        if not 6 <= len(digits) <= 64 or not set(digits) <= set("0123456789abcdef"):
            raise NotFoundError(
                f"clip {text[:80]!r}: not a digest; give sha256:<64 hex> or its first six characters or more"
            )
        rows = self._rows(select(schema.clip).where(schema.clip.c.id.like(f"sha256:{digits}%")).limit(2))
        if not rows:
            raise NotFoundError(f"clip {text[:80]} is not in this vault")
        if len(rows) > 1:
            raise AmbiguousError(f"clip {text[:80]} fits more than one clip")
        return _clip(rows[0])

    def acquisitions(self, clip: Digest) -> list[Acquisition]:
        """Return how a clip came in, oldest first."""
        table = schema.acquisition
        query = select(table).where(table.c.clip == str(clip)).order_by(table.c.position)
        return [_acquisition(row) for row in self._rows(query)]

    def derived_at(self, clip: Digest, recipe: str, output: Digest) -> int | None:
        """Return the log index at which this derivative of a clip was logged, None when it never was."""
        table = schema.derivative
        query = select(table.c.position).where(
            table.c.clip == str(clip), table.c.recipe == recipe, table.c.output == str(output)
        )
        rows = self._rows(query.order_by(table.c.position).limit(1))
        return int(rows[0].position) if rows else None

    # --- docking ---------------------------------------------------------------------------------------------------

    def devices(self) -> list[Device]:
        """Return every device footage came from, latest docking first."""
        rows = self._rows(select(schema.device).order_by(schema.device.c.last_docked_ms.desc()))
        return [
            Device(
                id=DeviceId(row.id),
                driver=row.driver,
                label=row.label,
                identity=json.loads(row.identity),
                first_index=row.position,
                last_docked_at=_moment(row.last_docked_ms),
            )
            for row in rows
        ]

    def latest_session(self, device: DeviceId) -> DockSession | None:
        """Return the last docking of a device."""
        table = schema.dock_session
        query = select(table).where(table.c.device == device).order_by(table.c.opened_position.desc()).limit(1)
        for row in self._rows(query):
            return DockSession(
                id=SessionId(row.id),
                device=device,
                opened_at=_moment(row.opened_ms),
                closed=row.closed_position is not None,
            )
        return None

    def acquired_from(self, device: DeviceId, session: SessionId | None = None) -> dict[tuple[str, int, str], Digest]:
        """Return {(path, size, fingerprint): clip} of what was taken from a device, or in one docking of it."""
        table = schema.acquisition
        query = select(table.c.path, table.c.size, table.c.fingerprint, table.c.clip).where(table.c.device == device)
        if session is not None:
            query = query.where(table.c.session == session)
        return {(row.path, row.size, row.fingerprint): Digest.parse(row.clip) for row in self._rows(query)}

    def clips_at(self, device: DeviceId, paths: Sequence[str]) -> dict[str, set[Digest]]:
        """Return which clips came from places of one device; more than one at a place is a conflict on record."""
        table = schema.acquisition
        query = select(table.c.path, table.c.clip).where(table.c.device == device, table.c.path.in_(paths)).distinct()
        found: dict[str, set[Digest]] = {}
        for row in self._rows(query):
            found.setdefault(row.path, set()).add(Digest.parse(row.clip))
        return found

    # --- cases and views -------------------------------------------------------------------------------------------

    def cases(self) -> list[CaseRecord]:
        """Return all cases, newest first."""
        return [
            _case(row) for row in self._rows(select(schema.case_record).order_by(schema.case_record.c.position.desc()))
        ]

    def case(self, case: CaseId) -> CaseRecord:
        """Return one case; raises NotFoundError."""
        return _case(self._one(select(schema.case_record).where(schema.case_record.c.id == case), f"case {case}"))

    def find_case(self, text: str) -> CaseRecord:
        """Return the case of a number (案号) or id; raises NotFoundError or AmbiguousError."""
        table = schema.case_record
        rows = self._rows(select(table).where((table.c.number == text) | (table.c.id == text)).limit(2))
        if not rows:
            raise NotFoundError(f"case {text[:80]} is not in this vault")
        if len(rows) > 1:
            raise AmbiguousError(f"case number {text[:80]} was opened twice; give the case id")
        return _case(rows[0])

    def links(self, *, clip: Digest | None = None, case: CaseId | None = None) -> list[ClipLink]:
        """Return standing links of a clip or of a case, oldest first."""
        table = schema.clip_link
        query = select(table).order_by(table.c.position)
        if clip is not None:
            query = query.where(table.c.clip == str(clip))
        if case is not None:
            query = query.where(table.c.case_id == case)
        return [
            ClipLink(
                clip=Digest.parse(row.clip),
                case=CaseId(row.case_id),
                index=row.position,
                linked_at=_moment(row.linked_ms),
                actor=row.actor,
                reason=row.reason,
            )
            for row in self._rows(query)
        ]

    def views(self, *, clip: Digest | None = None, limit: int = 200) -> list[View]:
        """Return who opened what and why, latest first."""
        table = schema.view
        query = select(table).order_by(table.c.position.desc()).limit(limit)
        if clip is not None:
            query = query.where(table.c.clip == str(clip))
        return [
            View(
                index=row.position,
                view=row.view,
                clip=Digest.parse(row.clip),
                actor=row.actor,
                purpose=row.purpose,
                opened_at=_moment(row.opened_ms),
            )
            for row in self._rows(query)
        ]

    def person(self, *, account: str) -> tuple[PersonId, str] | None:
        """Return (id, name) of the person registered for an account."""
        table = schema.person
        for row in self._rows(select(table).where(table.c.account == account).order_by(table.c.position).limit(1)):
            return PersonId(row.id), row.name
        return None

    def person_name(self, person: str) -> str:
        """Return the name of a person, or the id itself when the name was expunged or never registered."""
        rows = self._rows(select(schema.person.c.name).where(schema.person.c.id == person))
        return rows[0].name if rows and rows[0].name else person

    def totals(self) -> Totals:
        """Count what is there."""
        clip = schema.clip
        linked = select(schema.clip_link.c.clip).distinct().subquery()
        with self.engine.connect() as connection:
            count, size = connection.execute(select(func.count(), func.coalesce(func.sum(clip.c.size), 0))).one()

            def number(query: Select[Any]) -> int:
                return int(connection.execute(query).scalar_one())

            return Totals(
                clips=count,
                bytes=size,
                damaged=number(select(func.count()).select_from(clip).where(clip.c.condition == "damaged")),
                unlinked=count - number(select(func.count()).select_from(linked)),
                cases=number(select(func.count()).select_from(schema.case_record)),
                devices=number(select(func.count()).select_from(schema.device)),
                entries=connection.execute(select(schema.projected.c.size)).scalar_one_or_none() or 0,
            )

    def dump(self) -> dict[str, list[tuple[object, ...]]]:
        """Return every projection table, ordered by primary key: two equal dumps are equal catalogues (I7)."""
        with self.engine.connect() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
                for table in schema.metadata.sorted_tables
            }

    def _rows(self, query: Select[Any]) -> list[Row[Any]]:
        with self.engine.connect() as connection:
            return list(connection.execute(query))

    def _one(self, query: Select[Any], what: str) -> Row[Any]:
        rows = self._rows(query)
        if not rows:
            raise NotFoundError(f"{what} is not in this vault")
        return rows[0]


def _clip_filter(
    query: Select[Any], *, text: str, media: str | None, condition: str | None, case: CaseId | None, unlinked: bool
) -> Select[Any]:
    clip = schema.clip
    if len(text) > TEXT_MAX:
        query = query.where(false())
    elif text:
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        taken, device = schema.acquisition, schema.device
        labelled = select(device.c.id).where(device.c.label.ilike(pattern, escape="\\"))
        came_so = select(taken.c.clip).where(taken.c.path.ilike(pattern, escape="\\") | taken.c.device.in_(labelled))
        query = query.where(
            clip.c.name.ilike(pattern, escape="\\") | clip.c.id.ilike(pattern, escape="\\") | clip.c.id.in_(came_so)
        )
    if media:
        query = query.where(clip.c.media == media)
    if condition:
        query = query.where(clip.c.condition == condition)
    if case:
        query = query.where(clip.c.id.in_(select(schema.clip_link.c.clip).where(schema.clip_link.c.case_id == case)))
    if unlinked:
        query = query.where(clip.c.id.not_in(select(schema.clip_link.c.clip)))
    return query


def _moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _clip(row: Row[Any]) -> Clip:
    return Clip(
        id=Digest.parse(row.id),
        size=row.size,
        chunk_bytes=row.chunk_bytes,
        chunk_root=bytes.fromhex(row.chunk_root),
        media=row.media,
        condition=row.condition,
        sealed_index=row.sealed_position,
        sealed_at=_moment(row.sealed_ms),
        sm3=Digest.parse(row.sm3) if row.sm3 else None,
        name=row.name,
        facts=json.loads(row.facts),
        started_at=None if row.started_ms is None else _moment(row.started_ms),
        duration_s=None if row.duration_ms is None else row.duration_ms / 1000,
    )


def _acquisition(row: Row[Any]) -> Acquisition:
    return Acquisition(
        index=row.position,
        clip=Digest.parse(row.clip),
        device=DeviceId(row.device),
        session=SessionId(row.session),
        path=row.path,
        modified_at=row.modified_at,
        acquired_at=_moment(row.acquired_ms),
        outcome=row.outcome,
    )


def _case(row: Row[Any]) -> CaseRecord:
    return CaseRecord(
        id=CaseId(row.id),
        number=row.number,
        title=row.title,
        target=row.target,
        category=row.category,
        opened_index=row.position,
        opened_at=_moment(row.opened_ms),
    )
