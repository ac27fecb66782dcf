"""The index of an MP4 or QuickTime file: what tracks there are and where their samples lie. Pure.

`read_movie` fetches box headers and `moov` (and the `moof` headers of fragmented files), nothing else. The bytes are
hostile until proven otherwise: sizes are bounded by the file, counts by their boxes, samples by `SAMPLES_MAX`; every
fault is an UnsupportedMediaError with a reason a person can read. What the samples mean is left to the decoders.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from transcode.errors import UnsupportedMediaError
from transcode.virtual import fragments, samples
from transcode.virtual.boxes import HEADER_BYTES_MAX, Box, children, find, hostile, read_header, require
from transcode.virtual.codecs import Description, read_descriptions

if TYPE_CHECKING:
    from transcode.access import RandomAccess
    from transcode.virtual.samples import Samples

MOOV_BYTES_MAX = 256 << 20  # a day of video has 60 MB
MOOF_BYTES_MAX = 16 << 20
BOXES_MAX = 400_000  # top-level boxes: a day in half-second fragments
TRACKS_MAX = 32
EMPTY_MAX_S = 7 * 86400  # a track that begins a week late is a fault, not a recording

Kind = Literal["video", "audio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What an edit list amounts to: a pause before the track, and the media time that is shown at its end."""

    empty: int  # ticks of the track
    media_time: int  # ticks of the track
    several: bool  # more than one piece of media, or a rate other than 1: not reproduced


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One track's headers; its samples are read by `Movie.samples`."""

    id: int
    kind: Kind
    enabled: bool
    timescale: int  # ticks a second
    language: int  # packed ISO 639-2, as in mdhd
    matrix: bytes  # 36 bytes, verbatim
    width: int  # 16.16, as in tkhd
    height: int
    descriptions: tuple[Description, ...]
    edit: Edit
    stbl: Box

    @property
    def codec(self) -> str:
        """The codec's RFC 6381 name, "" when no browser knows it."""
        return self.descriptions[0].codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """A parsed index; `moov` and `moofs` are the bytes it was read from."""

    file_size: int
    moov: bytes
    moofs: tuple[tuple[int, bytes], ...]  # (place in the file, bytes), fragmented files only
    timescale: int
    tracks: tuple[Track, ...]
    cut: bool  # the file ends inside a box

    def samples(self, track: Track) -> Samples:
        """Expand the track's tables; samples that lie beyond the end of the file are left out and counted."""
        with hostile("sample table"):
            found = samples.from_tables(self.moov, track.stbl, self.file_size)
            if self.moofs:
                defaults = fragments.read_defaults(self.moov, track.id)
                found = fragments.extend(found, self.moofs, track.id, defaults, self.file_size)
        if not len(found.size):
            raise UnsupportedMediaError("the index names no sample inside the file", key="mp4.no_samples")
        return found


def read_movie(source: RandomAccess) -> Movie:
    """Read the index of `source`; raises UnsupportedMediaError."""
    moov = b""
    moofs: list[tuple[int, bytes]] = []
    at, size, cut = 0, source.size, False
    for count in range(BOXES_MAX + 1):
        box = read_header(source.read(at, HEADER_BYTES_MAX), at, size) if at < size else None
        if box is None:
            break
        if count == BOXES_MAX:
            raise UnsupportedMediaError(f"more than {BOXES_MAX} boxes in the file", key="mp4.too_many_boxes")
        cut = box.end == size and _declared_end(source, box) > size
        if box.kind == b"moov" and not moov and not cut:
            moov = _fetch(source, box, MOOV_BYTES_MAX)
        elif box.kind == b"moof" and not cut:
            moofs.append((box.start, _fetch(source, box, MOOF_BYTES_MAX)))
        at = box.end
    if not moov:
        raise _no_index(source)
    return parse_movie(moov, tuple(moofs), size, cut=cut)


def _declared_end(source: RandomAccess, box: Box) -> int:
    head = source.read(box.start, HEADER_BYTES_MAX)
    (size,) = struct.unpack_from(">I", head)
    if size == 1:
        (size,) = struct.unpack_from(">Q", head, 8)
    return box.start + int(size) if size else box.end


def _fetch(source: RandomAccess, box: Box, bytes_max: int) -> bytes:
    name = box.kind.decode("latin-1")
    if box.end - box.start > bytes_max:
        raise UnsupportedMediaError(f"the {name} box has {box.end - box.start} bytes, more than {bytes_max}")
    data = source.read(box.start, box.end - box.start)
    if len(data) != box.end - box.start:
        raise UnsupportedMediaError(f"the {name} box could not be read whole")
    return data


