"""Attacks on the MP4 parser: whatever the bytes, the answer is a playable layout or UnsupportedMediaError, soon."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import footage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from movies import Memory
from tiers import FULL

from transcode.errors import UnsupportedMediaError
from transcode.virtual.media import VirtualMedia

if TYPE_CHECKING:
    from pathlib import Path

VARIANTS = ("b_frames", "late_audio", "fragmented", "moov_first", "fragmented_sidx")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory: Path = tmp_path_factory.mktemp("seeds")
    return {name: footage.MP4_VARIANTS[name](directory / name).read_bytes() for name in VARIANTS}


def try_everything(data: bytes) -> None:
    """Open, ask everything, read it all. Honest layouts cost little more than their samples; so must hostile ones."""
    source = Memory(data)
    with contextlib.suppress(UnsupportedMediaError):
        media = VirtualMedia.open(source, identity="x")
        media.hls_playlist("clip.mp4")
        media.frame_times()
        assert sum(len(piece) for piece in media.read(0, media.size)) == media.size
        assert media.size < 20 * len(data) + 10_000


def index_of(data: bytes) -> list[tuple[int, int]]:
    """Return where the structure is: everything but mdat."""
    parts, at = [], 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] != b"mdat":
            parts.append((at, at + size))
        at += max(8, size)
    return parts


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_indexes_never_break_the_parser(seeds: dict[str, bytes], data: st.DataObject) -> None:
    whole = bytearray(seeds[data.draw(st.sampled_from(VARIANTS))])
    parts = index_of(bytes(whole))
    for _ in range(data.draw(st.integers(1, 6))):
        start, end = data.draw(st.sampled_from(parts))
        at = data.draw(st.integers(start, end - 1))
        value = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f" + b"\xff" * 3])
            )
        )
        whole[at : at + len(value)] = value
    try_everything(bytes(whole))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_files_cut_anywhere_never_break_the_parser(seeds: dict[str, bytes], data: st.DataObject) -> None:
    whole = seeds[data.draw(st.sampled_from(VARIANTS))]
    parts = index_of(whole)
    near = st.sampled_from([edge for part in parts for edge in part]).flatmap(
        lambda edge: st.integers(edge - 20, edge + 20)
    )
    cut = data.draw(st.one_of(near, st.integers(0, len(whole))))
    try_everything(whole[: max(0, cut)])


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_boxes_taken_out_or_doubled_never_break_the_parser(seeds: dict[str, bytes], data: st.DataObject) -> None:
    whole = seeds[data.draw(st.sampled_from(VARIANTS))]
    names = [b"stts", b"stsc", b"stsz", b"stco", b"stss", b"ctts", b"elst", b"tkhd", b"mdhd", b"trun", b"tfhd", b"mvex"]
    present = [name for name in names if name in whole]
    name = data.draw(st.sampled_from(present))
    other = data.draw(st.sampled_from([b"free", *present]))
    try_everything(whole.replace(name, other, data.draw(st.integers(1, 3))))


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    try_everything(data)
    try_everything(b"\0\0\0\x08free" + data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5000 if FULL else 1000, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_indexes_at_length(seeds: dict[str, bytes], data: st.DataObject) -> None:
    whole = bytearray(seeds[data.draw(st.sampled_from(VARIANTS))])
    parts = index_of(bytes(whole))
    for _ in range(data.draw(st.integers(1, 12))):
        start, end = data.draw(st.sampled_from(parts))
        at = data.draw(st.integers(start, end - 1))
        value = data.draw(st.binary(min_size=1, max_size=8))
        whole[at : at + len(value)] = value
    try_everything(bytes(whole))
