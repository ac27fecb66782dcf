"""Appending: receipts, duplicates, links, the clock, threads, processes, and reading back."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from vault.entry import decode
from vault.errors import (
    CatalogueMismatchError,
    CheckpointInvalidError,
    ConflictError,
    EntryInvalidError,
    VaultExistsError,
    VaultMissingError,
)
from vault.log import sequencer as log_module
from vault.log.merkle import verify_consistency
from vault.log.proof import TlogProof
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.testing import ORIGIN, FrozenClock, create_log, make_statement, make_statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return create_log(tmp_path)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def log(tmp_path: Path, signer: Signer, clock: FrozenClock) -> Iterator[Log]:
    with Log.open(tmp_path, signer, now_ms=clock) as opened:
        yield opened


def all_entries(log: Log) -> list[bytes]:
    checkpoint = log.reader.checkpoint()
    return [data for _, data in log.reader.entries(0, checkpoint.size, checkpoint)]


def test_a_receipt_says_what_stands_where_under_a_published_checkpoint(log: Log) -> None:
    """I4: when append returns, a stranger's reader finds the entry under the published checkpoint."""
    first, second = log.append([make_statement(1), make_statement(2)])
    assert [first.index, second.index] == [0, 1]
    assert not first.repeated
    assert first.checkpoint == log.reader.checkpoint() == log.checkpoint
    assert first.checkpoint.size == 2
    for receipt in (first, second):
        assert log.reader.entry(receipt.index, receipt.checkpoint) == receipt.data == receipt.entry.encode()


def test_nothing_appended_is_nothing_logged(log: Log) -> None:
    assert log.append([]) == []
    assert log.checkpoint.size == 0


def test_the_same_statement_again_gives_the_old_receipt(log: Log) -> None:
    (old,) = log.append([make_statement(1)])
    log.append([make_statement(2)])
    again, new = log.append([make_statement(1), make_statement(3)])
    assert (again.index, again.entry, again.data, again.repeated) == (0, old.entry, old.data, True)
    assert (new.index, new.repeated) == (2, False)
    (only,) = log.append([make_statement(1)])
    assert only.repeated
    assert only.checkpoint.size == 3


def test_an_id_that_says_something_else_is_a_conflict_and_logs_nothing(log: Log) -> None:
    log.append([make_statement(1)])
    with pytest.raises(ConflictError, match="entry 0"):
        log.append([make_statement(2), make_statement(1, size=2)])
    assert log.checkpoint.size == 1
    assert [each.index for each in log.append([make_statement(2)])] == [1]


def test_duplicates_are_recognised_by_the_next_process(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        (old,) = log.append([make_statement(1)])
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        (again,) = log.append([make_statement(1)])
        assert (again.repeated, again.data) == (True, old.data)


def test_the_entries_of_a_clip_can_be_followed_back_to_the_first(log: Log) -> None:
    for numbers in ([1, 2, 3], [4], [5, 6]):
        log.append([make_statement(number, clip=number % 2) for number in numbers])
    subject = make_statement(0, clip=1).subjects()["clip"]
    index, found = log.last_index(subject), []
    checkpoint = log.reader.checkpoint()
    while index >= 0:
        found.append(index)
        index = decode(log.reader.entry(index, checkpoint)).prev["clip"]
    assert found == [4, 2, 0]
    assert log.last_index("sha256:unheard-of") == -1


def test_time_never_goes_back_and_the_regress_is_told(log: Log, clock: FrozenClock) -> None:
    start = clock.now_ms
    log.append([make_statement(1)])
    assert log.clock_regress_ms == 0
    clock.now_ms = start - 5000
    (receipt,) = log.append([make_statement(2)])
    assert receipt.entry.time_ms == start
    assert log.clock_regress_ms == 5000
    clock.now_ms = start + 1
    (receipt,) = log.append([make_statement(3)])
    assert receipt.entry.time_ms == start + 1
    assert log.clock_regress_ms == 5000


def test_time_never_goes_back_across_a_restart(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    for number in range(256):  # the last entry may lie in a full bundle or in a partial one
        with Log.open(tmp_path, signer, now_ms=clock) as log:
            start = number * 128
            (receipt, *_) = log.append(make_statements(start, start + 128))
            assert receipt.entry.time_ms == 1_790_000_000_000
        clock.now_ms -= 1000
        if number == 3:
            break


def test_every_proof_of_every_entry_and_size_verifies(log: Log, signer: Signer) -> None:
    """I3: every published checkpoint is consistent with every later one."""
    published = [log.checkpoint]
    number = 0
    for count in (1, 2, 5, 250, 3, 600):
        log.append(make_statements(number, number + count))
        number += count
        published.append(log.checkpoint)
    newest = log.checkpoint
    for old in published:
        proof = log.reader.consistency_proof(old.size, newest)
        verify_consistency(
            old_size=old.size, new_size=newest.size, old_root=old.root, new_root=newest.root, proof=proof
        )
        assert log.reader.root_at(old.size, newest) == old.root
        assert len(list(log.reader.entries(0, old.size, old))) == old.size
    for index, data in log.reader.entries(0, newest.size, newest):
        checkpoint = TlogProof.parse(log.reader.tlog_proof(index, newest)).verify(data, [signer.verifier], ORIGIN)
        assert checkpoint == newest


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (255, 257), (100, 300), (256, 512), (511, 600), (600, 600)])
def test_any_range_of_entries_can_be_read(log: Log, start: int, end: int) -> None:
    receipts = log.append(make_statements(0, 600))
    assert list(log.reader.entries(start, end, log.checkpoint)) == [(r.index, r.data) for r in receipts[start:end]]


