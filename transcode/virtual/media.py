"""The virtual file as the web serves it: size, ETag, byte ranges, HLS playlist, frame times.

    media = VirtualMedia.open(vault.read(clip.id), identity=str(clip.id))
    for piece in media.read(start, end): ...            # half-open range, pieces of at most 1 MiB, lazy

Nothing is decoded and nothing is stored. Bytes are a pure function of the original and the layout version, so answers
may be cached for ever under the ETag. Thread-safe as far as the source is; cheap to keep (tens of bytes a sample).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transcode.virtual.layout import LAYOUT_VERSION, lay_out
from transcode.virtual.mp4 import read_movie

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transcode.access import RandomAccess
    from transcode.virtual.lanes import Note
    from transcode.virtual.layout import Layout

BATCH_BYTES = 128 << 10  # of one piece handed on
PART_BYTES = 512 << 10  # asked of the source at once


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """When each picture is shown, in presentation order: `ticks[i] / timescale` seconds; `end` is when the last is over.

    The player seeks to the middle of a picture's interval to show exactly that picture.
    """

    timescale: int
    ticks: tuple[int, ...]
    end: int


class VirtualMedia:
    """A fragmented MP4 with a global index that exists only as arithmetic over the original."""

    def __init__(self, source: RandomAccess, layout: Layout, *, identity: str) -> None:
        self._source = source
        self._layout = layout
        state = hashlib.sha256(f"{identity}\0virtual-{LAYOUT_VERSION}".encode())
        self.etag = f'"{state.hexdigest()[:32]}"'  # strong, quoted as HTTP wants it
        self.size = layout.size
        self.duration_s = layout.duration_s
        self.notes: tuple[Note, ...] = layout.notes  # what a viewer must be told: (key, text)
        self.kind = "video" if layout.lanes[-1].track.kind == "video" else "audio"
        codecs = ",".join(lane.track.codec for lane in sorted(layout.lanes, key=lambda lane: lane.id))
        self.mime = f'{self.kind}/mp4; codecs="{codecs}"'

    @classmethod
    def open(cls, source: RandomAccess, *, identity: str) -> VirtualMedia:
        """Parse and lay out `source`; raises UnsupportedMediaError, or what the source raises when its bytes are bad.

        `identity` names the bytes of the source: the clip's digest, or a derivative's.
        """
        return cls(source, lay_out(read_movie(source)), identity=identity)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes [start, end) of the virtual file, cut at its end, in pieces of 128 KiB to 1 MiB (the last less).

        Runs of interleaved originals are often a few hundred bytes; handed on one by one they would cost a server more
        than the disk does.
        """
        waiting: list[bytes] = []
        size = 0
        for part in self._parts(start, end):
            waiting.append(part)
            size += len(part)
            if size >= BATCH_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)

    def _parts(self, start: int, end: int) -> Iterator[bytes]:
        for piece in self._layout.pieces(start, end):
            if isinstance(piece, bytes):
                yield piece
                continue
            for done in range(0, piece.length, PART_BYTES):
                yield self._source.read(piece.offset + done, min(PART_BYTES, piece.length - done))

    def hls_playlist(self, url: str) -> str:
        """Return the media playlist that plays the same bytes as byte ranges of `url` (RFC 8216)."""
        layout = self._layout
        lasting = np.diff(layout.times_s)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{max(1, int(np.ceil(lasting.max())))}",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            f'#EXT-X-MAP:URI="{url}",BYTERANGE="{layout.init_bytes}@0"',
        ]
        sizes = np.diff(layout.starts)
        for seconds, size, start in zip(lasting, sizes, layout.starts[:-1], strict=True):
            lines += [f"#EXTINF:{seconds:.5f},", f"#EXT-X-BYTERANGE:{size}@{start}", url]
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])

    def frame_times(self) -> FrameTimes:
        """Return when each picture is shown (for sound alone: each sound frame)."""
        lane = self._layout.lanes[-1]
        ticks = np.sort(lane.shown)
        return FrameTimes(timescale=lane.track.timescale, ticks=tuple(ticks.tolist()), end=lane.end)
