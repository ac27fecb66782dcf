"""What remux, proxy and sound recipes make of every container; in this process, without the sandbox."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import footage
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from movies import Memory

from transcode.derived.clock import AHEAD_MAX_S, Clock
from transcode.derived.encoding import fit
from transcode.derived.recipes import Outcome, Recipe, Source, cook
from transcode.errors import DerivativeError, RemuxRefusedError
from transcode.virtual.media import VirtualMedia

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make(data: bytes, demuxer: str, recipe: Recipe, path: Path) -> tuple[Outcome, bytes]:
    """Cook, check that the result can be served, return it as the browser would get it."""
    shares: list[float] = []
    file = io.BytesIO(data)
    source = Source(file=file, demuxer=demuxer, position=lambda: file.tell() / len(data))
    outcome = cook(source, recipe, str(path), shares.append)
    assert shares
    media = VirtualMedia.open(Memory(path.read_bytes()), identity="x")
    return outcome, b"".join(media.read(0, media.size))


def pictures(data: bytes, demuxer: str | None = None) -> list[tuple[str, int, float]]:
    with av.open(io.BytesIO(data), format=demuxer, options={"advanced_editlist": "0"}) as container:
        return [
            (
                hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest(),
                footage.read_counter(frame.to_ndarray(format="gray")),
                float(frame.time or 0),
            )
            for frame in container.decode(video=0)
        ]


def luma(frame: av.VideoFrame) -> np.ndarray[Any, Any]:
    """Return the luma plane as it is stored."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def loudness(data: bytes, demuxer: str | None = None) -> tuple[float, np.ndarray[Any, Any]]:
    """Return when the sound begins, and its strength in steps of 50 ms."""
    with av.open(io.BytesIO(data), format=demuxer) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler(format="flt", layout="mono", rate=8000)
        wave = np.concatenate([out.to_ndarray()[0] for frame in frames for out in resampler.resample(frame)])
    steps = wave[: len(wave) // 400 * 400].reshape(-1, 400)
    return float(frames[0].time), np.sqrt((steps**2).mean(axis=1))


COPIED: list[tuple[Callable[[Path], Path], str]] = [
    (footage.ts, "mpegts"),
    (footage.mkv, "matroska"),
    (footage.flv, "flv"),
    (footage.avi_h264_alaw, "avi"),
    (footage.ps_h264_g711, "mpeg"),
    (footage.mp4_g711, "mov"),
    (footage.vfr, "mov"),
]


@pytest.mark.parametrize(("maker", "demuxer"), COPIED)
def test_a_remux_shows_exactly_the_originals_pictures(
    maker: Callable[[Path], Path], demuxer: str, tmp_path: Path
) -> None:
    original = maker(tmp_path / "original").read_bytes()
    outcome, made = make(original, demuxer, "remux", tmp_path / "made.mp4")
    before, after = pictures(original, demuxer), pictures(made)
    assert [picture[:2] for picture in after] == [picture[:2] for picture in before]
    if demuxer != "avi":  # an AVI's times are guesses of the demuxer
        assert np.ptp([new[2] - old[2] for new, old in zip(after, before, strict=True)]) < 0.001
    assert (outcome.picture, outcome.pictures) == ("copied", len(before))
    assert outcome.notes == []


def test_a_stream_without_times_gets_the_times_of_its_rate(tmp_path: Path) -> None:
    original = footage.bare_h264(tmp_path / "original").read_bytes()
    _, made = make(original, "h264", "remux", tmp_path / "made.mp4")
    assert [picture[1] for picture in pictures(made)] == list(range(100))
    assert [picture[2] for picture in pictures(made)] == pytest.approx([number / 25 for number in range(100)])


CONVERTED: list[tuple[Callable[[Path], Path], str]] = [
    (footage.hevc_mp4, "mov"),
    (footage.ps_mpeg2, "mpeg"),
    (footage.avi_mjpeg_pcm, "avi"),
    (footage.avi_mpeg4_mp3, "avi"),
    (footage.avi_h264_b, "avi"),
    (functools.partial(footage.bare_h264, bframes=3), "h264"),
    (footage.vfr, "mov"),
]


@pytest.mark.parametrize(("maker", "demuxer"), CONVERTED)
def test_a_proxy_shows_every_picture_at_its_time(maker: Callable[[Path], Path], demuxer: str, tmp_path: Path) -> None:
    original = maker(tmp_path / "original").read_bytes()
    outcome, made = make(original, demuxer, "proxy", tmp_path / "made.mp4")
    before, after = pictures(original, demuxer), pictures(made)
    assert [picture[1] for picture in after] == [picture[1] for picture in before]
    if demuxer not in {"avi", "h264"}:
        assert np.ptp([new[2] - old[2] for new, old in zip(after, before, strict=True)]) < 0.001
    assert np.diff([picture[2] for picture in after]).max() < 0.3
    assert (outcome.picture, outcome.notes) == ("converted", [])


def test_a_proxy_looks_like_its_original(tmp_path: Path) -> None:
    """Full-range pictures (Motion JPEG) come out in the range that H.264 players assume, and say so."""
    original = footage.avi_mjpeg_pcm(tmp_path / "original").read_bytes()
    _, made = make(original, "avi", "proxy", tmp_path / "made.mp4")
    with av.open(io.BytesIO(original)) as one, av.open(io.BytesIO(made)) as two:
        for old, new in zip(one.decode(video=0), two.decode(video=0), strict=True):
            full, limited = (luma(frame).mean() for frame in (old, new))
            assert limited == pytest.approx(16 + full * 219 / 255, abs=1.5)
            assert new.color_range == 1


def test_a_proxy_has_a_key_picture_every_two_seconds(tmp_path: Path) -> None:
    original = footage.vfr(tmp_path / "original", seconds=9).read_bytes()
    make(original, "mov", "proxy", tmp_path / "made.mp4")
    with av.open(str(tmp_path / "made.mp4")) as container:
        keys = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
    assert np.diff(keys).max() < 2.2


def test_an_upright_recording_stays_upright(tmp_path: Path) -> None:
    original = footage.rotated(tmp_path / "original").read_bytes()
    for recipe in ("remux", "proxy"):
        _, made = make(original, "mov", recipe, tmp_path / "made.mp4")
        with av.open(io.BytesIO(original)) as one, av.open(io.BytesIO(made)) as two:
            assert next(one.decode(video=0)).rotation == next(two.decode(video=0)).rotation != 0


@pytest.mark.parametrize("recipe", ["remux", "proxy"])
def test_pictures_that_an_edit_hides_are_in_the_derivative(recipe: Recipe, tmp_path: Path) -> None:
    original = footage.edit_inside_gop(tmp_path / "original").read_bytes()
    _, made = make(original, "mov", recipe, tmp_path / "made.mp4")
    assert [picture[1] for picture in pictures(made)] == list(range(100))


SOUNDS: list[tuple[Callable[[Path], Path], str, Recipe]] = [
    (footage.wav, "wav", "sound"),
    (footage.mp3, "mp3", "sound"),
    (footage.mp4_g711, "mov", "remux"),
    (footage.avi_h264_alaw, "avi", "remux"),
    (footage.ps_mpeg2, "mpeg", "proxy"),
    (footage.late_audio, "mov", "remux"),
]


@pytest.mark.parametrize(("maker", "demuxer", "recipe"), SOUNDS)
def test_sound_keeps_its_strength_and_place(
    maker: Callable[[Path], Path], demuxer: str, recipe: Recipe, tmp_path: Path
) -> None:
    original = maker(tmp_path / "original").read_bytes()
    _, made = make(original, demuxer, recipe, tmp_path / "made.mp4")
    (start, before), (again, after) = loudness(original, demuxer), loudness(made)
    with av.open(io.BytesIO(original), format=demuxer) as container:
        origin = (container.start_time or 0) / 1e6
    assert again == pytest.approx(start - origin, abs=0.05)
    assert len(after) == pytest.approx(len(before), abs=2)
    middle = slice(3, min(len(before), len(after)) - 3)
    assert np.allclose(after[middle], before[middle], rtol=0.15)


def test_missing_sound_becomes_silence_and_the_rest_stays_in_place(tmp_path: Path) -> None:
    data = footage.ps_mpeg2(tmp_path / "whole", seconds=4)
    with av.open(str(data)) as whole, av.open(str(tmp_path / "gap.ts"), "w", format="mpegts") as out:
        targets = {stream.index: out.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            if packet.dts is None:
                continue
            at_s = float(packet.dts * packet.time_base) - (whole.start_time or 0) / 1e6
            if packet.stream.type == "video" or not 1.5 < at_s < 2.5:
                packet.stream = targets[packet.stream.index]
                out.mux(packet)
    _, made = make((tmp_path / "gap.ts").read_bytes(), "mpegts", "proxy", tmp_path / "made.mp4")
    start, strength = loudness(made)
    at = np.arange(len(strength)) * 0.05 + start
    assert (strength[(at > 1.65) & (at < 2.35)] < 0.01).all()
    assert (strength[(at > 0.2) & (at < 1.4)] > 0.05).all()
    assert (strength[(at > 2.65) & (at < 3.8)] > 0.05).all()


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maker", "demuxer", "recipe"),
    [
        (footage.ts, "mpegts", "remux"),
        (footage.mkv, "matroska", "remux"),
        (footage.avi_h264_alaw, "avi", "remux"),
        (footage.ps_mpeg2, "mpeg", "proxy"),
        (footage.avi_mjpeg_pcm, "avi", "proxy"),
    ],
)
def test_of_a_file_cut_short_the_good_part_is_made(
    maker: Callable[[Path], Path], demuxer: str, recipe: Recipe, tmp_path: Path
) -> None:
    original = maker(tmp_path / "original").read_bytes()
    whole = pictures(original, demuxer)
    _, made = make(original[: len(original) * 6 // 10], demuxer, recipe, tmp_path / "made.mp4")
    seen = [picture[1] for picture in pictures(made)]
    assert len(seen) > len(whole) * 0.4
    assert seen[:-4] == [picture[1] for picture in whole][: len(seen) - 4]  # the last B-pictures lack their future


def test_a_hole_in_the_middle_is_stated(tmp_path: Path) -> None:
    original = bytearray(footage.ps_mpeg2(tmp_path / "original", seconds=6).read_bytes())
    middle = len(original) // 2
    original[middle : middle + 60_000] = bytes(60_000)
    outcome, made = make(bytes(original), "mpeg", "proxy", tmp_path / "made.mp4")
    seen = [picture[1] for picture in pictures(made)]
    assert max(seen) >= 148
    assert len(seen) > 100
    assert {key for key, _ in outcome.notes} & {"damage.decoding", "damage.unreadable"}


@pytest.mark.parametrize("recipe", ["remux", "proxy", "sound"])
@pytest.mark.parametrize("demuxer", ["mov", "mpegts", "mpeg", "matroska", "avi", "flv", "wav", "h264"])
def test_bytes_that_are_nothing_are_refused(recipe: Recipe, demuxer: str, tmp_path: Path) -> None:
    noise = hashlib.shake_256(b"noise").digest(50_000)
    with pytest.raises((DerivativeError, RemuxRefusedError)):
        make(noise, demuxer, recipe, tmp_path / "made.mp4")


def test_a_copy_that_could_not_be_faithful_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RemuxRefusedError, match="order"):
        make(footage.avi_h264_b(tmp_path / "a").read_bytes(), "avi", "remux", tmp_path / "made.mp4")
    with pytest.raises(RemuxRefusedError, match="order"):
        make(footage.bare_h264(tmp_path / "c", bframes=3).read_bytes(), "h264", "remux", tmp_path / "made.mp4")
    with pytest.raises(RemuxRefusedError, match="hevc"):
        make(footage.hevc_mp4(tmp_path / "b").read_bytes(), "mov", "remux", tmp_path / "made.mp4")


def test_a_playlist_is_never_followed(tmp_path: Path) -> None:
    """Attack: a "recording" that names other files; no demuxer that opens others is ever forced, none is guessed."""
    secret = footage.ts(tmp_path / "secret.ts")
    playlist = f"#EXTM3U\n#EXTINF:4,\n{secret}\n#EXT-X-ENDLIST\n".encode()
    concat = f"ffconcat version 1.0\nfile {secret}\n".encode()
    for data in (playlist, concat):
        for demuxer in ("mov", "mpegts", "matroska", "avi"):
            with pytest.raises(DerivativeError):
                make(data, demuxer, "proxy", tmp_path / "made.mp4")


# --- pure parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "aspect", "made"),
    [
        ((1920, 1080), None, (1280, 720)),
        ((1080, 1920), None, (720, 1280)),
        ((720, 405), Fraction(1), (720, 404)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((3840, 2160), None, (1280, 720)),
        ((176, 144), None, (176, 144)),
        ((1, 1), None, (2, 2)),
        ((100_000, 2), None, (1280, 2)),
    ],
)
def test_proxies_fit_720p_with_even_sides(
    source: tuple[int, int], aspect: Fraction | None, made: tuple[int, int]
) -> None:
    assert fit(*source, aspect) == made


@given(
    st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1, max_size=40),
    st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1, 25)]),
)
def test_times_never_leave_the_recording(stamps: list[int], time_base: Fraction) -> None:
    clock = Clock(time_base, Fraction(stamps[0]) * time_base)
    placed = [stamp + clock.shift(stamp, 1) for stamp in stamps]
    steps = [(late - early) * time_base for early, late in itertools.pairwise(placed)]
    assert placed[0] == pytest.approx(0, abs=1)
    assert all(abs(step) <= AHEAD_MAX_S + 1 for step in steps)


def test_a_clock_that_was_set_back_runs_on() -> None:
    clock = Clock(Fraction(1, 25), Fraction(0))
    stamps = [*range(100), *range(50)]
    placed = [stamp + clock.shift(stamp, 1) for stamp in stamps]
    assert placed == list(range(150))
    assert clock.jumps == 1
