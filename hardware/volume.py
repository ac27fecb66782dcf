"""The driver for a folder or a mounted card: everything that is a directory.

What it knows: listing and reading below one directory, without ever following a link out of it, crossing into another
file system, or writing. What it does not know: mounting, media, the vault.

Everything is opened relative to directory descriptors with O_NOFOLLOW, so a link swapped in while we read cannot lead
us elsewhere. After a yank a vfat mount still lists folders, as empty and without an error; therefore no listing and no
end of file is believed before `present` was asked. The kernel fails the first reads a moment before it removes the
device, so on an error, and after any listing of a FAT volume, we wait for that moment to pass before we ask.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hardware.errors import (
    DeviceGoneError,
    DeviceReadError,
    EraseRefusedError,
    ItemChangedError,
    VolumeUnusableError,
)
from hardware.mounts import FAT_FAMILY, find_mount, label_of, lasting_id, plugged
from hardware.names import is_factory, parse_name
from hardware.recorder import ClockReading, Identity, Inventory, Item, Skipped, printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

DRIVER = "volume"
DEPTH_MAX = 64  # folders below each other; cameras use four, a file system that loops would never end
ERROR_SETTLE_S = 2.0  # from the first failing read after a yank until the device is gone from sysfs: seen 0.05 s
LISTING_SETTLE_S = 1.0  # the same, for FAT, which ends a listing early instead of failing
_YANK_ERRORS = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo swapped in must not hang us
_KINDS = {
    stat.S_IFLNK: "symbolic link, never followed",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class VolumeRecorder:
    """A directory as a recorder. `path` may also name one file: then only that file is in the inventory."""

    def __init__(self, path: Path, *, only: Collection[str] = (), depth_max: int = DEPTH_MAX) -> None:
        """Take hold of the directory, or of these names in it; raises VolumeUnusableError. `close` lets go of a card."""
        self._depth_max = depth_max
        self._only = sorted(only)
        try:
            self._path = path.resolve(strict=True)
            if self._path.is_file():
                self._path, self._only = self._path.parent, [self._path.name]
            self._root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, RuntimeError) as err:  # RuntimeError: a loop of links, before Python 3.13
            reason = err.strerror if isinstance(err, OSError) else "a loop of symbolic links"
            raise VolumeUnusableError(f"{printable(str(path))!r}: {reason}") from err
        status = os.fstat(self._root)
        self._key = (status.st_dev, status.st_ino)
        self._mount = find_mount(self._path, status.st_dev)
        self._plugged = plugged(status.st_dev)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The directory itself, resolved."""
        return self._path

    def identity(self) -> Identity:
        """Name the volume by its file system, a folder also by its place in it; `fields` says what that rests on."""
        system, basis = lasting_id(self._root, self._mount)
        inside = Path(self._mount.root) / self._path.relative_to(self._mount.point)
        is_volume = self._path == Path(self._mount.point) and bool(system)
        if is_volume and inside == Path("/"):
            serial = f"fs-{system}"
        else:
            inode = str(self._key[1]) if self._mount.stable_inodes else ""
            place = "\0".join((system, str(inside if system else self._path), inode))
            serial = "folder-" + hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
            basis = f"path and inode in the file system; {basis}" if inode else f"path in the file system; {basis}"
        fields = {
            "path": printable(str(self._path)),
            "file_system": self._mount.file_system,
            "file_system_id": system,
            "serial_basis": basis,
            "plugged_at": self._plugged,
            "file_times": "device local time, zone not stated" if self._naive_times else "UTC",
            **({"scope": self._scope} if self._only else {}),
            **self._claims(),
        }
        label = label_of(self._key[0]) if is_volume else ""
        return Identity(
            driver=DRIVER,
            serial=serial,
            label=printable(label or self._path.name or str(self._path)),
            fields={name: value for name, value in fields.items() if value},
        )

    def read_clock(self, now: datetime) -> ClockReading:  # noqa: ARG002 # a volume has no clock to compare with
        """Say that the offset is unknown: file times tell when a device closed a file, not what its clock says now."""
        return ClockReading(source="none", offset_ms=None, uncertainty_ms=None)

    def inventory(self) -> Inventory:
        """List every regular file, whatever its type or size, sorted by the bytes of its path."""
        items: list[Item] = []
        skipped: list[Skipped] = []
        complete = True
        for found in self._walk():
            if isinstance(found, Item):
                items.append(found)
            else:
                skip, harmless = found
                skipped.append(skip)
                complete = complete and harmless
        if self._is_fat and self._plugged and not self._stays(LISTING_SETTLE_S):
            raise DeviceGoneError(f"{printable(str(self._path))!r} is gone: the listing cannot be believed")
        self.require_presence("the listing was not finished")
        items.sort(key=lambda item: os.fsencode(item.path))
        skipped.sort(key=lambda skip: os.fsencode(skip.path))
        return Inventory(items=tuple(items), skipped=tuple(skipped), complete=complete)

    def open(self, item: Item, offset: int = 0) -> VolumeStream:
        """Open one item; raises ItemChangedError when it is no longer what the inventory says."""
        try:
            descriptor = self._descend(item.path)
            try:
                return VolumeStream(self, item, descriptor, offset)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as err:
            self.require_presence(f"{printable(item.path)!r} cannot be opened: {err.strerror}", err)
            if err.errno in {errno.ENOENT, errno.ESTALE}:
                raise ItemChangedError(item.path, "it is no longer there") from err
            if err.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                raise ItemChangedError(item.path, "something else stands in its place") from err
            raise DeviceReadError(item.path, offset, err.strerror or str(err)) from err

    def erase(self, item: Item) -> None:
        """Refuse: this driver only reads. No option changes that (I9)."""
        raise EraseRefusedError(f"{printable(item.path)!r}: a volume is read only, nothing on it is erased")

    def present(self) -> bool:
        """Say whether the directory is still the one that was opened.

        The path must lead to the same inode of the same file system (false after an unmount or a swap), the file
        system must answer, and a block device must still be plugged in where it was (false after a yank, when a
        cached directory would still look well).
        """
        if self._closed:
            return False
        try:
            status = os.stat(self._path)  # noqa: PTH116 # one system call, asked after every folder
            os.fstatvfs(self._root)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._key and plugged(self._key[0]) == self._plugged

    def close(self) -> None:
        """Close the directory; a descriptor left open would leave a dead mount behind."""
        if not self._closed:
            self._closed = True
            os.close(self._root)

    def fingerprint(self, status: os.stat_result) -> str:
        """Return what must not change while a file is read."""
        inode = status.st_ino if self._mount.stable_inodes else 0
        return f"inode={inode} size={status.st_size} mtime_ns={status.st_mtime_ns} ctime_ns={status.st_ctime_ns}"

    def require_presence(self, doing: str, cause: OSError | None = None) -> None:
        """Raise DeviceGoneError unless the volume is there, and stays there where an error may announce a yank."""
        number = cause.errno if cause is not None else 0
        announced = number in _YANK_ERRORS or (self._is_fat and number == errno.ENOENT)
        if not (self._stays(ERROR_SETTLE_S) if announced and self._plugged else self.present()):
            raise DeviceGoneError(f"{printable(str(self._path))!r} is gone: {doing}") from cause

    def _stays(self, settle_s: float) -> bool:
        until = time.monotonic() + settle_s
        while self.present():
            if time.monotonic() >= until:
                return True
            time.sleep(0.05)
        return False

    @property
    def _is_fat(self) -> bool:
        return self._mount.file_system in FAT_FAMILY

    @property
    def _naive_times(self) -> bool:
        """FAT stores local times; mounted with tz=UTC the kernel passes them on unchanged."""
        return self._is_fat and bool({"tz=UTC", "time_offset=0"} & self._mount.options)

    @property
    def _scope(self) -> str:
        return f"one file: {printable(self._only[0])}" if len(self._only) == 1 else f"{len(self._only)} files"

    def _claims(self) -> dict[str, str]:
        """Return serial and officer where all names that claim one agree; the serial of an unset recorder is no claim."""
        facts = [parse_name(item.path) for item in self.inventory().items]
        serials = {fact.serial for fact in facts if fact.serial and not is_factory(fact.serial)}
        officers = {fact.officer for fact in facts if fact.officer and not is_factory(fact.officer)}
        claims = {"claimed_serial": serials, "claimed_officer": officers}
        return {name: printable(values.pop()) for name, values in claims.items() if len(values) == 1}

    def _walk(self) -> Iterator[Item | tuple[Skipped, bool]]:
        """Yield every file, and for what is not taken: (what and why, harmless)."""
        seen = {self._key}
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                descriptor = self._descend(folder, _DIRECTORY) if folder else os.dup(self._root)
                try:
                    names = self._only or os.listdir(descriptor)  # noqa: PTH208 # by descriptor
                    self.require_presence(f"folder {printable(folder)!r} was being listed")
                    for found in self._sift(folder, descriptor, names, seen):
                        if isinstance(found, str):
                            pending.append(found)
                        else:
                            yield found
                finally:
                    os.close(descriptor)
            except OSError as err:
                self.require_presence(f"folder {printable(folder)!r} cannot be listed: {err.strerror}", err)
                yield Skipped(path=folder, reason=f"folder cannot be listed: {err.strerror}"), False

    def _sift(
        self, folder: str, descriptor: int, names: list[str], seen: set[tuple[int, int]]
    ) -> Iterator[Item | tuple[Skipped, bool] | str]:
        """Yield the items of one folder, what is skipped, and the paths of its sub-folders."""
        counts = Counter(names)
        for name in counts:
            path = f"{folder}/{name}" if folder else name
            if counts[name] > 1:
                yield Skipped(path=path, reason="another file of the same name here cannot be reached"), False
            try:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError as err:
                self.require_presence(f"{printable(path)!r} cannot be examined: {err.strerror}", err)
                yield Skipped(path=path, reason=f"cannot be examined: {err.strerror}"), False
                continue
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFREG:
                yield self._item(path, status)
            elif kind != stat.S_IFDIR:
                yield Skipped(path=path, reason=_KINDS.get(kind, "not a file")), True
            elif status.st_dev != self._key[0]:
                yield Skipped(path=path, reason="another file system is mounted here"), True
            elif (status.st_dev, status.st_ino) in seen:
                yield Skipped(path=path, reason="the same folder is listed elsewhere"), True
            elif path.count("/") >= self._depth_max:
                yield Skipped(path=path, reason=f"more than {self._depth_max} folders deep"), False
            else:
                seen.add((status.st_dev, status.st_ino))
                yield path

    def _item(self, path: str, status: os.stat_result) -> Item:
        return Item(
            path=path,
            size=status.st_size,
            modified_at=_written(status.st_mtime_ns) + ("" if self._naive_times else "Z"),
            modified_ns=status.st_mtime_ns,
            fingerprint=self.fingerprint(status),
        )

    def _descend(self, path: str, flags: int = _FILE) -> int:
        """Open `path` step by step from the root, through real folders of this file system only; raises OSError."""
        *folders, name = path.split("/")
        if any(part in {"", ".", ".."} for part in (*folders, name)):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        with contextlib.ExitStack() as opened:
            parent = self._root
            for folder in folders:
                parent = os.open(folder, _DIRECTORY, dir_fd=parent)
                opened.callback(os.close, parent)
                if os.fstat(parent).st_dev != self._key[0]:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            try:
                return os.open(name, flags | os.O_NOATIME, dir_fd=parent)
            except PermissionError:  # O_NOATIME belongs to the owner
                return os.open(name, flags, dir_fd=parent)


