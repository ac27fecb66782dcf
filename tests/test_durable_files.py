"""What the one module with fsync promises: whole or not at all, never overwritten, errors that name the file."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from vault import durable
from vault.errors import AppendOnlyViolationError, StorageError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_file_is_created_with_its_directories_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "ab" / "cd" / "file"
    durable.write_new(path, b"content")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o444
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_the_same_content_again_is_accepted_and_other_content_is_not(tmp_path: Path) -> None:
    """I1: a file that must never change is never changed."""
    path = tmp_path / "file"
    durable.write_new(path, b"content")
    before = path.stat()
    durable.write_new(path, b"content")
    assert path.stat().st_ino == before.st_ino
    for other in (b"", b"conten", b"content+", b"Content"):
        with pytest.raises(AppendOnlyViolationError, match="file stands there with other content"):
            durable.write_new(path, other)
    assert path.read_bytes() == b"content"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_of_many_writers_of_one_name_exactly_one_content_wins(tmp_path: Path) -> None:
    """I1: the second writer of a name is refused, not merged."""
    path = tmp_path / "file"
    refused: list[bytes] = []

    def write(content: bytes) -> None:
        try:
            durable.write_new(path, content)
        except AppendOnlyViolationError:
            refused.append(content)

    contents = [bytes([number]) * 1000 for number in range(16)]
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 15
    assert path.read_bytes() in set(contents) - set(refused)


def test_without_unnamed_files_a_named_one_does_the_same_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    test_a_new_file_is_created_with_its_directories_and_mode(tmp_path / "a")
    (tmp_path / "b").mkdir()
    test_the_same_content_again_is_accepted_and_other_content_is_not(tmp_path / "b")


def test_replacing_swaps_the_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for content in (b"first", b"", b"second"):
        durable.replace_recreatable(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_syncing_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        durable.sync_file(file.fileno(), path)
    durable.sync_directory(tmp_path)
    durable.sync_file_system(tmp_path)


def test_a_refusal_of_the_system_names_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for act in (
        lambda: durable.write_new(tmp_path / "file" / "below", b""),
        lambda: durable.replace_recreatable(tmp_path / "file" / "below", b""),
        lambda: durable.make_directories(tmp_path / "file" / "below"),
        lambda: durable.sync_directory(tmp_path / "file"),
        lambda: durable.sync_file_system(tmp_path / "missing"),
    ):
        with pytest.raises(StorageError, match=r"(file|missing).*: (Not a directory|No such file|File exists)"):
            act()
    with pytest.raises(StorageError, match="Bad file descriptor"):
        durable.sync_file(1_000_000, tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110 # a device
def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    full = tmp_path / "temporary"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        durable.replace_recreatable(path, b"new", temporary=full)
    assert path.read_bytes() == b"old"
