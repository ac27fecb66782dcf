"""Hand footage out as a BagIt bag that anyone can check without us: originals, entries, proofs, records, verifier.

Order: the export is logged (I6) -> the bag is written beside its final name, every original byte checked against its
seal on the way (I8) -> fsync -> renamed -> directory synced. Dead before the rename: a temporary file, and an export on
record that nobody received. Layout: docs/formats.md, "Bag".
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from vault import durable
from vault.errors import FixityMismatchError, StorageError, VaultError
from vault.export import bag
from vault.export.evidence_list import Handout, certificate, evidence_list, utc
from vault.export.handout import ANCHORS, Bundle, collect, disclosure, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from vault.export.handout import Exported, Logged
    from vault.model import Actor, CaseId, Digest
    from vault.vault import Vault

FORM = "bagit-1.0"
OWN_FIELDS = frozenset({"purpose", "account", "name", "label", "serial", "identity"})  # of the export and its context
READ_BYTES = 1 << 20
ZIP64_BYTES = 1 << 31  # from here on a member announces its 64-bit size beforehand
SPARE_BYTES = 16 << 20  # free space asked for beside the footage: entries, proofs, records, forms


class ExportExistsError(VaultError):
    """The output file is there already."""

    exit_code = 2
    remedy = "Name another file with -o, or say that this one may be replaced."


class ExportPlaceError(VaultError):
    """The folder of the output file is not there."""

    exit_code = 2
    remedy = "Create the folder, or name a file in one that exists with -o."


class UnknownFieldError(VaultError):
    """A field to be withheld is in no record of these clips: nobody may believe that something was left out."""

    exit_code = 2
    remedy = "Look at the names of the personal fields with `liuhen clip history CLIP --json`."


class NothingToExportError(VaultError):
    """No clip was named, or the case has none."""

    exit_code = 2
    remedy = "Name clips, or link clips to the case first: `liuhen case link`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A finished bag."""

    id: str
    path: Path
    size: int  # bytes of the zip
    clips: int
    entries: int
    checkpoint_size: int
    fingerprint: str  # of the log's key: print it, send it by another way


