"""What goes into an export: every entry of the custody chains, their records, and what the two forms list.

Gathers from an open vault, authenticated against one checkpoint; writes nothing (that is `vault.export.writer`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from vault.catalogue import schema
from vault.entry import commit_field, decode
from vault.errors import EntryInvalidError, RecordMismatchError
from vault.export import bag
from vault.export.evidence_list import ListedClip, utc
from vault.model import Digest
from vault.records import open_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from vault.entry import LogEntry
    from vault.log.checkpoint import Checkpoint
    from vault.log.sequencer import Receipt
    from vault.model import CaseId
    from vault.vault import Vault

ANCHORS = frozenset({"clips", "case", "case_head"})  # of the export's own record: what shows that nothing was taken out
NEAR_ENTRIES = 8  # the clock reading stands in the same batch as its dock.opened, right behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One entry of the bag."""

    index: int
    data: bytes
    entry: LogEntry
    private: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One clip of the bag with its whole chain, the export itself last."""

    clip: Digest
    file: str  # data/media/…
    name: str
    size: int
    chain: tuple[Logged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything an export hands out but the footage itself."""

    export: str
    checkpoint: Checkpoint
    clips: tuple[Exported, ...]
    case: CaseId | None
    case_chain: tuple[Logged, ...]
    context: tuple[Logged, ...]  # who and which device: entries that the chains refer to

    def entries(self) -> dict[int, Logged]:
        """Return every entry by index, each once."""
        chains = [clip.chain for clip in self.clips]
        return {item.index: item for chain in (*chains, self.case_chain, self.context) for item in chain}

    def index(self) -> bytes:
        """Return data/clips.json."""
        case = None
        if self.case is not None:
            case = {"case": self.case, "entries": [item.index for item in self.case_chain]}
        document = {
            "v": 1,
            "export": self.export,
            "case": case,
            "clips": [
                {
                    "clip": str(clip.clip),
                    "file": clip.file,
                    "name": clip.name,
                    "bytes": clip.size,
                    "entries": [item.index for item in clip.chain],
                }
                for clip in self.clips
            ],
            "context": [item.index for item in self.context],
        }
        return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "replace")


def collect(vault: Vault, receipts: Sequence[Receipt], clips: Sequence[Digest], case: CaseId | None) -> Bundle:
    """Gather the chains up to and including the export that `receipts` logged."""
    checkpoint = vault.reader.checkpoint()
    exported = []
    for number, (clip, receipt) in enumerate(zip(clips, receipts, strict=True), 1):
        chain = _chain(vault, str(clip), receipt.index)
        seal = chain[0].entry.statement
        if seal.type != "clip.sealed" or chain[-1].index != receipt.index:
            raise EntryInvalidError(f"clip {clip}: its chain does not run from its seal to this export")
        name = str(chain[0].private.get("name", ""))
        exported.append(
            Exported(
                clip=clip,
                file=f"data/media/{bag.media_name(number, name)}",
                name=name,
                size=int(seal.fields["bytes"]),
                chain=tuple(chain),
            )
        )
    case_chain = [] if case is None else _chain(vault, case, int(exported[0].chain[-1].private["case_head"]))
    spoken = [item for clip in exported for item in clip.chain] + case_chain
    return Bundle(
        export=str(receipts[0].entry.statement.fields["export"]),
        checkpoint=checkpoint,
        clips=tuple(exported),
        case=case,
        case_chain=tuple(case_chain),
        context=tuple(_context(vault, spoken, checkpoint)),
    )


def _chain(vault: Vault, subject: str, last: int) -> list[Logged]:
    """Return a subject's history up to entry `last`: what came in while the export is being made is not part of it."""
    return [
        Logged(index=item.index, data=item.data, entry=item.entry, private=item.private)
        for item in vault.history(subject)
        if item.index <= last
    ]


def _context(vault: Vault, spoken: Iterable[Logged], checkpoint: Checkpoint) -> list[Logged]:
    """Return the registrations of the people and the dockings that the chains name, as far as the catalogue knows."""
    people = {item.entry.statement.actor_id for item in spoken}
    sessions = {
        str(item.entry.statement.fields["session"]) for item in spoken if "session" in item.entry.statement.fields
    }
    wanted: set[int] = set()
    with vault.catalogue.engine.connect() as connection:
        for person in people:
            query = select(schema.person.c.position).where(schema.person.c.id == person)
            wanted |= {row[0] for row in connection.execute(query)}
        for session in sessions:
            table = schema.dock_session
            for row in connection.execute(select(table.c.opened_position).where(table.c.id == session)):
                wanted |= set(range(row[0], min(row[0] + NEAR_ENTRIES, checkpoint.size)))
    near = [_logged(vault, index, checkpoint) for index in sorted(wanted)]
    return [item for item in near if _belongs(item.entry, people=people, sessions=sessions)]


def _logged(vault: Vault, index: int, checkpoint: Checkpoint) -> Logged:
    data = vault.reader.entry(index, checkpoint)
    entry = decode(data)
    return Logged(index=index, data=data, entry=entry, private=vault.records.disclosed(entry))


