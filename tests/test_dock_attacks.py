"""Attacks on a dock session: objects that were planted, damaged or taken away, half sessions, crowded folders."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hardware.errors import DeviceReadError
from hardware.volume import VolumeRecorder, VolumeStream
from ingest.dock import DockOptions, dock, require_apart
from ingest.errors import SourceOverlapsVaultError
from ingest.probing.probe import Prober
from vault.catalogue.projection import _started_ms
from vault.directory import require
from vault.entry import decode
from vault.errors import (
    CatalogueMismatchError,
    ConflictError,
    FixityMismatchError,
    RecordMismatchError,
    StorageError,
    VaultMissingError,
)
from vault.model import Digest
from vault.store import ObjectStore
from vault.vault import Vault
from vault.verification.verify import verify_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Ended

    from hardware.recorder import Item
    from ingest.events import DockReport

FOOTAGE = b"the only footage of that night " * 1000


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    with Prober() as opened:
        yield opened


@pytest.fixture
def card(tmp_path: Path) -> Path:
    card = tmp_path / "card"
    card.mkdir()
    (card / "a.bin").write_bytes(FOOTAGE)
    (card / "b.bin").write_bytes(b"something else")
    return card


def take(vault: Vault, recorder: VolumeRecorder, prober: Prober, *, skip_known: bool = False) -> DockReport:
    actor = vault.actor("custodian", role="custodian")
    return dock(vault, recorder, actor, prober, options=DockOptions(skip_known=skip_known), on_event=lambda _: None)


def statuses(report: DockReport) -> dict[str, str]:
    return {outcome.path: outcome.status for outcome in report.outcomes}


def spoil(vault: Vault, data: bytes) -> Path:
    """Change one byte of the stored object, keeping its size."""
    path = vault.objects.path(Digest.of(data))
    path.chmod(0o644)
    path.write_bytes(b"X" + data[1:])
    return path


def test_a_copy_whose_stored_object_was_damaged_is_not_called_a_duplicate(
    vault: Vault, card: Path, prober: Prober
) -> None:
    """I4: the card may hold the only good copy; nobody may be told that it is safe to erase."""
    take(vault, VolumeRecorder(card), prober)
    path = spoil(vault, FOOTAGE)
    report = take(vault, VolumeRecorder(card), prober)
    assert statuses(report) == {"a.bin": "failed", "b.bin": "duplicate"}
    assert "holds other bytes" in report.outcomes[0].reason
    assert "Leave the footage on the device" in report.outcomes[0].remedy
    assert path.read_bytes() != FOOTAGE, "what stands in the store is never written over"
    path.unlink()  # as the remedy says
    assert statuses(take(vault, VolumeRecorder(card), prober))["a.bin"] == "duplicate"
    assert path.read_bytes() == FOOTAGE


@pytest.mark.parametrize("plant", ["bytes", "link", "fifo", "folder", "short"])
def test_an_object_planted_under_the_name_to_come_is_never_sealed(
    vault: Vault, card: Path, prober: Prober, plant: str
) -> None:
    """I4: whoever knows the footage beforehand can put something else where its object will stand."""
    path = vault.objects.path(Digest.of(FOOTAGE))
    path.parent.mkdir(parents=True)
    match plant:
        case "bytes":
            path.write_bytes(FOOTAGE[::-1])
        case "short":
            path.write_bytes(FOOTAGE[:-1])
        case "link":
            path.symlink_to(card / "a.bin")
        case "fifo":
            os.mkfifo(path)
        case _:
            path.mkdir()
    report = take(vault, VolumeRecorder(card), prober)
    assert statuses(report) == {"a.bin": "failed", "b.bin": "sealed"}
    checkpoint = vault.reader.checkpoint()
    entries = [decode(data) for _, data in vault.reader.entries(0, checkpoint.size, checkpoint)]
    assert [e.statement.type for e in entries].count("clip.sealed") == 1


@pytest.mark.parametrize("skip_known", [False, True])
def test_an_object_that_was_removed_comes_back_with_the_same_bytes(
    vault: Vault, card: Path, prober: Prober, *, skip_known: bool
) -> None:
    """EXT-22: also when known files are left alone, a clip without its object is not known."""
    take(vault, VolumeRecorder(card), prober)
    path = vault.objects.path(Digest.of(FOOTAGE))
    path.unlink()
    report = take(vault, VolumeRecorder(card), prober, skip_known=skip_known)
    assert statuses(report)["a.bin"] == "duplicate"
    assert ("b.bin" in statuses(report)) is not skip_known
    assert path.read_bytes() == FOOTAGE


def test_a_file_that_claims_terabytes_does_not_keep_the_rest_from_being_sealed(
    vault: Vault, card: Path, prober: Prober
) -> None:
    """A broken directory entry, or a sparse file: it fails by itself, whatever comes after it is taken."""
    (card / "DCIM.bin").touch()
    os.truncate(card / "DCIM.bin", 1 << 43)
    report = take(vault, VolumeRecorder(card), prober)
    assert statuses(report) == {"DCIM.bin": "failed", "a.bin": "sealed", "b.bin": "sealed"}
    assert "room for" in report.outcomes[0].reason


class FailsOnce(VolumeRecorder):
    """A card of which one file cannot be read."""

    def open(self, item: Item, offset: int = 0) -> VolumeStream:
        if item.path == "a.bin":
            raise DeviceReadError(item.path, 0, "Input/output error")
        return super().open(item, offset)


def test_one_file_by_itself_does_not_end_the_session_of_its_card(vault: Vault, card: Path, prober: Prober) -> None:
    """Else the rest of the card would be copied again."""
    first = take(vault, FailsOnce(card), prober)
    assert statuses(first)["a.bin"] == "failed"
    take(vault, VolumeRecorder(card / "b.bin"), prober)
    last = take(vault, VolumeRecorder(card), prober)
    assert last.resumed
    assert last.session == first.session
    assert statuses(last) == {"a.bin": "sealed", "b.bin": "sealed"}


def test_a_resumed_session_copies_again_what_lost_its_object(vault: Vault, card: Path, prober: Prober) -> None:
    take(vault, FailsOnce(card), prober)
    path = vault.objects.path(Digest.of(b"something else"))
    path.unlink()
    report = take(vault, VolumeRecorder(card), prober)
    assert report.resumed
    assert statuses(report) == {"a.bin": "sealed", "b.bin": "duplicate"}
    assert path.exists()


@pytest.mark.parametrize("place", [".", "objects", "keys/log.key", ".."])
def test_the_vault_never_takes_itself_in(vault: Vault, place: str) -> None:
    """Its signing key and its records of persons would become footage that anybody may view."""
    with pytest.raises(SourceOverlapsVaultError):
        require_apart(vault, vault.root / place)


def test_a_folder_beside_the_vault_is_apart(vault: Vault, card: Path) -> None:
    require_apart(vault, card)
    require_apart(vault, card / "a.bin")


def test_a_link_to_the_vault_is_the_vault(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to(vault.root)
    with pytest.raises(SourceOverlapsVaultError):
        require_apart(vault, tmp_path / "innocent")


def test_several_files_of_one_folder_and_one_twice_are_taken_in_one_command(
    vault: Vault, liuhen: Callable[..., Ended], card: Path
) -> None:
    """A folder is one device: its files must not find it busy with one another."""
    ended = liuhen("ingest", "--json", card / "a.bin", card / "b.bin", card / "a.bin")
    assert ended.status == 0, ended.err
    assert sorted(line["status"] for line in ended.lines) == ["sealed", "sealed"]
    again = liuhen("ingest", "--json", card, card, card / "a.bin")
    assert again.status == 0, again.err
    assert sorted(line["status"] for line in again.lines) == ["duplicate", "duplicate"]


def test_a_newborn_half_copy_survives_the_sweep_of_another_dock(tmp_path: Path) -> None:
    """Between its creation and its lock a half copy looks like one whose copier is dead."""
    store = ObjectStore(tmp_path)
    store.incoming.mkdir()
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            store.sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(2000):
            incoming = store.begin()
            assert incoming.path.exists()
            incoming.discard()
    finally:
        stop.set()
        sweeper.join()


def test_half_copies_are_swept_before_anything_is_written(
    vault: Vault, card: Path, prober: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk they are what is in the way: swept later, every further try would fail too."""
    half = vault.objects.begin()
    half.close()
    actor = vault.actor("custodian", role="custodian")

    def full(*_: object) -> None:
        raise StorageError("No space left on device")

    monkeypatch.setattr(vault, "submit", full)
    with pytest.raises(StorageError):
        dock(vault, VolumeRecorder(card), actor, prober, on_event=lambda _: None)
    assert not half.path.exists()


