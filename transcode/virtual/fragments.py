"""Fragmented originals: the `moof` headers of one track read into the same arrays as sample tables. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transcode.errors import UnsupportedMediaError
from transcode.virtual.boxes import HEADER_BYTES_MAX, Box, children, find, read_header
from transcode.virtual.samples import PLACE_MAX, SAMPLES_MAX, TICKS_MAX, Samples, check_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from transcode.virtual.samples import Flags, Integers

NON_SYNC = 0x00010000  # sample_is_non_sync_sample
RUN_COLUMNS = ((0x100, "duration"), (0x200, "size"), (0x400, "flags"), (0x800, "cts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a sample is when its run does not say: from `trex`, refined by `tfhd`."""

    description: int
    duration: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One `trun`: where its data begins and what its samples are. `clock` is its first decoding time, if stated."""

    offset: int
    clock: int | None
    size: Integers
    duration: Integers
    cts: Integers
    sync: Flags
    description: int


def read_defaults(moov: bytes, track_id: int) -> Defaults:
    """Read the track's `trex`; zeros when there is none."""
    root = Box(kind=b"moov", start=0, body=8, end=len(moov))
    mvex = find(moov, root, b"mvex")
    for box in children(moov, mvex.body, mvex.end) if mvex is not None else ():
        if box.kind == b"trex" and struct.unpack_from(">I", moov, box.body + 4)[0] == track_id:
            description, duration, size, flags = struct.unpack_from(">IIII", moov, box.body + 8)
            return Defaults(description=description, duration=duration, size=size, flags=flags)
    return Defaults(description=1, duration=0, size=0, flags=0)


def extend(
    head: Samples, moofs: tuple[tuple[int, bytes], ...], track_id: int, defaults: Defaults, file_size: int
) -> Samples:
    """Return `head` (what `moov` itself names, usually nothing) followed by the samples of every fragment."""
    runs: list[Run] = []
    count = len(head.size)
    for place, data in moofs:
        for run in _runs(data, place, track_id, defaults):
            count += len(run.size)
            if count > SAMPLES_MAX:
                raise UnsupportedMediaError(f"more than {SAMPLES_MAX} samples in fragments", key="mp4.too_long")
            runs.append(run)
    if not runs:
        return head
    descriptions = {run.description for run in runs} | ({head.description} if len(head.size) else set())
    if len(descriptions) > 1:
        raise UnsupportedMediaError(
            f"the recording changes its setup in mid-file ({len(descriptions)} sample descriptions)",
            key="mp4.several_descriptions",
        )
    offset = np.concatenate(
        [head.offset, *(min(run.offset, PLACE_MAX) + np.cumsum(run.size) - run.size for run in runs)]
    )
    size = np.concatenate([head.size, *(run.size for run in runs)])
    inside = (offset >= 0) & (offset + size <= file_size)
    kept = len(size) if inside.all() else int(np.argmin(inside))
    check_sizes(size[:kept], file_size)
    return Samples(
        offset=offset[:kept],
        size=size[:kept],
        pts=np.concatenate([head.pts, *_times(head, runs)])[:kept],
        duration=np.concatenate([head.duration, *(run.duration for run in runs)])[:kept],
        sync=np.concatenate([head.sync, *(run.sync for run in runs)])[:kept],
        description=descriptions.pop(),
        lost=head.lost + len(size) - kept,
    )


def _times(head: Samples, runs: list[Run]) -> list[Integers]:
    clock = int(head.duration.sum())
    times = []
    for run in runs:
        clock = clock if run.clock is None else run.clock
        times.append(clock + np.cumsum(run.duration) - run.duration + run.cts)
        clock += int(run.duration.sum())
        if clock > TICKS_MAX:
            raise UnsupportedMediaError("the fragments' times exceed any recording", key="mp4.time_scale")
    return times


