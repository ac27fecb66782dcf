"""Sound files: MP3, AAC (ADTS), AMR, Ogg."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.probing.structure.source import Source

WALKED_BYTES_MAX = 64 << 20  # of frames followed one by one: an hour and a half of AAC
PAGE_BYTES_MAX = 65_307  # of Ogg
ZEROS_BYTES = 4096  # at the end of an MP3: longer than any frame, and no frame is all zeros
_RATES = ((11025, 12000, 8000), (0, 0, 0), (22050, 24000, 16000), (44100, 48000, 32000))
_BITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)  # MPEG-1 layer III, kbit/s
_BITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_AMR_NB = (12, 13, 15, 17, 19, 20, 26, 31, 5, 0, 0, 0, 0, 0, 0, 0)  # bytes after the frame's first, by its type
_AMR_WB = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag that the file begins with, 0 for none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def mp3_frame_bytes(head: bytes) -> int:
    """Return the length of the MPEG layer III frame whose header this is, 0 for none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate_index = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version == 1 or rate_index == 3:
        return 0
    rate = _RATES[version][rate_index]
    bits = (_BITS_1 if version == 3 else _BITS_2)[head[2] >> 4]
    return (144 if version == 3 else 72) * bits * 1000 // rate + (head[2] >> 1 & 1) if bits else 0


def adts_frame_bytes(head: bytes) -> int:
    """Return the length of the ADTS frame whose header this is, 0 for none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


def check_mp3(source: Source) -> dict[str, object]:
    """As many bytes as the first frame's Xing header counts, where it has one."""
    if source.size >= ZEROS_BYTES and is_zero(source.read(source.size - ZEROS_BYTES, ZEROS_BYTES)):
        raise DamageError("only zeros at its end")
    start = id3_bytes(source.read(0, 10))
    frame = source.read(start, 200)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or not mp3_frame_bytes(frame):
        return {}
    flags = struct.unpack_from(">I", frame, at + 4)[0]
    if flags & 2:
        length = struct.unpack_from(">I", frame, at + 8 + (4 if flags & 1 else 0))[0]
        if start + length > source.size:
            raise cut_off("the sound", start + length, source.size)
    return {}


def check_adts(source: Source) -> dict[str, object]:
    """Frame follows frame to the end of the file."""
    return _walk(source, id3_bytes(source.read(0, 10)), adts_frame_bytes)


def check_amr(source: Source) -> dict[str, object]:
    """Frame follows frame to the end of the file."""
    wide = source.read(0, 9) == b"#!AMR-WB\n"
    lengths = _AMR_WB if wide else _AMR_NB

    def frame_bytes(head: bytes) -> int:
        return 1 + lengths[head[0] >> 3 & 15] if head and head[0] & 0x83 == 0 else 0

    return _walk(source, 9 if wide else 6, frame_bytes)


def _walk(source: Source, at: int, frame_bytes: Callable[[bytes], int]) -> dict[str, object]:
    data = source.read(at, WALKED_BYTES_MAX)
    base, at = at, 0
    while at < len(data):
        length = frame_bytes(data[at : at + 8])
        if not length and data[at : at + 3] in {b"TAG", b"ID3"}:
            return {}
        if not length:
            short = len(data) - at < 8 and base + len(data) == source.size
            what = (
                "cut off: a piece of a frame" if short else "only zeros" if is_zero(data[at : at + 64]) else "no frame"
            )
            raise DamageError(f"{what} at byte {base + at}")
        if at + length > len(data) and base + len(data) == source.size:
            raise cut_off(f"the frame at byte {base + at}", base + at + length, source.size)
        at += length
    if at == 0:
        raise DamageError("it holds no sound")
    return {}


def check_ogg(source: Source) -> dict[str, object]:
    """The last page is whole."""
    start = max(0, source.size - 2 * PAGE_BYTES_MAX)
    tail = source.read(start, 2 * PAGE_BYTES_MAX)
    at = tail.rfind(b"OggS")
    if at < 0:
        raise DamageError("only zeros at its end" if is_zero(tail[-1024:]) else "its last page is missing")
    page = tail[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        raise DamageError("cut off inside the header of a page")
    end = at + 27 + page[26] + sum(page[27 : 27 + page[26]])
    if end > len(tail):
        raise cut_off("the last page", start + end, source.size)
    if is_zero(tail[end:]) and end < len(tail):
        raise DamageError(f"only zeros from byte {start + end} on")
    return {}
