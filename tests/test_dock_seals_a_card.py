"""What a dock session makes of a card, seen from the vault."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Self

import pytest

from hardware.errors import DeviceGoneError, DeviceReadError
from hardware.volume import VolumeRecorder
from ingest.dock import DockOptions, dock
from ingest.errors import DeviceBusyError, RereadMismatchError
from ingest.probing.probe import Prober
from ingest.pull import pull, reread
from vault.errors import StorageError
from vault.model import CHUNK_BYTES, Digest
from vault.store import Incoming

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hardware.recorder import Item, ItemStream
    from ingest.events import DockReport, Outcome
    from vault.vault import Vault

JPEG = bytes.fromhex("ffd8ffdb004300") + bytes(range(1, 65)) + bytes.fromhex("ffd9")  # has both ends, no picture


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with Prober() as opened:
        yield opened


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A card with what the field brings: equal names, Chinese names, nothing in a file, one above a chunk."""
    card = tmp_path / "card"
    (card / "DCIM" / "100MEDIA").mkdir(parents=True)
    (card / "DCIM" / "101MEDIA").mkdir()
    (card / "DCIM" / "100MEDIA" / "MOV_0001.TXT").write_bytes(b"one")
    (card / "DCIM" / "101MEDIA" / "MOV_0001.TXT").write_bytes(b"two")
    (card / "现场照片.txt").write_bytes("现场".encode())
    (card / "nothing.mp4").write_bytes(b"")
    (card / "large.bin").write_bytes(os.urandom(9 * CHUNK_BYTES + 12345))
    return card


def take(vault: Vault, card: Path, prober: Prober, **options: bool) -> DockReport:
    actor = vault.actor("custodian", role="custodian")
    return dock(vault, VolumeRecorder(card), actor, prober, options=DockOptions(**options), on_event=lambda _: None)


def types(vault: Vault) -> list[str]:
    from vault.entry import decode

    checkpoint = vault.reader.checkpoint()
    return [decode(data).statement.type for _, data in vault.reader.entries(0, checkpoint.size, checkpoint)]


def by_path(report: DockReport) -> dict[str, Outcome]:
    return {outcome.path: outcome for outcome in report.outcomes}


def test_every_file_of_a_card_is_sealed_byte_exact(vault: Vault, card: Path, prober: Prober) -> None:
    """I4: REC-06 EXT-22: each file of the card is in the store under its digest, read-only, proven in the log."""
    report = take(vault, card, prober)
    files = {str(p.relative_to(card)): p.read_bytes() for p in card.rglob("*") if p.is_file()}
    assert set(by_path(report)) == set(files)
    for path, data in files.items():
        outcome = by_path(report)[path]
        assert outcome.clip == Digest.of(data), path
        stored = vault.objects.path(outcome.clip)
        assert stored.read_bytes() == data
        assert stat.S_IMODE(stored.stat().st_mode) == 0o444
        with vault.read(outcome.clip) as reader:
            assert reader.read(0, len(data)) == data
    assert by_path(report)["nothing.mp4"].status == "damaged"
    assert by_path(report)["large.bin"].status == "sealed"
    assert report.ok
    assert not list(vault.objects.incoming.glob("*.part"))


def test_the_inventory_is_in_the_log_before_any_clip(vault: Vault, card: Path, prober: Prober) -> None:
    """I2: what existed is committed before copying; the clock is read before anything is copied."""
    take(vault, card, prober)
    order = types(vault)
    assert order.index("device.clock_read") < order.index("device.inventoried") < order.index("clip.sealed")
    assert order[-1] == "dock.closed"


def test_docking_again_gives_duplicates_with_new_acquisitions(vault: Vault, card: Path, prober: Prober) -> None:
    """EXT-22: one object and one seal, however often the same bytes come."""
    first = take(vault, card, prober)
    second = take(vault, card, prober)
    assert {o.status for o in second.outcomes} == {"duplicate"}
    for outcome in first.outcomes:
        assert outcome.clip is not None
        assert [a.outcome for a in vault.catalogue.acquisitions(outcome.clip)] == ["sealed", "duplicate"]
    assert types(vault).count("clip.sealed") == len(first.outcomes)


def test_known_files_are_left_alone_and_nothing_is_logged(vault: Vault, card: Path, prober: Prober) -> None:
    take(vault, card, prober)
    size = vault.reader.checkpoint().size
    report = take(vault, card, prober, skip_known=True)
    assert report.session is None
    assert report.known == 5
    assert vault.reader.checkpoint().size == size
    (card / "new.txt").write_bytes(b"new")
    again = take(vault, card, prober, skip_known=True)
    assert [o.path for o in again.outcomes] == ["new.txt"]


