"""The virtual fragmented MP4: where every byte of it is, and which original bytes it shows. Pure, deterministic.

    ftyp moov(mvex) sidx… [moof mdat]…        head, then one fragment per ~2 s, cut at key pictures

Five rules, each paid for with a failure in a browser:
1. one `sidx` per track, or a seek walks the whole file;
2. sound before picture in each `mdat`, or the first frame waits for the sound behind the picture;
3. a fragment's sound begins two frames before the one that covers its key picture, or a seek fetches two fragments;
4. one edit per track for the reorder delay, or the last pictures of a GOP cannot be reached;
5. a sample lasts until the next one is shown, or uneven clips step wrongly.
4 and 5 live in `lanes`. Change a byte of the output and `LAYOUT_VERSION` must change: it is part of the ETag.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transcode.errors import UnsupportedMediaError
from transcode.virtual.boxes import hostile, pack, pack_full
from transcode.virtual.heading import make_indexes, make_init
from transcode.virtual.lanes import Lane, Note, make_lanes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from transcode.virtual.mp4 import Movie
    from transcode.virtual.samples import Integers

    Seconds = npt.NDArray[np.float64]

LAYOUT_VERSION = 1
FRAGMENT_S = 2.0  # 4 s fragments double the time to the first frame on a slow link
KEY_TOLERANCE = 0.75  # a key picture after 1.5 s already ends a fragment
FRAGMENTS_MAX = 60_000  # sidx counts to 65,535
FRAGMENT_BYTES_MAX = (1 << 31) - 1  # sidx's 31-bit sizes
AUDIO_EARLY = 2  # frames, rule 3
SYNC_FLAGS, OTHER_FLAGS = 0x02000000, 0x01010000


@dataclass(frozen=True, slots=True)
class Run:
    """Contiguous bytes of the original."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A virtual file. `first[t][k]` is the first sample of lane t in fragment k; lanes stand in mdat order."""

    head: bytes
    init_bytes: int  # ftyp + moov: what HLS calls the media initialization section
    lanes: tuple[Lane, ...]
    first: tuple[Integers, ...]
    starts: Integers  # F + 1 positions; the last is the size of the whole
    header_bytes: Integers  # moof + mdat header, per fragment
    times_s: Seconds  # F + 1: when each fragment begins to be shown, and the end
    notes: tuple[Note, ...]

    @property
    def size(self) -> int:
        """Bytes of the virtual file."""
        return int(self.starts[-1])

    @property
    def duration_s(self) -> float:
        """Seconds until the last sample is over."""
        return float(self.times_s[-1])

    def pieces(self, start: int, end: int) -> Iterator[bytes | Run]:
        """Yield the bytes [start, end): generated ones as bytes, the original's as runs. Lazy, fragment by fragment."""
        end = min(end, self.size)
        if start < min(end, len(self.head)):
            yield self.head[start:end]
            start = len(self.head)
        fragment = int(np.searchsorted(self.starts, start, side="right")) - 1
        while start < end:
            base, limit = int(self.starts[fragment]), min(end, int(self.starts[fragment + 1]))
            header_end = base + int(self.header_bytes[fragment])
            if start < header_end:
                yield self.fragment_header(fragment)[start - base : limit - base]
            if limit > header_end:
                yield from self._runs(fragment, max(start - header_end, 0), limit - header_end)
            start, fragment = limit, fragment + 1

    def fragment_header(self, fragment: int) -> bytes:
        """Make the moof and the mdat header of a fragment."""
        parts, data_offset = [], int(self.header_bytes[fragment])
        for number, lane in enumerate(self.lanes):
            samples = self._samples(number, fragment)
            if samples.start < samples.stop:
                parts.append(_make_traf(lane, samples, data_offset))
                data_offset += int(lane.size[samples].sum())
        mfhd = pack_full(b"mfhd", 0, 0, struct.pack(">I", fragment + 1))
        moof = pack(b"moof", mfhd, *parts)
        return moof + struct.pack(">I4s", data_offset - len(moof), b"mdat")

    def _samples(self, number: int, fragment: int) -> slice:
        return slice(int(self.first[number][fragment]), int(self.first[number][fragment + 1]))

    def _runs(self, fragment: int, start: int, end: int) -> Iterator[Run]:
        """Yield the original's bytes for [start, end) of a fragment's sample data."""
        slices = [self._samples(number, fragment) for number in range(len(self.lanes))]
        offset = np.concatenate([lane.offset[part] for lane, part in zip(self.lanes, slices, strict=True)])
        size = np.concatenate([lane.size[part] for lane, part in zip(self.lanes, slices, strict=True)])
        begins = np.flatnonzero(np.append(True, offset[1:] != offset[:-1] + size[:-1]))
        places = np.concatenate([[0], np.cumsum(size)])
        edges = np.append(places[begins], places[-1])
        at = max(0, int(np.searchsorted(edges, start, side="right")) - 1)
        while at < len(begins) and edges[at] < end:
            low, high = max(start, int(edges[at])), min(end, int(edges[at + 1]))
            if low < high:
                yield Run(int(offset[begins[at]]) + low - int(edges[at]), high - low)
            at += 1


