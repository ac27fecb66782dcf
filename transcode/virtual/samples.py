"""Sample tables as arrays: place, size, times and key flags of every sample of one track. Pure and vectorised."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transcode.errors import UnsupportedMediaError
from transcode.virtual.boxes import find, require, table

if TYPE_CHECKING:
    import numpy.typing as npt

    from transcode.virtual.boxes import Box

    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

SAMPLES_MAX = 1 << 22  # of one track: 19 h at 60 frames/s, a day of AAC
TICKS_MAX = 1 << 52  # so that times stay exact as float64
PLACE_MAX = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """One track in decoding order. Times are media ticks before any edit: `pts` is when a sample is shown."""

    offset: Integers  # bytes from the start of the file
    size: Integers  # bytes
    pts: Integers
    duration: Integers  # decoding duration as recorded
    sync: Flags
    description: int  # 1-based sample description that all samples use
    lost: int  # samples named by the index that lie beyond the end of the file


def empty_samples() -> Samples:
    """Return a track without samples."""
    none = np.zeros(0, np.int64)
    return Samples(offset=none, size=none, pts=none, duration=none, sync=np.zeros(0, np.bool_), description=1, lost=0)


def from_tables(data: bytes, stbl: Box, file_size: int) -> Samples:
    """Expand `stbl`; raises UnsupportedMediaError for tables that contradict themselves or the file."""
    size = _sizes(data, stbl, file_size)
    if not len(size):
        return empty_samples()
    offset, description = _offsets(data, stbl, size)
    count = len(offset)  # a chunk table that ends early names fewer samples
    size = size[:count]
    inside = (offset >= 0) & (offset + size <= file_size)
    kept = count if inside.all() else int(np.argmin(inside))
    check_sizes(size[:kept], file_size)
    duration = expand(table(data, require(data, stbl, b"stts"), skip=4, columns=2), count)
    if int(duration.sum()) > TICKS_MAX:
        raise UnsupportedMediaError("the durations add up to more than any recording", key="mp4.time_scale")
    pts = np.cumsum(duration) - duration
    ctts = find(data, stbl, b"ctts")
    if ctts is not None:
        rows = table(data, ctts, skip=4, columns=2)
        rows[:, 1] = rows[:, 1].astype(np.uint32).view(np.int32)  # version 0 is signed too in what devices write
        pts += expand(rows, count, last=False)
    return Samples(
        offset=offset[:kept],
        size=size[:kept],
        pts=pts[:kept],
        duration=duration[:kept],
        sync=_sync(data, stbl, count)[:kept],
        description=description,
        lost=count - kept,
    )


def expand(runs: Integers, count: int, *, last: bool = True) -> Integers:
    """Expand (repetitions, value) rows to exactly `count` values; beyond the rows the last value (or 0) goes on."""
    if not len(runs):
        return np.zeros(count, np.int64)
    ends = np.minimum(np.cumsum(np.minimum(runs[:, 0], count)), count)
    values = np.repeat(runs[:, 1], np.diff(ends, prepend=0))
    missing = count - len(values)
    return np.concatenate([values, np.full(missing, runs[-1, 1] if last else 0)]) if missing else values


def _sizes(data: bytes, stbl: Box, file_size: int) -> Integers:
    stsz = find(data, stbl, b"stsz")
    if stsz is None:
        return _compact_sizes(data, require(data, stbl, b"stz2"))
    constant, count = struct.unpack_from(">II", data, stsz.body + 4)
    _check_count(count)
    if constant == 0:
        return table(data, stsz, skip=8, columns=1)[:, 0]
    if constant * count > file_size:
        raise UnsupportedMediaError(f"the index claims {count} samples of {constant} bytes in a file of {file_size}")
    return np.full(count, constant, np.int64)


def _compact_sizes(data: bytes, stz2: Box) -> Integers:
    bits = data[stz2.body + 7]
    (count,) = struct.unpack_from(">I", data, stz2.body + 8)
    _check_count(count)
    if bits in {8, 16}:
        return table(data, stz2, skip=8, columns=1, kind=f">u{bits // 8}")[:, 0]
    if bits != 4:
        raise UnsupportedMediaError(f"sample sizes of {bits} bits")
    packed = np.frombuffer(data, np.uint8, (count + 1) // 2, stz2.body + 12)
    return np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[:count].astype(np.int64)


def check_sizes(size: Integers, file_size: int) -> None:
    """Refuse samples that together are larger than the file: honest samples do not overlap."""
    if int(size.sum()) > file_size:
        raise UnsupportedMediaError(f"the index claims {int(size.sum())} bytes of samples in a file of {file_size}")


def _check_count(count: int) -> None:
    if count > SAMPLES_MAX:
        raise UnsupportedMediaError(f"the index claims {count} samples, more than {SAMPLES_MAX}", key="mp4.too_long")


def _offsets(data: bytes, stbl: Box, size: Integers) -> tuple[Integers, int]:
    """Place every sample: its chunk's offset plus the sizes before it in the chunk; and the description they use."""
    co64 = find(data, stbl, b"co64")
    if co64 is not None:
        chunk_offset = table(data, co64, skip=4, columns=1, kind=">i8")[:, 0]
    else:
        chunk_offset = table(data, require(data, stbl, b"stco"), skip=4, columns=1)[:, 0]
    runs = table(data, require(data, stbl, b"stsc"), skip=4, columns=3)
    first_chunk = runs[:, 0] - 1
    chunks = len(chunk_offset)
    if not chunks or not len(runs) or first_chunk[0] != 0 or (np.diff(first_chunk) <= 0).any():
        raise UnsupportedMediaError("the chunk table is empty or out of order")
    used = runs[first_chunk < chunks]
    if len(descriptions := np.unique(used[:, 2])) > 1:
        raise UnsupportedMediaError(
            f"the recording changes its setup in mid-file ({len(descriptions)} sample descriptions)",
            key="mp4.several_descriptions",
        )
    count = len(size)
    gaps = np.diff(np.append(np.minimum(first_chunk, chunks), chunks))
    per_chunk = np.repeat(np.minimum(runs[:, 1], count), gaps)
    ends = np.minimum(np.cumsum(per_chunk), count)
    first = np.concatenate([[0], ends[:-1]])
    bounds = np.concatenate([[0], np.cumsum(size[: int(ends[-1])])])
    # The clip keeps sums of hostile 64-bit offsets from wrapping round; such samples then lie outside the file.
    shift = np.clip(chunk_offset, -1, PLACE_MAX) - bounds[first]
    return bounds[:-1] + np.repeat(shift, ends - first), int(descriptions[0])


def _sync(data: bytes, stbl: Box, count: int) -> Flags:
    stss = find(data, stbl, b"stss")
    if stss is None:
        return np.ones(count, np.bool_)
    numbers = table(data, stss, skip=4, columns=1)[:, 0] - 1
    flags = np.zeros(count, np.bool_)
    flags[numbers[(numbers >= 0) & (numbers < count)]] = True
    return flags