def test_equal_bytes_twice_on_one_card_are_one_clip(vault: Vault, card: Path, prober: Prober) -> None:
    (card / "copy.txt").write_bytes(b"one")
    outcomes = by_path(take(vault, card, prober))
    pair = [outcomes["DCIM/100MEDIA/MOV_0001.TXT"], outcomes["copy.txt"]]
    assert sorted(o.status for o in pair) == ["duplicate", "sealed"]
    assert pair[0].clip == pair[1].clip


def test_other_bytes_at_the_same_place_are_kept_and_called_a_conflict(vault: Vault, card: Path, prober: Prober) -> None:
    take(vault, card, prober)
    (card / "现场照片.txt").write_bytes("改了".encode())
    outcome = by_path(take(vault, card, prober))["现场照片.txt"]
    assert outcome.status == "sealed"
    assert types(vault).count("clip.conflict") == 1
    assert vault.objects.path(Digest.of("现场".encode())).exists()


def test_a_second_digest_is_sealed_when_asked_for(vault: Vault, card: Path, prober: Prober) -> None:
    """IT-07: SM3 of the same bytes stands beside the SHA-256, computed in the same read."""
    outcome = by_path(take(vault, card, prober, sm3=True))["large.bin"]
    assert outcome.clip is not None
    assert (
        str(vault.catalogue.clip(outcome.clip).sm3)
        == "sm3:" + hashlib.new("sm3", (card / "large.bin").read_bytes()).hexdigest()
    )


class FaultyRecorder(VolumeRecorder):
    """A volume with one bad file: reading it fails, or the whole device goes, after `good` bytes."""

    bad = "large.bin"
    good = 2 * CHUNK_BYTES
    gone = False
    healed = False

    def open(self, item: Item, offset: int = 0) -> ItemStream:
        stream = super().open(item, offset)
        if item.path == self.bad and not self.healed:
            readinto, recorder, given = stream.readinto, self, 0

            class Failing:
                size = stream.size
                unchanged, fileno, close = stream.unchanged, stream.fileno, stream.close

                def readinto(self, buffer: bytearray | memoryview) -> int:
                    nonlocal given
                    if given >= recorder.good:
                        if recorder.gone:
                            raise DeviceGoneError("the card was pulled")
                        raise DeviceReadError(item.path, given, "Input/output error")
                    count = readinto(buffer)
                    given += count
                    return count

                def __enter__(self) -> Self:
                    return self

                def __exit__(self, *_: object) -> None:
                    self.close()

            return Failing()
        return stream


def test_a_read_error_fails_that_file_and_the_next_run_finishes_the_job(
    vault: Vault, card: Path, prober: Prober
) -> None:
    """I4: no half file becomes a clip; the session stays open; only the missing file is copied again."""
    recorder = FaultyRecorder(card)
    actor = vault.actor("custodian", role="custodian")
    first = dock(vault, recorder, actor, prober, on_event=lambda _: None)
    failed = by_path(first)["large.bin"]
    assert failed.status == "failed"
    assert "Input/output error" in failed.reason
    assert "large.bin" in failed.reason
    assert failed.remedy
    assert not first.ok
    assert sum(o.status != "failed" for o in first.outcomes) == 4
    assert not list(vault.objects.incoming.glob("*.part"))

    recorder.healed = True
    size = vault.reader.checkpoint().size
    second = dock(vault, recorder, actor, prober, on_event=lambda _: None)
    assert second.resumed
    assert second.ok
    assert by_path(second)["large.bin"].status == "sealed"
    assert types(vault)[size:].count("clip.acquired") == 1


def test_a_pulled_device_fails_what_was_not_read_and_loses_nothing(vault: Vault, card: Path, prober: Prober) -> None:
    recorder = FaultyRecorder(card)
    recorder.gone, recorder.bad = True, "DCIM/100MEDIA/MOV_0001.TXT"
    recorder.good = 0
    report = dock(vault, recorder, vault.actor("custodian", role="custodian"), prober, on_event=lambda _: None)
    assert not report.ok
    assert "pulled" in by_path(report)["DCIM/101MEDIA/MOV_0001.TXT"].reason
    assert take(vault, card, prober).ok