class VolumeStream:
    """One open file. See `hardware.recorder.ItemStream`."""

    def __init__(self, recorder: VolumeRecorder, item: Item, descriptor: int, offset: int) -> None:
        """Take over `descriptor`, unless this raises: ItemChangedError when the file is not the item."""
        self._recorder = recorder
        self._item = item
        self._descriptor = descriptor
        self._position = offset
        self._closed = False
        self._compare()
        os.lseek(descriptor, offset, os.SEEK_SET)
        os.posix_fadvise(descriptor, offset, 0, os.POSIX_FADV_SEQUENTIAL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes of the whole item, by the inventory."""
        return self._item.size

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read on; see the port for what the end means."""
        try:
            count = os.readv(self._descriptor, [buffer])
        except OSError as err:
            self._require_presence(err)
            raise DeviceReadError(self._item.path, self._position, err.strerror or str(err)) from err
        self._position += count
        if self._position > self.size:
            raise ItemChangedError(self._item.path, f"it has grown beyond {self.size} bytes")
        if count == 0 and len(buffer) > 0:
            self.unchanged()
            if self._position != self.size:
                raise ItemChangedError(self._item.path, f"it ends at byte {self._position} of {self.size}")
        return count

    def unchanged(self) -> bool:
        """Compare the file with the inventory and see that the volume is still there."""
        try:
            self._compare()
        except OSError as err:
            self._require_presence(err)
            raise DeviceReadError(self._item.path, self._position, err.strerror or str(err)) from err
        self._require_presence()
        return True

    def fileno(self) -> int:
        """Return the descriptor, opened for reading; who reads through it calls `unchanged` at the end."""
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def _compare(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ItemChangedError(self._item.path, "something else stands in its place")
        if status.st_nlink == 0:
            raise ItemChangedError(self._item.path, "it was deleted")
        found, listed = self._recorder.fingerprint(status), self._item.fingerprint
        if found != listed:
            pairs = zip(listed.split(), found.split(), strict=True)
            changes = [f"{old} became {new.partition('=')[2]}" for old, new in pairs if old != new]
            raise ItemChangedError(self._item.path, ", ".join(changes))

    def _require_presence(self, cause: OSError | None = None) -> None:
        self._recorder.require_presence(
            f"{printable(self._item.path)!r} was being read, at byte {self._position} of {self.size}", cause
        )


def _written(time_ns: int) -> str:
    """Write a file time in ISO 8601; a broken file system may state one beyond the year 9999."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ns // 1_000_000)
    except OverflowError:
        return "9999-12-31T23:59:59.999"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}"
