"""ISO base media boxes: walking them without trusting them. Pure.

Knows sizes and names, not meanings. Every count is bounded by the box that claims it, so a hostile file costs no more
than its own bytes. `hostile()` turns whatever a malformed structure provokes into UnsupportedMediaError.
"""

from __future__ import annotations

import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transcode.errors import UnsupportedMediaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

CHILDREN_MAX = 4096  # of one container box; the fullest honest moov has some forty
HEADER_BYTES_MAX = 16  # size, type, 64-bit size


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a box lies: `start` of its header, `body` after it, `end`; in the file or in the buffer at hand."""

    kind: bytes
    start: int
    body: int
    end: int


@contextmanager
def hostile(what: str) -> Iterator[None]:
    """Translate the errors a malformed `what` provokes."""
    try:
        yield
    except (struct.error, ValueError, IndexError, OverflowError, KeyError) as err:
        raise UnsupportedMediaError(f"the {what} is malformed: {err}") from err


def read_header(data: bytes, start: int, limit: int, at: int = 0) -> Box | None:
    """Read the box header at `data[at:]`, which stands at `start` in the file; None when it is no sound box.

    A box of size 0 reaches to `limit`; one that claims more than that is cut there (files end early).
    """
    if len(data) - at < 8:
        return None
    size, kind = struct.unpack_from(">I4s", data, at)
    header = 8
    if size == 1:
        if len(data) - at < 16:
            return None
        (size,) = struct.unpack_from(">Q", data, at + 8)
        header = 16
    elif size == 0:
        size = limit - start
    if size < header or not _printable(kind):
        return None
    return Box(kind=kind, start=start, body=start + header, end=min(start + size, limit))


def _printable(kind: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 0xA9 for byte in kind)


def children(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes in `data[start:end]`; trailing bytes that are no box end the walk, as in real files."""
    count = 0
    while start + 8 <= end:
        box = read_header(data[start : min(end, start + HEADER_BYTES_MAX)], start, end)
        if box is None:
            return
        count += 1
        if count > CHILDREN_MAX:
            raise UnsupportedMediaError(f"more than {CHILDREN_MAX} boxes in one container")
        yield box
        start = box.end


def find(data: bytes, parent: Box, *path: bytes) -> Box | None:
    """Return the first box at `path` below `parent`."""
    here: Box | None = parent
    for kind in path:
        if here is None:
            return None
        here = next((box for box in children(data, here.body, here.end) if box.kind == kind), None)
    return here


def require(data: bytes, parent: Box, *path: bytes) -> Box:
    """As `find`; raises UnsupportedMediaError naming the box that is missing."""
    box = find(data, parent, *path)
    if box is None:
        name = b"/".join((parent.kind, *path)).decode("latin-1")
        raise UnsupportedMediaError(f"the index lacks its {name} box")
    return box


def table(data: bytes, box: Box, *, skip: int, columns: int, kind: str = ">u4") -> npt.NDArray[np.int64]:
    """Read a counted table whose 32-bit count stands `skip` bytes into the box's body, as int64 rows.

    Raises UnsupportedMediaError when the count exceeds what the box can hold.
    """
    at = box.body + skip
    if at + 4 > box.end:
        raise UnsupportedMediaError(f"the {box.kind.decode('latin-1')} box is too short")
    (count,) = struct.unpack_from(">I", data, at)
    width = np.dtype(kind).itemsize * columns
    if count * width > box.end - at - 4:
        raise UnsupportedMediaError(
            f"the {box.kind.decode('latin-1')} box claims {count} entries; its {box.end - box.start} bytes cannot hold them"
        )
    rows = np.frombuffer(data, dtype=kind, count=count * columns, offset=at + 4)
    return rows.astype(np.int64).reshape(-1, columns)


def pack(kind: bytes, *parts: bytes) -> bytes:
    """Make a box."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def pack_full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """Make a full box (with version and flags)."""
    return pack(kind, struct.pack(">I", version << 24 | flags), *parts)
