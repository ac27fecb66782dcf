"""The virtual file shows exactly the original: packets, pictures, times, byte ranges."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
import footage
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from movies import Fake, Memory, sample_bytes, write

from transcode.virtual.layout import lay_out
from transcode.virtual.media import BATCH_BYTES, VirtualMedia
from transcode.virtual.mp4 import read_movie

if TYPE_CHECKING:
    from pathlib import Path

EXACT = [name for name in footage.MP4_VARIANTS if name != "edit_inside_gop"]


def virtual(data: bytes) -> VirtualMedia:
    return VirtualMedia.open(Memory(data), identity="sha256:00")


def whole(media: VirtualMedia) -> bytes:
    return b"".join(media.read(0, media.size))


def packets(data: bytes, kind: str) -> list[tuple[str, float, bool]]:
    with av.open(io.BytesIO(data)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [
            (
                hashlib.sha256(bytes(packet)).hexdigest(),
                round(float(packet.pts * packet.time_base), 6),
                packet.is_keyframe,
            )
            for packet in container.demux(streams[:1])
            if packet.dts is not None
        ]


def pictures(data: bytes) -> list[tuple[str, float, int]]:
    with av.open(io.BytesIO(data)) as container:
        if not container.streams.video:
            return []
        return [
            (
                hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest(),
                round(float(frame.pts * frame.time_base), 6),
                footage.read_counter(frame.to_ndarray(format="gray")),
            )
            for frame in container.decode(video=0)
        ]


@pytest.mark.parametrize("name", EXACT)
def test_packets_pictures_and_times_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    original = footage.MP4_VARIANTS[name](tmp_path / name).read_bytes()
    shown = whole(virtual(original))
    for kind in ("video", "audio"):
        assert packets(shown, kind) == packets(original, kind)
    assert pictures(shown) == pictures(original)


@pytest.mark.parametrize("name", EXACT)
def test_frame_times_are_when_pictures_are_shown(name: str, tmp_path: Path) -> None:
    data = footage.MP4_VARIANTS[name](tmp_path / name).read_bytes()
    times = virtual(data).frame_times()
    expected = [time for _, time, _ in pictures(data)] or [time for _, time, _ in packets(data, "audio")]
    assert [round(tick / times.timescale, 6) for tick in times.ticks] == expected
    assert times.end > times.ticks[-1]


def test_pictures_that_an_edit_hides_are_shown_and_announced(tmp_path: Path) -> None:
    data = footage.edit_inside_gop(tmp_path / "a.mp4").read_bytes()
    media = virtual(data)
    assert [counter for _, _, counter in pictures(whole(media))] == list(range(100))
    assert [counter for _, _, counter in pictures(data)] == list(range(18, 100))
    assert [note.key for note in media.notes] == ["edit.hidden"]
    sound = [time for _, time, _ in packets(whole(media), "audio")]
    hidden = [time for _, time, _ in packets(data, "audio")]
    assert np.allclose(np.diff(sound), np.diff(hidden))
    assert sound[0] == pytest.approx(hidden[0] + 0.7, abs=0.001)  # sound moved as far as the pictures did


def test_only_a_clean_file_has_no_notes(tmp_path: Path) -> None:
    data = footage.h264_aac_mp4(tmp_path / "a.mp4").read_bytes()
    assert virtual(data).notes == ()


def test_a_truncated_recording_plays_to_its_last_whole_picture(tmp_path: Path) -> None:
    data = footage.mp4_truncated(tmp_path / "a.mp4").read_bytes()
    media = virtual(data)
    seen = [counter for _, _, counter in pictures(whole(media))]
    assert seen == list(range(len(seen)))
    assert 50 < len(seen) < 150
    assert [note.key for note in media.notes] == ["file.truncated"]


def test_an_upright_recording_stays_upright(tmp_path: Path) -> None:
    data = footage.rotated(tmp_path / "a.mp4", degrees=90).read_bytes()
    with av.open(io.BytesIO(whole(virtual(data)))) as shown, av.open(io.BytesIO(data)) as original:
        turned = [next(container.decode(video=0)).rotation for container in (shown, original)]
    assert turned[0] == turned[1] != 0


# --- byte ranges -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[VirtualMedia, bytes]:
    data = footage.b_frames(tmp_path_factory.mktemp("clip") / "a.mp4", seconds=6).read_bytes()
    media = virtual(data)
    return media, whole(media)


@settings(max_examples=200)
@given(data=st.data())
def test_any_range_equals_that_part_of_the_whole(clip: tuple[VirtualMedia, bytes], data: st.DataObject) -> None:
    media, everything = clip
    start = data.draw(st.integers(0, media.size))
    end = data.draw(st.integers(start, media.size + 100))
    assert b"".join(media.read(start, end)) == everything[start:end]


@settings(max_examples=50)
@given(data=st.data())
def test_any_split_joins_to_the_whole(clip: tuple[VirtualMedia, bytes], data: st.DataObject) -> None:
    media, everything = clip
    cuts = sorted(data.draw(st.lists(st.integers(0, media.size), max_size=12)))
    edges = [0, *cuts, media.size]
    joined = b"".join(b"".join(media.read(a, b)) for a, b in itertools.pairwise(edges))
    assert joined == everything


def test_pieces_are_neither_large_nor_tiny_and_read_only_what_they_hold() -> None:
    source = Memory(write([Fake(kind="video", sizes=[3_000_000] * 4, durations=[2000] * 4)]))
    media = VirtualMedia.open(source, identity="x")
    source.bytes_read = 0
    pieces = media.read(0, media.size)
    next(pieces)
    assert source.bytes_read <= 1 << 20  # a viewer who leaves costs no more
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) <= 1 << 20
    assert source.bytes_read == 12_000_000
    both = [Fake(kind="video", sizes=[300] * 5000, durations=[40] * 5000, chunks=[1] * 5000)] * 2
    scattered = VirtualMedia.open(Memory(write([both[0], replace(both[1], kind="audio")])), identity="x")
    sizes = [len(piece) for piece in scattered.read(0, scattered.size)]
    assert min(sizes[:-1]) >= BATCH_BYTES


def test_the_same_bytes_make_the_same_file_and_tag() -> None:
    data = write([Fake(kind="video", sizes=[100] * 50, durations=[40] * 50, sync=[0, 25])])
    one, two = VirtualMedia.open(Memory(data), identity="a"), VirtualMedia.open(Memory(data), identity="a")
    assert whole(one) == whole(two)
    assert one.etag == two.etag
    assert one.etag != VirtualMedia.open(Memory(data), identity="b").etag
    assert re.fullmatch(r'"[0-9a-f]{32}"', one.etag)


# --- any file at all ---------------------------------------------------------------------------------------------


@st.composite
def fakes(draw: st.DrawFn, kind: str) -> Fake:
    count = draw(st.integers(1, 120))
    few = st.integers(1, 30)
    chunks = []
    while sum(chunks) < count:
        chunks.append(min(draw(few), count - sum(chunks)))
    rate = draw(st.sampled_from([1000, 12800, 48000, 90000]))
    step = rate // draw(st.sampled_from([5, 25, 47]))
    uneven = st.integers(1, 3 * step)
    durations = draw(st.one_of(st.just([step] * count), st.lists(uneven, min_size=count, max_size=count)))
    keys = draw(st.one_of(st.none(), st.sets(st.integers(0, count - 1), max_size=8))) if kind == "video" else None
    reorder = st.lists(st.integers(-3 * step, 5 * step), min_size=count, max_size=count)
    edits = [
        [],
        [(1000, 0)],
        [(draw(st.integers(1, 9000)), -1), (1000, 0)],
        [(1000, draw(st.integers(0, 4 * step)))],
    ]
    return Fake(
        kind=kind,
        sizes=draw(st.lists(st.integers(1, 60), min_size=count, max_size=count)),
        durations=durations,
        cts=draw(st.one_of(st.just([]), reorder)) if kind == "video" else [],
        sync=None if keys is None else sorted(keys),
        chunks=chunks,
        timescale=rate,
        edits=draw(st.sampled_from(edits)),
    )


@settings(max_examples=150)
@given(st.one_of(st.tuples(fakes("video")), st.tuples(fakes("audio")), st.tuples(fakes("video"), fakes("audio"))))
def test_every_layout_holds_every_sample_at_its_time(tracks: tuple[Fake, ...]) -> None:
    """Parsed again as a fragmented original, the virtual file has the same samples, shown at the same times."""
    data = write(list(tracks))
    media = virtual(data)
    shown = whole(media)
    assert len(shown) == media.size
    again = read_movie(Memory(shown))
    moved = []
    for number, track in enumerate(tracks):
        read = next(found for found in again.tracks if found.kind == track.kind)
        samples = again.samples(read)
        got = [shown[at : at + size] for at, size in zip(samples.offset, samples.size, strict=True)]
        assert got == [sample_bytes(number, index, size) for index, size in enumerate(track.sizes)]
        moved.append(np.unique(samples.pts - read.edit.media_time - _recorded_times(track)))
        assert len(moved[-1]) == 1  # the track as a whole, never a sample of it
        assert samples.pts.min() - read.edit.media_time >= (0 if track.kind == "video" else -0.15 * track.timescale)
        assert (samples.duration >= 0).all()
    if len(tracks) == 2:  # picture and sound moved alike, within a tick
        shifts = [shift[0] / track.timescale for shift, track in zip(moved, tracks, strict=True)]
        assert shifts[0] == pytest.approx(shifts[1], abs=max(1 / track.timescale for track in tracks))


def _recorded_times(track: Fake) -> np.ndarray[Any, Any]:
    decoded = np.cumsum([0, *track.durations[:-1]])
    times = decoded + (np.array(track.cts) if track.cts else 0)
    empty = sum(length for length, start in track.edits if start < 0)
    start = next((start for _, start in track.edits if start >= 0), 0)
    return times + (empty * track.timescale + 500) // 1000 - start


@settings(max_examples=60)
@given(fakes("video"), fakes("audio"))
def test_indexes_speak_of_every_byte_and_second(picture: Fake, sound: Fake) -> None:
    layout = lay_out(read_movie(Memory(write([picture, sound]))))
    head = layout.head
    at = layout.init_bytes
    real = 0
    while at < len(head):
        size, kind = struct.unpack_from(">I4s", head, at)
        if kind == b"sidx":
            track, scale, first, behind, _, count = struct.unpack_from(">IIQQHH", head, at + 12)
            rows = np.frombuffer(head, ">u4", count * 3, at + 40).reshape(count, 3)
            lane = next(lane for lane in layout.lanes if lane.id == track)
            if count == len(layout.starts) - 1 and at + size + behind == layout.starts[0]:
                real += 1
                assert (rows[:, 0] == np.diff(layout.starts)).all()
                assert first + rows[:, 1].astype(np.int64).sum() == max(lane.end, 0)
            assert scale == lane.track.timescale
        at += size
    assert at == len(head) == layout.starts[0]
    assert real == 2


# --- playlists ---------------------------------------------------------------------------------------------------


def test_the_playlist_names_the_same_bytes(clip: tuple[VirtualMedia, bytes]) -> None:
    media, everything = clip
    playlist = media.hls_playlist("/m/1")
    length, start = map(int, re.search(r'EXT-X-MAP:URI="/m/1",BYTERANGE="(\d+)@(\d+)"', playlist).groups())
    assert start == 0
    assert everything[4:8] == b"ftyp"
    parts = [(int(size), int(at)) for size, at in re.findall(r"#EXT-X-BYTERANGE:(\d+)@(\d+)\n/m/1\n", playlist)]
    seconds = [float(text) for text in re.findall(r"#EXTINF:([\d.]+),", playlist)]
    assert all(everything[at + 4 : at + 8] == b"moof" for _, at in parts)
    assert [at + size for size, at in parts] == [at for _, at in parts[1:]] + [media.size]
    assert sum(seconds) == pytest.approx(media.duration_s, abs=0.001)
    assert max(seconds) <= int(re.search(r"TARGETDURATION:(\d+)", playlist)[1])
    played = everything[:length] + b"".join(everything[at : at + size] for size, at in parts)
    assert [picture[2] for picture in pictures(played)] == list(range(150))
