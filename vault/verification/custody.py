"""The rules of custody: what may follow what in the log. Pure; fed entry by entry, reports every breach.

Knows nothing of files, signatures or hashes: that the bytes are the logged ones is shown before an entry comes here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault.errors import EntryInvalidError
from vault.verification.verdict import Fault, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vault.entry import LogEntry

OF_A_SEALED_CLIP = frozenset(
    {"clip.acquired", "clip.conflict", "clip.viewed", "clip.exported", "clip.derived", "clip.linked", "clip.unlinked"}
)
OF_A_SESSION = frozenset(
    {"device.clock_read", "device.inventoried", "clip.acquired", "acquisition.failed", "dock.closed"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the log sealed of one clip."""

    index: int
    size: int  # bytes
    chunk_bytes: int
    chunk_root: str  # 64 hex


class Custody:
    """The state of every clip, case and docking after the entries fed so far."""

    def __init__(self, *, origin: str, vkey: str) -> None:
        self.origin = origin
        self.vkey = vkey
        self.envelope_faults: list[Fault] = []  # time, id, links to earlier entries
        self.faults: list[Fault] = []  # what may not follow what
        self.findings: list[Finding] = []
        self.size = 0
        self.seals: dict[str, Seal] = {}
        self.bodies: dict[str, int] = {}  # body commitment -> index of the entry that holds it
        self.heads: dict[str, int] = {}  # subject -> index of its latest entry
        self.ids: dict[str, int] = {}
        self._time_ms = 0
        self._acquired: set[str] = set()
        self._cases: set[str] = set()
        self._links: set[tuple[str, str]] = set()
        self._sessions: dict[str, str] = {}  # dock session -> device
        self._people: set[str] = set()
        self._gap = False  # entries could not be read: what they said is unknown, so nothing is held against the rest

    def feed(self, entry: LogEntry) -> None:
        """Judge the next entry of the log."""
        index, said = self.size, entry.statement
        self.size += 1
        if entry.time_ms < self._time_ms:
            self._fault(index, said.type, "is earlier than the entry before it", envelope=True)
        self._time_ms = max(self._time_ms, entry.time_ms)
        first = self.ids.setdefault(said.id, index)
        if first != index:
            self._fault(index, said.type, f"repeats the id {said.id} of entry {first}", envelope=True)
        self._follow(index, entry)
        if "body" in said.fields:
            self.bodies[str(said.fields["body"])] = index
        if (said.type == "log.genesis") != (index == 0):
            self._fault(index, said.type, "stands where the log's first entry does not belong, or instead of it")
        self._person(index, entry)
        if said.type in OF_A_SEALED_CLIP and said.fields["clip"] not in self.seals:
            self._fault(index, said.type, "speaks of a clip that no earlier entry sealed")
        if said.type in OF_A_SESSION and self._sessions.get(str(said.fields["session"])) != said.fields["device"]:
            self._fault(index, said.type, f"belongs to no docking of {said.fields['device']} opened before it")
        self._judge(index, said.type, said.fields)

    def skip(self, count: int) -> None:
        """Pass over entries that cannot be read; their loss is reported by whoever tried."""
        self.size += count
        self._gap = True

    def _judge(self, index: int, kind: str, fields: Mapping[str, str | int]) -> None:
        match kind:
            case "log.genesis":
                self._genesis(index, fields)
            case "dock.opened":
                self._sessions.setdefault(str(fields["session"]), str(fields["device"]))
            case "clip.sealed":
                self._sealed(index, fields)
            case "clip.acquired":
                self._acquisition(index, fields)
            case "case.opened":
                self._case(index, fields)
            case "clip.linked":
                self._link(index, fields)
            case "clip.unlinked":
                self._unlink(index, fields)
            case _:
                pass  # the rest has no state of its own

    def _fault(self, index: int, kind: str, what: str, *, envelope: bool = False) -> None:
        if not self._gap:
            faults = self.envelope_faults if envelope else self.faults
            faults.append(Fault.of(EntryInvalidError, f"entry {index} ({kind})", what))

    def _follow(self, index: int, entry: LogEntry) -> None:
        subjects = entry.statement.subjects()
        if set(entry.prev) != set(subjects):
            self._fault(index, entry.statement.type, "does not link exactly the subjects it speaks of", envelope=True)
        for kind, subject in subjects.items():
            before, named = self.heads.get(subject, -1), entry.prev.get(kind, -1)
            if named != before:
                what = f"names entry {named} as the one before it about {kind} {subject}, the log has entry {before}"
                self._fault(index, entry.statement.type, what, envelope=True)
            self.heads[subject] = index

    def _person(self, index: int, entry: LogEntry) -> None:
        said = entry.statement
        if said.type in {"log.genesis", "person.registered"}:
            self._people.add(str(said.fields.get("person", said.actor_id)))
        elif said.actor_id not in self._people:
            self._people.add(said.actor_id)  # named once, at the first act
            message = f"entry {index} ({said.type}) is the first act of a person whom no entry registered"
            self.findings.append(Finding(object=f"person {said.actor_id}", message=message))

    def _genesis(self, index: int, fields: Mapping[str, str | int]) -> None:
        if fields["origin"] != self.origin:
            self._fault(index, "log.genesis", f"is of log {fields['origin']}, not of {self.origin}")
        if fields["vkey"] != self.vkey:
            self._fault(
                index, "log.genesis", f"names key {fields['vkey']}, the checkpoint was checked with {self.vkey}"
            )

    def _sealed(self, index: int, fields: Mapping[str, str | int]) -> None:
        clip = str(fields["clip"])
        if clip in self.seals:
            self._fault(index, "clip.sealed", f"seals clip {clip} again; entry {self.seals[clip].index} did")
            return
        self.seals[clip] = Seal(
            index=index,
            size=int(fields["bytes"]),
            chunk_bytes=int(fields["chunk_bytes"]),
            chunk_root=str(fields["chunk_root"]),
        )

    def _acquisition(self, index: int, fields: Mapping[str, str | int]) -> None:
        clip, outcome = str(fields["clip"]), fields["outcome"]
        seal = self.seals.get(clip)
        if seal is not None and seal.size != fields["bytes"]:
            self._fault(index, "clip.acquired", f"says {fields['bytes']} bytes, sealed were {seal.size}")
        expected = "duplicate" if clip in self._acquired else "sealed"
        if outcome != expected:
            self._fault(index, "clip.acquired", f"says {outcome}, the log's order says {expected}: {clip}")
        self._acquired.add(clip)

    def _case(self, index: int, fields: Mapping[str, str | int]) -> None:
        if fields["case"] in self._cases:
            self._fault(index, "case.opened", f"opens case {fields['case']} again")
        self._cases.add(str(fields["case"]))

    def _link(self, index: int, fields: Mapping[str, str | int]) -> None:
        link = (str(fields["clip"]), str(fields["case"]))
        if link[1] not in self._cases:
            self._fault(index, "clip.linked", f"links to case {link[1]}, which no earlier entry opened")
        if link in self._links:
            self._fault(index, "clip.linked", f"links clip {link[0]} to case {link[1]} again")
        self._links.add(link)

    def _unlink(self, index: int, fields: Mapping[str, str | int]) -> None:
        link = (str(fields["clip"]), str(fields["case"]))
        if link not in self._links:
            self._fault(index, "clip.unlinked", f"unlinks clip {link[0]} from case {link[1]}, where it is not linked")
        self._links.discard(link)
