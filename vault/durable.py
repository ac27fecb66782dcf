"""Every fsync of the project, and the only places where a file of the vault comes into being.

What a file system promises: after fsync of a file its bytes survive a power cut, after fsync of its directory its name
does. What it does not promise: anything after a *failed* fsync (the dirty pages may be gone and a second fsync may
say "fine"). So every OSError becomes a StorageError, and a caller that gets one from a sync function must stop
writing, not try again.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
from typing import TYPE_CHECKING

from vault.errors import AppendOnlyViolationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_serial = itertools.count()  # makes temporary names of one process differ

# File systems without unnamed temporary files answer one of these; a named one does the same work there.
_UNNAMED_REFUSED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


@contextlib.contextmanager
def storage_errors(path: Path, act: str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the act, the path and the system's own words."""
    try:
        yield
    except OSError as err:
        raise StorageError(f"cannot {act} {path}: {err.strerror or err}") from err


def write_new(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Create `path` with `data`, whole or not at all; durable when it returns. Creates missing directories.

    open(O_TMPFILE) write fsync | linkat(path) fsync(directory): a crash before the bar leaves nothing, after it the
    whole file. An identical file that already stands there is made durable and accepted (a retry after a crash);
    one with other content raises AppendOnlyViolationError.
    """
    make_directories(path.parent)
    with storage_errors(path, "write"):
        try:
            _link_new(path, data, mode)
        except FileExistsError:
            _accept_identical(path, data)
    sync_directory(path.parent)


def create_unsynced(path: Path, data: bytes, mode: int = 0o444) -> None:
    """Create `path` with `data`, not yet durable: for batches that one `sync_file_system` makes durable together.

    Only for names that are never used twice: a file that stands there raises AppendOnlyViolationError.
    """
    with storage_errors(path, "write"):
        try:
            descriptor = _create(path, mode)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _create(path, mode)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)


def _create(path: Path, mode: int) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as err:
        raise AppendOnlyViolationError(f"{path} stands there already; it must never change") from err


def replace_recreatable(path: Path, data: bytes, *, temporary: Path | None = None) -> None:
    """Put `data` at `path`, atomically but not durably: only for files that can be made again from durable ones.

    A reader sees the old bytes or the new, never a mixture. After a power cut the file may be missing, old or empty.
    `temporary` names the file to write first (same file system); give it when only one writer can be here.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.tmp")
    with storage_errors(path, "write"):
        try:
            _write_and_rename(temporary, path, data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_and_rename(temporary, path, data)


def open_at_once(path: str, flags: int) -> int:
    """Open as `opener` of a file that somebody may have replaced by a fifo: reading that ends at once, never waits."""
    return os.open(path, flags | os.O_NONBLOCK)


def make_directories(path: Path) -> None:
    """Create `path` and its missing parents, durably: each new name is synced in its parent."""
    if path.is_dir():
        return
    make_directories(path.parent)
    with storage_errors(path, "create the directory"):
        path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_file(descriptor: int, path: Path) -> None:
    """Make the bytes of an open file durable (fsync); `path` is for the error."""
    with storage_errors(path, "sync"):
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: what was created, renamed or removed there before this call."""
    with storage_errors(path, "sync the directory"), _opened_directory(path) as descriptor:
        os.fsync(descriptor)


def sync_file_system(path: Path, descriptor: int | None = None) -> None:
    """Make everything written so far to the file system of the directory `path` durable (syncfs).

    `descriptor`, if given, is that directory held open since before the writing: it also hears of errors that the
    kernel met, and told others about, in between.
    """
    if descriptor is None:
        with storage_errors(path, "open"), _opened_directory(path) as opened:
            sync_file_system(path, opened)
        return
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # not Linux: the older call syncs every file system and cannot fail
        os.sync()
        return
    with storage_errors(path, "sync the file system of"):
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _link_new(path: Path, data: bytes, mode: int) -> None:
    """Create `path` exclusively with synced content; raises FileExistsError. The directory is not synced yet."""
    try:
        with _unnamed_file(path.parent, mode) as descriptor, _opened_directory("/proc/self/fd") as descriptors:
            _write_synced(descriptor, data, mode)
            # Naming the directory makes Python call linkat(AT_SYMLINK_FOLLOW), which gives the unnamed file its name.
            os.link(str(descriptor), path, src_dir_fd=descriptors, follow_symlinks=True)
    except (OSError, AttributeError) as err:  # AttributeError: a system without O_TMPFILE
        if isinstance(err, OSError) and err.errno not in _UNNAMED_REFUSED:
            raise
        _link_named(path, data, mode)


def _link_named(path: Path, data: bytes, mode: int) -> None:
    """Do the same where there are no unnamed files; a crash can leave the temporary name behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write_synced(descriptor, data, mode)
        os.link(temporary, path)
    finally:
        os.close(descriptor)
        temporary.unlink()


@contextlib.contextmanager
def _unnamed_file(directory: Path, mode: int) -> Iterator[int]:
    descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened_directory(path: Path | str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_synced(descriptor: int, data: bytes, mode: int) -> None:
    _write_all(descriptor, data)
    os.fchmod(descriptor, mode)  # past the umask: the mode is part of the promise
    os.fsync(descriptor)


def _accept_identical(path: Path, data: bytes) -> None:
    # The earlier writer may have died between linkat and its fsync of the directory, so both are synced again.
    with path.open("rb") as file:
        if file.read(len(data) + 1) != data:
            raise AppendOnlyViolationError(f"{path} stands there with other content; it must never change")
        os.fsync(file.fileno())


def _write_and_rename(temporary: Path, path: Path, data: bytes) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 # Path.replace does the same call with more work around it
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
