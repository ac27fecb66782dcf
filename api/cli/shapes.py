"""The JSON of the command line: field names are documented in docs/manual.md and stable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.recorder import printable

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.events import Outcome
    from vault.model import Acquisition, CaseRecord, Clip, ClipLink, Device
    from vault.vault import HistoryItem


def moment(value: datetime | None) -> str | None:
    """Write an instant as RFC 3339 UTC with milliseconds."""
    return None if value is None else f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"


def outcome(value: Outcome) -> dict[str, object]:
    """Describe the end of one file of a dock session."""
    return {
        "clip": None if value.clip is None else str(value.clip),
        "name": value.name,
        "path": value.path,
        "bytes": value.size,
        "index": value.index,
        "status": value.status,
        "error": value.reason or None,
    }


def clip(value: Clip) -> dict[str, object]:
    """Describe a clip in a list."""
    return {
        "clip": str(value.id),
        "name": printable(value.name),
        "bytes": value.size,
        "media": value.media,
        "condition": value.condition,
        "started_at": moment(value.started_at),
        "duration_s": value.duration_s,
        "sealed_at": moment(value.sealed_at),
        "index": value.sealed_index,
    }


def clip_details(value: Clip) -> dict[str, object]:
    """Describe a clip by itself."""
    return {
        **clip(value),
        "sm3": None if value.sm3 is None else str(value.sm3),
        "chunk_bytes": value.chunk_bytes,
        "chunk_root": value.chunk_root.hex(),
        "facts": value.facts,
    }


def acquisition(value: Acquisition) -> dict[str, object]:
    """Describe one copying of a clip."""
    return {
        "index": value.index,
        "device": value.device,
        "session": value.session,
        "path": printable(value.path),
        "modified_at": value.modified_at,
        "acquired_at": moment(value.acquired_at),
        "outcome": value.outcome,
    }


def case(value: CaseRecord) -> dict[str, object]:
    """Describe a case record."""
    return {
        "case": value.id,
        "number": value.number,
        "title": value.title,
        "target": value.target,
        "category": value.category,
        "opened_at": moment(value.opened_at),
        "index": value.opened_index,
    }


def link(value: ClipLink) -> dict[str, object]:
    """Describe a standing link of a clip and a case."""
    return {
        "clip": str(value.clip),
        "case": value.case,
        "linked_at": moment(value.linked_at),
        "actor": value.actor,
        "reason": value.reason,
        "index": value.index,
    }


def device(value: Device) -> dict[str, object]:
    """Describe a device."""
    return {
        "device": value.id,
        "driver": value.driver,
        "label": printable(value.label),
        "identity": {key: printable(text) for key, text in value.identity.items()},
        "last_docked_at": moment(value.last_docked_at),
        "index": value.first_index,
    }


def history_item(value: HistoryItem) -> dict[str, object]:
    """Describe one entry about a subject, with what its record discloses."""
    statement = value.entry.statement
    return {
        "index": value.index,
        "time_ms": value.entry.time_ms,
        "type": statement.type,
        "actor": {"id": statement.actor_id, "role": statement.actor_role},
        "fields": dict(statement.fields),
        "private": value.private,
    }
