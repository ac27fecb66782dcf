"""`log/` checked by Go's own golang.org/x/mod/sumdb, as Debian ships it, offline."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vault.log.sequencer import Log
from vault.testing import FrozenClock, create_log, make_statements

pytestmark = pytest.mark.interop

SOURCE = Path(__file__).parent / "interop_go" / "main.go"


@pytest.fixture(scope="module")
def tlverify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier, built from the packages of Debian."""
    if shutil.which("go") is None or shutil.which("dpkg") is None:
        pytest.skip("needs Debian's golang-go and golang-golang-x-mod-dev (scripts/install-test-tools)")
    listed = subprocess.run(["dpkg", "-L", "golang-golang-x-mod-dev"], capture_output=True, text=True, check=False)
    roots = [line.removesuffix("/src") for line in listed.stdout.splitlines() if line.endswith("/src")]
    if not roots:
        pytest.skip("needs Debian's golang-golang-x-mod-dev (scripts/install-test-tools)")
    folder = tmp_path_factory.mktemp("go")
    shutil.copy(SOURCE, folder)
    environment = {
        "PATH": os.environ["PATH"],
        "GO111MODULE": "off",
        "GOPATH": roots[0],
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-mod=",
        "CGO_ENABLED": "0",
    }
    subprocess.run(["go", "build", "-o", "tlverify", "main.go"], cwd=folder, env=environment, check=True)
    return folder / "tlverify"


def write_log(root: Path, sizes: list[int]) -> list[Path]:
    """Make a log with a checkpoint at each of the sizes; return the checkpoints."""
    checkpoints = []
    with Log.open(root, create_log(root), now_ms=FrozenClock()) as log:
        for size in sizes:
            log.append(make_statements(log.checkpoint.size, size))
            checkpoints.append(root / f"checkpoint-{size}")
            checkpoints[-1].write_bytes(log.checkpoint.note)
    return checkpoints


def run(tlverify: Path, directory: Path, *older: Path) -> tuple[int, str]:
    ended = subprocess.run([tlverify, directory, *older], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("sizes", [[1], [3, 255, 256, 257], [1000, 1537], [5, 300, 66_000]])
def test_go_finds_signatures_tiles_entries_and_proofs_in_order(
    tlverify: Path, tmp_path: Path, sizes: list[int]
) -> None:
    """I3: each checkpoint that was ever published is consistent with the last, says Go."""
    older = write_log(tmp_path, sizes)
    status, said = run(tlverify, tmp_path / "log", *older)
    assert (status, said.split(",")[0]) == (0, f"{sizes[-1]} entries")


def test_go_refuses_any_changed_file(tlverify: Path, tmp_path: Path) -> None:
    """I3: one flipped byte in any file that the checkpoint covers is found."""
    write_log(tmp_path, [700])
    directory = tmp_path / "log"
    assert run(tlverify, directory)[0] == 0
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) == 9
    for path in files:
        data = path.read_bytes()
        for position in {0, len(data) // 3, len(data) - 2}:
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            status, said = run(tlverify, directory)
            assert status == 1, (path, position, said)
        path.unlink()
        assert run(tlverify, directory)[0] == 1
        path.write_bytes(data)
    assert run(tlverify, directory)[0] == 0


def test_go_refuses_a_checkpoint_of_another_history(tlverify: Path, tmp_path: Path) -> None:
    """I3: a fork shows as soon as anybody holds both checkpoints."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write_log(one, [300])
    with Log.open(two, create_log(two), now_ms=FrozenClock()) as log:
        log.append(make_statements(1000, 1200))
    status, said = run(tlverify, one / "log", two / "log/checkpoint")
    assert status == 1
    assert "does not extend" in said
