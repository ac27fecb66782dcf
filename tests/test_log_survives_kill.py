"""The log under kill -9 and failing system calls: nothing acknowledged is lost, nothing forks, it goes on."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tiers import sampled

from vault.entry import decode
from vault.errors import StorageError
from vault.log.merkle import verify_consistency
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.testing import ORIGIN, FrozenClock, create_log, make_statement, make_statements

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIGNER = Signer(ORIGIN, bytes(range(32)))

# The system calls that change what a later start will find.
CHANGES = ["pwrite64", "write", "rename", "mkdir", "fdatasync", "fsync", "syncfs", "unlink", "rmdir", "ftruncate"]

# Appends calls of the given lengths and prints, for each acknowledged statement, its number and index in one write.
# What is refused is printed too and tried once more, so that a full disk that got room again is seen to work.
WRITER = """
import os, sys
from pathlib import Path
from vault.log import sequencer as log_module
from vault.errors import LiuhenError
from vault.log.sequencer import Log
from vault.log.signer import Signer
from vault.testing import ORIGIN, FrozenClock, make_statements
log_module.SETTLE_BATCHES = 2
root, number = Path(sys.argv[1]), int(sys.argv[2])
def say(text):
    os.write(1, f"{text}\\n".encode())
try:
    log = Log.open(root, Signer(ORIGIN, bytes(range(32))), now_ms=FrozenClock())
    say("open")
    for length in map(int, sys.argv[3].split(",")):
        for attempt in range(2):
            try:
                receipts = log.append(make_statements(number, number + length))
            except LiuhenError as err:
                say(f"refused {type(err).__name__}: {err}")
            else:
                say(" ".join(f"{number + n}@{each.index}" for n, each in enumerate(receipts)))
                break
        number += length
    if log._settler is not None:
        log._settler.join()
    log.close()
    say("closed")
except LiuhenError as err:
    say(f"refused {type(err).__name__}: {err}")
"""
LENGTHS = "1,3,5,30"


@dataclass
class Outcome:
    """What a writer said before it ended."""

    acknowledged: dict[int, int]  # index -> number of the statement
    refused: list[str]
    closed: bool


def read_outcome(said: str) -> Outcome:
    complete = said[: said.rfind("\n") + 1]
    return Outcome(
        acknowledged={int(index): int(number) for number, index in re.findall(r"(\d+)@(\d+)", complete)},
        refused=re.findall(r"refused (.*)", complete),
        closed="closed\n" in complete,
    )


def check(root: Path, outcome: Outcome) -> int:
    """Open, find every acknowledged statement at its index, append once more; return the size."""
    with Log.open(root, SIGNER, now_ms=FrozenClock()) as log:
        found = dict(log.reader.entries(0, log.checkpoint.size, log.checkpoint))
        for index, number in outcome.acknowledged.items():
            assert decode(found[index]).statement == make_statement(number)
        log.append([make_statement(len(found) + 100_000_000)])
        published = log.reader.checkpoint()
        assert published.size == len(found) + 1
        return published.size


def writer(root: Path, start: int, lengths: str = LENGTHS) -> list[str]:
    return [sys.executable, "-B", "-P", "-c", WRITER, str(root), str(start), lengths]


def strace(*arguments: str) -> list[str]:
    if shutil.which("strace") is None:
        pytest.skip("needs strace (scripts/install-test-tools)")
    return ["strace", "-f", *arguments]  # with --seccomp-bpf the injected signals do not arrive


def run(command: list[str]) -> tuple[Outcome, int]:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return read_outcome(ended.stdout), ended.returncode


def test_killed_at_random_twenty_times_and_never_anything_lost(tmp_path: Path) -> None:
    """I3, I4: kill -9 at a random moment while it appends, again and again on the same log."""
    create_log(tmp_path)
    published = []
    lengths = ",".join(str(random.choice([1, 2, 40, 300])) for _ in range(2000))  # noqa: S311 # other moments each time
    killed = 0
    for turn in range(20):
        process = subprocess.Popen(writer(tmp_path, turn * 1_000_000, lengths), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(random.random() * 0.12)  # noqa: S311 # a moment, not a secret
        process.kill()
        said = process.communicate(timeout=240)[0]
        killed += process.returncode == -9
        with Log.open(tmp_path, SIGNER, now_ms=FrozenClock()) as log:
            newest = log.reader.checkpoint()
            for index, number in read_outcome(said).acknowledged.items():
                assert decode(log.reader.entry(index, newest)).statement == make_statement(number)
            published.append(newest)
    assert killed > 15
    newest = published[-1]
    with Log.open(tmp_path, SIGNER, now_ms=FrozenClock()) as log:
        for old in published:
            proof = log.reader.consistency_proof(old.size, newest)
            verify_consistency(
                old_size=old.size, new_size=newest.size, old_root=old.root, new_root=newest.root, proof=proof
            )
        assert sum(1 for _ in log.reader.entries(0, newest.size, newest)) == newest.size
        last = decode(log.reader.entry(newest.size - 1, newest)).statement
        assert log.append([last])[0].repeated


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 240 entries, so that the writer crosses the end of a tile; its last batches are not synced."""
    root = tmp_path_factory.mktemp("prepared") / "vault"
    root.mkdir()
    create_log(root)
    with Log.open(root, SIGNER, now_ms=FrozenClock()) as log:
        log.append(make_statements(1_000_000, 1_000_230))
    log = Log.open(root, SIGNER, now_ms=FrozenClock())
    log.append(make_statements(1_000_230, 1_000_240))
    copy = root.with_name("copy")
    shutil.copytree(root, copy)
    log.close()
    return copy


