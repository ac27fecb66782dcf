"""Synthetic MP4 files written box by box: for tables that no real muxer writes, and for properties over thousands of files.

Independent of `transcode`: the writer below shares no code with the parser it tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


class Memory:
    """Bytes as a RandomAccess that counts what was read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.bytes_read = 0
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        piece = self.data[offset : offset + length]
        self.bytes_read += len(piece)
        self.reads.append((offset, length))
        return piece


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def counted(kind: bytes, rows: list[tuple[int, ...]], form: str, *, version: int = 0) -> bytes:
    return full(kind, struct.pack(">I", len(rows)), *(struct.pack(">" + form, *row) for row in rows), version=version)


AVC1 = box(
    b"avc1",
    bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", 320, 180) + bytes(50),
    box(b"avcC", bytes.fromhex("0142c014ffe1")),
)
ESDS = full(b"esds", bytes.fromhex("0319000100041140150000000000000000000000050211880602"))
MP4A = box(b"mp4a", bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHHHI", 1, 16, 0, 0, 48000 << 16), ESDS)


@dataclass(kw_only=True)
class Fake:
    """One track to write. `chunks` are samples per chunk; sizes, durations and cts are per sample."""

    kind: str  # "video" | "audio"
    sizes: list[int]
    durations: list[int]
    cts: list[int] = field(default_factory=list)
    sync: list[int] | None = None  # sample numbers from 0; None: no stss
    chunks: list[int] = field(default_factory=list)  # empty: everything in one chunk
    timescale: int = 1000
    edits: list[tuple[int, int]] = field(default_factory=list)  # (movie ticks, media time)
    entries: list[bytes] = field(default_factory=list)
    stsz: bytes = b""  # overrides the size table
    stco: bytes = b""
    extra_stbl: bytes = b""
    described: list[int] = field(default_factory=list)  # sample description per chunk


def write(
    tracks: list[Fake], *, moov_first: bool = False, wide: bool = False, tail: bytes = b"", movie_timescale: int = 1000
) -> bytes:
    """Write the file; chunks of the tracks take turns, and each sample's bytes tell whose they are."""
    ftyp = box(b"ftyp", b"isom", bytes(4), b"isom")
    base = len(ftyp) + (16 if wide else 8)
    if moov_first:
        dummy = _moov(tracks, [[0] * len(_chunks(track)) for track in tracks], movie_timescale, wide=wide)
        base += len(dummy)
    payload, places = _payload(tracks, base)
    moov = _moov(tracks, places, movie_timescale, wide=wide)
    header = (
        struct.pack(">I4sQ", 1, b"mdat", 16 + len(payload)) if wide else struct.pack(">I4s", 8 + len(payload), b"mdat")
    )
    return ftyp + (moov + header + payload if moov_first else header + payload + moov) + tail


def sample_bytes(track: int, number: int, size: int) -> bytes:
    """Return what `write` stores for one sample."""
    return (struct.pack(">BI", track, number) * (size // 5 + 1))[:size]


def _chunks(track: Fake) -> list[int]:
    return track.chunks or [len(track.sizes)]


def _payload(tracks: list[Fake], base: int) -> tuple[bytes, list[list[int]]]:
    out = bytearray()
    places: list[list[int]] = [[] for _ in tracks]
    done = [0] * len(tracks)
    for turn in range(max(len(_chunks(track)) for track in tracks)):
        for index, track in enumerate(tracks):
            if turn < len(_chunks(track)):
                places[index].append(base + len(out))
                for _ in range(_chunks(track)[turn]):
                    out += sample_bytes(index, done[index], track.sizes[done[index]])
                    done[index] += 1
    return bytes(out), places


def _moov(tracks: list[Fake], places: list[list[int]], movie_timescale: int, *, wide: bool) -> bytes:
    mvhd = full(b"mvhd", bytes(8), struct.pack(">II", movie_timescale, 0), bytes(80))
    traks = [_trak(number + 1, track, places[number], wide=wide) for number, track in enumerate(tracks)]
    return box(b"moov", mvhd, *traks)


def _trak(number: int, track: Fake, places: list[int], *, wide: bool) -> bytes:
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    tkhd = full(b"tkhd", bytes(8), struct.pack(">II", number, 0), bytes(4), bytes(16), matrix, bytes(8), flags=7)
    edts = b""
    if track.edits:
        edts = box(b"edts", counted(b"elst", [(length, time, 1, 0) for length, time in track.edits], "IihH"))
    mdhd = full(b"mdhd", bytes(8), struct.pack(">II", track.timescale, sum(track.durations) & 0xFFFFFFFF), bytes(4))
    hdlr = full(b"hdlr", bytes(4), b"vide" if track.kind == "video" else b"soun", bytes(13))
    return box(b"trak", tkhd, edts, box(b"mdia", mdhd, hdlr, box(b"minf", _stbl(track, places, wide=wide))))


def _stbl(track: Fake, places: list[int], *, wide: bool) -> bytes:
    entries = track.entries or [AVC1 if track.kind == "video" else MP4A]
    described = track.described or [1] * len(places)
    stsc = [(number + 1, count, described[number]) for number, count in enumerate(_chunks(track))]
    parts = [
        full(b"stsd", struct.pack(">I", len(entries)), *entries),
        counted(b"stts", [(1, duration) for duration in track.durations], "II"),
        counted(b"stsc", stsc, "III"),
        track.stsz
        or full(b"stsz", struct.pack(">II", 0, len(track.sizes)), *(struct.pack(">I", size) for size in track.sizes)),
        track.stco or counted(b"co64" if wide else b"stco", [(place,) for place in places], "Q" if wide else "I"),
    ]
    if track.cts:
        parts.append(counted(b"ctts", [(1, offset) for offset in track.cts], "Ii", version=1))
    if track.sync is not None:
        parts.append(counted(b"stss", [(number + 1,) for number in track.sync], "I"))
    return box(b"stbl", *parts, track.extra_stbl)
