"""The sample tables of MP4 files, the odd ones too."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from movies import AVC1, MP4A, Fake, Memory, box, counted, full, sample_bytes, write

from transcode.errors import UnsupportedMediaError
from transcode.virtual.media import VirtualMedia
from transcode.virtual.mp4 import read_movie
from transcode.virtual.samples import expand


def video(count: int = 10, **changes: object) -> Fake:
    given = {"sizes": [20 + number for number in range(count)], "durations": [40] * count, "sync": [0, 5]} | changes
    return Fake(kind="video", **given)


def read_back(data: bytes, number: int = 0) -> list[bytes]:
    movie = read_movie(Memory(data))
    samples = movie.samples(movie.tracks[number])
    return [data[offset : offset + size] for offset, size in zip(samples.offset, samples.size, strict=True)]


@pytest.mark.parametrize("moov_first", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("chunks", [[], [1] * 10, [3, 3, 4], [4, 1, 5]])
def test_each_sample_is_found_where_it_was_written(*, moov_first: bool, wide: bool, chunks: list[int]) -> None:
    sound = Fake(kind="audio", sizes=[7] * 12, durations=[21] * 12, chunks=[6, 6])
    data = write([video(chunks=chunks), sound], moov_first=moov_first, wide=wide)
    assert read_back(data) == [sample_bytes(0, number, 20 + number) for number in range(10)]
    assert read_back(data, 1) == [sample_bytes(1, number, 7) for number in range(12)]


def test_a_last_box_of_size_zero_reaches_to_the_end() -> None:
    data = bytearray(write([video()], moov_first=True))
    at = data.index(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    assert read_back(bytes(data)) == [sample_bytes(0, number, 20 + number) for number in range(10)]


def test_bytes_after_the_last_box_do_no_harm() -> None:
    assert len(read_back(write([video()], tail=b"\0\0\0\0freeGPS \xff"))) == 10


@pytest.mark.parametrize(("bits", "sizes"), [(4, [1, 15, 7]), (8, [1, 255, 7]), (16, [1, 300, 7]), (4, [3, 2])])
def test_compact_sample_sizes_are_read(bits: int, sizes: list[int]) -> None:
    if bits == 4:
        nibbles = [*sizes, 0]
        packed = bytes(nibbles[at] << 4 | nibbles[at + 1] for at in range(0, len(sizes), 2))
    else:
        packed = b"".join(size.to_bytes(bits // 8, "big") for size in sizes)
    stz2 = full(b"stz2", bytes(3), bytes([bits]), struct.pack(">I", len(sizes)), packed)
    track = Fake(kind="video", sizes=sizes, durations=[1] * len(sizes), stsz=stz2)
    assert [len(sample) for sample in read_back(write([track]))] == sizes


def test_samples_of_one_size_need_no_table() -> None:
    stsz = full(b"stsz", struct.pack(">II", 33, 10))
    data = write([Fake(kind="video", sizes=[33] * 10, durations=[1] * 10, stsz=stsz)])
    assert read_back(data) == [sample_bytes(0, number, 33) for number in range(10)]


def test_without_a_key_table_every_sample_is_a_key() -> None:
    movie = read_movie(Memory(write([video(sync=None)])))
    assert movie.samples(movie.tracks[0]).sync.all()


def test_composition_offsets_are_signed_even_in_version_0() -> None:
    data = bytearray(write([video(cts=[80, -40] * 5)]))
    at = data.index(b"ctts") + 4
    data[at] = 0  # the version, as in files of many recorders
    movie = read_movie(Memory(bytes(data)))
    assert movie.samples(movie.tracks[0]).pts.tolist() == [n * 40 + (80 if n % 2 == 0 else -40) for n in range(10)]


def test_only_headers_and_the_index_are_fetched() -> None:
    source = Memory(write([video(1000, sizes=[5000] * 1000)]))
    VirtualMedia.open(source, identity="x")
    assert source.bytes_read < 50_000 < source.size / 50


def test_a_file_cut_short_keeps_its_whole_samples_and_says_so() -> None:
    data = write([video(100, sizes=[50] * 100)], moov_first=True)
    media = VirtualMedia.open(Memory(data[: -50 * 30 - 7]), identity="x")
    assert len(media.frame_times().ticks) == 69
    assert [note.key for note in media.notes] == ["file.truncated"]


def test_tables_that_end_early_or_late_are_put_right() -> None:
    assert expand(np.array([[2, 7]]), 5).tolist() == [7, 7, 7, 7, 7]
    assert expand(np.array([[2, 7]]), 5, last=False).tolist() == [7, 7, 0, 0, 0]
    assert expand(np.array([[2, 7], [1 << 31, 9]]), 3).tolist() == [7, 7, 9]
    assert expand(np.zeros((0, 2), np.int64), 2).tolist() == [0, 0]


def test_several_setups_that_are_used_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedMediaError, match="changes its setup") as caught:
        VirtualMedia.open(Memory(write([video(entries=[AVC1, AVC1], chunks=[5, 5], described=[1, 2])])), identity="x")
    assert caught.value.key == "mp4.several_descriptions"


def test_a_second_setup_that_every_sample_uses_is_kept() -> None:
    media = VirtualMedia.open(
        Memory(write([video(entries=[AVC1, AVC1], chunks=[5, 5], described=[2, 2])])), identity="x"
    )
    head = b"".join(media.read(0, 2000))
    assert struct.unpack_from(">II", head, head.index(b"trex") + 8) == (1, 2)


@pytest.mark.parametrize("version", [1, 2])
def test_quicktimes_sound_description_becomes_the_iso_one(version: int) -> None:
    esds = MP4A[MP4A.index(b"esds") - 4 :]
    quicktime = box(
        b"mp4a",
        bytes(6) + struct.pack(">HH", 1, version) + bytes(6) + struct.pack(">HHhHI", 2, 16, -2, 0, 48000 << 16),
        bytes(16 if version == 1 else 36),
        box(b"wave", box(b"frma", b"mp4a"), esds),
    )
    track = Fake(kind="audio", sizes=[9] * 5, durations=[1024] * 5, timescale=48000, entries=[quicktime])
    media = VirtualMedia.open(Memory(write([track])), identity="x")
    head = b"".join(media.read(0, media.size))
    assert media.mime == 'audio/mp4; codecs="mp4a.40.2"'
    assert b"wave" not in head
    assert esds in head


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "mp4.not_mp4"),
        (b"\0" * 100, "mp4.not_mp4"),
        (b"RIFF1234AVI LIST", "mp4.not_mp4"),
        (box(b"ftyp", b"isom") + box(b"mdat", bytes(50)), "mp4.no_moov"),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 5000, b"moov"), "mp4.no_moov"),
        (box(b"moov", box(b"cmov")), "mp4.compressed"),
        (write([video(entries=[box(b"mp4v", bytes(100))])]), "codec.video"),
        (
            write([video(), Fake(kind="audio", sizes=[5], durations=[1], entries=[box(b"alaw", bytes(40))])]),
            "codec.audio",
        ),
    ],
)
def test_what_cannot_be_played_says_why(data: bytes, key: str) -> None:
    with pytest.raises(UnsupportedMediaError) as caught:
        VirtualMedia.open(Memory(data), identity="x")
    assert caught.value.key == key


def test_no_claim_costs_more_than_the_file_it_stands_in() -> None:
    """Attacks: counts of 10^9 in every table, overlapping samples, times beyond any recording."""
    huge = 1_000_000_000
    attacks = [
        video(stsz=full(b"stsz", struct.pack(">II", 0, huge))),
        video(stsz=full(b"stsz", struct.pack(">II", 1, huge))),
        video(stsz=full(b"stsz", struct.pack(">II", 0, 4_000_000))),
        video(stsz=full(b"stz2", bytes(3), b"\x04", struct.pack(">I", huge))),
        video(stco=full(b"stco", struct.pack(">I", huge))),
        video(stco=counted(b"co64", [((1 << 63) - 1,)], "Q")),
        video(stco=counted(b"co64", [((1 << 64) - 1,)], "Q")),
        video(timescale=0),
        video(edits=[((1 << 32) - 1, -1), (0, 0)]),
    ]
    files = [write([attack], movie_timescale=1) for attack in attacks]
    tracemalloc.start()
    try:
        for data in files:
            with pytest.raises(UnsupportedMediaError):
                VirtualMedia.open(Memory(data), identity="x")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_samples_may_not_add_up_to_more_than_the_file() -> None:
    """Attack: a small file whose million samples all point at the same megabyte."""
    one = write([video(100, sizes=[1000] * 100, chunks=[1] * 100)])
    at = one.index(b"stco") + 12
    first = one[at : at + 4]
    evil = one[:at] + first * 100 + one[at + 400 :]
    small = evil.replace(one[28 : 28 + 90_000], b"")  # most of the data is gone
    with pytest.raises(UnsupportedMediaError):
        VirtualMedia.open(Memory(small), identity="x")
