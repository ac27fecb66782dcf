"""Verify a whole vault (one clip: `vault.verification.clipcheck`) from the bytes on disk. Reads only; changes nothing, opens nothing for writing.

The steps of `verify_vault`, which the code follows by number:

1. The checkpoint is signed by the log's key.
2. Every entry, hashed again, leads to the signed root, and every stored tile holds what the entries imply.
3. The database's own checkpoint, and an earlier one kept by the auditor, are of this same log, none newer than it.
4. Envelopes: times never decrease, ids are unique, every entry names the one before it about each of its subjects.
5. Custody: nothing happens to a clip before it is sealed, a clip is sealed once, links and dockings are in order.
6. Every record is there and opens the commitment which its entry holds.
7. Every sealed original is there and has the sealed size, SHA-256 and chunk list.
8. The catalogue shows exactly what the log says (I7).

Shared with the writer: the pure modules (merkle, tiles, checkpoint, entry), where files lie (store, records) and, in
step 8, the projection itself, whose repeatability is what that step is about.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vault import directory
from vault.errors import (
    CatalogueMismatchError,
    CheckpointInvalidError,
    EntryInvalidError,
    LogForkError,
    RecordMismatchError,
)
from vault.export.bag import fingerprint
from vault.log.checkpoint import parse_checkpoint, parse_vkeys, verify_checkpoint
from vault.model import Digest
from vault.records import RecordStore
from vault.store import ObjectStore
from vault.verification.cataloguecheck import Expected, Snapshot
from vault.verification.clipcheck import verify_clip
from vault.verification.custody import Custody
from vault.verification.logcheck import LogCheck, read_entry
from vault.verification.objectcheck import Checked, check_objects, untracked
from vault.verification.verdict import Fault, Finding, Outcome, Report, four_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vault.entry import LogEntry
    from vault.log.checkpoint import Checkpoint, UnverifiedCheckpoint, Verifier

__all__ = ["Progress", "verify_clip", "verify_vault"]

PROGRESS_S = 0.1  # how often progress is told at most

TITLES = {
    1: ("The checkpoint is signed by the log's key", "检查点由日志密钥签名"),
    2: ("Every entry and tile leads to the signed root", "全部条目与哈希块均可推导出已签名的树根"),
    3: ("No other checkpoint contradicts it", "与数据库及审计人留存的检查点不矛盾"),
    4: ("Times, ids and links between entries are whole", "条目的时间、编号与前后链接完整"),
    5: ("Custody is in order", "保管链次序正确"),
    6: ("Every record opens its commitment", "每份附属记录与日志中的承诺一致"),
    7: ("Every original has its sealed integrity values", "全部原件的完整性校验值与封存时一致"),
    8: ("The catalogue shows what the log says", "目录与日志一致"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step is."""

    step: int
    unit: str  # "entries" or "bytes"
    done: int
    total: int
    rate: float  # per second since the step began
    eta_s: float | None


def _silent(_: Progress) -> None:
    """Tell nobody."""


def verify_vault(
    root: Path,
    *,
    objects: bool = True,
    catalogue: bool = True,
    since: bytes | None = None,
    vkey: str | None = None,
    on_progress: Callable[[Progress], None] = _silent,
) -> Report:
    """Re-derive everything and return the report; raises VaultMissingError when there is no vault.

    `since` is a checkpoint the auditor kept: it must be of this log and lie on the way to the present one. `vkey` is the
    log's key from a source the auditor trusts. `objects` and `catalogue` say whether steps 7 and 8 are done.
    """
    if not (root / "log").is_dir():  # a vault whose checkpoint or key is gone is still there to be judged
        directory.require(root)
    return _Verification(root, since=since, vkey=vkey, on_progress=on_progress).run(
        objects=objects, catalogue=catalogue
    )


