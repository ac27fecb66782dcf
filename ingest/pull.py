"""One read of the device feeds the digests and the disk together; then the copy is read back past the page cache.

Knows bytes and threads; knows nothing of logs and devices. Files up to `SMALL_BYTES` are copied in line. Larger ones go
through a ring of page-aligned buffers, each exactly one chunk: the caller's thread fills them, and a thread each for the
whole digest, the chunk list (and SM3) and the disk empties them, so that one core's SHA-256 is the bound.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ingest.errors import RereadMismatchError
from vault import durable
from vault.model import CHUNK_BYTES, Digest
from vault.store import Incoming, chunk_hash, chunk_list_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.recorder import ItemStream

SMALL_BYTES = 4 * CHUNK_BYTES  # below this, starting threads costs more than they save
RING_BUFFERS = 8  # the slowest consumer may lag this many MiB behind the device
DIRECT_ALIGN = 4096  # O_DIRECT wants address, offset and length aligned to the block size
REREAD_THREADS = 4  # two keep the cores hashing while two wait for the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A complete copy in `incoming/` and what was computed while it was read from the device."""

    incoming: Incoming
    digest: Digest
    sm3: Digest | None
    size: int
    chunk_list: bytes

    @property
    def chunk_root(self) -> bytes:
        """The RFC 6962 tree hash over the chunk list."""
        return chunk_list_root(self.chunk_list)


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


def pull(stream: ItemStream, incoming: Incoming, *, sm3: bool, on_bytes: Callable[[int], None]) -> Pulled:
    """Copy a stream to its end. `on_bytes` is called with the length of each piece read.

    The copy is complete but durable only after a sync; errors of the device and of the disk pass through, leaving the
    half copy for the caller to discard.
    """
    whole: _Hash = hashlib.sha256()
    second: _Hash | None = hashlib.new("sm3") if sm3 else None
    if stream.size <= SMALL_BYTES:
        size, chunk_list = _pull_small(stream, incoming, whole, second, on_bytes)
    else:
        size, chunk_list = _Ring(stream, incoming, whole, second, on_bytes).run()
    return Pulled(
        incoming=incoming,
        digest=Digest("sha256", whole.digest()),
        sm3=Digest("sm3", second.digest()) if second else None,
        size=size,
        chunk_list=chunk_list,
    )


def _pull_small(
    stream: ItemStream, incoming: Incoming, whole: _Hash, second: _Hash | None, on_bytes: Callable[[int], None]
) -> tuple[int, bytes]:
    buffer = memoryview(bytearray(min(CHUNK_BYTES, stream.size + 1)))
    size, chunks = 0, []
    while length := _fill(stream, buffer, on_bytes):
        piece = buffer[:length]
        whole.update(piece)
        if second:
            second.update(piece)
        chunks.append(chunk_hash(piece))
        with durable.storage_errors(incoming.path, "write"):
            os.pwrite(incoming.fd, piece, size)
        size += length
    return size, b"".join(chunks)


def _fill(stream: ItemStream, buffer: memoryview, on_bytes: Callable[[int], None]) -> int:
    """Read until the buffer is full or the stream ends: chunks must not depend on how a device cuts its reads."""
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])
        if count == 0:
            break
        filled += count
        on_bytes(count)
    return filled


