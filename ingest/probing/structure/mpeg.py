"""Containers without an index: MPEG transport and program streams, DHAV, Flash video."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from ingest.probing.structure.source import Source

SYNC_LOOKS = 2000  # packets of a transport stream whose first byte is looked at; all are when it is demuxed
TAIL_BYTES = 1 << 20  # of a program stream that are walked; holds several packs, each at most 64 KiB long


def packet_bytes(head: bytes) -> tuple[int, int]:
    """Return (packet size, offset of the sync byte) of a transport stream, or (0, 0)."""
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        looks = range(offset, min(len(head), offset + 5 * size), size)
        if len(looks) >= 2 and all(head[at] == 0x47 for at in looks):
            return size, offset
    if 188 <= len(head) < 2 * 188 and head[0] == 0x47:  # one packet and a piece
        return 188, 0
    return 0, 0


def check_transport(source: Source) -> dict[str, object]:
    """Whole packets, and a sync byte wherever one was looked for."""
    size, sync = packet_bytes(source.read(0, 2048))
    if size == 0:
        raise DamageError("it has no packets")
    count = source.size // size
    looks = {*range(0, count, max(1, count // SYNC_LOOKS)), *range(max(0, count - 100), count)}
    for number in sorted(looks):
        if source.read(number * size + sync, 1) != b"\x47":
            what = "only zeros" if is_zero(source.read(number * size, size)) else "no packet"
            raise DamageError(f"{what} at byte {number * size}, where a packet must begin")
    if rest := source.size % size:
        raise DamageError(f"cut off inside a packet: the last {rest} bytes are not {size}")
    return {"packet_bytes": size}


def check_program(source: Source) -> dict[str, object]:
    """The last packets follow each other exactly to the end of the file."""
    start = max(0, source.size - TAIL_BYTES)
    tail = source.read(start, TAIL_BYTES)
    # No coded picture contains a pack's start code, so the first one found is a pack.
    begin = tail.find(b"\0\0\1\xba")
    if begin < 0:
        what = "only zeros" if is_zero(tail) else "no pack"
        raise DamageError(f"{what} in its last {len(tail)} bytes")
    at = begin
    while at < len(tail):
        end = _unit_end(tail, at)
        if end is None:
            rest = tail[at:]
            if is_zero(rest) and tail[at - 4 : at] == b"\0\0\1\xb9":
                break  # padding after the end code
            what = "only zeros" if is_zero(rest) else "no packet"
            raise DamageError(f"{what} at byte {start + at}, where a packet must begin")
        if end > len(tail):
            raise cut_off(f"the packet at byte {start + at}", start + end, source.size)
        at = end
    return {}


_OPEN = 1 << 40  # "ends beyond the data": its header is itself cut off


def _unit_end(data: bytes, at: int) -> int | None:
    """Return where the pack header, packet or end code at `at` ends, which may be beyond the data; None for none."""
    head = data[at : at + 14]
    code = head[3] if len(head) > 3 else 0xFF
    end: int | None = None
    if not head.startswith(b"\0\0\1"[: len(head)]):
        end = None
    elif code == 0xB9:
        end = at + 4
    elif len(head) < 6 or (code == 0xBA and len(head) < 14):
        end = _OPEN
    elif code == 0xBA:  # MPEG-2: the last three bits of the header count stuffing bytes
        end = at + (14 + (head[13] & 7) if head[4] >> 6 == 0b01 else 12)
    elif code > 0xBA:
        length: int = struct.unpack_from(">H", head, 4)[0]
        end = at + 6 + length if length or not 0xE0 <= code <= 0xEF else _next_unit(data, at + 6)
    return end


def _next_unit(data: bytes, at: int) -> int:
    """Find the end of a packet of pictures whose length was left open, as some recorders do."""
    following = re.compile(rb"\x00\x00\x01[\xb9-\xff]").search(data, at)
    return following.start() if following else len(data)


def check_dhav(source: Source) -> dict[str, object]:
    """The last frame's trailer repeats the frame's length and stands at the end of the file."""
    tail = source.read(max(0, source.size - 8), 8)
    if tail[:4] != b"dhav":
        raise DamageError("only zeros at its end" if is_zero(tail) else "cut off inside a frame")
    length = struct.unpack_from("<I", tail, 4)[0]
    if length > source.size or source.read(source.size - length, 4) != b"DHAV":
        raise DamageError("its last frame is broken")
    return {}


def check_flash(source: Source) -> dict[str, object]:
    """The number after the last tag is the length of that tag."""
    header = struct.unpack(">I", source.read(5, 4))[0]
    if source.size <= header + 4 + 11:
        raise DamageError("it holds no pictures and no sound")
    length = struct.unpack(">I", source.read(source.size - 4, 4))[0]
    start = source.size - 4 - length
    if length < 11 or start < header + 4:
        raise DamageError("cut off inside its last tag")
    tag = source.read(start, 4)
    if tag[0] & 0x1F not in {8, 9, 18} or int.from_bytes(tag[1:4], "big") + 11 != length:
        raise DamageError("cut off inside its last tag")
    return {}
