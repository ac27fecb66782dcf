"""The object store on disk: originals by SHA-256, each with its chunk list.

Knows files and digests; knows nothing of the log. Two promises: an object's name never comes to mean other bytes
(create-exclusive, 0444), and `VerifiedReader` hands out no byte it has not checked (I8). Placing is *not* durable by
itself: the caller syncs the file system once for a whole batch before anything is logged about it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import uuid
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from vault import durable
from vault.errors import FixityMismatchError, ObjectMissingError, StorageError
from vault.log.merkle import Edge
from vault.model import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vault.model import Digest

CACHE_CHUNKS = 64  # verified chunks kept in memory by one process: 64 MiB at the default chunk size


def chunk_hash(chunk: bytes | memoryview) -> bytes:
    """Hash one chunk as an RFC 6962 leaf: SHA-256(0x00 || chunk)."""
    state = hashlib.sha256(b"\x00")
    state.update(chunk)
    return state.digest()


def chunk_list_root(chunk_list: bytes) -> bytes:
    """Return the RFC 6962 tree hash over a chunk list (32-byte leaf hashes one after the other)."""
    edge = Edge()
    for start in range(0, len(chunk_list), 32):
        edge.append(chunk_list[start : start + 32])
    return edge.root()


class Incoming:
    """A half copy: a new file under `incoming/`, locked for as long as its copier lives."""

    def __init__(self, directory: Path) -> None:
        while True:
            self.path = directory / f"{uuid.uuid4().hex}.part"
            with durable.storage_errors(self.path, "create"):
                self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.fstat(self.fd).st_nlink:  # else another dock swept it between its birth and its lock
                return
            os.close(self.fd)

    def discard(self) -> None:
        """Close and remove the half copy; safe to call twice."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Release the file; its name stays until it is placed or discarded."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ObjectStore:
    """Content-addressed originals under `objects/`, half copies under `incoming/` of the same file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects = root / "objects"
        self.incoming = root / "incoming"
        self._cache = ChunkCache(CACHE_CHUNKS)

    def path(self, digest: Digest) -> Path:
        """Return where the object of this digest is, or would be."""
        return self.objects / digest.hex[:2] / digest.hex[2:4] / digest.hex

    def chunk_list_path(self, digest: Digest) -> Path:
        """Return where the object's chunk list is: 32 bytes a chunk."""
        return self.path(digest).with_name(digest.hex + ".chunks")

    def has(self, digest: Digest) -> bool:
        """Tell whether object and chunk list are in place (their bytes are not checked here)."""
        return self.path(digest).exists() and self.chunk_list_path(digest).exists()

    def holds(self, digest: Digest, size: int) -> bool:
        """Tell whether object and chunk list are in place with their sizes: as much as two looks can tell."""
        try:
            chunks = self.chunk_list_path(digest).stat().st_size
            return self.path(digest).stat().st_size == size and chunks == 32 * -(-size // CHUNK_BYTES)
        except OSError:
            return False

    def check_standing(self, digest: Digest, *, size: int, chunk_list: bytes) -> None:
        """Read an object that stands there already back from the disk; raises FixityMismatchError when it is not these bytes.

        Whoever brings the same bytes again must not be told that they are safe because of a name. Without an object
        there is nothing to check: the copy will take the name.
        """
        path = self.path(digest)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as err:
            raise FixityMismatchError(f"object {path.name} cannot be opened: {err.strerror}") from err
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if os.fstat(fd).st_size != size:
                raise FixityMismatchError(f"object {path.name} has {os.fstat(fd).st_size} bytes, not {size}")
            for number, base in enumerate(range(0, size, CHUNK_BYTES)):
                chunk = os.pread(fd, min(CHUNK_BYTES, size - base), base)
                if chunk_hash(chunk) != chunk_list[32 * number : 32 * number + 32]:
                    raise FixityMismatchError(f"object {path.name} holds other bytes in its chunk at {base}")
        except OSError as err:
            raise FixityMismatchError(f"object {path.name} cannot be read: {err.strerror}") from err
        finally:
            os.close(fd)

    def free_bytes(self) -> int:
        """Return how much room the disk has for this account."""
        with durable.storage_errors(self.incoming, "examine"):
            status = os.statvfs(self.incoming)
        return status.f_bavail * status.f_frsize

    def begin(self) -> Incoming:
        """Open a new half copy."""
        return Incoming(self.incoming)

    def sweep(self) -> int:
        """Remove half copies whose copier is dead; returns how many. A live copier's lock protects its file."""
        swept = 0
        for path in self.incoming.glob("*.part"):
            with suppress(FileNotFoundError, PermissionError):  # another account's: its own docks sweep it
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    swept += 1
                except BlockingIOError:
                    pass
                finally:
                    os.close(fd)
        return swept

    def place(self, incoming: Incoming, digest: Digest, chunk_list: bytes) -> bool:
        """Give a complete, re-read copy its name; False when the object was there already.

        Dead before the link: the half copy is swept by the next dock. Dead after it: an object without an entry, which
        the resumed dock finds and seals. Durable only after the caller's `durable.sync_file_system`.
        """
        target = self.path(digest)
        with durable.storage_errors(target, "place"):
            # The chunk list can be made again from the object, so a torn one left by a power cut is simply replaced.
            durable.replace_recreatable(self.chunk_list_path(digest), chunk_list)
            os.fchmod(incoming.fd, 0o444)
            try:
                os.link(incoming.path, target)
                placed = True
            except FileExistsError:
                placed = False
        incoming.discard()
        return placed

    def open(self, digest: Digest, *, size: int, chunk_bytes: int, chunk_root: bytes) -> VerifiedReader:
        """Open an object for reading against the digests the caller took from the authenticated log."""
        return VerifiedReader(
            self.path(digest),
            self.chunk_list_path(digest),
            size=size,
            chunk_bytes=chunk_bytes,
            chunk_root=chunk_root,
            cache=self._cache,
        )

    def walk(self) -> Iterator[Path]:
        """Yield every file below `objects/`, in order of name."""
        for directory, names, files in os.walk(self.objects):
            names.sort()
            for name in sorted(files):
                yield self.objects.__class__(directory) / name


class ChunkCache:
    """A small LRU of verified chunks, shared by the readers of one process."""

    def __init__(self, chunks_max: int) -> None:
        self._chunks: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._chunks_max = chunks_max
        self._lock = threading.Lock()

    def get(self, key: tuple[Path, int]) -> bytes | None:
        """Return a verified chunk, marking it as used."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is not None:
                self._chunks.move_to_end(key)
            return chunk

    def put(self, key: tuple[Path, int], chunk: bytes) -> None:
        """Keep a chunk that has just been verified."""
        with self._lock:
            self._chunks[key] = chunk
            while len(self._chunks) > self._chunks_max:
                self._chunks.popitem(last=False)


class VerifiedReader:
    """Random access to one sealed object; every byte handed out comes from a chunk checked against its digest (I8).

    Thread-safe. Raises FixityMismatchError naming the object and the chunk, ObjectMissingError when it is gone.
    Needs nothing but two paths and the sealed numbers, so that a sandboxed worker can use it too.
    """

    def __init__(
        self,
        path: Path,
        chunk_list_path: Path,
        *,
        size: int,
        chunk_bytes: int,
        chunk_root: bytes,
        cache: ChunkCache | None = None,
    ) -> None:
        self.size = size
        self.name = path.name
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._cache = cache if cache is not None else ChunkCache(4)
        try:
            with open(chunk_list_path, "rb", opener=durable.open_at_once) as file:  # Path.open takes no opener
                self._chunk_list = file.read()
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as err:
            raise ObjectMissingError(f"object {path.name}: {err.filename} is not in the store") from err
        except OSError as err:
            raise StorageError(f"object {path.name} cannot be read: {err.strerror}") from err
        if os.fstat(self._fd).st_size != size:
            self._fault(f"has {os.fstat(self._fd).st_size} bytes, sealed were {size}")
        chunks = -(-size // chunk_bytes)
        if len(self._chunk_list) != 32 * chunks or chunk_list_root(self._chunk_list) != chunk_root:
            self._fault("its chunk list does not match the sealed root")

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes [offset, offset + length), shorter only at the end of the object."""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // self._chunk_bytes, (end - 1) // self._chunk_bytes
        pieces = []
        for number in range(first, last + 1):
            base = number * self._chunk_bytes
            chunk = self._chunk(number)
            pieces.append(chunk[max(0, offset - base) : end - base])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def _chunk(self, number: int) -> bytes:
        key = (self._path, number)
        chunk = self._cache.get(key)
        if chunk is None:
            base = number * self._chunk_bytes
            try:
                chunk = os.pread(self._fd, min(self._chunk_bytes, self.size - base), base)
            except OSError as err:
                raise StorageError(f"object {self.name} cannot be read at byte {base}: {err.strerror}") from err
            if chunk_hash(chunk) != self._chunk_list[32 * number : 32 * number + 32]:
                self._fault(f"bytes {base}-{base + self._chunk_bytes - 1} do not match the sealed digest", close=False)
            self._cache.put(key, chunk)
        return chunk

    def _fault(self, what: str, *, close: bool = True) -> None:
        if close:
            self.close()
        raise FixityMismatchError(f"object {self.name}: {what}")
