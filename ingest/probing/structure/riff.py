"""RIFF files: AVI (also OpenDML beyond 2 GiB), WAV (also RF64), WebP."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.probing.structure.source import Source

CHUNKS_MAX = 100_000  # at one level; the chunks of a movie list are not walked
LOOKED_AT = 32  # entries of an AVI index that are looked at for zeros
_HAS_INDEX = 0x10  # AVIF_HASINDEX in the main header
_UNKNOWN = 0xFFFFFFFF


def check_riff(source: Source) -> dict[str, object]:
    """The RIFF chunk inside the file."""
    _form(source)
    return {}


def check_wav(source: Source) -> dict[str, object]:
    """The RIFF chunk and every chunk in it inside the file, and sound in it."""
    end = _form(source)
    for name, start, length in _chunks(source, 12, end):
        if name == b"ds64":
            end = 8 + struct.unpack("<Q", source.read(start, 8))[0]
            if end > source.size:
                raise cut_off("the RF64 chunk", end, source.size)
        if name == b"data":
            if length == 0:
                raise DamageError("it holds no sound: the recording was not closed")
            if length == _UNKNOWN and start < end:  # RF64 keeps the true length in ds64
                return {}
        if start + length > source.size:
            raise cut_off(f"chunk {name.decode('latin-1')!r}", start + length, source.size)
        if name == b"data":
            return {}
    raise DamageError("it holds no sound")


def check_avi(source: Source) -> dict[str, object]:
    """Every RIFF chunk inside the file, a movie list, the index that the header promises, pictures that are not zeros."""
    offset, forms = 0, 0
    seen: dict[bytes, tuple[int, int]] = {}
    while source.size - offset >= 12 and source.read(offset, 4) == b"RIFF":
        end = _form(source, offset)
        for name, start, length in _chunks(source, offset + 12, end):
            key = source.read(start, 4) if name == b"LIST" else name
            if start + length > end + 1:
                raise cut_off(f"chunk {key.decode('latin-1')!r}", start + length, end)
            seen.setdefault(key, (start, length))
        offset, forms = end + (end & 1), forms + 1
    if b"movi" not in seen:
        raise DamageError("it holds no pictures (no movie list)")
    flags = struct.unpack("<I", source.read(seen[b"hdrl"][0] + 4 + 8 + 12, 4))[0] if b"hdrl" in seen else 0
    if flags & _HAS_INDEX and b"idx1" not in seen:
        raise DamageError("its index (idx1) is missing: the recording was not closed")
    if b"idx1" in seen:
        _check_index(source, seen[b"idx1"], seen[b"movi"])
    return {"riff_chunks": forms}


def _form(source: Source, offset: int = 0) -> int:
    """Return where the RIFF chunk at `offset` ends."""
    name = source.read(offset, 4)
    length: int = struct.unpack("<I", source.read(offset + 4, 4))[0]
    if name == b"RF64":
        return source.size
    if length in {0, _UNKNOWN}:
        raise DamageError("its length was never written: the recording was not closed")
    if offset + 8 + length > source.size:
        raise cut_off("the RIFF chunk", offset + 8 + length, source.size)
    return offset + 8 + length


def _chunks(source: Source, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start of the payload, length)."""
    for _ in range(CHUNKS_MAX):
        if end - start < 8:
            return
        name, length = struct.unpack("<4sI", source.read(start, 8))
        if is_zero(name):
            return
        yield name, start + 8, length
        start += 8 + length + (length & 1)


def _check_index(source: Source, index: tuple[int, int], movie: tuple[int, int]) -> None:
    start, length = index
    count = length // 16
    if count == 0:
        return  # an OpenDML file may leave it empty
    first = struct.unpack("<4sIII", source.read(start, 16))
    if is_zero(first[0]):
        raise DamageError("its index (idx1) holds only zeros")
    # Offsets count from the word "movi" or, in some writers, from the start of the file.
    base = 0 if first[2] >= movie[0] else movie[0]
    for number in range(0, count, max(1, count // LOOKED_AT)):
        name, _, offset, size = struct.unpack("<4sIII", source.read(start + 16 * number, 16))
        if is_zero(name):
            raise DamageError(f"its index (idx1) holds only zeros from entry {number} of {count} on")
        if size >= 8 and is_zero(source.read(base + offset, 16)):
            raise DamageError(f"chunk {number} of {count} holds only zeros")