def _make_traf(lane: Lane, samples: slice, data_offset: int) -> bytes:
    count = samples.stop - samples.start
    rows = np.empty((count, 4), ">u4")
    rows[:, 0] = lane.duration[samples]
    rows[:, 1] = lane.size[samples]
    rows[:, 2] = np.where(lane.sync[samples], SYNC_FLAGS, OTHER_FLAGS)
    rows[:, 3] = lane.shown[samples] + lane.edit - lane.decoded[samples]
    return pack(
        b"traf",
        pack_full(b"tfhd", 0, 0x020000, struct.pack(">I", lane.id)),
        pack_full(b"tfdt", 1, 0, struct.pack(">Q", int(lane.decoded[samples.start]))),
        pack_full(b"trun", 1, 0xF01, struct.pack(">Ii", count, data_offset), rows.tobytes()),
    )


def lay_out(movie: Movie) -> Layout:
    """Lay out the virtual file of a parsed original; raises UnsupportedMediaError."""
    with hostile("sample table"):
        lanes, notes = make_lanes(movie)
        lanes.sort(key=lambda lane: lane.track.kind == "video")  # rule 2: the order of each mdat
        first, times_s = _cut(lanes)
        return _assemble(tuple(lanes), first, times_s, tuple(notes))


def _assemble(lanes: tuple[Lane, ...], first: list[Integers], times_s: Seconds, notes: tuple[Note, ...]) -> Layout:
    counts = [np.diff(edges) for edges in first]
    totals = [np.concatenate([[0], np.cumsum(lane.size)]) for lane in lanes]
    data_bytes = np.sum([np.diff(total[edges]) for total, edges in zip(totals, first, strict=True)], axis=0)
    header_bytes = 24 + 8 + np.sum([(64 + 16 * count) * (count > 0) for count in counts], axis=0)
    fragment_bytes = header_bytes + data_bytes
    if int(fragment_bytes.max()) > FRAGMENT_BYTES_MAX:
        raise UnsupportedMediaError("there is no key picture for more than 2 GB", key="mp4.no_keys")
    init = make_init(lanes)
    starts = [_start_times(lane, edges) for lane, edges in zip(lanes, first, strict=True)]
    head = init + make_indexes(lanes, starts, fragment_bytes)
    return Layout(
        head=head,
        init_bytes=len(init),
        lanes=lanes,
        first=tuple(first),
        starts=len(head) + np.concatenate([[0], np.cumsum(fragment_bytes)]),
        header_bytes=header_bytes,
        times_s=times_s,
        notes=notes,
    )


def _start_times(lane: Lane, edges: Integers) -> Integers:
    """Return F + 1 presentation times: where each fragment of the lane begins (an empty one: where the next does)."""
    times = np.full(len(edges), lane.end, np.int64)
    filled = np.flatnonzero(np.diff(edges))
    times[filled] = np.minimum.reduceat(lane.shown, edges[filled])
    times = np.minimum.accumulate(times[::-1])[::-1]
    return np.maximum(times, 0)  # an index cannot speak of the priming before time zero


