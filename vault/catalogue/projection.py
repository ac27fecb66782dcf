"""How each log entry changes the catalogue: one function a type, deterministic, nothing else (I7).

A projection sees an entry, its index and the disclosed fields of its record (empty once expunged), and never fails on
what the log holds: `verify` judges the log, the catalogue only shows it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, update
from sqlalchemy.dialects.sqlite import insert

from vault.catalogue import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from vault.entry import LogEntry

Private = dict[str, Any]
CHINA = timezone(timedelta(hours=8))  # recorders write local time without a zone; facts["start"] says it was assumed

# Built once: putting a statement together costs more than running it.
ADD_PERSON = insert(schema.person).on_conflict_do_nothing()
ADD_DOCK_SESSION = insert(schema.dock_session).on_conflict_do_nothing()
ADD_CLIP = insert(schema.clip).on_conflict_do_nothing()
ADD_ACQUISITION = insert(schema.acquisition).on_conflict_do_nothing()
ADD_FAILURE = insert(schema.failure).on_conflict_do_nothing()
ADD_VIEW = insert(schema.view).on_conflict_do_nothing()
ADD_CASE_RECORD = insert(schema.case_record).on_conflict_do_nothing()
ADD_CLIP_LINK = insert(schema.clip_link).on_conflict_do_nothing()

ADD_DERIVATIVE = insert(schema.derivative).on_conflict_do_nothing()


def project(connection: Connection, index: int, entry: LogEntry, private: Mapping[str, object]) -> None:
    """Bring one entry into the tables."""
    apply = PROJECTIONS.get(entry.statement.type)
    if apply is not None:
        apply(connection, index, entry, dict(private))


def set_projected_size(connection: Connection, size: int) -> None:
    """Say that entries [0, size) are in the tables; in the transaction that brought them there."""
    row = {"id": 1, "size": size}
    connection.execute(insert(schema.projected).values(row).on_conflict_do_update(index_elements=["id"], set_=row))


def _person_registered(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    connection.execute(
        ADD_PERSON,
        {
            "id": entry.statement.fields["person"],
            "account": str(private.get("account", "")),
            "name": str(private.get("name", "")),
            "position": index,
        },
    )


def _dock_opened(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    seen = {
        "driver": fields["driver"],
        "label": str(private.get("label", "")),
        "identity": json.dumps(private.get("identity", {}), ensure_ascii=False, sort_keys=True),
        "last_docked_ms": entry.time_ms,
    }
    connection.execute(
        insert(schema.device)
        .values(id=fields["device"], position=index, **seen)
        .on_conflict_do_update(index_elements=["id"], set_=seen)
    )
    connection.execute(
        ADD_DOCK_SESSION,
        {
            "id": fields["session"],
            "device": fields["device"],
            "opened_position": index,
            "opened_ms": entry.time_ms,
        },
    )


def _device_inventoried(connection: Connection, _index: int, entry: LogEntry, _private: Private) -> None:
    fields = entry.statement.fields
    connection.execute(
        update(schema.dock_session)
        .where(schema.dock_session.c.id == fields["session"])
        .values(files=fields["files"], bytes=fields["bytes"])
    )


def _dock_closed(connection: Connection, index: int, entry: LogEntry, _private: Private) -> None:
    connection.execute(
        update(schema.dock_session)
        .where(schema.dock_session.c.id == entry.statement.fields["session"])
        .values(closed_position=index)
    )


def _clip_sealed(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    facts = private.get("facts", {})
    connection.execute(
        ADD_CLIP,
        {
            "id": fields["clip"],
            "size": fields["bytes"],
            "chunk_bytes": fields["chunk_bytes"],
            "chunk_root": fields["chunk_root"],
            "media": fields["media"],
            "condition": fields["condition"],
            "sealed_position": index,
            "sealed_ms": entry.time_ms,
            "sm3": fields.get("sm3"),
            "name": str(private.get("name", "")),
            "facts": json.dumps(facts, ensure_ascii=False, sort_keys=True),
            "started_ms": _started_ms(facts),
            "duration_ms": facts.get("duration_ms"),
        },
    )


def _clip_acquired(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    connection.execute(
        ADD_ACQUISITION,
        {
            "position": index,
            "clip": fields["clip"],
            "device": fields["device"],
            "session": fields["session"],
            "path": str(private.get("path", "")),
            "size": fields["bytes"],
            "modified_at": str(private.get("modified_at", "")),
            "fingerprint": str(private.get("fingerprint", "")),
            "acquired_ms": entry.time_ms,
            "outcome": fields["outcome"],
        },
    )


def _acquisition_failed(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    connection.execute(
        ADD_FAILURE,
        {
            "position": index,
            "device": fields["device"],
            "session": fields["session"],
            "path": str(private.get("path", "")),
            "reason": str(private.get("reason", "")),
            "failed_ms": entry.time_ms,
        },
    )


def _clip_viewed(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    connection.execute(
        ADD_VIEW,
        {
            "position": index,
            "view": fields["view"],
            "clip": fields["clip"],
            "actor": entry.statement.actor_id,
            "purpose": str(private.get("purpose", "")),
            "opened_ms": entry.time_ms,
        },
    )


def _clip_derived(connection: Connection, index: int, entry: LogEntry, _private: Private) -> None:
    fields = entry.statement.fields
    row = {"position": index, **{name: fields[name] for name in ("clip", "recipe", "output")}}
    connection.execute(ADD_DERIVATIVE, row)


def _case_opened(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    connection.execute(
        ADD_CASE_RECORD,
        {
            "id": entry.statement.fields["case"],
            "number": str(private.get("number", "")),
            "title": str(private.get("title", "")),
            "target": str(private.get("target", "")),
            "category": str(private.get("category", "")),
            "position": index,
            "opened_ms": entry.time_ms,
        },
    )


def _clip_linked(connection: Connection, index: int, entry: LogEntry, private: Private) -> None:
    fields = entry.statement.fields
    connection.execute(
        ADD_CLIP_LINK,
        {
            "clip": fields["clip"],
            "case_id": fields["case"],
            "position": index,
            "linked_ms": entry.time_ms,
            "actor": entry.statement.actor_id,
            "reason": str(private.get("reason", "")),
        },
    )


def _clip_unlinked(connection: Connection, _index: int, entry: LogEntry, _private: Private) -> None:
    fields = entry.statement.fields
    table = schema.clip_link
    connection.execute(delete(table).where(table.c.clip == fields["clip"], table.c.case_id == fields["case"]))


PROJECTIONS: dict[str, Callable[[Connection, int, LogEntry, Private], None]] = {
    "person.registered": _person_registered,
    "dock.opened": _dock_opened,
    "device.inventoried": _device_inventoried,
    "dock.closed": _dock_closed,
    "clip.sealed": _clip_sealed,
    "clip.acquired": _clip_acquired,
    "acquisition.failed": _acquisition_failed,
    "clip.viewed": _clip_viewed,
    "clip.derived": _clip_derived,
    "case.opened": _case_opened,
    "clip.linked": _clip_linked,
    "clip.unlinked": _clip_unlinked,
}


def _started_ms(facts: Mapping[str, Any]) -> int | None:
    start = facts.get("start") or {}
    try:
        moment = datetime.fromisoformat(start["at"])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=CHINA)
        moment = moment.astimezone(UTC)  # a camera's claim at either end of the calendar has no such time
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return int(moment.timestamp() * 1000)
