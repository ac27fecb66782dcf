"""Verify one clip of an open vault: its seal, its custody chain, its records, its bytes. Reads only.

1. The checkpoint is signed by the log's key.
2. Every entry of the clip's custody chain is in the signed log, from the newest back to the seal, none left out.
3. Their records open their commitments.
4. The original has the sealed size, SHA-256 and chunk list.

That the newest entry is the newest is taken from the database; `verify_vault` shows it for all clips at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vault.errors import EntryInvalidError, IntegrityError, RecordMismatchError
from vault.export.bag import fingerprint
from vault.log.merkle import leaf_hash, verify_inclusion
from vault.model import Digest
from vault.verification.custody import Seal
from vault.verification.logcheck import read_entry
from vault.verification.objectcheck import check_object
from vault.verification.verdict import Fault, Report, four_answers

if TYPE_CHECKING:
    from vault.entry import LogEntry
    from vault.log.checkpoint import Checkpoint
    from vault.vault import Vault

TITLES = {
    1: ("The checkpoint is signed by the log's key", "检查点由日志密钥签名"),
    2: ("Its custody chain is whole and in the signed log", "其保管链完整, 各条目均在已签名的日志之中"),
    3: ("Every record opens its commitment", "每份附属记录与日志中的承诺一致"),
    4: ("The original has its sealed integrity values", "原件的完整性校验值与封存时一致"),
}
Chain = list[tuple[int, "LogEntry"]]


def verify_clip(vault: Vault, clip: Digest) -> Report:
    """Verify one clip and return the report; raises NotFoundError when the vault has no such clip."""
    vault.catalogue.clip(clip)
    report = Report(target=str(clip))
    try:
        checkpoint = vault.reader.checkpoint()  # (1)
    except IntegrityError as err:
        report.add(1, TITLES[1], [_fault(err, "log/checkpoint")])
        for number in (2, 3, 4):
            report.add(number, TITLES[number], [], "skipped", "without a checkpoint there is nothing to check against")
    else:
        _check(vault, clip, checkpoint, report)
    report.answers += four_answers({fault.code for fault in report.faults})
    return report


def _check(vault: Vault, clip: Digest, checkpoint: Checkpoint, report: Report) -> None:
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    report.vkey = (vault.root / "log" / "vkey").read_text().partition("\n")[0]
    report.fingerprint = fingerprint(report.vkey)
    report.add(1, TITLES[1], [], detail=f"{report.origin}: {report.size} entries, root {report.root}")
    chain, faults = _chain(vault, clip, checkpoint)  # (2)
    detail = f"{len(chain)} entries: {', '.join(f'{i} {e.statement.type}' for i, e in chain[:12])}"
    report.add(2, TITLES[2], faults, detail=detail + (", …" if len(chain) > 12 else ""))
    report.add(3, TITLES[3], _record_faults(vault, chain))  # (3)
    seal = next((_seal(index, entry) for index, entry in chain if entry.statement.type == "clip.sealed"), None)
    if seal is None:  # (4)
        report.add(4, TITLES[4], [], "skipped", "no seal to check the bytes against")
        return
    checked = check_object(vault.objects, str(clip), seal)
    report.findings += [finding for each in checked for finding in each.findings]
    object_faults = [fault for each in checked for fault in each.faults]
    report.add(4, TITLES[4], object_faults, detail=f"{seal.size} bytes, {clip}, chunk root {seal.chunk_root}")


def _chain(vault: Vault, clip: Digest, checkpoint: Checkpoint) -> tuple[Chain, list[Fault]]:
    """Follow `prev` from the newest entry back to the first; stop at the first entry that does not hold."""
    chain: Chain = []
    index = vault.log.last_index(str(clip))
    while index >= 0:
        where = f"clip {clip}, entry {index}"
        try:
            data = vault.reader.entry(index, checkpoint)
            verify_inclusion(
                index=index,
                size=checkpoint.size,
                leaf=leaf_hash(data),
                proof=vault.log.reader.inclusion_proof(index, checkpoint),
                root=checkpoint.root,
            )
            entry = read_entry(data)
        except IntegrityError as err:
            return chain[::-1], [_fault(err, where)]
        if entry.statement.fields.get("clip") != str(clip):
            return chain[::-1], [
                Fault.of(EntryInvalidError, where, "is in the clip's chain but speaks of something else")
            ]
        chain.append((index, entry))
        before = entry.prev.get("clip", -1)
        if before >= index:
            return chain[::-1], [Fault.of(EntryInvalidError, where, f"names entry {before}, which is not before it")]
        index = before
    chain.reverse()
    sealed = [entry.statement.type for _, entry in chain].count("clip.sealed")
    if sealed != 1 or chain[0][1].statement.type != "clip.sealed":
        return chain, [Fault.of(EntryInvalidError, f"clip {clip}", "its chain does not begin with its one seal")]
    return chain, []


def _record_faults(vault: Vault, chain: Chain) -> list[Fault]:
    faults = []
    for index, entry in chain:
        body = entry.statement.fields.get("body")
        if body is not None:
            try:
                vault.records.get(Digest.parse(str(body)))
            except (RecordMismatchError, ValueError) as err:
                where = f"entry {index} ({entry.statement.type} of clip {entry.statement.fields['clip']})"
                faults.append(Fault.of(RecordMismatchError, where, str(err)))
    return faults


def _seal(index: int, entry: LogEntry) -> Seal:
    fields = entry.statement.fields
    return Seal(
        index=index,
        size=int(fields["bytes"]),
        chunk_bytes=int(fields["chunk_bytes"]),
        chunk_root=str(fields["chunk_root"]),
    )


def _fault(err: IntegrityError, where: str) -> Fault:
    return Fault.of(type(err), where, str(err))
