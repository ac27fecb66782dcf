"""One read of the device feeds the digests and the disk together; then the copy is read back past the page cache.

Knows bytes and threads; knows nothing of logs and devices. Files up to `SMALL_BYTES` are copied in line. Larger ones go
through a ring of page-aligned buffers, each exactly one chunk: the caller's thread fills them, and a thread each for the
whole digest, the chunk list (and SM3) and the disk empties them, so that one core's SHA-256 is the bound. Behind them,
segment by segment, what is synced already is read back at low priority, so that the check ends soon after the copy.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from ingest.errors import RereadMismatchError
from vault import durable
from vault.model import CHUNK_BYTES, Digest
from vault.store import Incoming, chunk_hash, chunk_list_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hardware.recorder import ItemStream

SMALL_BYTES = 4 * CHUNK_BYTES  # below this, starting threads costs more than they save
RING_BUFFERS = 8  # the slowest consumer may lag this many MiB behind the device
DIRECT_ALIGN = 4096  # O_DIRECT wants address, offset and length aligned to the block size
SEGMENT_BYTES = 128 << 20  # synced, then read back, while the copy goes on
REREAD_THREADS = 4  # two keep the cores hashing while two wait for the disk
REREAD_NICE = 10  # reading back must not hold up the device


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A complete copy in `incoming/` and what was computed while it was read from the device."""

    incoming: Incoming
    digest: Digest
    sm3: Digest | None
    size: int
    chunk_list: bytes
    stored_list: bytes | None  # chunk list of what the disk gave back; None: it has not been asked yet

    @property
    def chunk_root(self) -> bytes:
        """The RFC 6962 tree hash over the chunk list."""
        return chunk_list_root(self.chunk_list)


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


def pull(stream: ItemStream, incoming: Incoming, *, sm3: bool, on_bytes: Callable[[int], None]) -> Pulled:
    """Copy a stream to its end. `on_bytes` is called with the length of each piece read.

    A small copy is durable only after a sync, a large one on return. Errors of the device and of the disk pass through,
    leaving the half copy for the caller to discard.
    """
    whole: _Hash = hashlib.sha256()
    second: _Hash | None = hashlib.new("sm3") if sm3 else None
    stored_list: bytes | None = None
    if stream.size <= SMALL_BYTES:
        size, chunk_list = _pull_small(stream, incoming, whole, second, on_bytes)
    else:
        with _ReadBack(incoming.path) as back:
            size, chunk_list = _Ring(
                stream=stream, incoming=incoming, whole=whole, second=second, on_bytes=on_bytes, back=back
            ).run()
            stored_list = back.chunk_list()
    return Pulled(
        incoming=incoming,
        digest=Digest("sha256", whole.digest()),
        sm3=Digest("sm3", second.digest()) if second else None,
        size=size,
        chunk_list=chunk_list,
        stored_list=stored_list,
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
        _write_at(incoming, piece, size)
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
        *,
        stream: ItemStream,
        incoming: Incoming,
        whole: _Hash,
        second: _Hash | None,
        on_bytes: Callable[[int], None],
        back: _ReadBack,
    ) -> None:
        self._stream = stream
        self._incoming = incoming
        self._on_bytes = on_bytes
        self._back = back
        self._synced = 0
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
        self._sync(size)
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
        _write_at(self._incoming, buffer[:padded], self._written)
        self._written += length
        if self._written - self._synced >= SEGMENT_BYTES:
            self._sync(self._written)

    def _sync(self, end: int) -> None:
        """Make the copy durable up to `end`, and only then have it read back."""
        durable.sync_file(self._incoming.fd, self._incoming.path)
        self._back.add(self._synced, end)
        self._synced = end


def _write_at(incoming: Incoming, data: memoryview, offset: int) -> None:
    """Write all of `data`: a disk about to be full takes a part first and refuses the rest."""
    with durable.storage_errors(incoming.path, "write"):
        while data:
            count = os.pwrite(incoming.fd, data, offset)
            data, offset = data[count:], offset + count


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
    """Compare what the disk gives back of a synced copy, chunk by chunk, with what came from the device (I4).

    Raises RereadMismatchError. The drive's own cache cannot be bypassed from here.
    """
    stored_list = pulled.stored_list
    if stored_list is None:
        with _Uncached(pulled.incoming.path) as file:
            stored_list = b"".join(file.chunk_hash(offset) for offset in range(0, pulled.size, CHUNK_BYTES))
    name, size = pulled.incoming.path.name, pulled.incoming.path.stat().st_size
    if size != pulled.size:
        raise RereadMismatchError(f"{name} came back with {size} bytes, not {pulled.size}")
    for number in range(len(pulled.chunk_list) // 32):
        if stored_list[32 * number : 32 * number + 32] != pulled.chunk_list[32 * number : 32 * number + 32]:
            start = number * CHUNK_BYTES
            end = min(start + CHUNK_BYTES, pulled.size) - 1
            raise RereadMismatchError(f"bytes {start}-{end} of {name} came back from the disk changed")


class _Uncached:
    """A file read past the page cache: by O_DIRECT, or after its pages were dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with durable.storage_errors(path, "open"):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._direct = _go_direct(self._fd)
        self._own = threading.local()

    def chunk_hash(self, offset: int) -> bytes:
        """Return the hash of the chunk at `offset`, as the disk has it now. Thread-safe."""
        if not hasattr(self._own, "buffer"):
            self._own.buffer = memoryview(mmap.mmap(-1, CHUNK_BYTES))
        with durable.storage_errors(self._path, "read back"):
            wanted = min(CHUNK_BYTES, _aligned(os.fstat(self._fd).st_size - offset))
            if not self._direct:
                os.posix_fadvise(self._fd, offset, wanted, os.POSIX_FADV_DONTNEED)
            count = os.preadv(self._fd, [self._own.buffer[:wanted]], offset)
        return chunk_hash(self._own.buffer[:count])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class _ReadBack:
    """Reads back, on threads of low priority, the parts of a copy that are synced."""

    def __init__(self, path: Path) -> None:
        self._file = _Uncached(path)
        self._pool = ThreadPoolExecutor(REREAD_THREADS, initializer=_step_back, thread_name_prefix="reread")
        self._hashes: list[Future[bytes]] = []

    def add(self, start: int, end: int) -> None:
        """Have the chunks of [start, end) read back; `start` is where the last call ended."""
        self._hashes += [self._pool.submit(self._file.chunk_hash, at) for at in range(start, end, CHUNK_BYTES)]

    def chunk_list(self) -> bytes:
        """Wait for everything that was added; returns the chunk list of what came back."""
        return b"".join(future.result() for future in self._hashes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._file.__exit__()


def _step_back() -> None:
    with suppress(OSError):  # where the system knows no priority of one thread, the check is merely less polite
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), REREAD_NICE)
