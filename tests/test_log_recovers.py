"""What opening does with files that a crash tore, a disk damaged, or a backup brought back."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from vault.entry import decode
from vault.errors import CheckpointInvalidError, EntryInvalidError, IntegrityError, LogForkError, StorageError
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.log.staging import SequencerConflictError, StagedBatch, Staging
from vault.testing import ORIGIN, FrozenClock, create_log, make_statement, make_statements

if TYPE_CHECKING:
    from pathlib import Path

SIGNER = Signer(ORIGIN, bytes(range(32)))


def open_log(root: Path) -> Log:
    return Log.open(root, SIGNER, now_ms=FrozenClock())


def tree(root: Path) -> dict[str, str]:
    """Every file under log/ with the digest of its bytes."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "log").rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A vault as a power cut leaves it: 300 entries committed and published, nothing of it synced since entry 250."""
    live, cut = tmp_path / "live", tmp_path / "cut"
    live.mkdir()
    create_log(live)
    with open_log(live) as log:
        log.append(make_statements(0, 250))
    with open_log(live) as log:
        for start, end in ((250, 251), (251, 258), (258, 300)):
            log.append(make_statements(start, end))
        shutil.copytree(live, cut)
    return cut


@pytest.fixture
def whole(cut: Path) -> Path:
    """The same after a clean end: no batch is staged any more."""
    with open_log(cut) as log:
        log.append([make_statement(300)])
    return cut


def check_whole(root: Path, count: int) -> None:
    with open_log(root) as log:
        checkpoint = log.reader.checkpoint()
        assert checkpoint.size == count
        assert len(list(log.reader.entries(0, count, checkpoint))) == count
        assert log.append([make_statement(count - 1)])[0].repeated


@pytest.mark.parametrize("damage", ["missing", "empty", "short", "zeros", "other"])
def test_whatever_a_power_cut_did_to_unsynced_files_is_mended(cut: Path, damage: str, tmp_path: Path) -> None:
    """I3: the files come out of the staged batches byte for byte as they were."""
    for name in tree(cut):
        if name.endswith(("/250", "vkey")):  # synced
            continue
        path = cut / name
        data = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes({"empty": b"", "short": data[:-1], "zeros": bytes(len(data)), "other": b"?" * 99}[damage])
    check_whole(cut, 300)
    after, expected = tree(cut), tree(tmp_path / "live")
    assert {name: after[name] for name in expected} == expected


def test_a_batch_that_could_not_be_published_is_published_by_the_next(tmp_path: Path) -> None:
    """I4: no receipt before the checkpoint file; the entries are not lost, and not logged twice."""
    create_log(tmp_path)
    with open_log(tmp_path) as log:
        log.append([make_statement(0)])
        obstacle = tmp_path / "log" / ".publishing"
        obstacle.mkdir()  # every file is written there first
        for _ in range(2):
            with pytest.raises(StorageError, match="cannot write"):
                log.append([make_statement(1)])
        assert log.reader.checkpoint().size == 1
        obstacle.rmdir()
        (receipt,) = log.append([make_statement(1)])
        assert (receipt.index, receipt.repeated, log.reader.checkpoint().size) == (1, True, 2)


def test_a_batch_that_was_never_published_is_published_by_opening(tmp_path: Path) -> None:
    create_log(tmp_path)
    log = open_log(tmp_path)
    log.append([make_statement(0)])
    (tmp_path / "log/.publishing").mkdir()
    with pytest.raises(StorageError):
        log.append(make_statements(1, 400))
    (tmp_path / "log/.publishing").rmdir()
    check_whole(tmp_path, 400)
    log.close()


def test_another_process_publishes_what_a_dead_one_committed(tmp_path: Path) -> None:
    create_log(tmp_path)
    dead, alive = open_log(tmp_path), open_log(tmp_path)
    dead.append([make_statement(0)])
    (tmp_path / "log/.publishing").mkdir()
    with pytest.raises(StorageError):
        dead.append([make_statement(1)])
    (tmp_path / "log/.publishing").rmdir()
    assert alive.append([make_statement(2)])[0].index == 2
    alive.close()
    dead.close()
    check_whole(tmp_path, 3)


def test_a_database_restored_from_a_backup_is_refused(tmp_path: Path) -> None:
    """I3: a vault whose database is older than what was published never signs again, and nothing is touched."""
    root, backup = tmp_path / "vault", tmp_path / "backup"
    root.mkdir()
    create_log(root)
    with open_log(root) as log:
        log.append(make_statements(0, 10))
    shutil.copytree(root, backup)
    with open_log(root) as log:
        log.append(make_statements(10, 20))
    shutil.copy(backup / "catalogue.db", root / "catalogue.db")
    before = tree(root)
    for _ in range(2):
        with pytest.raises(LogForkError, match=r"log/checkpoint has 20 entries.*knows 10"):
            open_log(root)
    assert tree(root) == before


