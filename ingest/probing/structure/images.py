"""Pictures: JPEG, PNG, GIF, BMP, TIFF. Each check also reads the dimensions, before any decoder allocates for them."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from ingest.probing.structure.source import Source

PICTURE_BYTES_MAX = 256 << 20  # beyond this only the beginning is checked
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 but for DHT, JPG, DAC
_PARTS_MAX = 10_000


def check_jpeg(source: Source) -> dict[str, object]:
    """Segment after segment, scan after scan, to the end marker."""
    data = source.read(0, PICTURE_BYTES_MAX)
    notes: dict[str, object] = {}
    at = 2
    for _ in range(_PARTS_MAX):
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if len(data) - at < 2:
            break
        if data[at] != 0xFF:
            what = "only zeros" if is_zero(data[at : at + 64]) else "no marker"
            raise DamageError(f"{what} at byte {at}, where a marker must stand", notes)
        marker = data[at + 1]
        if marker == 0xD9:
            if "width" not in notes:
                raise DamageError("it ends before any picture", notes)
            return notes
        if len(data) - at < 4:
            break
        if marker in _FRAMES and "width" not in notes:
            height, width = struct.unpack_from(">HH", data, at + 5)
            notes |= {"width": width, "height": height, "coding": marker, "bits": data[at + 4]}
        at = _jpeg_part_end(data, at)
    if len(data) < source.size:
        return notes
    raise DamageError("cut off: the end marker of the picture is missing", notes)


def _jpeg_part_end(data: bytes, at: int) -> int:
    end: int = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
    if data[at + 1] != 0xDA:
        return end
    following = _MARKER.search(data, end)  # a scan's coded picture has no length: it ends at the next marker
    return following.start() if following else len(data)


def check_png(source: Source) -> dict[str, object]:
    """Chunk after chunk, each with its checksum, to IEND."""
    data = source.read(0, PICTURE_BYTES_MAX)
    width, height = struct.unpack_from(">II", data, 16)
    notes: dict[str, object] = {"width": width, "height": height}
    at = 8
    for _ in range(_PARTS_MAX):
        if len(data) - at < 12:
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise DamageError(f"the checksum of its part at byte {at} is wrong", notes)
        if kind == b"IEND":
            return notes
        at = end
    if len(data) < source.size:
        return notes
    raise DamageError("cut off: the end of the picture (IEND) is missing", notes)


def check_gif(source: Source) -> dict[str, object]:
    """The trailer stands at the end."""
    width, height = struct.unpack("<HH", source.read(6, 4))
    notes: dict[str, object] = {"width": width, "height": height}
    tail = source.read(max(0, source.size - 512), 512)
    if not tail.rstrip(b"\0").endswith(b";"):
        raise DamageError("cut off: the end of the picture is missing", notes)
    return notes


def check_bmp(source: Source) -> dict[str, object]:
    """As many bytes as the header says."""
    head = source.read(0, 26)
    width, height = struct.unpack_from("<ii", head, 18)
    notes: dict[str, object] = {"width": abs(width), "height": abs(height)}
    length = struct.unpack_from("<I", head, 2)[0]
    if length > source.size:
        raise DamageError(str(cut_off("the picture", length, source.size)), notes)
    return notes


_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325


def check_tiff(source: Source) -> dict[str, object]:
    """The first directory and the strips or tiles it names inside the file."""
    order = "<" if source.read(0, 2) == b"II" else ">"
    offset = struct.unpack(f"{order}I", source.read(4, 4))[0]
    if offset + 2 > source.size:
        raise cut_off("the directory", offset + 2, source.size)
    count = struct.unpack(f"{order}H", source.read(offset, 2))[0]
    if offset + 2 + 12 * count > source.size:
        raise cut_off("the directory", offset + 2 + 12 * count, source.size)
    values = {}
    for number in range(count):
        entry = source.read(offset + 2 + 12 * number, 12)
        tag, kind, length = struct.unpack_from(f"{order}HHI", entry)
        if tag in {256, 257, _STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES} and kind in {3, 4} and length <= 1 << 16:
            code, width = ("H", 2) if kind == 3 else ("I", 4)
            place = (
                entry[8:]
                if length * width <= 4
                else source.read(struct.unpack_from(f"{order}I", entry, 8)[0], length * width)
            )
            values[tag] = struct.unpack_from(f"{order}{length}{code}", place)
    notes: dict[str, object] = {}
    if values.get(256) and values.get(257):
        notes = {"width": values[256][0], "height": values[257][0]}
    for places, lengths in ((_STRIPS, _STRIP_BYTES), (_TILES, _TILE_BYTES)):
        for start, length in zip(values.get(places, ()), values.get(lengths, ()), strict=False):
            if start + length > source.size:
                raise DamageError(str(cut_off("the picture", start + length, source.size)), notes)
    return notes