def export(
    vault: Vault,
    clips: Sequence[Digest],
    case: CaseId | None,
    out: Path,
    *,
    actor: Actor,
    purpose: str,
    withhold: Collection[str] = (),
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write `out`, one zip with one bag, durable when it returns. Without clips, all that the case has.

    `withhold` names personal fields that are left out of the records; their commitments stay. `on_progress` is told
    bytes of footage done and in all. Raises FixityMismatchError or ObjectMissingError when an original is not as sealed:
    then there is no output, and the entry of the export stands.
    """
    chosen = list(dict.fromkeys(clips)) or [link.clip for link in vault.catalogue.links(case=case) if case is not None]
    if not chosen:
        raise NothingToExportError("there is no clip to export")
    total = sum(vault.catalogue.clip(clip).size for clip in chosen)
    if withhold:
        _require_fields(vault, [*map(str, chosen), *([case] if case is not None else [])], withhold)
    with durable.storage_errors(out, "write"), _output(out, total, overwrite=overwrite) as temporary:
        receipts = vault.record_export(actor, chosen, FORM, purpose, case=case)
        # Durable from here on: who takes what, and why. Only now may a byte of evidence leave the vault (I6).
        bundle = collect(vault, receipts, chosen, case)
        made_at = utc(receipts[-1].entry.time_ms)
        top = f"liuhen-{made_at:%Y%m%dT%H%M%SZ}-{bundle.export[-8:]}"
        with temporary.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                writer = _BagWriter(archive, top, made_at)
                _write_payload(
                    vault, bundle, writer, withhold, _Meter(total, on_progress), purpose=purpose, actor=actor
                )
                writer.finish(bundle.export)
            file.flush()
            durable.sync_file(file.fileno(), temporary)
    durable.sync_directory(out.parent)
    return Export(
        id=bundle.export,
        path=out,
        size=out.stat().st_size,
        clips=len(chosen),
        entries=len(bundle.entries()),
        checkpoint_size=bundle.checkpoint.size,
        fingerprint=bag.fingerprint(_vkey(vault)),
    )


def _require_fields(vault: Vault, subjects: Sequence[str], names: Collection[str]) -> None:
    known = {name for subject in subjects for item in vault.history(subject) for name in item.private}
    if unknown := set(names) - known - OWN_FIELDS - ANCHORS:
        raise UnknownFieldError(f"no record of this export has a field {', '.join(sorted(unknown))}")


@contextlib.contextmanager
def _output(out: Path, total: int, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary file beside `out` that takes its name at the end; leave nothing behind on an error."""
    if out.exists() and not overwrite:
        raise ExportExistsError(f"{out} exists")
    if not out.parent.is_dir():
        raise ExportPlaceError(f"{out.parent} is not a folder")
    if (free := shutil.disk_usage(out.parent).free) < total + SPARE_BYTES:
        raise StorageError(f"{out.parent} has {free} bytes free, the export needs {total + SPARE_BYTES}")
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.touch(mode=0o600, exist_ok=False)
    try:
        yield temporary
        # Dead before the rename: an empty file of the final name at most, never half a bag under it.
        if not overwrite:
            _reserve(out)
        temporary.replace(out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _reserve(out: Path) -> None:
    """Take the name exclusively, also where there are no hard links (the FAT of a memory stick)."""
    try:
        os.close(os.open(out, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as err:
        raise ExportExistsError(f"{out} came into being meanwhile") from err


class _Meter:
    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self.total, self.done, self._tell = total, 0, tell

    def add(self, count: int) -> None:
        self.done += count
        if self._tell is not None:
            self._tell(self.done, self.total)


class _BagWriter:
    """Writes the members of one bag in one zip, stored, and keeps its manifests."""

    def __init__(self, archive: zipfile.ZipFile, top: str, made_at: datetime) -> None:
        self._zip = archive
        self._top = top
        self._made_at = made_at
        self._payload: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._payload_bytes = 0

    def add(self, name: str, data: bytes) -> None:
        """Add a small file; below data/ it is payload, elsewhere a tag file."""
        self.stream(name, len(data), [data])

    def stream(self, name: str, size: int, pieces: Iterable[bytes]) -> str:
        """Add a file piece by piece and return its SHA-256."""
        info = zipfile.ZipInfo(f"{self._top}/{name}", self._made_at.timetuple()[:6])
        info.external_attr = 0o644 << 16
        info.create_system = 3  # Unix: otherwise the mode above means nothing
        digest = hashlib.sha256()
        with self._zip.open(info, "w", force_zip64=size >= ZIP64_BYTES) as member:
            for piece in pieces:
                digest.update(piece)
                member.write(piece)
        if name.startswith("data/"):
            self._payload[name] = digest.hexdigest()
            self._payload_bytes += size
        else:
            self._tags[name] = digest.hexdigest()
        return digest.hexdigest()

    def finish(self, export: str) -> None:
        """Add the tag files."""
        for name in ("verify.py", "VERIFY.md"):
            self.add(name, files("vault.export").joinpath("offline", name).read_bytes())
        self.add("bagit.txt", bag.BAGIT_TXT)
        info = bag.bag_info(
            export=export,
            made_at=self._made_at,
            software=f"liuhen {version('liuhen')}",
            payload_bytes=self._payload_bytes,
            payload_files=len(self._payload),
        )
        self.add("bag-info.txt", info)
        self.add("manifest-sha256.txt", bag.manifest(self._payload))
        self.add("tagmanifest-sha256.txt", bag.manifest(self._tags))


def _write_payload(
    vault: Vault,
    bundle: Bundle,
    writer: _BagWriter,
    withhold: Collection[str],
    meter: _Meter,
    *,
    purpose: str,
    actor: Actor,
) -> None:
    vkey = _vkey(vault)
    writer.add("data/README.txt", _readme(vkey))
    writer.add("data/vkey", f"{vkey}\n".encode())
    writer.add("data/checkpoint", bundle.checkpoint.note)
    writer.add("data/clips.json", bundle.index())
    entries = bundle.entries()
    for index in sorted(entries):
        _write_entry(vault, bundle, writer, entries[index], withhold)
    handout = Handout(
        export=bundle.export,
        made_at=utc(bundle.clips[-1].chain[-1].entry.time_ms),
        origin=bundle.checkpoint.origin,
        size=bundle.checkpoint.size,
        root=bundle.checkpoint.root.hex(),
        fingerprint=bag.fingerprint(vkey),
        exporter=actor.name,
        purpose=purpose,
        case=_case_words(bundle),
    )
    rows = listed(bundle)
    writer.add("data/电子数据清单.html", evidence_list(handout, rows))
    writer.add("data/certificate.html", certificate(handout, rows))
    for clip in bundle.clips:
        _write_footage(vault, writer, clip, meter)


def _write_entry(vault: Vault, bundle: Bundle, writer: _BagWriter, item: Logged, withhold: Collection[str]) -> None:
    writer.add(f"data/entries/{item.index}.json", item.data)
    writer.add(f"data/proofs/{item.index}.tlog-proof", vault.reader.tlog_proof(item.index, bundle.checkpoint))
    record = disclosure(vault, item, withhold)
    if record is not None:
        body, data = record
        writer.add(f"data/records/{body}.json", data)


def _write_footage(vault: Vault, writer: _BagWriter, clip: Exported, meter: _Meter) -> None:
    """Copy one original; each chunk is checked against its seal before it leaves (I8), the whole once more."""
    with vault.read(clip.clip) as reader:

        def pieces() -> Iterator[bytes]:
            for offset in range(0, reader.size, READ_BYTES):
                piece = reader.read(offset, READ_BYTES)
                yield piece
                meter.add(len(piece))

        digest = writer.stream(clip.file, reader.size, pieces())
    if digest != clip.clip.hex:
        raise FixityMismatchError(f"clip {clip.clip}: its chunks are as sealed, but its SHA-256 is {digest}")


def _case_words(bundle: Bundle) -> str:
    if not bundle.case_chain:
        return ""
    private = bundle.case_chain[0].private
    return f"{private.get('number', '')} {private.get('title', '')}".strip()


def _vkey(vault: Vault) -> str:
    return vault.reader.verifiers[0].vkey


def _readme(vkey: str) -> bytes:
    return f"""留痕证据包 / Liuhen evidence bag

核验: 安装有 Python 3.6 以上的任何电脑, 无需联网、无需账号:
    python3 verify.py
Check it on any computer with Python 3.6 or later; no network, no account.

verify.py 会显示日志公钥的指纹。请与书面或由机关另行提供的指纹核对:
It prints the fingerprint of the log's key. Compare it with the one you were given on paper or by the agency:
    {bag.fingerprint(vkey)}
(本文件中的指纹不能作为核对依据。The one in this file proves nothing.)

media/               音像原件, 与封存时逐字节一致 / the originals, byte for byte as sealed
电子数据清单.html     可打印的清单 / the list of electronic data, to print
certificate.html     可打印的复制证明书 / the certificate, to print and sign
clips.json           索引: 文件与保管链 / index: files and their custody chains
entries/ proofs/     日志条目及其包含证明 / log entries and their inclusion proofs (C2SP tlog-proof)
records/             条目所承诺的人名、原因等 / names, reasons and the like that the entries commit to
checkpoint vkey      已签名的检查点与公钥 / the signed checkpoint and the public key
../VERIFY.md         核验说明 / what is checked, and the same by hand
""".encode()