def _belongs(entry: LogEntry, *, people: Collection[str], sessions: Collection[str]) -> bool:
    said = entry.statement
    if said.type == "person.registered":
        return said.fields["person"] in people
    return said.type in {"dock.opened", "device.clock_read"} and said.fields["session"] in sessions


# --- records -----------------------------------------------------------------------------------------------------------


def disclosure(vault: Vault, item: Logged, withhold: Collection[str]) -> tuple[str, bytes] | None:
    """Return (body hex, record bytes) of an entry, checked, without the fields to be withheld; None without a record.

    Raises RecordMismatchError: an export must not quietly leave out what it cannot show.
    """
    text = item.entry.statement.fields.get("body")
    if text is None:
        return None
    body = Digest.parse(str(text))
    path = vault.records.path(body)
    try:
        data = path.read_bytes()
    except FileNotFoundError as err:
        raise RecordMismatchError(f"record {body.hex} of entry {item.index} is missing") from err
    open_record(body, data)
    return body.hex, _redact(data, withhold)


def _redact(data: bytes, withhold: Collection[str]) -> bytes:
    """Replace fields by their commitments; the rest still opens the body."""
    document = json.loads(data.decode("utf-8", "surrogatepass"))
    hidden = [
        name
        for name in document["fields"]
        if name in withhold and name not in ANCHORS and "salt" in document["fields"][name]
    ]
    if not hidden:
        return data
    for name in hidden:
        content = document["fields"][name]
        commitment = commit_field(name, content["value"], bytes.fromhex(content["salt"]))
        document["fields"][name] = {"commitment": commitment.hex()}
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


# --- what the forms list -----------------------------------------------------------------------------------------------


def listed(bundle: Bundle) -> list[ListedClip]:
    """Return the rows of the two forms."""
    people = _people(bundle)
    return [_listed(bundle, clip, people) for clip in bundle.clips]


def _people(bundle: Bundle) -> dict[str, str]:
    said = [(item.entry.statement, item.private) for item in bundle.context]
    return {str(s.fields["person"]): str(p.get("name", "")) for s, p in said if s.type == "person.registered"}


def _listed(bundle: Bundle, clip: Exported, people: dict[str, str]) -> ListedClip:
    seal = clip.chain[0]
    fields, facts = seal.entry.statement.fields, seal.private.get("facts") or {}
    acquired = next((item for item in clip.chain if item.entry.statement.type == "clip.acquired"), None)
    actor = acquired.entry.statement.actor_id if acquired else ""
    return ListedClip(
        file=clip.file.removeprefix("data/"),
        name=clip.name,
        path=str(acquired.private.get("path", "")) if acquired else "",
        media=str(fields["media"]),
        format=_format(facts),
        condition=str(fields["condition"]),
        size=clip.size,
        sha256=clip.clip.hex,
        sm3=str(fields.get("sm3", "")).removeprefix("sm3:"),
        collector=people.get(actor) or actor,
        collected_at=utc(acquired.entry.time_ms) if acquired else None,
        recorded=_recorded(facts),
        device=_device(bundle, acquired),
        clock=_clock(bundle, acquired),
        seal_index=seal.index,
    )


def _format(facts: dict[str, Any]) -> str:
    streams = facts.get("streams")
    codecs = [str(s.get("codec", "")) for s in streams if isinstance(s, dict)] if isinstance(streams, list) else []
    return " / ".join(part for part in (str(facts.get("container") or ""), ", ".join(filter(None, codecs))) if part)


def _recorded(facts: dict[str, Any]) -> str:
    start = facts.get("start")
    if not isinstance(start, dict) or not start.get("at"):
        return "未知 unknown"
    return f"{start['at']} (依据 {start.get('source', '?')}, 可信度 {start.get('confidence', '?')})"


def _session(bundle: Bundle, acquired: Logged | None, kind: str) -> Logged | None:
    if acquired is None:
        return None
    session = acquired.entry.statement.fields["session"]
    found = (i for i in bundle.context if i.entry.statement.fields.get("session") == session)
    return next((item for item in found if item.entry.statement.type == kind), None)


def _device(bundle: Bundle, acquired: Logged | None) -> str:
    opened = _session(bundle, acquired, "dock.opened")
    if opened is None:
        return str(acquired.entry.statement.fields["device"]) if acquired else ""
    parts = (opened.private.get("label"), opened.private.get("serial"), opened.entry.statement.fields["driver"])
    return ", ".join(dict.fromkeys(str(part) for part in parts if part))


def _clock(bundle: Bundle, acquired: Logged | None) -> str:
    reading = _session(bundle, acquired, "device.clock_read")
    fields = reading.entry.statement.fields if reading else {}
    if "offset_ms" not in fields:
        return "未测得 not measured"
    offset, uncertainty = int(fields["offset_ms"]) / 1000, int(fields.get("uncertainty_ms", 0)) / 1000
    return f"{offset:+.3f} s ± {uncertainty:.3f} s"
