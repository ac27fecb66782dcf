"""Hash stored originals again, on every core, against what the log sealed.

Bytes are read from the disk, past the page cache. A large file is read twice at once, for its digest and for its chunk
list, so that one long recording keeps two cores busy; the second reading finds the pages of the first.
"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vault import durable
from vault.errors import FixityMismatchError, ObjectMissingError
from vault.model import Digest
from vault.store import ObjectStore, chunk_hash, chunk_list_root
from vault.verification.verdict import Fault, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import FileIO
    from pathlib import Path

    from vault.verification.custody import Seal

SPLIT_BYTES = 32 << 20  # from this size on, digest and chunk list are computed by two threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One object, or one half of a large one, done."""

    bytes: int  # to count as progress
    faults: tuple[Fault, ...]
    findings: tuple[Finding, ...] = ()


def check_objects(store: ObjectStore, seals: Mapping[str, Seal], on_checked: Callable[[Checked], None]) -> None:
    """Check every sealed clip; faults come in the order of work, not of the log."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        running: set[Future[Checked]] = set()
        for work in _works(store, seals.items()):
            running.add(pool.submit(work))
            if len(running) >= 2 * threads:  # a bounded queue: a million clips are not a million futures
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    on_checked(future.result())
        for future in running:
            on_checked(future.result())


def check_object(store: ObjectStore, clip: str, seal: Seal) -> list[Checked]:
    """Check one clip."""
    return [work() for work in _works(store, [(clip, seal)])]


def untracked(store: ObjectStore, seals: Mapping[str, Seal]) -> list[Finding]:
    """Name files below objects/ and incoming/ that no entry speaks of: an interrupted docking leaves such."""
    known = set()
    for clip in seals:
        digest = Digest.parse(clip)
        known |= {store.path(digest), store.chunk_list_path(digest)}
    message = "no entry speaks of it; an interrupted docking leaves such a file, and the resumed one takes it up"
    findings = [
        Finding(object=str(path.relative_to(store.root)), message=message) for path in store.walk() if path not in known
    ]
    half = "a half copy of a docking that is under way or was interrupted; the next docking removes it"
    parts = sorted(store.incoming.glob("*.part")) if store.incoming.is_dir() else []
    return findings + [Finding(object=str(path.relative_to(store.root)), message=half) for path in parts]


def _works(store: ObjectStore, clips: Iterable[tuple[str, Seal]]) -> Iterator[Callable[[], Checked]]:
    for clip, seal in clips:
        if seal.size >= SPLIT_BYTES:
            yield partial(_check, store, clip, seal, digest=True, chunks=False)
            yield partial(_check, store, clip, seal, digest=False, chunks=True)
        else:
            yield partial(_check, store, clip, seal, digest=True, chunks=True)


def _check(store: ObjectStore, clip: str, seal: Seal, *, digest: bool, chunks: bool) -> Checked:
    """Do one half of the work on an object, or both; what concerns the object itself is reported with the digest."""
    path, list_path = store.path(Digest.parse(clip)), store.chunk_list_path(Digest.parse(clip))
    where = f"clip {clip} (entry {seal.index})"
    faults: list[Fault] = []
    findings: list[Finding] = []
    try:
        scan = _scan(path, seal.chunk_bytes, digest=digest, chunks=chunks)
    except FileNotFoundError:
        missing = Fault.of(ObjectMissingError, where, f"{path.relative_to(store.root)} is not in the store")
        faults += [missing] if digest else []
    except OSError as err:
        unread = Fault.of(FixityMismatchError, where, f"{path.relative_to(store.root)} cannot be read: {err.strerror}")
        faults += [unread] if digest else []
    else:
        if digest:
            faults += _digest_faults(where, clip, seal, scan)
            findings += _loose_mode(store, path)
        if chunks:
            faults += _chunk_faults(where, seal, scan, list_path)
    share = 1 if digest and chunks else 2
    return Checked(bytes=seal.size // share, faults=tuple(faults), findings=tuple(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    size: int
    digest: str
    chunk_list: bytes


def _scan(path: Path, chunk_bytes: int, *, digest: bool, chunks: bool) -> _Scan:
    """Read a file to its end, hashing what is asked for."""
    whole, chunk_list, size = hashlib.sha256(), [], 0
    with open(path, "rb", buffering=0, opener=durable.open_at_once) as file:  # Path.open takes no opener
        if digest and hasattr(os, "posix_fadvise"):
            # Drop clean pages: what the disk holds is the question, not what memory remembers of it.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        buffer = memoryview(bytearray(chunk_bytes))
        while count := _fill(file, buffer):
            size += count
            if digest:
                whole.update(buffer[:count])
            if chunks:
                chunk_list.append(chunk_hash(buffer[:count]))
    return _Scan(size=size, digest=whole.hexdigest(), chunk_list=b"".join(chunk_list))


def _fill(file: FileIO, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends: a short read must not shift the chunks."""
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return filled


def _digest_faults(where: str, clip: str, seal: Seal, scan: _Scan) -> list[Fault]:
    faults = []
    if scan.size != seal.size:
        faults.append(Fault.of(FixityMismatchError, where, f"has {scan.size} bytes, sealed were {seal.size}"))
    if f"sha256:{scan.digest}" != clip:
        faults.append(Fault.of(FixityMismatchError, where, f"its stored bytes have SHA-256 {scan.digest}"))
    return faults


def _chunk_faults(where: str, seal: Seal, scan: _Scan, list_path: Path) -> list[Fault]:
    try:
        with open(list_path, "rb", opener=durable.open_at_once) as file:  # Path.open takes no opener
            stored = file.read()
    except FileNotFoundError:
        return [Fault.of(ObjectMissingError, where, f"its chunk list {list_path.name} is not in the store")]
    except OSError as err:
        return [Fault.of(FixityMismatchError, where, f"its chunk list cannot be read: {err.strerror}")]
    if chunk_list_root(scan.chunk_list).hex() != seal.chunk_root:
        place = _first_difference(scan.chunk_list, stored, seal.chunk_bytes)
        return [Fault.of(FixityMismatchError, where, f"{place} the sealed chunk root does not hold")]
    if scan.chunk_list != stored:
        return [
            Fault.of(FixityMismatchError, where, f"its chunk list {list_path.name} was changed; the footage was not")
        ]
    return []


def _first_difference(found: bytes, stored: bytes, chunk_bytes: int) -> str:
    """Say where footage leaves its chunk list, as far as the list itself can be believed."""
    for start in range(0, max(len(found), len(stored)), 32):
        if found[start : start + 32] != stored[start : start + 32]:
            first = start // 32 * chunk_bytes
            return f"bytes {first}-{first + chunk_bytes - 1} are the first that differ;"
    return "footage and chunk list agree, but"


def _loose_mode(store: ObjectStore, path: Path) -> list[Finding]:
    """Name an original that could be written to: no fault of its bytes, but a lock left open."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o222 == 0:
        return []
    message = f"has mode {mode:04o}, expected 0444; restore it with chmod 0444"
    return [Finding(object=str(path.relative_to(store.root)), message=message)]