# --- where to cut ------------------------------------------------------------------------------------------------


def _cut(lanes: list[Lane]) -> tuple[list[Integers], Seconds]:
    """Divide every lane into the same fragments: per lane F + 1 sample numbers, and F + 1 times for playlists."""
    lead = lanes[-1]
    times_s = lead.shown / lead.track.timescale
    if lead.track.kind == "video":
        edges, cuts_s = _cut_at_keys(lead, times_s)
    else:
        edges, cuts_s = _cut_evenly(times_s)
    if len(lanes) == 1:
        return [edges], _playlist_times(lanes, cuts_s)
    sound = lanes[0]
    sound_s = sound.shown / sound.track.timescale
    edges, cuts_s = _add_sound_only(edges, cuts_s, times_s, sound_s)
    covering = np.searchsorted(sound_s, cuts_s[1:], side="right") - 1
    inner = np.clip(covering - AUDIO_EARLY, 0, len(sound_s))  # rule 3
    sound_edges = np.concatenate([[0], inner, [len(sound_s)]])
    filled = (np.diff(edges) > 0) | (np.diff(sound_edges) > 0)
    kept = np.append(np.flatnonzero(filled), len(filled))
    kept[0] = 0
    return [sound_edges[kept], edges[kept]], _playlist_times(lanes, cuts_s[kept[:-1]])


def _playlist_times(lanes: list[Lane], cuts_s: Seconds) -> Seconds:
    start_s = min(lane.start / lane.track.timescale for lane in lanes)
    end_s = max(lane.end / lane.track.timescale for lane in lanes)
    return np.maximum.accumulate(np.maximum(np.concatenate([[start_s], cuts_s[1:], [end_s]]), 0.0))


def _cut_at_keys(lane: Lane, times_s: Seconds) -> tuple[Integers, Seconds]:
    keys = np.flatnonzero(lane.sync)
    keys_s = np.maximum.accumulate(times_s[keys])
    edges, cuts_s = _take_every(keys_s, _step_s(times_s, FRAGMENT_S * KEY_TOLERANCE))
    chosen = keys[edges] if len(keys) else np.zeros(0, np.int64)
    # A first sample that is no key picture still has to be in the first fragment.
    if not len(chosen) or chosen[0] != 0:
        chosen, cuts_s = np.append(0, chosen), np.append(times_s.min(), cuts_s)
    return np.append(chosen, len(times_s)), cuts_s


def _cut_evenly(times_s: Seconds) -> tuple[Integers, Seconds]:
    edges, cuts_s = _take_every(np.maximum.accumulate(times_s), _step_s(times_s, FRAGMENT_S))
    return np.append(edges, len(times_s)), cuts_s


def _step_s(times_s: Seconds, least_s: float) -> float:
    return max(least_s, float(times_s.max() - times_s.min()) / FRAGMENTS_MAX)


def _take_every(times_s: Seconds, step_s: float) -> tuple[Integers, Seconds]:
    """Pick the first time, then each first one at least `step_s` after the last: their numbers and themselves."""
    times = times_s.tolist()
    picked: list[int] = []
    at = 0
    while at < len(times):
        picked.append(at)
        at = bisect_left(times, times[at] + step_s, at + 1)
    edges = np.array(picked, np.int64)
    return edges, times_s[edges]


def _add_sound_only(edges: Integers, cuts_s: Seconds, times_s: Seconds, sound_s: Seconds) -> tuple[Integers, Seconds]:
    """Add fragments without picture where the sound begins long before it or goes on long after it."""
    step_s = _step_s(sound_s, FRAGMENT_S)
    ordered_s = np.maximum.accumulate(sound_s)
    _, before = _take_every(ordered_s[ordered_s < cuts_s[0] - FRAGMENT_S], step_s)
    _, after = _take_every(ordered_s[ordered_s > float(times_s.max()) + FRAGMENT_S], step_s)
    edges = np.concatenate([np.zeros(len(before), np.int64), edges, np.full(len(after), edges[-1])])
    return edges, np.concatenate([before, cuts_s, after])
