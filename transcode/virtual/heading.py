"""The head of the virtual file: ftyp, moov with mvex, and the segment indexes. Pure, deterministic."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from transcode.virtual.boxes import pack, pack_full
from transcode.virtual.codecs import make_stsd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transcode.virtual.lanes import Lane
    from transcode.virtual.samples import Integers

MOVIE_TIMESCALE = 1000
IDENTITY = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
STARTS_WITH_KEY = 0x90000000  # starts_with_SAP, SAP type 1


def make_init(lanes: Sequence[Lane]) -> bytes:
    """Make ftyp and moov, the picture's track first."""
    ordered = sorted(lanes, key=lambda lane: lane.id)
    end_ms = max(lane.end * MOVIE_TIMESCALE // lane.track.timescale for lane in lanes)
    mvhd = struct.pack(">4IIH10x", 0, 0, MOVIE_TIMESCALE, 0, 1 << 16, 1 << 8) + IDENTITY + bytes(24)
    moov = pack(
        b"moov",
        pack_full(b"mvhd", 0, 0, mvhd, struct.pack(">I", 3)),
        *(_make_trak(lane) for lane in ordered),
        pack(
            b"mvex",
            pack_full(b"mehd", 1, 0, struct.pack(">Q", max(0, end_ms))),
            *(pack_full(b"trex", 0, 0, struct.pack(">5I", lane.id, lane.description, 0, 0, 0)) for lane in ordered),
        ),
    )
    return pack(b"ftyp", b"iso6", struct.pack(">I", 512), b"iso6iso5mp41avc1dash") + moov


def _make_trak(lane: Lane) -> bytes:
    video = lane.track.kind == "video"
    tkhd = struct.pack(">5I8xHHHH", 0, 0, lane.id, 0, 0, 0, 0, 0 if video else 1 << 8, 0) + lane.track.matrix
    size = struct.pack(">II", lane.track.width, lane.track.height)
    mdhd = struct.pack(">4IHH", 0, 0, lane.track.timescale, 0, lane.track.language, 0)
    handler, name = (b"vide", b"picture\0") if video else (b"soun", b"sound\0")
    header = pack_full(b"vmhd", 0, 1, bytes(8)) if video else pack_full(b"smhd", 0, 0, bytes(4))
    edit = struct.pack(">IQqI", 1, 0, lane.edit, 1 << 16)  # one edit, to the end, at normal speed
    return pack(
        b"trak",
        pack_full(b"tkhd", 0, 3, tkhd, size),
        pack(b"edts", pack_full(b"elst", 1, 0, edit)),
        pack(
            b"mdia",
            pack_full(b"mdhd", 0, 0, mdhd),
            pack_full(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name),
            pack(b"minf", header, _make_dinf(), _make_stbl(lane)),
        ),
    )


def _make_dinf() -> bytes:
    return pack(b"dinf", pack_full(b"dref", 0, 0, struct.pack(">I", 1), pack_full(b"url ", 0, 1)))


def _make_stbl(lane: Lane) -> bytes:
    nothing = bytes(4)
    return pack(
        b"stbl",
        make_stsd(lane.track.descriptions),
        pack_full(b"stts", 0, 0, nothing),
        pack_full(b"stsc", 0, 0, nothing),
        pack_full(b"stsz", 0, 0, nothing, nothing),
        pack_full(b"stco", 0, 0, nothing),
    )


def make_indexes(lanes: Sequence[Lane], starts: Sequence[Integers], fragment_bytes: Integers) -> bytes:
    """Make one segment index per track, the picture's first; `starts` are F + 1 presentation times per lane.

    A track that begins late needs a second index: libavformat takes the end of a track's last index for its length and
    adds its start, so a clip whose sound begins after 30 s would seem 30 s too long. The second index has one entry,
    from the empty box behind the indexes to the end of the file (if 31 bits can say that), and lasts as long as the
    track does; no seek ever chooses it over the real entries.
    """
    order = sorted(range(len(lanes)), key=lambda number: lanes[number].id)
    late = [lanes[number] for number in order if starts[number][0] > 0]
    empty = pack(b"free") if late else b""
    rest = len(empty) + int(fragment_bytes.sum())
    behind = len(empty)
    indexes = [empty]
    for lane in reversed(late):
        size = np.array([rest if rest < 1 << 31 else len(empty)])
        indexes.insert(0, _make_sidx(lane, np.array([0, lane.end - lane.start]), size, behind - len(empty)))
        behind += len(indexes[0])
    for number in reversed(order):
        indexes.insert(0, _make_sidx(lanes[number], starts[number], fragment_bytes, behind))
        behind += len(indexes[0])
    return b"".join(indexes)


def _make_sidx(lane: Lane, times: Integers, sizes: Integers, bytes_behind: int) -> bytes:
    """Make a segment index; `bytes_behind` is what stands between its end and the first byte it speaks of."""
    head = struct.pack(">IIQQHH", lane.id, lane.track.timescale, int(times[0]), bytes_behind, 0, len(sizes))
    rows = np.empty((len(sizes), 3), ">u4")
    rows[:, 0] = sizes
    rows[:, 1] = np.minimum(np.diff(times), (1 << 32) - 1)
    rows[:, 2] = STARTS_WITH_KEY
    return pack_full(b"sidx", 1, 0, head, rows.tobytes())