def test_what_is_not_in_the_log_cannot_be_read(log: Log) -> None:
    log.append(make_statements(0, 300))
    reader, checkpoint = log.reader, log.checkpoint
    for index in (-1, 300, 10_000):
        with pytest.raises(EntryInvalidError):
            reader.entry(index, checkpoint)
        with pytest.raises(EntryInvalidError):
            reader.inclusion_proof(index, checkpoint)
        with pytest.raises(EntryInvalidError):
            reader.consistency_proof(301 if index > 0 else -1, checkpoint)
        with pytest.raises(EntryInvalidError):
            list(reader.entries(index, index + 1, checkpoint))


def test_a_checkpoint_of_another_tree_is_never_believed(log: Log, signer: Signer) -> None:
    log.append(make_statements(0, 600))
    forged = signer.checkpoint(ORIGIN, 600, bytes(32))
    log.reader.entry(0, log.checkpoint)  # tiles are cached now
    for index in (0, 599):
        with pytest.raises(EntryInvalidError):
            log.reader.entry(index, forged)


def test_partial_tiles_are_replaced_by_full_ones(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        for number in range(0, 260, 2):  # too few batches for a sync on the way
            log.append(make_statements(number, number + 2))
        assert (tmp_path / "log/tile/0/000.p/8").exists()
        assert (tmp_path / "log/tile/entries/000.p/254").exists()
        early = [log.checkpoint]
        log.append(make_statements(260, 262))
    assert not (tmp_path / "log/tile/0/000.p").exists()
    assert not (tmp_path / "log/tile/entries/000.p").exists()
    assert {path.name for path in (tmp_path / "log/tile/0/001.p").iterdir()} == {"2", "4", "6"}
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        assert len(list(log.reader.entries(0, 260, early[0]))) == 260


def test_staged_batches_go_once_their_files_are_synced(
    tmp_path: Path, signer: Signer, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "SETTLE_BATCHES", 4)
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        for number in range(401):
            log.append([make_statement(number)])
            if log._settler is not None:
                log._settler.join()
        assert len(log._staging.batches()) <= 5
        assert not (tmp_path / "log/tile/0/000.p").exists()
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        assert log._staging.batches() == []
        assert len(all_entries(log)) == 401


def test_many_threads_append_and_every_call_stays_whole(log: Log) -> None:
    receipts: dict[int, list[int]] = {}

    def work(thread: int) -> None:
        for call in range(10):
            start = (thread * 10 + call) * 10
            receipts[start] = [each.index for each in log.append(make_statements(start, start + 7))]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.checkpoint.size == 16 * 10 * 7
    assert sorted(index for indices in receipts.values() for index in indices) == list(range(1120))
    entries = all_entries(log)
    for start, indices in receipts.items():
        assert indices == list(range(indices[0], indices[0] + 7))
        for index, statement in zip(indices, make_statements(start, start + 7), strict=True):
            assert decode(entries[index]).statement == statement


def test_one_callers_mistake_does_not_hurt_the_others(log: Log) -> None:
    log.append([make_statement(0)])
    outcomes: list[object] = []
    barrier = threading.Barrier(12)

    def work(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(log.append([make_statement(number or 0, size=1 if number else 2)])[0].repeated)
        except ConflictError as err:
            outcomes.append(type(err))

    threads = [threading.Thread(target=work, args=(number % 4,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(ConflictError) == 3
    assert outcomes.count(False) == 3
    assert outcomes.count(True) == 6


def test_a_call_longer_than_the_limit_is_logged_in_pieces(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "CALL_STATEMENTS_MAX", 10)
    assert [each.index for each in log.append(make_statements(0, 25))] == list(range(25))


def test_two_open_logs_take_turns_and_see_each_other(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    """I3: a second writer extends what the first wrote."""
    with Log.open(tmp_path, signer, now_ms=clock) as one, Log.open(tmp_path, signer, now_ms=clock) as two:
        for number in range(0, 300, 2):
            assert [each.index for each in one.append([make_statement(number)])] == [number]
            assert [each.index for each in two.append([make_statement(number + 1, clip=number)])] == [number + 1]
        assert one.append([make_statement(299, clip=298)])[0].repeated
        subject = make_statement(298).subjects()["clip"]
        assert one.last_index(subject) == two.last_index(subject) == 299
        assert decode(two.reader.entry(299, two.checkpoint)).prev == {"clip": 298}
        assert len(all_entries(one)) == 300


WRITER = """
import sys, time
from pathlib import Path
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.testing import ORIGIN, make_statements
root, first, calls = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Log.open(root, Signer(ORIGIN, bytes(range(32))), now_ms=lambda: time.time_ns() // 1_000_000) as log:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(first, first + calls * 3, 3):
        print(*[each.index for each in log.append(make_statements(number, number + 3))], flush=True)
"""


def test_two_processes_append_at_once(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    """I3: two processes never fork the log, and neither starves."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", WRITER, str(tmp_path), str(first), "90"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 10_000)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=240)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    indices = [[int(word) for word in text.split()] for text in said]
    assert sorted(indices[0] + indices[1]) == list(range(540))
    # Neither had to wait for the other's end: their entries interleave.
    assert min(indices[0]) < max(indices[1])
    assert min(indices[1]) < max(indices[0])
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        assert len(all_entries(log)) == 540


def test_a_log_is_created_once_and_opening_never_creates(tmp_path: Path, clock: FrozenClock) -> None:
    signer = Signer(ORIGIN, bytes(range(32)))
    with pytest.raises(VaultMissingError):
        Log.open(tmp_path, signer, now_ms=clock)
    assert list(tmp_path.iterdir()) == []
    create_log(tmp_path)
    with pytest.raises(VaultExistsError):
        create_log(tmp_path)
    with pytest.raises(VaultExistsError):
        create_log(tmp_path, seed=bytes(32))
    assert (tmp_path / "log/vkey").read_text() == f"{signer.vkey}\n"
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        log.append([make_statement(1)])
    (tmp_path / "catalogue.db").unlink()
    with pytest.raises(VaultExistsError):
        create_log(tmp_path)


def test_another_key_cannot_open_the_log(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    with pytest.raises(CheckpointInvalidError, match="another key"):
        Log.open(tmp_path, Signer(ORIGIN, bytes(32)), now_ms=clock)
    (tmp_path / "log/vkey").unlink()
    Log.open(tmp_path, signer, now_ms=clock).close()
    assert (tmp_path / "log/vkey").read_text() == f"{signer.vkey}\n"


def test_a_closed_log_may_be_closed_again(log: Log) -> None:
    log.append([make_statement(1)])
    log.close()
    log.close()


def test_the_index_is_restored_from_the_files_alone(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    """I7: ids and links come out as they were when only log/ is left."""
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        receipts = log.append([make_statement(number, clip=number % 50) for number in range(5000)])
    for path in tmp_path.glob("catalogue.db*"):
        path.unlink()
    with pytest.raises(VaultMissingError):
        Log.open(tmp_path, signer, now_ms=clock)
    Log.restore_index(tmp_path, signer, tmp_path / "catalogue.db")
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        again = log.append([make_statement(7, clip=7)])
        assert (again[0].repeated, again[0].data) == (True, receipts[7].data)
        (new,) = log.append([make_statement(9000, clip=8)])
        assert new.entry.prev == {"clip": 4958}
        with pytest.raises(ConflictError):
            log.append([make_statement(7, size=2)])
    with pytest.raises(VaultExistsError):
        Log.restore_index(tmp_path, signer, tmp_path / "catalogue.db")


def test_an_interrupted_restoration_leaves_nothing(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    with Log.open(tmp_path, signer, now_ms=clock) as log:
        log.append(make_statements(0, 5000))
    bundle = tmp_path / "log/tile/entries/018"
    data = bytearray(bundle.read_bytes())
    data[2000] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(EntryInvalidError, match=r"entry 46\d\d is not the one"):
        Log.restore_index(tmp_path, signer, tmp_path / "new.db")
    (tmp_path / "new.db").replace(tmp_path / "catalogue.db")
    with pytest.raises(CatalogueMismatchError, match="holds no log"):
        Log.open(tmp_path, signer, now_ms=clock)


def test_a_vault_whose_log_is_gone_does_not_begin_another(tmp_path: Path, signer: Signer, clock: FrozenClock) -> None:
    """I3: a log directory that is not mounted is no empty log."""
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    with pytest.raises(VaultMissingError, match=r"there is no .*log"):
        Log.open(tmp_path, signer, now_ms=clock)
    assert not (tmp_path / "log").exists()


def test_partial_tiles_that_another_process_filled_are_pruned_too(
    tmp_path: Path, signer: Signer, clock: FrozenClock
) -> None:
    with Log.open(tmp_path, signer, now_ms=clock) as one:
        one.append(make_statements(0, 250))
        dead = Log.open(tmp_path, signer, now_ms=clock)
        dead.append(make_statements(250, 260))
        dead._release()  # as if it were killed
        one.append(make_statements(260, 261))
    assert not (tmp_path / "log/tile/0/000.p").exists()
    assert not (tmp_path / "log/tile/entries/000.p").exists()