def test_a_database_replaced_under_a_running_log_is_refused(tmp_path: Path) -> None:
    """I3: also while the log is open."""
    create_log(tmp_path)
    log = open_log(tmp_path)
    log.append(make_statements(0, 10))
    old = log._staging.required_checkpoint()
    log.append(make_statements(10, 20))
    log._staging._connection.execute("UPDATE cp SET body = ?", (old,))
    with pytest.raises(LogForkError):
        log.append([make_statement(20)])
    assert log.reader.checkpoint().size == 20
    with pytest.raises(LogForkError):
        log.close()


@pytest.mark.parametrize(("ours", "theirs"), [(20, 20), (20, 25), (25, 20)])
@pytest.mark.parametrize("staged", [True, False])
def test_two_histories_of_one_log_are_never_mixed(tmp_path: Path, ours: int, theirs: int, *, staged: bool) -> None:
    """I3: a fork is refused whichever side is longer, and both sides are kept as they are."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    create_log(one)
    with open_log(one) as log:
        log.append(make_statements(0, 10))
    shutil.copytree(one, two)
    with open_log(two) as log:
        log.append(make_statements(1000, 1000 + theirs - 10))
    log = open_log(one)
    log.append(make_statements(10, ours))
    if staged:
        shutil.copytree(one, tmp_path / "mixed")
        log.close()
    else:
        log.close()
        shutil.copytree(one, tmp_path / "mixed")
    shutil.rmtree(tmp_path / "mixed/log")
    shutil.copytree(two / "log", tmp_path / "mixed/log")
    before = tree(tmp_path / "mixed")
    with pytest.raises((LogForkError, EntryInvalidError)):
        open_log(tmp_path / "mixed")
    assert tree(tmp_path / "mixed") == before


def test_an_older_published_checkpoint_of_the_same_history_is_brought_forward(whole: Path, tmp_path: Path) -> None:
    note = SIGNER.sign(ORIGIN, 0, hashlib.sha256().digest())
    (whole / "log/checkpoint").write_bytes(note)
    check_whole(whole, 301)
    (whole / "log/checkpoint").unlink()
    check_whole(whole, 301)


def test_a_damaged_checkpoint_that_was_synced_is_not_papered_over(whole: Path) -> None:
    path = whole / "log/checkpoint"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointInvalidError):
        open_log(whole)


@pytest.mark.parametrize("name", ["tile/0/001.p/45", "tile/1/000.p/1", "tile/entries/001.p/45"])
@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_a_damaged_edge_that_was_synced_is_refused(whole: Path, name: str, damage: str) -> None:
    path = whole / "log" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(data if damage == "flipped" else data[:-1])
    with pytest.raises(IntegrityError, match=r"tile/|entry "):
        open_log(whole)


def test_a_staged_batch_that_was_tampered_with_is_refused(cut: Path) -> None:
    """I2: what the signed checkpoint does not cover is not published, whoever put it into the database."""
    log = Log.open(cut, SIGNER, now_ms=FrozenClock())
    execute = log._staging._connection.execute
    execute("UPDATE staged SET entries = CAST(replace(entries, 'whole', 'wholf') AS BLOB) WHERE old_size = 258")
    before = tree(cut)
    with pytest.raises(EntryInvalidError, match="staged at 258"):
        open_log(cut)
    assert tree(cut) == before
    execute("DELETE FROM staged WHERE old_size = 251")
    with pytest.raises(EntryInvalidError):
        open_log(cut)
    assert tree(cut) == before
    log._release()


def test_the_compare_and_swap_refuses_a_second_successor(tmp_path: Path) -> None:
    """I3: of two batches that follow the same tree the database takes one."""
    create_log(tmp_path)
    staging = Staging.open(tmp_path / "catalogue.db")
    empty = staging.required_checkpoint()
    staging.commit(StagedBatch(0, 5, b"five", b""), old=empty, rows=[], heads={"a": 1}, settled=0)
    for second in (StagedBatch(0, 6, b"six", b""), StagedBatch(1, 6, b"six", b"")):
        with pytest.raises(SequencerConflictError):
            staging.commit(second, old=empty, rows=[], heads={"a": 2}, settled=5)
    assert staging.required_checkpoint() == b"five"
    assert staging.batches() == [(0, 5)]
    assert staging.heads(["a"]) == {"a": 1}
    staging.close()


def test_without_a_working_lock_nothing_forks_and_nothing_acknowledged_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3: correctness rests on the compare-and-swap, not on the lock."""
    create_log(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    acknowledged: dict[int, int] = {}
    logs = [open_log(tmp_path) for _ in range(3)]

    def work(worker: int) -> None:
        for number in range(worker * 1000, worker * 1000 + 40):
            try:
                (receipt,) = logs[worker].append([make_statement(number)])
            except (StorageError, IntegrityError):
                continue
            acknowledged[receipt.index] = number

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log._release()
    assert len(acknowledged) >= 1
    with open_log(tmp_path) as log:
        for index, data in log.reader.entries(0, log.checkpoint.size, log.checkpoint):
            if index in acknowledged:
                assert decode(data).statement == make_statement(acknowledged[index])
        assert max(acknowledged) < log.checkpoint.size