@pytest.fixture(scope="module")
def points(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """Every state-changing system call of one run of the writer: (name, ordinal of its kind)."""
    root = tmp_path_factory.mktemp("counted") / "vault"
    shutil.copytree(prepared, root)
    trace = root.with_name("trace")
    outcome, status = run([*strace("-o", str(trace), "-e", f"trace={','.join(CHANGES)}"), *writer(root, 0)])
    assert status == 0
    assert outcome.closed
    counts: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text().splitlines():
        if (call := re.match(r"(\d+) +(\w+)\(", line)) and call[2] in CHANGES:
            counts[call[1], call[2]] += 1
    highest: dict[str, int] = {}
    for (_, name), count in counts.items():  # strace counts for each thread by itself
        highest[name] = max(count, highest.get(name, 0))
    return [(name, ordinal) for name, count in sorted(highest.items()) for ordinal in range(1, count + 1)]


def inject(prepared: Path, root: Path, name: str, ordinal: int, fault: str) -> tuple[Outcome, int]:
    """Run the writer with one failing system call."""
    shutil.copytree(prepared, root)
    options = ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:{fault}:when={ordinal}"]
    return run([*strace(*options), *writer(root, 0)])


def kill_at(prepared: Path, root: Path, points: Sequence[tuple[str, int]]) -> int:
    """Kill the writer once at each point, recover each time; return how many kills took place."""
    killed = 0
    for name, ordinal in points:
        outcome, status = inject(prepared, root, name, ordinal, "signal=KILL")
        killed += status != 0
        assert status == 0 or not outcome.closed
        size = check(root, outcome)
        assert size in {241, 242, 245, 250, 280}, (name, ordinal)
        shutil.rmtree(root)
    return killed


def test_killed_at_a_sample_of_state_changing_system_calls(
    prepared: Path, points: list[tuple[str, int]], tmp_path: Path
) -> None:
    """I3, I4: wherever the process dies, the next start is whole."""
    sample = sampled(points, 12)
    assert kill_at(prepared, tmp_path / "vault", sample) > 0  # threads share the calls differently in every run


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_state_changing_system_calls(prepared: Path, points: list[tuple[str, int]], tmp_path: Path) -> None:
    """I3, I4: every one of them when LIUHEN_TEST_FULL is set, else a larger sample."""
    chosen = sampled(points, 80)
    print(len(points), Counter(name for name, _ in chosen))
    assert kill_at(prepared, tmp_path / "vault", chosen) > len(chosen) * 0.25


FAULTS = [
    ("pwrite64", "error=ENOSPC"),
    ("pwrite64", "error=EIO"),
    ("fdatasync", "error=EIO"),
    ("syncfs", "error=EIO"),
    ("rename", "error=EIO"),
    ("rename", "error=ENOSPC"),
    ("write", "error=ENOSPC"),
    ("mkdir", "error=ENOSPC"),
    ("unlink", "error=EIO"),
]


def fail_at(prepared: Path, root: Path, name: str, fault: str, ordinals: Sequence[int]) -> list[str]:
    """Let one system call fail at each ordinal; return every refusal. Whatever was acknowledged must be there."""
    refused: list[str] = []
    for ordinal in ordinals:
        outcome, _ = inject(prepared, root, name, ordinal, fault)
        refused += outcome.refused
        check(root, outcome)
        shutil.rmtree(root)
    return refused


@pytest.mark.parametrize(("name", "fault"), [("pwrite64", "error=ENOSPC"), ("fdatasync", "error=EIO")])
def test_a_failing_disk_is_an_error_and_nothing_acknowledged_is_lost(
    prepared: Path, points: list[tuple[str, int]], tmp_path: Path, name: str, fault: str
) -> None:
    """I4: a full disk and a failed sync are told to the submitter; the next start is whole."""
    count = sum(each == name for each, _ in points)
    ordinals = sorted({1 + count * part // 4 for part in range(4)})
    refused = fail_at(prepared, tmp_path / "vault", name, fault, ordinals)
    assert refused
    assert all(re.match(r"\w+Error: ", each) for each in refused)


def test_after_a_failed_sync_the_process_never_writes_again(prepared: Path, tmp_path: Path) -> None:
    """I2: nobody can tell what a failed sync dropped, so this process is done; the next one recovers."""
    outcome, _ = inject(prepared, tmp_path / "vault", "syncfs", 1, "error=EIO")
    assert not outcome.closed or outcome.refused
    assert all("the sequencer of this process stopped" in each for each in outcome.refused)
    assert outcome.refused
    check(tmp_path / "vault", outcome)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_failing_system_calls_are_survived(
    prepared: Path, points: list[tuple[str, int]], tmp_path: Path, name: str, fault: str
) -> None:
    """I3, I4: every ordinal of every fault when LIUHEN_TEST_FULL is set, else a sample of each."""
    ordinals = [ordinal for each, ordinal in points if each == name]
    fail_at(prepared, tmp_path / "vault", name, fault, sampled(ordinals, 8))


def test_a_full_disk_gets_room_again(tmp_path: Path) -> None:
    """I4: what a full disk refused succeeds in the same process once there is room."""
    create_log(tmp_path)
    with Log.open(tmp_path, SIGNER, now_ms=FrozenClock()) as log:
        log._staging._connection.execute("PRAGMA max_page_count = 1")  # SQLite then says: full
        with pytest.raises(StorageError, match="full"):
            log.append(make_statements(0, 500))
        assert log.reader.checkpoint().size == 0
        log._staging._connection.execute("PRAGMA max_page_count = 1000000")
        assert log.append(make_statements(0, 500))[499].index == 499
