"""ISO base media files (MP4, QuickTime, 3GP, HEIF): boxes, index, and whether the index leads into the file."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from ingest.probing.structure.source import DamageError, cut_off, is_zero

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.probing.structure.source import Source

BOXES_MAX = 400_000  # a day of fragments of half a second has 350,000
INDEX_BYTES_MAX = 64 << 20  # three hours with sound have 12 MB; beyond this only the boxes are checked
LOOKED_AT = 64  # samples of a track that are looked at for zeros
_PARENTS = frozenset({b"trak", b"mdia", b"minf", b"stbl", b"udta", b"mvex", b"edts"})
# Codecs whose coded picture never begins with sixteen zero bytes.
_NEVER_ZERO = frozenset(
    {b"avc1", b"avc3", b"hvc1", b"hev1", b"mp4v", b"jpeg", b"mjpa", b"av01", b"vp09", b"s263", b"h263"}
)
_RAW_GPS = frozenset({b"gps ", b"GPS ", b"gps0", b"gpmd", b"camm", b"GPMF"})


@dataclass(frozen=True, slots=True)
class Box:
    """A box by its place."""

    type: bytes
    start: int  # of the payload
    end: int


@dataclass(slots=True)
class _Track:
    """What the sample tables of one track say."""

    handler: bytes = b""
    coding: bytes = b""
    matrix: tuple[int, ...] = ()
    count: int = 0
    uniform: int = 0  # bytes of every sample, 0 when `sizes` holds them
    sizes: array[int] = field(default_factory=lambda: array("I"))
    chunks: array[int] = field(default_factory=lambda: array("Q"))
    runs: list[tuple[int, int]] = field(default_factory=list)  # first chunk (from 1), samples in each chunk


def check_movie(source: Source) -> dict[str, object]:
    """Every box inside the file, an index, and every sample of the index inside the file."""
    notes: dict[str, object] = {}
    boxes: list[Box] = []
    try:
        boxes.extend(_top_level(source, notes))
    except DamageError as err:
        raise DamageError(str(err), notes) from err
    types = [box.type for box in boxes]
    moov = next((box for box in boxes if box.type == b"moov"), None)
    fragments = types.count(b"moof")
    if moov is None and not (b"styp" in types and fragments):
        raise DamageError("the index (moov) is missing: the recording was not closed", notes)
    if moov is not None:
        # Whoever plays from a network wants to know whether the index comes before the samples.
        notes["index"] = "first" if b"mdat" not in types[: types.index(b"moov")] else "last"
    if fragments:
        notes["fragments"] = fragments
        if "zeros_from" in notes and b"mfra" not in types:
            raise DamageError(f"only zeros from byte {notes['zeros_from']} on, after {fragments} fragments", notes)
    if moov is not None and moov.end - moov.start <= INDEX_BYTES_MAX:
        tracks = _tracks(source.read(moov.start, moov.end - moov.start), notes)
        if not fragments and not any(track.count for track in tracks):
            raise DamageError("the index (moov) lists no sample", notes)
        for track in tracks:
            _check_track(track, source, notes)
    return notes


_TURNS: dict[tuple[int, ...], int] = {(0, 1, -1, 0): 90, (-1, 0, 0, -1): 180, (0, -1, 1, 0): 270}


def _turn(matrix: tuple[int, ...]) -> int:
    """Return by how many degrees clockwise a track's matrix turns the picture; 0 also for what is no quarter turn."""
    return _TURNS.get(tuple((value > 0) - (value < 0) for value in matrix), 0)


def check_picture(source: Source) -> dict[str, object]:
    """Every box inside the file, and the boxes that hold the items and their bytes."""
    types = [box.type for box in _top_level(source, {})]
    for needed in (b"meta", b"mdat"):
        if needed not in types and b"moov" not in types:
            raise DamageError(f"its {needed.decode()} box is missing")
    return {}


def _top_level(source: Source, notes: dict[str, object]) -> Iterator[Box]:
    offset = 0
    for _ in range(BOXES_MAX):
        if offset >= source.size:
            return
        head = source.read(offset, 16)
        if is_zero(head) and offset > 0:
            notes["zeros_from"] = offset  # recorders reserve room ahead; the index decides whether anything is missing
            return
        size, kind = _head(head)
        if size == 0 and len(head) >= 8:
            size = source.size - offset
        if size < 8:
            raise DamageError(f"no box begins at byte {offset}, where one must")
        if offset + size > source.size:
            raise cut_off(f"box {kind.decode('latin-1')!r} at byte {offset}", offset + size, source.size)
        header = 16 if head[:4] == b"\0\0\0\1" else 8
        yield Box(kind, offset + header, offset + size)
        offset += size


def _head(head: bytes) -> tuple[int, bytes]:
    """Return size and type; a size below 8 is impossible (but for 0: up to the end)."""
    if len(head) < 8:
        return 1, b""
    size, kind = struct.unpack_from(">I4s", head)
    if size == 1:
        size = struct.unpack_from(">Q", head, 8)[0] if len(head) == 16 else 1
        return (size if size >= 16 else 1), kind
    return size, kind