def _no_index(source: RandomAccess) -> UnsupportedMediaError:
    if source.read(4, 4) in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"moof", b"styp"}:
        return UnsupportedMediaError("the recording ended before its index was written (no moov)", key="mp4.no_moov")
    return UnsupportedMediaError("this is not an MP4 or QuickTime file", key="mp4.not_mp4")


def parse_movie(moov: bytes, moofs: tuple[tuple[int, bytes], ...], file_size: int, *, cut: bool = False) -> Movie:
    """Parse a `moov` box (with its header); raises UnsupportedMediaError."""
    with hostile("index"):
        root = read_header(moov[:HEADER_BYTES_MAX], 0, len(moov))
        if root is None:
            raise UnsupportedMediaError("the index is no box")
        if find(moov, root, b"cmov") is not None:
            raise UnsupportedMediaError("the index is compressed (cmov)", key="mp4.compressed")
        mvhd = require(moov, root, b"mvhd")
        (timescale,) = struct.unpack_from(">I", moov, mvhd.body + (20 if moov[mvhd.body] == 1 else 12))
        _check_timescale(timescale)
        tracks = [box for box in children(moov, root.body, root.end) if box.kind == b"trak"]
        if len(tracks) > TRACKS_MAX:
            raise UnsupportedMediaError(f"{len(tracks)} tracks, more than {TRACKS_MAX}")
        read = [_read_track(moov, trak, timescale) for trak in tracks]
        return Movie(
            file_size=file_size,
            moov=moov,
            moofs=moofs,
            timescale=timescale,
            tracks=tuple(track for track in read if track is not None),
            cut=cut,
        )


def _check_timescale(timescale: int) -> None:
    if not 0 < timescale < 1 << 31:
        raise UnsupportedMediaError(f"a time scale of {timescale} ticks a second", key="mp4.time_scale")


def _read_track(data: bytes, trak: Box, movie_timescale: int) -> Track | None:
    """Read a track's headers; None for tracks that are neither picture nor sound (GPS, text, hints)."""
    hdlr = require(data, trak, b"mdia", b"hdlr")
    handler = data[hdlr.body + 8 : hdlr.body + 12]
    if handler not in {b"vide", b"soun"}:
        return None
    kind: Kind = "video" if handler == b"vide" else "audio"
    tkhd, mdhd = require(data, trak, b"tkhd"), require(data, trak, b"mdia", b"mdhd")
    long_header = data[tkhd.body] == 1
    (track_id,) = struct.unpack_from(">I", data, tkhd.body + (20 if long_header else 12))
    at_matrix = tkhd.body + (52 if long_header else 40)
    width, height = struct.unpack_from(">II", data, at_matrix + 36)
    long_media = data[mdhd.body] == 1
    (timescale,) = struct.unpack_from(">I", data, mdhd.body + (20 if long_media else 12))
    (language,) = struct.unpack_from(">H", data, mdhd.body + (32 if long_media else 20))
    _check_timescale(timescale)
    stbl = require(data, trak, b"mdia", b"minf", b"stbl")
    return Track(
        id=track_id,
        kind=kind,
        enabled=bool(data[tkhd.body + 3] & 1),
        timescale=timescale,
        language=language,
        matrix=data[at_matrix : at_matrix + 36],
        width=width,
        height=height,
        descriptions=read_descriptions(data, require(data, stbl, b"stsd"), kind),
        edit=_read_edit(data, trak, timescale, movie_timescale),
        stbl=stbl,
    )


def _read_edit(data: bytes, trak: Box, timescale: int, movie_timescale: int) -> Edit:
    elst = find(data, trak, b"edts", b"elst")
    if elst is None:
        return Edit(empty=0, media_time=0, several=False)
    long_edit = data[elst.body] == 1
    (count,) = struct.unpack_from(">I", data, elst.body + 4)
    width = 20 if long_edit else 12
    if count * width > elst.end - elst.body - 8:
        raise UnsupportedMediaError(f"the edit list claims {count} entries, more than its box can hold")
    layout = np.dtype(
        [("duration", ">u8" if long_edit else ">u4"), ("time", ">i8" if long_edit else ">i4"), ("rate", ">i4")]
    )
    rows = np.frombuffer(data, dtype=layout, count=count, offset=elst.body + 8)
    media = np.flatnonzero(rows["time"] >= 0)
    if not len(media):
        return Edit(empty=0, media_time=0, several=False)
    first = int(media[0])
    empty = sum(int(duration) for duration in rows["duration"][:first])
    if empty > EMPTY_MAX_S * movie_timescale:
        raise UnsupportedMediaError(f"a track begins {empty // movie_timescale} s late", key="mp4.edit")
    several = len(media) > 1 or bool((rows["rate"][media] != 1 << 16).any())
    start = int(rows["time"][first])
    return Edit(empty=(empty * timescale + movie_timescale // 2) // movie_timescale, media_time=start, several=several)