class _Verification:
    def __init__(
        self, root: Path, *, since: bytes | None, vkey: str | None, on_progress: Callable[[Progress], None]
    ) -> None:
        self.root = root
        self.since_note = since
        self.trusted_vkey = vkey
        self.report = Report(target=str(root))
        self.records = RecordStore(root)
        self.store = ObjectStore(root)
        self.meter = _Meter(on_progress)
        self.snapshot: Snapshot | None = None
        self.snapshot_faults: list[Fault] = []
        self.expected: Expected | None = None
        self.note = b""
        self.verifier: Verifier
        self.custody: Custody
        self.record_faults: list[Fault] = []
        self.entry_faults: list[Fault] = []

    def run(self, *, objects: bool, catalogue: bool) -> Report:
        with contextlib.ExitStack() as stack:
            self._open_snapshot(stack)  # before the checkpoint is read: see vault.cataloguecheck
            checkpoint = self._step1()
            if checkpoint is None:
                for number in range(2, 9):
                    self._add(number, [], "skipped", "without a checkpoint there is nothing to check against")
            else:
                if catalogue and self.snapshot is not None:
                    self.expected = stack.enter_context(Expected(self.snapshot.projected))
                self._check(checkpoint, objects=objects, catalogue=catalogue)
            self._hint_at_recovery()
        self.report.answers += four_answers({fault.code for fault in self.report.faults})
        return self.report

    def _check(self, checkpoint: Checkpoint | UnverifiedCheckpoint, *, objects: bool, catalogue: bool) -> None:
        check = self._pass(checkpoint)
        self._step2(check)
        self._step3(check)
        self._step4(check)
        self._step5()
        self._step6()
        self._step7(check, wanted=objects)
        self._step8(check, wanted=catalogue)

    # --- (1) ---------------------------------------------------------------------------------------------------------

    def _step1(self) -> Checkpoint | UnverifiedCheckpoint | None:
        """Return the published checkpoint, unverified when its signature does not hold: the rest is still worth doing."""
        try:
            verifiers = parse_vkeys((self.root / "log" / "vkey").read_text())
            note = (self.root / "log" / "checkpoint").read_bytes()
            unverified = parse_checkpoint(note)
        except (OSError, ValueError, CheckpointInvalidError) as err:
            self._add(1, [Fault.of(CheckpointInvalidError, "log/checkpoint", _words(err))])
            return None
        verifier = next((v for v in verifiers if v.name == unverified.origin), verifiers[0])
        self.report.origin, self.report.size, self.report.root = (
            unverified.origin,
            unverified.size,
            unverified.root.hex(),
        )
        self.report.vkey, self.report.fingerprint = verifier.vkey, fingerprint(verifier.vkey)
        faults = []
        if self.trusted_vkey is not None and self.trusted_vkey.strip() != verifier.vkey:
            faults.append(Fault.of(CheckpointInvalidError, "log/vkey", f"holds {verifier.vkey}, not the key you gave"))
        try:
            checkpoint: Checkpoint | UnverifiedCheckpoint = verify_checkpoint(note, [verifier], verifier.name)
        except CheckpointInvalidError as err:
            faults.append(Fault.of(CheckpointInvalidError, "log/checkpoint", _words(err)))
            checkpoint = unverified
        self.note, self.verifier = note, verifier
        self._add(1, faults, detail=f"{unverified.origin}: {unverified.size} entries, root {unverified.root.hex()}")
        return checkpoint

    # --- one pass over the entries -----------------------------------------------------------------------------------

    def _pass(self, checkpoint: Checkpoint | UnverifiedCheckpoint) -> LogCheck:
        self.custody = Custody(origin=self.report.origin, vkey=self.report.vkey)
        others = [note for note in (self.since_note, self.snapshot.checkpoint if self.snapshot else None) if note]
        sizes = {parsed.size for parsed in map(_parsed, others) if parsed is not None}
        self.meter.begin(2, "entries", checkpoint.size)
        check = LogCheck(
            directory=self.root / "log",
            size=checkpoint.size,
            root=checkpoint.root,
            roots_at=sizes,
            on_entry=self._entry,
            on_gap=self._gap,
            on_progress=lambda done, _: self.meter.at(done),
        )
        check.run()
        return check

    def _entry(self, index: int, data: bytes) -> None:
        try:
            entry = read_entry(data)
        except EntryInvalidError as err:
            self.entry_faults.append(Fault.of(EntryInvalidError, f"entry {index}", _words(err)))
            self._gap(1)
            return
        self.custody.feed(entry)
        private = self._private(index, entry)
        if self.expected is not None:
            self.expected.feed(index, data, entry, private)

    def _gap(self, count: int) -> None:
        self.custody.skip(count)
        if self.expected is not None:
            self.expected.skip(count)

    def _private(self, index: int, entry: LogEntry) -> dict[str, object]:
        body = entry.statement.fields.get("body")
        if body is None:
            return {}
        try:
            return self.records.get(Digest.parse(str(body)))
        except (RecordMismatchError, ValueError) as err:
            self.record_faults.append(Fault.of(RecordMismatchError, _name(index, entry), _words(err)))
            return {}

    # --- (2) to (8) --------------------------------------------------------------------------------------------------

    def _step2(self, check: LogCheck) -> None:
        self.report.findings += check.findings
        self._add(2, check.faults, detail=f"{check.size} entries, {check.tiles} tiles")

    def _step3(self, check: LogCheck) -> None:
        faults = list(self.snapshot_faults)
        compared = []
        if self.snapshot is not None and self.snapshot.checkpoint is None:
            faults.append(Fault.of(LogForkError, "catalogue.db", "holds no checkpoint: another database was put here"))
        elif self.snapshot is not None and self.snapshot.checkpoint is not None:
            faults += self._compare_checkpoint(check, "catalogue.db (cp)", self.snapshot.checkpoint, self.snapshot)
            compared.append("database")
        if self.since_note is not None:
            faults += self._compare_checkpoint(check, "the auditor's checkpoint", self.since_note)
            compared.append("auditor's earlier checkpoint")
        self._add(3, faults, detail=", ".join(compared) or "no other checkpoint at hand")

    def _compare_checkpoint(
        self, check: LogCheck, where: str, note: bytes, database: Snapshot | None = None
    ) -> list[Fault]:
        """Hold another checkpoint against the log: signed by the same key, and a root that the entries pass through."""
        try:
            other = verify_checkpoint(note, [self.verifier], self.verifier.name)
        except CheckpointInvalidError as err:
            return [Fault.of(CheckpointInvalidError, where, _words(err))]
        if other.size > check.size:
            if database is not None and database.can_publish(check.size, other.size):
                message = f"is at {other.size} entries, published are {check.size}: an append is under way, or was "
                message += "interrupted after its commit; then the next start publishes it"
                self.report.findings.append(Finding(object=where, message=message))
                return []
            what = f"has {other.size} entries, the log only {check.size}: entries {check.size}-{other.size - 1} were cut off"
            return [Fault.of(LogForkError, where, what)]
        if check.roots.get(other.size) != other.root and check.leads_to_root:
            return [Fault.of(LogForkError, where, f"has another root at {other.size} entries: the log was rewritten")]
        if database is not None and other.size < check.size and not self._database_caught_up(check.size):
            what = f"is at {other.size} entries, the log at {check.size}: an older database was put back"
            return [Fault.of(LogForkError, where, what)]
        return []

    def _database_caught_up(self, size: int) -> bool:
        """Tell whether the database has by now the checkpoint that was published: the vault is at work, not rolled back."""
        try:
            with Snapshot(self.root / "catalogue.db") as later:
                parsed = _parsed(later.checkpoint or b"")
        except CatalogueMismatchError:
            return False
        return parsed is not None and parsed.size >= size

    def _step4(self, check: LogCheck) -> None:
        self._add(4, self.entry_faults + self.custody.envelope_faults, detail=f"{check.size} entries")

    def _step5(self) -> None:
        self.report.findings += self.custody.findings
        self._add(5, self.custody.faults, detail=f"{len(self.custody.seals)} clips sealed")

    def _step6(self) -> None:
        known = {body.rpartition(":")[2] for body in self.custody.bodies}
        message = "no entry commits to it; an act that was interrupted before it was logged leaves such a record"
        for path in sorted(self.records.directory.rglob("*")):
            if path.name not in known and not path.is_dir():
                self.report.findings.append(Finding(object=str(path.relative_to(self.root)), message=message))
        self._add(6, self.record_faults, detail=f"{len(known)} records")

    def _step7(self, check: LogCheck, *, wanted: bool) -> None:
        seals = self.custody.seals
        total = sum(seal.size for seal in seals.values())
        if not wanted:
            self._add(7, [], "skipped", f"{len(seals)} originals were not read")
            return
        faults: list[Fault] = []
        self.meter.begin(7, "bytes", total)

        def on_checked(checked: Checked) -> None:
            faults.extend(checked.faults)
            self.report.findings.extend(checked.findings)
            self.meter.add(checked.bytes)

        check_objects(self.store, seals, on_checked)
        if check.leads_to_root:  # else an unreadable entry would make its object look untracked
            self.report.findings += untracked(self.store, seals)
        order = {clip: seal.index for clip, seal in seals.items()}
        faults.sort(key=lambda fault: (order.get(fault.object.split(" ")[1], 0), fault.code))
        self._add(7, faults, detail=f"{len(seals)} originals, {total} bytes")

    def _step8(self, check: LogCheck, *, wanted: bool) -> None:
        if not wanted or self.snapshot is None or self.expected is None:
            self._add(8, [], "skipped", "the catalogue cannot be read" if wanted else "the catalogue was not looked at")
            return
        if not check.leads_to_root:
            self._add(8, [], "skipped", "the log itself does not hold, so it cannot judge the catalogue")
            return
        try:
            faults = self.expected.compare(self.snapshot, self.custody, exact=self.snapshot.checkpoint == self.note)
        except CatalogueMismatchError as err:
            faults = [Fault.of(CatalogueMismatchError, "catalogue.db", _words(err))]
        if self.snapshot.projected < check.size:
            message = f"shows {self.snapshot.projected} of {check.size} entries; the next start brings it up"
            self.report.findings.append(Finding(object="catalogue.db", message=message))
        self._add(8, faults, detail=f"{self.snapshot.projected} entries shown")

    def _open_snapshot(self, stack: contextlib.ExitStack) -> None:
        try:
            self.snapshot = stack.enter_context(Snapshot(self.root / "catalogue.db"))
        except CatalogueMismatchError as err:
            self.snapshot_faults.append(Fault.of(CatalogueMismatchError, "catalogue.db", _words(err)))

    def _hint_at_recovery(self) -> None:
        """After a power cut, files of log/ may be torn that the next start makes again from the database."""
        if self.snapshot is not None and self.snapshot.staged and any(f.code in {20, 22} for f in self.report.faults):
            message = (
                "still holds batches whose files were not yet synced. If this machine lost power, start Liuhen once: "
            )
            message += "it writes those files again; then verify. If it did not, preserve the disk first."
            self.report.findings.append(Finding(object="catalogue.db", message=message))

    def _add(self, number: int, faults: list[Fault], outcome: Outcome | None = None, detail: str = "") -> None:
        self.report.add(number, TITLES[number], faults, outcome, detail)


