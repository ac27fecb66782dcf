"""Sample descriptions of MP4 tracks: which codec, its RFC 6381 name, the `stsd` a browser accepts. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transcode.errors import UnsupportedMediaError
from transcode.virtual.boxes import Box, children, find, pack, pack_full

if TYPE_CHECKING:
    from collections.abc import Iterator

VIDEO_HEADER_BYTES = 78  # of a visual sample entry, after its box header
AUDIO_HEADER_BYTES = 28
QUICKTIME_BYTES = {0: 0, 1: 16, 2: 36}  # what QuickTime's sound description versions add


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One sample entry: its four characters and the name browsers are asked with ("" when they would not know it)."""

    format: str
    codec: str
    entry: bytes  # the sample entry as it goes into our stsd: verbatim unless QuickTime's version 1 or 2


def read_descriptions(data: bytes, stsd: Box, kind: str) -> tuple[Description, ...]:
    """Read every entry of an `stsd` box."""
    boxes = list(children(data, stsd.body + 8, stsd.end))
    if not boxes:
        raise UnsupportedMediaError("a track has no sample description", key="mp4.no_description")
    describe = _describe_video if kind == "video" else _describe_audio
    return tuple(describe(data, box) for box in boxes)


def make_stsd(descriptions: tuple[Description, ...]) -> bytes:
    """Make the `stsd` box of the virtual file."""
    return pack_full(
        b"stsd", 0, 0, struct.pack(">I", len(descriptions)), *(description.entry for description in descriptions)
    )


def _describe_video(data: bytes, box: Box) -> Description:
    kind = box.kind.decode("latin-1")
    inner = Box(kind=box.kind, start=box.start, body=box.body + VIDEO_HEADER_BYTES, end=box.end)
    codec = ""
    if kind in {"avc1", "avc3"} and (config := find(data, inner, b"avcC")) is not None:
        codec = f"{kind}.{data[config.body + 1 : config.body + 4].hex()}"
    elif kind in {"hvc1", "hev1"} and (config := find(data, inner, b"hvcC")) is not None:
        codec = f"{kind}.{_hevc_name(data[config.body : config.body + 13])}"
    return Description(format=kind, codec=codec, entry=data[box.start : box.end])


def _hevc_name(config: bytes) -> str:
    """Spell profile, compatibility, tier, level and constraints (ISO/IEC 14496-15, annex E)."""
    space = ("", "A", "B", "C")[config[1] >> 6]
    compatibility = int(f"{int.from_bytes(config[2:6], 'big'):032b}"[::-1], 2)
    tier = "H" if config[1] & 0x20 else "L"
    constraints = config[6:12].rstrip(b"\0")
    parts = [f"{space}{config[1] & 0x1F}", f"{compatibility:x}", f"{tier}{config[12]}"]
    return ".".join(parts + [f"{byte:x}" for byte in constraints])


def _describe_audio(data: bytes, box: Box) -> Description:
    kind = box.kind.decode("latin-1")
    (version,) = struct.unpack_from(">H", data, box.body + 8)
    skip = box.body + AUDIO_HEADER_BYTES + QUICKTIME_BYTES.get(version, 0)
    inner = Box(kind=box.kind, start=box.start, body=skip, end=box.end)
    entry, codec = data[box.start : box.end], ""
    if kind == "mp4a":
        esds = find(data, inner, b"esds") or find(data, inner, b"wave", b"esds")
        if esds is not None:
            codec = _aac_name(data[esds.body + 4 : esds.end])
            if version:
                entry = _iso_entry(data, box, data[esds.start : esds.end])
    elif kind in {"Opus", "fLaC"} and not version:
        codec = {"Opus": "opus", "fLaC": "flac"}[kind]
    return Description(format=kind, codec=codec, entry=entry)


def _iso_entry(data: bytes, box: Box, esds: bytes) -> bytes:
    """Rebuild QuickTime's sound description as the ISO one: same codec setup, version 0."""
    head = bytearray(data[box.body : box.body + AUDIO_HEADER_BYTES])
    channels = max(1, struct.unpack_from(">H", head, 16)[0])
    struct.pack_into(">HHI", head, 8, 0, 0, 0)
    struct.pack_into(">HHHH", head, 16, channels if channels <= 8 else 2, 16, 0, 0)
    return pack(b"mp4a", bytes(head), esds)


def _aac_name(descriptor: bytes) -> str:
    """Name the object type in an ES descriptor: `mp4a.40.2` for AAC-LC, `mp4a.6b` for MP3, "" when unreadable."""
    for tag, body in _descriptors(descriptor):
        if tag != 0x04 or not body:
            continue
        if body[0] != 0x40:
            return f"mp4a.{body[0]:02x}"
        for inner, setup in _descriptors(body[13:]):
            if inner == 0x05 and len(setup) >= 2:
                kind = setup[0] >> 3
                return f"mp4a.40.{kind if kind != 31 else 32 + ((setup[0] & 7) << 3 | setup[1] >> 5)}"
    return ""


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk MPEG-4 descriptors, stepping into the ES descriptor (ISO/IEC 14496-1, 7.2.2)."""
    at = 0
    while at + 2 <= len(data):
        tag, size = data[at], 0
        at += 1
        for _ in range(4):
            byte = data[at] if at < len(data) else 0
            at += 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 0x03:
            flags = data[at + 2] if at + 2 < len(data) else 0
            at += 3 + (2 if flags & 0x80 else 0)
            if flags & 0x40:
                at += 1 + (data[at] if at < len(data) else 0)
            at += 2 if flags & 0x20 else 0
            continue
        yield tag, data[at : at + size]
        at += size