@pytest.mark.parametrize("act", ["folder", "parent", "gone"])
def test_a_record_that_cannot_be_read_is_a_mismatch_and_not_a_stack(
    vault: Vault, card: Path, prober: Prober, act: str
) -> None:
    take(vault, VolumeRecorder(card), prober)
    entry = vault.history(str(Digest.of(FOOTAGE)))[0].entry
    body = Digest.parse(str(entry.statement.fields["body"]))
    path = vault.records.path(body)
    path.unlink()
    if act == "folder":
        path.mkdir()
    elif act == "parent":
        for other in path.parent.iterdir():
            other.unlink()
        path.parent.rmdir()
        path.parent.write_bytes(b"")
    with pytest.raises(RecordMismatchError):
        vault.records.get(body)
    assert vault.history(str(Digest.of(FOOTAGE)))[0].private == {}


def test_a_damaged_catalogue_is_told_with_its_remedy(vault: Vault) -> None:
    """Whatever SQLite says, the answer is `rebuild`, never a stack."""
    with vault.catalogue.writing() as connection:
        connection.exec_driver_sql("DROP TABLE clip")
    with pytest.raises(CatalogueMismatchError, match="no such table"):
        vault.catalogue.clips()


def test_a_catalogue_that_cannot_be_written_is_a_storage_fault(vault: Vault) -> None:
    with vault.catalogue.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=1")
        with pytest.raises(StorageError, match="readonly"):
            connection.exec_driver_sql("DELETE FROM clip")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
