"""The vault: objects, records, log and catalogue behind one door.

Every act goes the same way: personal fields become durable records, then the entries that commit to them go into the
log, then the catalogue follows. Nothing here decides policy; nothing here opens media.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Self

from vault import directory, durable
from vault.catalogue import migrations
from vault.catalogue.projection import project, set_projected_size
from vault.catalogue.search import Catalogue
from vault.entry import LogEntry, Statement, decode
from vault.errors import (
    CatalogueMismatchError,
    ConflictError,
    EntryInvalidError,
)
from vault.log.reader import LogReader
from vault.log.sequencer import Log, Receipt
from vault.log.signer import Signer
from vault.model import Actor, CaseId, CaseRecord, Clip, Digest, PersonId, Role, View
from vault.records import RecordStore
from vault.store import ObjectStore, VerifiedReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SYNC_SINGLY_MAX = 4  # up to so many records are synced one by one; above, one syncfs is cheaper


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An act to be logged: public fields for the leaf, private ones for a record that the leaf commits to."""

    type: str
    actor: Actor
    fields: Mapping[str, str | int]
    private: Mapping[str, object] = field(default_factory=dict)
    id: str = ""  # default: a new UUIDv7


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One entry about a subject, with what its record discloses."""

    index: int
    data: bytes  # as the leaf hashes it
    entry: LogEntry
    private: dict[str, object]


class Vault:
    """An open vault. Several processes may have one open; each is safe for threads."""

    def __init__(self, root: Path, *, log: Log, reader: LogReader, catalogue: Catalogue, lock: int) -> None:
        self.root = root
        self.log = log
        self.reader = reader
        self.catalogue = catalogue
        self.objects = ObjectStore(root)
        self.records = RecordStore(root)
        self._lock = lock

    @classmethod
    def init(cls, root: Path, *, origin: str | None = None) -> Vault:
        """Create a vault in an empty or missing directory, once, and open it."""
        directory.create(root)
        origin = origin or f"liuhen.local/{secrets.token_hex(8)}"
        signer = Signer.create(root / "keys" / "log.key", origin)
        directory.create_catalogue(root / "catalogue.db")
        Log.create(root, signer, origin)
        # Dead before this line: no checkpoint, `open` refuses, the directory can be removed. Dead after it: a vault.
        durable.sync_file_system(root)
        vault = cls.open(root)
        founder = Actor(id=PersonId(str(uuid7())), role="admin", name="liuhen")
        vault.submit(
            [
                Draft(
                    type="log.genesis",
                    actor=founder,
                    fields={"origin": origin, "vkey": signer.vkey, "software": f"liuhen {version('liuhen')}"},
                    id="genesis",
                )
            ]
        )
        return vault

    @classmethod
    def open(cls, root: Path) -> Vault:
        """Open an existing vault, finishing what a crash left; never creates one."""
        directory.require(root)
        if not (root / "catalogue.db").exists():
            raise CatalogueMismatchError(f"{root / 'catalogue.db'} is missing; the log is there")
        lock = directory.lock(root, alone=False)
        try:
            signer = Signer.load(root / "keys" / "log.key")
            catalogue = Catalogue(root / "catalogue.db")
            with catalogue.writing() as connection:
                migrations.upgrade(connection)
            log = Log.open(root, signer, now_ms=now_ms)
        except BaseException:
            os.close(lock)
            raise
        reader = LogReader(root / "log", [signer.verifier], log.origin)
        vault = cls(root, log=log, reader=reader, catalogue=catalogue, lock=lock)
        vault.catch_up()
        return vault

    def close(self) -> None:
        """Release the log, the catalogue and the vault's lock."""
        if self._lock >= 0:
            self.log.close()
            self.catalogue.close()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def origin(self) -> str:
        """The log's name, as it stands in every checkpoint."""
        return self.log.origin

    # --- writing ---------------------------------------------------------------------------------------------------

    def submit(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Log acts: when it returns they are durable, in a signed published checkpoint, and in the catalogue."""
        singly = len(drafts) <= SYNC_SINGLY_MAX
        statements = [self._statement(draft, sync=singly) for draft in drafts]
        if not singly:
            durable.sync_file_system(self.root)
        # Dead before the append: records that nothing refers to, harmless. Dead after it: the entries stand, their
        # records are durable, and the next `open` brings the catalogue up.
        receipts = self.log.append(statements)
        known = {r.index: (r.entry, dict(d.private)) for r, d in zip(receipts, drafts, strict=True) if not r.repeated}
        self.catch_up(known)
        return receipts

    def _statement(self, draft: Draft, *, sync: bool) -> Statement:
        fields = dict(draft.fields)
        if draft.private:
            fields["body"] = str(self.records.put(draft.private, sync=sync))
        return Statement(
            type=draft.type,
            id=draft.id or str(uuid7()),
            actor_id=draft.actor.id,
            actor_role=draft.actor.role,
            fields=fields,
        )

    def catch_up(self, known: Mapping[int, tuple[LogEntry, dict[str, object]]] | None = None) -> None:
        """Bring the catalogue to the published checkpoint; `known` saves reading back what was just written."""
        known = known or {}
        with self.catalogue.writing() as connection:
            start = self.catalogue.projected_size_in(connection)
            checkpoint = self.reader.checkpoint()
            if start >= checkpoint.size:
                return  # another process brought them in, or a newer checkpoint did
            missing = [index for index in range(start, checkpoint.size) if index not in known]
            fetched = {}
            if missing:
                for index, data in self.reader.entries(missing[0], missing[-1] + 1, checkpoint):
                    if index not in known:
                        entry = decode(data)
                        fetched[index] = (entry, self.records.disclosed(entry))
            for index in range(start, checkpoint.size):
                entry, private = known.get(index) or fetched[index]
                project(connection, index, entry, private)
            set_projected_size(connection, checkpoint.size)

    def actor(self, account: str, *, role: Role, name: str = "") -> Actor:
        """Return the person of an account, registering them in the log at first use."""
        found = self.catalogue.person(account=account)
        if found is None:
            person = PersonId(str(uuid7()))
            new = Actor(id=person, role=role, name=name or account)
            private = {"account": account, "name": new.name}
            self.submit([Draft(type="person.registered", actor=new, fields={"person": person}, private=private)])
            found = self.catalogue.person(account=account)
            assert found is not None  # noqa: S101 - it was projected before submit returned
        return Actor(id=found[0], role=role, name=found[1] or account)

    def open_view(self, actor: Actor, clip: Digest, purpose: str, *, address: str = "") -> View:
        """Log that somebody is about to see a clip, and why. I6: durable when it returns; only then serve bytes."""
        self.catalogue.clip(clip)
        view = str(uuid7())
        private = {"purpose": purpose, "account": actor.name, "address": address}
        fields = {"clip": str(clip), "view": view, "scope": "whole"}
        receipt = self.submit([Draft(type="clip.viewed", actor=actor, fields=fields, private=private, id=view)])[0]
        return View(
            index=receipt.index,
            view=view,
            clip=clip,
            actor=actor.id,
            purpose=purpose,
            opened_at=datetime.fromtimestamp(receipt.entry.time_ms / 1000, UTC),
        )

    def record_export(
        self, actor: Actor, clips: Sequence[Digest], form: str, purpose: str, *, case: CaseId | None = None
    ) -> list[Receipt]:
        """Log that clips are about to be handed out (I6); one entry a clip, all with one export id.

        Each record says how many clips and which end of the case's chain were handed out: whoever later takes a clip
        or a case entry out of the bag contradicts the log.
        """
        export = str(uuid7())
        private: dict[str, object] = {"purpose": purpose, "account": actor.name, "clips": len(clips)}
        if case is not None:
            private |= {"case": case, "case_head": self.log.last_index(case)}
        for clip in clips:
            self.catalogue.clip(clip)
        return self.submit(
            [
                Draft(
                    type="clip.exported",
                    actor=actor,
                    fields={"clip": str(clip), "export": export, "form": form},
                    private=private,
                )
                for clip in clips
            ]
        )

    def open_case(self, actor: Actor, *, number: str, title: str, target: str = "", category: str = "") -> CaseRecord:
        """Open a case record; its number must be new."""
        number = number.strip()
        if not number:
            raise ConflictError("a case needs a number (案号)")
        case = CaseId(str(uuid7()))
        private = {"number": number, "title": title, "target": target, "category": category}
        with directory.turn(self.root / "cases.lock"):  # two at once must not both find the number free
            self.catch_up()
            if any(case.number == number for case in self.catalogue.cases()):
                raise ConflictError(f"case {number} is open already")
            self.submit([Draft(type="case.opened", actor=actor, fields={"case": case}, private=private, id=case)])
        return self.catalogue.case(case)

    def link(self, actor: Actor, clip: Digest, case: CaseId, reason: str = "") -> Receipt:
        """Tie a clip to a case."""
        self.catalogue.clip(clip)
        number = self.catalogue.case(case).number
        if any(link.case == case for link in self.catalogue.links(clip=clip)):
            raise ConflictError(f"clip {clip} is linked to case {number} already")
        fields = {"clip": str(clip), "case": case}
        return self.submit([Draft(type="clip.linked", actor=actor, fields=fields, private={"reason": reason})])[0]

    def unlink(self, actor: Actor, clip: Digest, case: CaseId, reason: str) -> Receipt:
        """Undo a link by a new entry; the link itself stays on record. A reason is required."""
        if not reason.strip():
            raise ConflictError("unlinking needs a reason")
        if not any(link.case == case for link in self.catalogue.links(clip=clip)):
            raise ConflictError(f"clip {clip} is not linked to case {self.catalogue.case(case).number}")
        fields = {"clip": str(clip), "case": case}
        return self.submit([Draft(type="clip.unlinked", actor=actor, fields=fields, private={"reason": reason})])[0]

    # --- verified reading ------------------------------------------------------------------------------------------

    def sealed(self, clip: Digest) -> tuple[int, LogEntry]:
        """Return (index, entry) of the clip's seal, authenticated against the signed checkpoint."""
        return self.sealed_entry(self.catalogue.clip(clip))

    def sealed_entry(self, clip: Clip) -> tuple[int, LogEntry]:
        """As `sealed`, for a clip already looked up; the catalogue only says where to look, the log decides."""
        entry = decode(self.reader.entry(clip.sealed_index, self.reader.checkpoint()))
        if entry.statement.type != "clip.sealed" or entry.statement.fields["clip"] != str(clip.id):
            raise CatalogueMismatchError(f"clip {clip.id}: entry {clip.sealed_index} is not its seal")
        return clip.sealed_index, entry

    def read(self, clip: Digest) -> VerifiedReader:
        """Open a clip's original; every byte it hands out was checked against the seal in the log (I8)."""
        _, entry = self.sealed(clip)
        fields = entry.statement.fields
        return self.objects.open(
            clip,
            size=int(fields["bytes"]),
            chunk_bytes=int(fields["chunk_bytes"]),
            chunk_root=bytes.fromhex(str(fields["chunk_root"])),
        )

    def logged_derivative(self, clip: Digest, recipe: str, output: Digest) -> bool:
        """Tell whether the log holds that this was derived from the clip; the catalogue only says where to look."""
        index = self.catalogue.derived_at(clip, recipe, output)
        if index is None:
            return False
        said = decode(self.reader.entry(index, self.reader.checkpoint())).statement
        wanted = {"clip": str(clip), "recipe": recipe, "output": str(output)}
        return said.type == "clip.derived" and wanted.items() <= dict(said.fields).items()

    def history(self, subject: str, *, limit: int | None = None) -> list[HistoryItem]:
        """Return every entry about a subject ("sha256:…", a case id, a device id), oldest first, authenticated.

        Follows the `prev` chain from the newest entry back to the first, so none in between can be missing; with
        `limit`, only the newest so many.
        """
        index = self.log.last_index(subject)
        checkpoint = self.reader.checkpoint()  # after the index, so that it covers it
        items: list[HistoryItem] = []
        while index >= 0 and (limit is None or len(items) < limit):
            data = self.reader.entry(index, checkpoint)
            entry = decode(data)
            items.append(HistoryItem(index=index, data=data, entry=entry, private=self.records.disclosed(entry)))
            kind = next((k for k, value in entry.statement.subjects().items() if value == subject), None)
            if kind is None:
                raise EntryInvalidError(f"entry {index} is chained to {subject} but does not speak of it")
            index = entry.prev[kind]
        return items[::-1]

    def proof(self, index: int) -> bytes:
        """Return the tlog-proof of one entry against the current checkpoint."""
        return self.reader.tlog_proof(index, self.reader.checkpoint())


def now_ms() -> int:
    """Return the station's clock in POSIX milliseconds: the only clock of the vault."""
    return time.time_ns() // 1_000_000


def uuid7() -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 random bits; Python 3.14 has its own."""
    value = now_ms() << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)