class _Ring:
    """Buffers travel free -> filled -> every consumer -> free; the last consumer gives a buffer back."""

    def __init__(
        self,
        stream: ItemStream,
        incoming: Incoming,
        whole: _Hash,
        second: _Hash | None,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._stream = stream
        self._incoming = incoming
        self._on_bytes = on_bytes
        self._chunks: list[bytes] = []
        self._written = 0
        self._direct = _prepare(incoming, stream.size)
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(RING_BUFFERS):
            self._free.put(memoryview(mmap.mmap(-1, CHUNK_BYTES)))
        steps: list[Callable[[memoryview, int], None]] = [
            lambda buffer, length: whole.update(buffer[:length]),
            lambda buffer, length: self._chunks.append(chunk_hash(buffer[:length])),
            self._write,
        ]
        if second is not None:
            steps.append(lambda buffer, length: second.update(buffer[:length]))
        self._users: dict[int, int] = {}
        self._users_lock = threading.Lock()
        self._errors: list[BaseException] = []
        self._queues: list[queue.SimpleQueue[tuple[memoryview, int] | None]] = [queue.SimpleQueue() for _ in steps]
        self._threads = [
            threading.Thread(target=self._consume, args=(todo, step), daemon=True)
            for todo, step in zip(self._queues, steps, strict=True)
        ]

    def run(self) -> tuple[int, bytes]:
        """Copy everything; returns (size, chunk list). The data is on the disk when it returns."""
        for thread in self._threads:
            thread.start()
        size = 0
        try:
            while not self._errors:
                buffer = self._free.get()
                length = _fill(self._stream, buffer, self._on_bytes)
                if length == 0:
                    break
                size += length
                with self._users_lock:
                    self._users[id(buffer)] = len(self._queues)
                for todo in self._queues:
                    todo.put((buffer, length))
        finally:
            for todo in self._queues:
                todo.put(None)
            for thread in self._threads:
                thread.join()
        if self._errors:
            raise self._errors[0]
        with durable.storage_errors(self._incoming.path, "truncate"):
            os.ftruncate(self._incoming.fd, size)  # cut the padding of the last O_DIRECT block
        # Dead before this line: a half copy, swept by the next dock. Dead after it: the same, but with its bytes.
        durable.sync_file(self._incoming.fd, self._incoming.path)
        return size, b"".join(self._chunks)

    def _consume(
        self, todo: queue.SimpleQueue[tuple[memoryview, int] | None], step: Callable[[memoryview, int], None]
    ) -> None:
        while (item := todo.get()) is not None:
            buffer, length = item
            try:
                if not self._errors:
                    step(buffer, length)
            except BaseException as err:  # noqa: BLE001 - handed to the caller's thread, which raises it
                self._errors.append(err)
            with self._users_lock:
                self._users[id(buffer)] -= 1
                last = self._users[id(buffer)] == 0
            if last:
                self._free.put(buffer)

    def _write(self, buffer: memoryview, length: int) -> None:
        padded = _aligned(length) if self._direct else length
        done = 0
        with durable.storage_errors(self._incoming.path, "write"):
            while done < padded:
                done += os.pwrite(self._incoming.fd, buffer[done:padded], self._written + done)
        self._written += length


def _aligned(length: int) -> int:
    return -(-length // DIRECT_ALIGN) * DIRECT_ALIGN


def _prepare(incoming: Incoming, size: int) -> bool:
    """Reserve the space (a full disk says so now, not after an hour) and go past the page cache where possible."""
    with durable.storage_errors(incoming.path, "reserve space for"):
        os.posix_fallocate(incoming.fd, 0, size)
    return _go_direct(incoming.fd)


def _go_direct(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError:  # this file system knows no O_DIRECT
        return False
    return True


def reread(pulled: Pulled) -> None:
    """Read a synced copy back from the disk and compare it, chunk by chunk, with what came from the device (I4).

    Raises RereadMismatchError. The drive's own cache cannot be bypassed from here.
    """
    path = pulled.incoming.path
    with durable.storage_errors(path, "open"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        direct = _go_direct(fd)
        if os.fstat(fd).st_size != pulled.size:
            raise RereadMismatchError(f"{path.name} came back with {os.fstat(fd).st_size} bytes, not {pulled.size}")
        chunks = range(0, pulled.size, CHUNK_BYTES)
        if len(chunks) <= REREAD_THREADS:
            _compare(fd, pulled, chunks, direct=direct)
            return
        lanes = [chunks[lane::REREAD_THREADS] for lane in range(REREAD_THREADS)]
        with ThreadPoolExecutor(REREAD_THREADS) as pool:
            for future in [pool.submit(_compare, fd, pulled, lane, direct=direct) for lane in lanes]:
                future.result()
    finally:
        os.close(fd)


def _compare(fd: int, pulled: Pulled, offsets: range, *, direct: bool) -> None:
    with (
        mmap.mmap(-1, max(DIRECT_ALIGN, min(CHUNK_BYTES, _aligned(pulled.size)))) as buffer,
        memoryview(buffer) as view,
    ):
        for offset in offsets:
            length = min(CHUNK_BYTES, pulled.size - offset)
            wanted = _aligned(length) if direct else length
            with durable.storage_errors(pulled.incoming.path, "read back"):
                count = os.preadv(fd, [view[:wanted]], offset)
            number = offset // CHUNK_BYTES
            expected = pulled.chunk_list[32 * number : 32 * number + 32]
            if count < length or chunk_hash(view[:length]) != expected:
                raise RereadMismatchError(
                    f"bytes {offset}-{offset + length - 1} of {pulled.incoming.path.name} came back from the disk changed"
                )
