"""From complete copies to sealed clips: sync, read back, describe, place, log, prove. One batch at a time.

The order is the promise (I2, I4): nothing is logged that is not durable and re-read, nothing is told that is not logged
in a signed checkpoint whose proof was verified from storage.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.recorder import Item, printable
from ingest.errors import IngestError, RereadMismatchError, StoredObjectDamagedError
from ingest.events import Outcome
from ingest.pull import Pulled, reread
from vault import durable
from vault.errors import ConflictError, EntryInvalidError, FixityMismatchError
from vault.model import CHUNK_BYTES, Actor, DeviceId, Digest, SessionId
from vault.vault import Draft, Vault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hardware.errors import HardwareError
    from ingest.probing.probe import Facts, Prober
    from vault.log.sequencer import Receipt

REREAD_FILES = 4  # small copies read back at once: each waits for the disk, not for the processor
SEAL_TRIES = 3  # another process may seal the same bytes between our look and our append


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A file that could not be copied, and why."""

    item: Item
    reason: str
    remedy: str

    @classmethod
    def of(cls, item: Item, err: HardwareError | IngestError) -> Failure:
        """Keep the words of an error."""
        return cls(item=item, reason=str(err), remedy=err.remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A complete copy of one item."""

    item: Item
    pulled: Pulled


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealer:
    """Seals the batches of one dock session."""

    vault: Vault
    prober: Prober
    actor: Actor
    device: DeviceId
    session: SessionId

    def seal(self, results: Sequence[Copy | Failure]) -> list[Outcome]:
        """Seal a batch; returns one outcome a file, in order."""
        copies = [result for result in results if isinstance(result, Copy)]
        if copies:
            # Dead before this line: half copies, swept. Dead after it: whole copies without an entry, also swept; the
            # resumed session copies these files again.
            durable.sync_file_system(self.vault.root)
        with ThreadPoolExecutor(REREAD_FILES) as pool:
            checked = list(pool.map(self._checked, copies))
        good = [copy for copy in checked if isinstance(copy, Copy)]
        failures = {id(r): r for r in results if isinstance(r, Failure)}
        failures |= {id(c): f for c, f in zip(copies, checked, strict=True) if isinstance(f, Failure)}
        facts = self.prober.describe_many(
            [(copy.pulled.incoming.path, printable(copy.item.path)) for copy in good],
            modified_ns=[copy.item.modified_ns for copy in good],
        )
        for copy in good:
            self.vault.objects.place(copy.pulled.incoming, copy.pulled.digest, copy.pulled.chunk_list)
        if good:
            # Dead after this line: durable objects without entries; the resumed session copies again and seals them.
            durable.sync_file_system(self.vault.root)
        outcomes = {id(c): outcome for c, outcome in zip(good, self._log(good, facts), strict=True)}
        outcomes |= self._log_failures(failures)
        return [outcomes[id(result)] for result in results]

    def _checked(self, copy: Copy) -> Copy | Failure:
        pulled = copy.pulled
        try:
            reread(pulled)
            self.vault.objects.check_standing(pulled.digest, size=pulled.size, chunk_list=pulled.chunk_list)
        except RereadMismatchError as err:
            pulled.incoming.discard()
            return Failure.of(copy.item, err)
        except FixityMismatchError as err:
            pulled.incoming.discard()
            return Failure.of(copy.item, StoredObjectDamagedError(str(err)))
        return copy

    # --- sealed, duplicate, damaged --------------------------------------------------------------------------------

    def _log(self, copies: Sequence[Copy], facts: Sequence[Facts]) -> list[Outcome]:
        if not copies:
            return []
        for attempt in range(1, SEAL_TRIES + 1):
            seals = self.vault.catalogue.seals([copy.pulled.digest for copy in copies])
            before = self.vault.catalogue.clips_at(self.device, [printable(copy.item.path) for copy in copies])
            fresh = _fresh(copies, seals)
            drafts = [
                draft
                for copy, found in zip(copies, facts, strict=True)
                for draft in self._drafts(copy, found, before, is_fresh=id(copy) in fresh)
            ]
            try:
                receipts = self.vault.submit(drafts)
                break
            except ConflictError:
                # Another dock sealed one of these clips first: after catching up it is a duplicate here.
                if attempt == SEAL_TRIES:
                    raise
                self.vault.catch_up()
        self._prove(receipts)
        seals |= {
            Digest.parse(str(r.entry.statement.fields["clip"])): r.index
            for r in receipts
            if r.entry.statement.type == "clip.sealed"
        }
        acquired = (r.index for r in receipts if r.entry.statement.type == "clip.acquired")
        return [
            _outcome(copy, found, seals[copy.pulled.digest], index, is_fresh=id(copy) in fresh)
            for copy, found, index in zip(copies, facts, acquired, strict=True)
        ]

    def _drafts(
        self, copy: Copy, facts: Facts, before: Mapping[str, set[Digest]], *, is_fresh: bool
    ) -> Iterable[Draft]:
        item, pulled = copy.item, copy.pulled
        path = printable(item.path)
        if is_fresh:
            fields: dict[str, str | int] = {
                "clip": str(pulled.digest),
                "bytes": pulled.size,
                "chunk_bytes": CHUNK_BYTES,
                "chunk_root": pulled.chunk_root.hex(),
                "media": facts.media,
                "condition": facts.condition,
            }
            if pulled.sm3 is not None:
                fields["sm3"] = str(pulled.sm3)
            yield Draft(
                type="clip.sealed",
                actor=self.actor,
                fields=fields,
                private={"name": path.rpartition("/")[2], "facts": facts.facts},
                id=f"sealed:{pulled.digest.hex}",  # one seal a clip, whoever comes first
            )
        yield Draft(
            type="clip.acquired",
            actor=self.actor,
            fields={
                "clip": str(pulled.digest),
                "device": self.device,
                "session": self.session,
                "bytes": pulled.size,
                "outcome": "sealed" if is_fresh else "duplicate",
            },
            private={
                "path": path,
                "modified_at": item.modified_at,
                "modified_ns": str(item.modified_ns),
                "fingerprint": item.fingerprint,
            },
        )
        for other in sorted(before.get(path, ()), key=str):
            if other != pulled.digest:
                yield Draft(
                    type="clip.conflict",
                    actor=self.actor,
                    fields={"clip": str(pulled.digest), "other": str(other), "device": self.device},
                    private={"path": path},
                )

    def _prove(self, receipts: Sequence[Receipt]) -> None:
        """Read the entries back from storage, authenticated up to the signed root: the last step before telling (I4)."""
        indices = [receipt.index for receipt in receipts]
        stored = dict(self.vault.reader.entries(min(indices), max(indices) + 1, self.vault.reader.checkpoint()))
        for receipt in receipts:
            if stored[receipt.index] != receipt.data:
                raise EntryInvalidError(f"entry {receipt.index} was stored with other bytes than were sealed")

    # --- failed ----------------------------------------------------------------------------------------------------

    def _log_failures(self, failures: dict[int, Failure]) -> dict[int, Outcome]:
        if not failures:
            return {}
        self.vault.submit(
            [
                Draft(
                    type="acquisition.failed",
                    actor=self.actor,
                    fields={"device": self.device, "session": self.session},
                    private={"path": printable(failure.item.path), "reason": failure.reason},
                )
                for failure in failures.values()
            ]
        )
        return {
            key: Outcome(
                path=printable(failure.item.path),
                size=failure.item.size,
                status="failed",
                reason=failure.reason,
                remedy=failure.remedy,
            )
            for key, failure in failures.items()
        }


def _fresh(copies: Iterable[Copy], seals: Mapping[Digest, int]) -> set[int]:
    """Return the ids of the copies that bring bytes the vault does not hold; the first of equals is fresh."""
    seen = set(seals)
    fresh = set()
    for copy in copies:
        if copy.pulled.digest not in seen:
            fresh.add(id(copy))
            seen.add(copy.pulled.digest)
    return fresh


def _outcome(copy: Copy, facts: Facts, index: int, acquired_index: int, *, is_fresh: bool) -> Outcome:
    damaged = is_fresh and facts.condition == "damaged"
    return Outcome(
        path=printable(copy.item.path),
        size=copy.pulled.size,
        status="damaged" if damaged else "sealed" if is_fresh else "duplicate",
        clip=copy.pulled.digest,
        index=index,
        acquired_index=acquired_index,
        reason=facts.reason if damaged else "",
    )