def _inside(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the children of a box that lies in memory; zeros at the end are padding that QuickTime allows."""
    while end - start >= 8:
        size, kind = _head(data[start : start + 16])
        if size == 0 and is_zero(data[start:end][:64]):
            return
        size = end - start if size == 0 else size
        if size < 8 or start + size > end:
            raise DamageError(f"box {kind.decode('latin-1')!r} in the index is broken")
        yield Box(kind, start + (16 if data[start : start + 4] == b"\0\0\0\1" else 8), start + size)
        start += size


def _tracks(moov: bytes, notes: dict[str, object]) -> list[_Track]:
    tracks: list[_Track] = []
    gps: set[str] = set()
    stack: list[tuple[int, int, _Track | None]] = [(0, len(moov), None)]
    while stack:
        start, end, track = stack.pop()
        for box in _inside(moov, start, end):
            if box.type == b"trak":
                tracks.append(_Track())
                stack.append((box.start, box.end, tracks[-1]))
            elif box.type in _PARENTS:
                # User data is free in form; only what belongs to a track must hold together.
                if box.type != b"udta":
                    stack.append((box.start, box.end, track))
            elif box.type in _RAW_GPS:
                gps.add(box.type.decode("latin-1").strip())
            elif track is not None:
                _read_table(track, box, moov)
    gps |= {track.coding.decode("latin-1").strip() for track in tracks if track.coding in _RAW_GPS}
    if gps:
        notes["raw_gps"] = sorted(gps)
    return tracks


def _read_table(track: _Track, box: Box, moov: bytes) -> None:
    body = moov[box.start : box.end]
    match box.type:
        case b"hdlr":
            # QuickTime has a second hdlr in minf (of the data handler); the first one names the medium.
            track.handler = track.handler or body[8:12]
        case b"stsd":
            track.coding = body[12:16]
        case b"tkhd":
            track.matrix = struct.unpack_from(">ii4xii", body, 40 if body[0] == 0 else 52)
        case b"stsz":
            track.uniform, track.count = struct.unpack_from(">II", body, 4)
            if not track.uniform:
                track.sizes = _numbers("I", body, 12, track.count)
        case b"stz2":
            _read_compact_sizes(track, body)
        case b"stco":
            track.chunks = array("Q", _numbers("I", body, 8, struct.unpack_from(">I", body, 4)[0]))
        case b"co64":
            track.chunks = _numbers("Q", body, 8, struct.unpack_from(">I", body, 4)[0])
        case b"stsc":
            numbers = _numbers("I", body, 8, 3 * struct.unpack_from(">I", body, 4)[0])
            track.runs = list(zip(numbers[::3], numbers[1::3], strict=True))
        case _:
            pass


def _read_compact_sizes(track: _Track, body: bytes) -> None:
    bits, track.count = body[7], struct.unpack_from(">I", body, 8)[0]
    if bits == 16:
        track.sizes = array("I", _numbers("H", body, 12, track.count))
        return
    data = body[12 : 12 + (track.count * bits + 7) // 8]
    if bits not in {4, 8} or len(data) * 8 < track.count * bits:
        raise DamageError("the index is broken: a table is shorter than it says")
    track.sizes = (
        array("I", data) if bits == 8 else array("I", (n for b in data for n in (b >> 4, b & 15)))[: track.count]
    )


def _numbers(code: str, body: bytes, offset: int, count: int) -> array[int]:
    """Read a table of big-endian numbers, having seen that the box can hold it."""
    width = array(code).itemsize
    if offset + count * width > len(body):
        raise DamageError("the index is broken: a table is shorter than it says")
    numbers = array(code, body[offset : offset + count * width])
    numbers.byteswap()
    return numbers


def _check_track(track: _Track, source: Source, notes: dict[str, object]) -> None:
    if track.handler == b"vide" and (turn := _turn(track.matrix)):
        notes["rotation"] = turn
    if track.uniform and track.count * track.uniform > source.size:
        raise DamageError(
            f"the index lists {track.count} samples of {track.uniform} bytes, the file has {source.size}", notes
        )
    before = array("Q", accumulate(track.sizes, initial=0) if not track.uniform else ())
    wanted = (
        [track.count - 1, *range(0, track.count, max(1, -(-track.count // LOOKED_AT)))[::-1]]
        if not track.uniform
        else []
    )
    looked_at: list[tuple[int, int]] = []  # sample, offset
    missing = sample = 0
    for chunk, per_chunk in _chunks(track):
        if per_chunk > track.count - sample:
            raise DamageError("the index is broken: its tables disagree about the number of samples", notes)
        offset = track.chunks[chunk]
        after = sample + per_chunk
        length = per_chunk * track.uniform if track.uniform else before[after] - before[sample]
        if offset + length > source.size:
            missing += per_chunk
        while wanted and wanted[-1] < after:
            number = wanted.pop()
            looked_at.append((number, offset + before[number] - before[sample]))
        sample = after
    if sample < track.count:
        raise DamageError("the index is broken: its tables disagree about the number of samples", notes)
    if missing:
        kind = {b"vide": "pictures", b"soun": "sound samples"}.get(track.handler, "samples")
        raise DamageError(f"cut off: {missing} of {track.count} {kind} lie beyond the end of the file", notes)
    if track.coding in _NEVER_ZERO:
        _check_zeros(track, looked_at, source, notes)


def _chunks(track: _Track) -> Iterator[tuple[int, int]]:
    """Yield (chunk, samples in it)."""
    total = len(track.chunks)
    for number, (first, per_chunk) in enumerate(track.runs):
        end = track.runs[number + 1][0] - 1 if number + 1 < len(track.runs) else total
        if not 1 <= first <= end + 1:
            raise DamageError("the index is broken: its table of chunks is out of order")
        for chunk in range(first - 1, min(end, total)):
            yield chunk, per_chunk


def _check_zeros(track: _Track, looked_at: list[tuple[int, int]], source: Source, notes: dict[str, object]) -> None:
    zeros = [number for number, offset in looked_at if track.sizes[number] >= 16 and is_zero(source.read(offset, 16))]
    if zeros:
        raise DamageError(
            f"picture {zeros[0]} and {len(zeros) - 1} of {len(looked_at)} looked at hold only zeros", notes
        )