def _runs(data: bytes, place: int, track_id: int, defaults: Defaults) -> Iterator[Run]:
    """Read the runs of one track in one `moof` that stands at `place` in the file."""
    root = read_header(data[:HEADER_BYTES_MAX], 0, len(data))
    end_of_last = place  # data without any offset follows the run before it, of whatever track
    for traf in children(data, root.body, root.end) if root is not None else ():
        if traf.kind != b"traf" or (tfhd := find(data, traf, b"tfhd")) is None:
            continue
        (this_track,) = struct.unpack_from(">I", data, tfhd.body + 4)
        at, own = _track_defaults(data, tfhd, defaults, place, end_of_last)
        base, clock = at, _clock(data, traf)
        for trun in children(data, traf.body, traf.end):
            if trun.kind != b"trun":
                continue
            header = _read_header(data, trun, base=base, at=at)
            if this_track == track_id:
                yield _run(header, own, clock)
            clock = None
            at = end_of_last = header.offset + _bytes(header, own)


def _track_defaults(data: bytes, tfhd: Box, defaults: Defaults, place: int, follows: int) -> tuple[int, Defaults]:
    (flags,) = struct.unpack_from(">I", data, tfhd.body)
    at = tfhd.body + 8
    base = place if flags & 0x020000 or follows == place else follows
    if flags & 0x1:
        (base,) = struct.unpack_from(">Q", data, at)
        at += 8
    values = []
    for bit, given in (
        (0x2, defaults.description),
        (0x8, defaults.duration),
        (0x10, defaults.size),
        (0x20, defaults.flags),
    ):
        value = given
        if flags & bit:
            (value,) = struct.unpack_from(">I", data, at)
            at += 4
        values.append(value)
    if base > 1 << 62:
        raise UnsupportedMediaError("a fragment's data lies beyond any file")
    return base, Defaults(description=values[0], duration=values[1], size=values[2], flags=values[3])


def _clock(data: bytes, traf: Box) -> int | None:
    tfdt = find(data, traf, b"tfdt")
    if tfdt is None:
        return None
    clock = int(struct.unpack_from(">Q" if data[tfdt.body] == 1 else ">I", data, tfdt.body + 4)[0])
    if clock > TICKS_MAX:
        raise UnsupportedMediaError("a fragment's time exceeds any recording", key="mp4.time_scale")
    return clock


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunHeader:
    """A `trun` before its columns are spread out: other tracks' runs are read no further than this."""

    offset: int
    count: int
    first_flags: int | None
    columns: dict[str, npt.NDArray[np.uint32]]


def _read_header(data: bytes, trun: Box, *, base: int, at: int) -> RunHeader:
    flags, count = struct.unpack_from(">II", data, trun.body)
    cursor = trun.body + 8
    offset, first_flags = at, None
    if flags & 0x1:
        offset = base + struct.unpack_from(">i", data, cursor)[0]
        cursor += 4
    if flags & 0x4:
        (first_flags,) = struct.unpack_from(">I", data, cursor)
        cursor += 4
    names = [name for bit, name in RUN_COLUMNS if flags & bit]
    if count * 4 * len(names) > trun.end - cursor or count > SAMPLES_MAX:
        raise UnsupportedMediaError(f"a fragment claims {count} samples, more than its box can hold")
    rows = np.frombuffer(data, ">u4", count * len(names), cursor).reshape(count, len(names))
    columns = {name: rows[:, number] for number, name in enumerate(names)}
    return RunHeader(offset=offset, count=count, first_flags=first_flags, columns=columns)


def _bytes(header: RunHeader, defaults: Defaults) -> int:
    sizes = header.columns.get("size")
    return header.count * defaults.size if sizes is None else int(sizes.sum(dtype=np.int64))


def _run(header: RunHeader, defaults: Defaults, clock: int | None) -> Run:
    columns, count = header.columns, header.count
    flags = _column(columns, "flags", count, defaults.flags)
    if header.first_flags is not None and count and "flags" not in columns:
        flags[0] = header.first_flags
    return Run(
        offset=header.offset,
        clock=clock,
        size=_column(columns, "size", count, defaults.size),
        duration=_column(columns, "duration", count, defaults.duration),
        cts=_column(columns, "cts", count, 0).astype(np.uint32).view(np.int32).astype(np.int64),
        sync=(flags & NON_SYNC) == 0,
        description=defaults.description,
    )


def _column(columns: dict[str, npt.NDArray[np.uint32]], name: str, count: int, default: int) -> Integers:
    return columns[name].astype(np.int64) if name in columns else np.full(count, default, np.int64)