def test_two_sessions_with_one_device_at_once_are_refused(vault: Vault, card: Path, prober: Prober) -> None:
    inner: list[type[BaseException]] = []

    def dock_again(_: object) -> None:
        if not inner:
            with pytest.raises(DeviceBusyError) as caught:
                take(vault, card, prober)
            inner.append(caught.type)

    actor = vault.actor("custodian", role="custodian")
    dock(vault, VolumeRecorder(card), actor, prober, on_event=dock_again)
    assert inner == [DeviceBusyError]


def test_half_copies_of_dead_docks_are_swept_and_living_ones_left(vault: Vault, card: Path, prober: Prober) -> None:
    (vault.objects.incoming / "dead.part").write_bytes(b"half")
    living = vault.objects.begin()
    take(vault, card, prober)
    assert [p.name for p in vault.objects.incoming.glob("*.part")] == [living.path.name]
    living.discard()


class _Bytes:
    """A stream of given bytes in awkward pieces."""

    def __init__(self, data: bytes, piece: int) -> None:
        self.data, self.piece, self.size, self.at = data, piece, len(data), 0

    def readinto(self, buffer: memoryview) -> int:
        count = min(self.piece, len(buffer), self.size - self.at)
        buffer[:count] = self.data[self.at : self.at + count]
        self.at += count
        return count


@pytest.mark.parametrize("size", [0, 1, 4096, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, 5 * CHUNK_BYTES + 4097])
def test_the_copy_does_not_depend_on_how_the_device_cuts_its_reads(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    for piece in (65537, 1 << 22):
        incoming = Incoming(tmp_path)
        seen: list[int] = []
        pulled = pull(_Bytes(data, piece), incoming, sm3=False, on_bytes=seen.append)
        assert pulled.digest == Digest.of(data)
        assert incoming.path.read_bytes() == data
        assert sum(seen) == size
        expected = [hashlib.sha256(b"\0" + data[at : at + CHUNK_BYTES]).digest() for at in range(0, size, CHUNK_BYTES)]
        assert pulled.chunk_list == b"".join(expected)
        reread(pulled)
        incoming.discard()


def test_a_disk_that_gives_back_other_bytes_is_noticed_before_sealing(tmp_path: Path) -> None:
    """I4: one bit changed between write and read-back fails the file."""
    incoming = Incoming(tmp_path)
    pulled = pull(_Bytes(os.urandom(3 * CHUNK_BYTES), 1 << 20), incoming, sm3=False, on_bytes=lambda _: None)
    at = 2 * CHUNK_BYTES + 77
    byte = os.pread(incoming.fd, 1, at)
    os.pwrite(incoming.fd, bytes([byte[0] ^ 1]), at)
    os.fsync(incoming.fd)
    with pytest.raises(RereadMismatchError, match=f"{2 * CHUNK_BYTES}-"):
        reread(pulled)


def test_a_large_copy_that_changes_on_the_disk_is_noticed_too(tmp_path: Path) -> None:
    """I4: large copies are read back while they are made; a byte that changes after it was written fails the file."""
    incoming = Incoming(tmp_path)
    stream = _Bytes(os.urandom(6 * CHUNK_BYTES), 1 << 20)

    def change_the_first_chunk(_: int) -> None:
        if stream.at == stream.size:
            with incoming.path.open("r+b", buffering=0) as disk:
                while disk.read(64) != stream.data[:64]:  # not written yet
                    disk.seek(0)
                disk.seek(5)
                disk.write(bytes([stream.data[5] ^ 1]))

    pulled = pull(stream, incoming, sm3=False, on_bytes=change_the_first_chunk)
    assert pulled.digest == Digest.of(stream.data)
    with pytest.raises(RereadMismatchError, match=r"bytes 0-1048575 .* changed"):
        reread(pulled)


def test_a_failing_disk_stops_the_copy_instead_of_hanging_it(tmp_path: Path) -> None:
    """The ring's reader must not wait for ever for a buffer when the writer has died."""
    incoming = Incoming(tmp_path)
    stream = _Bytes(os.urandom(16 * CHUNK_BYTES), 1 << 20)
    readonly = os.open(incoming.path, os.O_RDONLY)
    os.posix_fallocate(incoming.fd, 0, stream.size)

    def break_the_disk(_: int) -> None:
        if stream.at >= 4 * CHUNK_BYTES:
            os.dup2(readonly, incoming.fd)  # every later write fails with EBADF

    with pytest.raises(StorageError):
        pull(stream, incoming, sm3=False, on_bytes=break_the_disk)