class _Meter:
    """Counts one step's work and tells it at most every PROGRESS_S seconds, and once at its end."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress
        self.begin(0, "entries", 0)

    def begin(self, step: int, unit: str, total: int) -> None:
        self._step, self._unit, self._total = step, unit, total
        self._done, self._began, self._told = 0, time.monotonic(), 0.0

    def add(self, count: int) -> None:
        self.at(self._done + count)

    def at(self, done: int) -> None:
        self._done = done
        now = time.monotonic()
        if done < self._total and now - self._told < PROGRESS_S:
            return
        self._told = now
        rate = done / max(now - self._began, 1e-6)
        eta_s = (self._total - done) / rate if rate else None
        self._on_progress(
            Progress(step=self._step, unit=self._unit, done=done, total=self._total, rate=rate, eta_s=eta_s)
        )


def _parsed(note: bytes) -> UnverifiedCheckpoint | None:
    try:
        return parse_checkpoint(note)
    except CheckpointInvalidError:
        return None


def _name(index: int, entry: LogEntry) -> str:
    """Name an entry with its type and, when it speaks of one, its clip."""
    clip = entry.statement.fields.get("clip")
    return f"entry {index} ({entry.statement.type}{f' of clip {clip}' if clip else ''})"


def _words(err: Exception) -> str:
    return f"{err.filename}: {err.strerror}" if isinstance(err, OSError) else str(err)
