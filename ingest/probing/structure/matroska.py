"""Matroska and WebM: the elements of the segment, up to the last cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from ingest.probing.structure.source import Source

ELEMENTS_MAX = 500_000  # a day of clusters of a second has 86,400
_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_TOP = frozenset({_EBML, _SEGMENT})
_LEVEL_1 = frozenset({
    0x114D9B74, 0x1549A966, 0x1654AE6B, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367,
})  # fmt: skip # SeekHead, Info, Tracks, Cluster, Cues, Attachments, Chapters, Tags
_ANYWHERE = frozenset({0xEC, 0xBF})  # Void, CRC-32
_IN_CLUSTER = frozenset({0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xAF, 0x5854})
_KNOWN = _TOP | _LEVEL_1 | _ANYWHERE | _IN_CLUSTER


def check_matroska(source: Source) -> dict[str, object]:
    """Every element down to the segment's children inside the file, at least one cluster."""
    offset = clusters = 0
    for _ in range(ELEMENTS_MAX):
        if offset >= source.size:
            break
        head = source.read(offset, 12)
        identity, id_bytes = _identity(head)
        if identity not in _KNOWN:
            raise _broken(head, offset, clusters)
        length, length_bytes = _length(head[id_bytes:])
        start = offset + id_bytes + length_bytes
        clusters += identity == _CLUSTER
        # Into the segment, and into clusters whose length nobody wrote: their children are walked as if beside them.
        if identity == _SEGMENT:
            if length is not None and start + length > source.size:
                raise cut_off("the segment", start + length, source.size)
            offset = start
        elif length is None:
            if identity != _CLUSTER:
                raise DamageError(f"the element at byte {offset} has no length")
            offset = start
        else:
            if start + length > source.size:
                raise cut_off(f"the element at byte {offset}", start + length, source.size)
            offset = start + length
    if not clusters:
        raise DamageError("it holds no pictures and no sound (no cluster)")
    return {}


def _broken(head: bytes, offset: int, clusters: int) -> DamageError:
    if is_zero(head):
        return DamageError(f"only zeros from byte {offset} on, after {clusters} clusters")
    return DamageError(f"no element begins at byte {offset}, where one must")


def _identity(head: bytes) -> tuple[int, int]:
    """Return an element's identity and how many bytes it takes; (0, 0) for none."""
    if not head or head[0] < 0x10:
        return 0, 0
    count = 9 - head[0].bit_length()
    return int.from_bytes(head[:count], "big"), count


def _length(head: bytes) -> tuple[int | None, int]:
    """Return an element's length (None: unknown) and how many bytes the length takes."""
    if not head or head[0] == 0:
        raise DamageError("an element's length cannot be read")
    count = 9 - head[0].bit_length()
    if len(head) < count:
        raise DamageError("cut off inside an element's length")
    value = int.from_bytes(head[:count], "big") & ((1 << 7 * count) - 1)
    return (None if value == (1 << 7 * count) - 1 else value), count