def test_a_camera_that_claims_the_end_of_the_calendar_does_not_hide_the_list(at: str) -> None:
    """A hostile EXIF date once projected must never make every list of clips fail."""
    assert _started_ms({"start": {"at": at}}) is None
    assert _started_ms({"start": {"at": "2026-01-01T08:00:00"}}) == 1_767_225_600_000


@pytest.mark.parametrize("text", ["x" * 60_000, "%" * 60_000, "\\" * 60_000])
def test_an_endless_search_text_finds_nothing_and_fails_nowhere(vault: Vault, text: str) -> None:
    assert vault.catalogue.clips(text=text) == []
    assert vault.catalogue.count_clips(text=text) == 0


def test_two_at_once_cannot_open_one_case_number_twice(vault: Vault) -> None:
    """Looking and writing are one turn, for threads as for processes."""
    actor = vault.actor("clerk", role="custodian")
    start = threading.Barrier(6)
    ends: list[str] = []

    def open_it() -> None:
        with Vault.open(vault.root) as mine:
            start.wait()
            try:
                ends.append(mine.open_case(actor, number="京A-1", title="x").number)
            except ConflictError:
                ends.append("refused")

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["refused"] * 5 + ["京A-1"]
    vault.catch_up()
    assert vault.catalogue.find_case("京A-1").title == "x"


def test_words_that_are_not_utf8_are_a_usage_fault(vault: Vault, liuhen: Callable[..., Ended]) -> None:
    assert vault.catalogue.clips() == []
    for arguments in (
        ["clip", "list", "--text", "\udcff"],
        ["case", "new", "A\udcff", "--title", "t"],
        ["clip", "show", "\udcff"],
    ):
        ended = liuhen(*arguments)
        assert ended.status == 2, ended.err
        assert "not UTF-8" in ended.err


@pytest.mark.parametrize("suffix", ["", ".chunks"])
def test_a_fifo_in_place_of_an_object_stops_neither_readers_nor_verify(
    vault: Vault, card: Path, prober: Prober, suffix: str
) -> None:
    """Opened as a file is, it would make both wait for ever."""
    take(vault, VolumeRecorder(card), prober)
    digest = Digest.of(FOOTAGE)
    path = Path(f"{vault.objects.path(digest)}{suffix}")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FixityMismatchError):
        vault.read(digest)
    report = verify_vault(vault.root)
    assert report.exit_code == 21


def test_a_vault_of_another_account_is_told_and_not_a_stack(vault: Vault) -> None:
    """Root would be let in, so it becomes nobody for the look."""
    (vault.root / "keys").chmod(0)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        with pytest.raises((StorageError, VaultMissingError)):  # newer Pythons see nothing where they may not look
            require(vault.root)
    finally:
        os.seteuid(before)
        (vault.root / "keys").chmod(0o700)
