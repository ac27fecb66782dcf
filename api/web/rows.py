"""The lines of tables and histories: what a page shows of a clip or an entry, gathered from the vault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from api import present
from api.web.entry_words import describe
from vault.catalogue import schema
from vault.entry import decode
from vault.errors import NotFoundError
from vault.model import DeviceId, Digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from api.web.i18n import Translator
    from vault.entry import LogEntry
    from vault.model import CaseRecord, Clip
    from vault.vault import HistoryItem, Vault

HISTORY_LINES = 200  # newest entries of a history that a page shows; the command line has them all


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """One clip in a list."""

    clip: Clip
    device: str
    cases: tuple[CaseRecord, ...]
    case_id: str = ""  # of the page the list stands on


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One log entry in words."""

    index: int
    at: datetime
    who: str
    type: str
    words: str
    address: str  # of the clip or case it speaks of, "" without one
    subject: str  # their name for people


def clip_rows(vault: Vault, clips: Iterable[Clip], *, case_id: str = "") -> list[ClipRow]:
    """Return the lines of a clip list: each clip with its first device and its cases."""
    listed = list(clips)
    catalogue = vault.catalogue
    labels = {device.id: device.label for device in catalogue.devices()}
    cases = {str(case.id): case for case in catalogue.cases()}
    devices = _first_devices(vault, listed)
    links = _case_ids(vault, listed)
    return [
        ClipRow(
            clip=clip,
            device=labels.get(DeviceId(devices.get(str(clip.id), "")), ""),
            cases=tuple(cases[case] for case in links.get(str(clip.id), ()) if case in cases),
            case_id=case_id,
        )
        for clip in listed
    ]


def _first_devices(vault: Vault, clips: list[Clip]) -> dict[str, str]:
    """Return {clip: device it first came from}, in one query for the whole list."""
    table = schema.acquisition
    wanted = table.c.clip.in_([str(clip.id) for clip in clips])
    query = select(table.c.clip, table.c.device).where(wanted).order_by(table.c.position.desc())
    with vault.catalogue.engine.connect() as connection:
        return {row.clip: row.device for row in connection.execute(query)}  # the oldest comes last and stays


def _case_ids(vault: Vault, clips: list[Clip]) -> dict[str, list[str]]:
    """Return {clip: cases it is tied to}, in one query for the whole list."""
    table = schema.clip_link
    wanted = table.c.clip.in_([str(clip.id) for clip in clips])
    found: dict[str, list[str]] = {}
    with vault.catalogue.engine.connect() as connection:
        for row in connection.execute(select(table).where(wanted).order_by(table.c.position)):
            found.setdefault(row.clip, []).append(row.case_id)
    return found


class Narrator:
    """Puts entries into words, looking names up once a page."""

    def __init__(self, vault: Vault, t: Translator) -> None:
        self._vault = vault
        self._t = t
        self._people: dict[str, str] = {}
        self._clips: dict[str, str] = {}
        self._cases = {str(case.id): case.number for case in vault.catalogue.cases()}

    def history(self, items: Iterable[HistoryItem]) -> list[Line]:
        """Return the lines of a history."""
        return [self.line(item.index, item.entry, item.private) for item in items]

    def latest(self, before: int, count: int) -> list[Line]:
        """Return the last `count` entries below an index, newest first, authenticated against the checkpoint."""
        checkpoint = self._vault.reader.checkpoint()
        end = min(before, checkpoint.size)
        lines = []
        for index, data in self._vault.reader.entries(max(0, end - count), end, checkpoint):
            entry = decode(data)
            lines.append(self.line(index, entry, self._vault.records.disclosed(entry)))
        return lines[::-1]

    def line(self, index: int, entry: LogEntry, private: dict[str, object]) -> Line:
        """Return one entry in words."""
        fields = entry.statement.fields
        address, subject = "", ""
        if "clip" in fields:
            digest = str(fields["clip"])
            address, subject = f"/clips/{digest.removeprefix('sha256:')}", self._clip(digest)
        elif "case" in fields:
            address = f"/cases/{fields['case']}"
            subject = self._t("log.open")  # the words name the case already
        return Line(
            index=index,
            at=present.from_ms(entry.time_ms),
            who=self._person(entry.statement.actor_id),
            type=entry.statement.type,
            words=describe(entry, private, self._t, lambda case: self._cases.get(case, case[:8])),
            address=address,
            subject=subject,
        )

    def _clip(self, digest: str) -> str:
        if digest not in self._clips:
            try:
                name = self._vault.catalogue.clip(Digest.parse(digest)).name
            except (NotFoundError, ValueError):  # acquired, but not sealed yet
                name = ""
            self._clips[digest] = name or digest.removeprefix("sha256:")[:10]
        return self._clips[digest]

    def _person(self, person: str) -> str:
        if person not in self._people:
            name = self._vault.catalogue.person_name(person)
            self._people[person] = name if name != person else person[-8:]
        return self._people[person]
