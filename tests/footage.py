"""Small clips in many containers and codecs, all made from the real footage in samples/cityCC0.mpg.

Every maker is a plain function `(path, seconds=…) -> path`. Each frame carries its number as 16 black or white blocks in
the top left corner (`read_counter` reads it back), so a test can ask *which* frame it sees. Encoded packets are kept in
memory, so the same picture in another container costs a few milliseconds. Sound is synthetic: a rising chord.
"""

from __future__ import annotations

import functools
import io
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CITY = Path(__file__).parent.parent / "samples" / "cityCC0.mpg"
WIDTH, HEIGHT, RATE = 320, 180, 25
BLOCK, BLOCKS = 16, 16  # pixels, bits of the frame counter
TICKS = 12800  # video time base of what we encode: 512 ticks a frame


# --- pictures and sound ------------------------------------------------------------------------------------------


@functools.cache
def _city(width: int, height: int) -> tuple[np.ndarray, ...]:
    with av.open(str(CITY)) as container:
        return tuple(
            frame.reformat(width=width, height=height, format="yuv420p").to_ndarray()
            for frame in container.decode(video=0)
        )


def _picture(number: int, width: int, height: int, pixels: str) -> av.VideoFrame:
    frames = _city(width, height)
    turn = number % (2 * len(frames) - 2)  # forth and back, so that the loop has no cut
    image = frames[turn if turn < len(frames) else 2 * len(frames) - 2 - turn].copy()
    block = BLOCK * width // WIDTH
    for bit in range(BLOCKS):
        image[:block, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 16
    frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
    return frame if pixels == "yuv420p" else frame.reformat(format=pixels)


def read_counter(luma: np.ndarray) -> int:
    """Read the frame number from a decoded picture's luma plane (rows × columns)."""
    block = BLOCK * luma.shape[1] // WIDTH
    means = [luma[:block, bit * block : (bit + 1) * block].mean() for bit in range(BLOCKS)]
    return sum(1 << bit for bit, mean in enumerate(means) if mean > 125)


def _sound(start: int, count: int, rate: int) -> np.ndarray:
    moment = (start + np.arange(count)) / rate
    wave = np.sin(2 * np.pi * (220 + 20 * moment) * moment) + 0.3 * np.sin(2 * np.pi * 880 * moment)
    return (wave * 6000).astype(np.int16)


# --- encoded streams, kept in memory -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Packets:
    """One encoded stream in its own small container, from which it is copied into others."""

    data: bytes
    kind: str


@functools.lru_cache(maxsize=64)
def _video(
    codec: str,
    seconds: float,
    *,
    options: tuple[tuple[str, str], ...],
    width: int = WIDTH,
    height: int = HEIGHT,
    pixels: str = "yuv420p",
    times: tuple[int, ...] = (),
) -> Packets:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov", options={"video_track_timescale": str(TICKS)}) as out:
        stream = out.add_stream(codec, rate=RATE, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS if times else RATE)
        stream.codec_context.thread_count = 1
        stamps = times or tuple(range(round(seconds * RATE)))
        for number, stamp in enumerate(stamps):
            frame = _picture(number, width, height, pixels)
            frame.pts, frame.time_base = stamp, stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Packets(buffer.getvalue(), "video")


@functools.lru_cache(maxsize=64)
def _audio(codec: str, seconds: float, rate: int, channels: int = 1) -> Packets:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as out:
        stream = out.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono" if channels == 1 else "stereo"
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
        total = round(seconds * rate)
        for start in range(0, total, 1024):
            count = min(1024, total - start)
            wave = np.repeat(_sound(start, count, rate), channels)
            frame = av.AudioFrame.from_ndarray(wave[None, :], format="s16", layout=stream.layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return Packets(buffer.getvalue(), "audio")


def _h264(
    seconds: float,
    *,
    bframes: int = 0,
    gop: int = RATE * 2,
    width: int = WIDTH,
    height: int = HEIGHT,
    times: tuple[int, ...] = (),
    bit_rate: str = "400k",
) -> Packets:
    options = (
        ("preset", "ultrafast"),
        ("bf", str(bframes)),
        ("g", str(gop)),
        ("b", bit_rate),
        ("x264-params", "scenecut=0:threads=1:b-adapt=0"),
    )
    return _video("libx264", seconds, options=options, width=width, height=height, times=times)


def _mux(
    path: Path,
    streams: Sequence[Packets],
    *,
    container: str,
    options: dict[str, str] | None = None,
    shift_s: Sequence[float] = (),
    loops: int = 1,
    prepare: Callable[[av.container.OutputContainer], None] | None = None,
) -> Path:
    """Copy the packets of `streams` into one file, in the order of their time."""
    inputs = [av.open(io.BytesIO(packets.data)) for packets in streams]
    with av.open(str(path), "w", format=container, options=options or {}) as out:
        queue: list[tuple[float, av.Packet]] = []
        for number, source in enumerate(inputs):
            stream = source.streams[0]
            target = out.add_stream_from_template(stream)
            assert stream.time_base is not None
            shift = round((shift_s[number] if number < len(shift_s) else 0) / stream.time_base)
            packets = [packet for packet in source.demux(stream) if packet.dts is not None]
            if container == "avi" and stream.codec_context.name == "h264":
                annexb = av.BitStreamFilterContext("h264_mp4toannexb", stream, target)
                packets = [unit for packet in [*packets, None] for unit in annexb.filter(packet)]
            for packet in packets:
                packet.pts = (packet.pts or 0) + shift
                packet.dts = (packet.dts or 0) + shift
                packet.stream = target
                queue.append((float(packet.dts * stream.time_base), packet))
        queue.sort(key=lambda item: item[0])
        if prepare is not None:
            prepare(out)
        if loops == 1:
            for _, packet in queue:
                out.mux(packet)
        else:
            _mux_loop(out, [packet for _, packet in queue], loops)
    for source in inputs:
        source.close()
    return path


def _mux_loop(out: av.container.OutputContainer, packets: list[av.Packet], loops: int) -> None:
    turn_s = Fraction(round(max(float((p.dts + p.duration) * p.time_base) for p in packets) * RATE), RATE)
    facts = [(bytes(p), p.pts, p.dts, p.duration, p.time_base, p.stream, p.is_keyframe) for p in packets]
    for loop in range(loops):
        for data, pts, dts, duration, time_base, stream, key in facts:
            if loop and dts < 0:
                continue  # the encoder's priming belongs to the first turn only
            packet, shift = av.Packet(data), round(loop * turn_s / time_base)
            packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
            packet.time_base, packet.stream, packet.is_keyframe = time_base, stream, key
            out.mux(packet)


# --- MP4 and its edge cases --------------------------------------------------------------------------------------


def h264_aac_mp4(
    path: Path, seconds: float = 4, *, moov: str = "last", width: int = WIDTH, height: int = HEIGHT
) -> Path:
    """H.264 + AAC in MP4, the index at the end as recorders leave it, or `moov="first"`."""
    options = {"movflags": "faststart"} if moov == "first" else {}
    return _mux(
        path,
        [_h264(seconds, width=width, height=height), _audio("aac", seconds, 48000)],
        container="mp4",
        options=options,
    )


def video_only(path: Path, seconds: float = 4) -> Path:
    """H.264 in MP4 without sound: the pre-event buffer of many recorders."""
    return _mux(path, [_h264(seconds)], container="mp4")


def audio_only(path: Path, seconds: float = 4) -> Path:
    """AAC in M4A."""
    return _mux(path, [_audio("aac", seconds, 48000)], container="ipod")


def b_frames(path: Path, seconds: float = 4) -> Path:
    """Three B-frames between the others: presentation order is not file order, and an edit hides the delay."""
    return _mux(path, [_h264(seconds, bframes=3), _audio("aac", seconds, 48000)], container="mp4")


def negative_ctts(path: Path, seconds: float = 4) -> Path:
    """B-frames with signed composition offsets and no edit."""
    options = {"movflags": "negative_cts_offsets"}
    return _mux(path, [_h264(seconds, bframes=3), _audio("aac", seconds, 48000)], container="mp4", options=options)


def _uneven(seconds: float) -> tuple[int, ...]:
    steps = np.array([512, 1024, 512, 512, 1536, 700, 324])
    count = int(seconds * TICKS / steps.mean())
    return tuple(int(stamp) for stamp in np.cumsum(np.resize(steps, count)) - steps[0])


def vfr(path: Path, seconds: float = 4) -> Path:
    """Frames at uneven times, with B-frames, as recorders do in the dark."""
    times = _uneven(seconds)
    return _mux(path, [_h264(seconds, bframes=2, times=times), _audio("aac", seconds, 48000)], container="mp4")


def late_audio(path: Path, seconds: float = 4, *, late_s: float = 1.5) -> Path:
    """Sound begins after the picture (an empty edit): a pre-event buffer without sound."""
    audio = _audio("aac", max(seconds - late_s, 0.5), 48000)
    return _mux(path, [_h264(seconds), audio], container="mp4", shift_s=(0, late_s))


def late_video(path: Path, seconds: float = 4, *, late_s: float = 1.0) -> Path:
    """The picture begins after the sound."""
    return _mux(path, [_h264(seconds), _audio("aac", seconds, 48000)], container="mp4", shift_s=(late_s, 0))


def edit_inside_gop(path: Path, seconds: float = 4) -> Path:
    """A clip cut by `-ss 0.7 -c copy`: its first 0.7 s are recorded but hidden by an edit."""
    streams = [_h264(seconds, bframes=2), _audio("aac", seconds, 48000)]
    return _mux(path, streams, container="mp4", shift_s=(-0.7, -0.7))


def rotated(path: Path, seconds: float = 4, *, degrees: int = 90) -> Path:
    """A recorder worn sideways: the rotation stands in the track's matrix."""

    def turn(out: av.container.OutputContainer) -> None:
        out.streams.video[0].set_display_rotation(degrees)

    return _mux(path, [_h264(seconds), _audio("aac", seconds, 48000)], container="mp4", prepare=turn)


def mp4_g711(path: Path, seconds: float = 4) -> Path:
    """H.264 + G.711 A-law in QuickTime: the picture can be copied, the sound cannot."""
    return _mux(path, [_h264(seconds), _audio("pcm_alaw", seconds, 8000)], container="mov")


def hevc_mp4(path: Path, seconds: float = 3) -> Path:
    """HEVC + AAC in MP4, tagged hvc1."""
    options = (("preset", "ultrafast"), ("x265-params", "log-level=none:pools=1:frame-threads=1:keyint=50:bframes=2"))
    video = _video("libx265", seconds, options=options)

    def tag(out: av.container.OutputContainer) -> None:
        out.streams.video[0].codec_context.codec_tag = "hvc1"

    return _mux(path, [video, _audio("aac", seconds, 48000)], container="mp4", prepare=tag)


def mp4_no_moov(path: Path, seconds: float = 4) -> Path:
    """The battery died: the file ends before its index was written."""
    data = h264_aac_mp4(path, seconds).read_bytes()
    path.write_bytes(data[: data.rfind(b"moov") - 4 - len(data) // 5])
    return path


def mp4_truncated(path: Path, seconds: float = 6) -> Path:
    """The index came first, the samples end in mid-file."""
    data = h264_aac_mp4(path, seconds, moov="first").read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return path


def fragmented(path: Path, seconds: float = 4, *, sidx: bool = False) -> Path:
    """A fragmented MP4 without any index (or with one `sidx`)."""
    flags = "frag_keyframe+empty_moov+default_base_moof" + ("+global_sidx" if sidx else "")
    streams = [_h264(seconds, bframes=2, gop=RATE), _audio("aac", seconds, 48000)]
    return _mux(path, streams, container="mp4", options={"movflags": flags})


def long(path: Path, seconds: float = 600) -> Path:
    """A long clip in small time: ten seconds copied again and again."""
    return _mux(path, [_h264(10), _audio("aac", 10, 48000)], container="mp4", loops=max(1, round(seconds / 10)))


# --- other containers --------------------------------------------------------------------------------------------


def ts(path: Path, seconds: float = 4) -> Path:
    """H.264 + AAC (ADTS) in an MPEG transport stream."""
    return _mux(path, [_h264(seconds, bframes=2), _audio("aac", seconds, 48000)], container="mpegts")


def mkv(path: Path, seconds: float = 4) -> Path:
    """H.264 + AAC in Matroska."""
    return _mux(path, [_h264(seconds, bframes=2), _audio("aac", seconds, 48000)], container="matroska")


def flv(path: Path, seconds: float = 4) -> Path:
    """H.264 + AAC in Flash video."""
    return _mux(path, [_h264(seconds), _audio("aac", seconds, 48000)], container="flv")


def avi_h264_alaw(path: Path, seconds: float = 4) -> Path:
    """H.264 + G.711 A-law in AVI, as GA/T 947 devices write it."""
    return _mux(path, [_h264(seconds), _audio("pcm_alaw", seconds, 8000)], container="avi")


def bare_h264(path: Path, seconds: float = 4, *, bframes: int = 0) -> Path:
    """An elementary stream without any container: no times at all."""
    with av.open(io.BytesIO(_h264(seconds, bframes=bframes).data)) as container:
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        packets = [packet for packet in container.demux(video=0) if packet.dts is not None]
        path.write_bytes(b"".join(bytes(unit) for packet in [*packets, None] for unit in annexb.filter(packet)))
    return path


def avi_h264_b(path: Path, seconds: float = 3) -> Path:
    """H.264 with B-frames in AVI, a container that cannot say when a picture is shown."""
    return _mux(path, [_h264(seconds, bframes=3)], container="avi")


def avi_mjpeg_pcm(path: Path, seconds: float = 3) -> Path:
    """Motion JPEG + PCM in AVI: early recorders."""
    video = _video("mjpeg", seconds, options=(("q", "5"), ("color_range", "pc")), pixels="yuvj420p")
    return _mux(path, [video, _audio("pcm_s16le", seconds, 16000)], container="avi")


def avi_mpeg4_mp3(path: Path, seconds: float = 3) -> Path:
    """MPEG-4 part 2 + MP3 in AVI."""
    video = _video("mpeg4", seconds, options=(("b", "600k"),))
    return _mux(path, [video, _audio("libmp3lame", seconds, 48000)], container="avi")


def ps_mpeg2(path: Path, seconds: float = 3) -> Path:
    """MPEG-2 video + MP2 sound in an MPEG program stream."""
    video = _video("mpeg2video", seconds, options=(("b", "800k"), ("g", "12")))
    return _mux(path, [video, _audio("mp2", seconds, 48000)], container="vob")


def city(path: Path) -> Path:
    """The sample itself: MPEG-2 in a program stream, no sound."""
    shutil.copyfile(CITY, path)
    return path


def ps_h264_g711(path: Path, seconds: float = 4) -> Path:
    """H.264 + G.711 A-law in a program stream with a PSM, as GB/T 28181 platforms write it (own writer)."""
    queue: list[tuple[float, int, bytes, bool]] = []
    with av.open(io.BytesIO(_h264(seconds).data)) as container:
        annexb = av.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
        for packet in container.demux(video=0):
            units = annexb.filter(packet if packet.dts is not None else None)
            queue += [(float(unit.pts * unit.time_base), 0xE0, bytes(unit), unit.is_keyframe) for unit in units]
    with av.open(io.BytesIO(_audio("pcm_alaw", seconds, 8000).data)) as container:
        sound = b"".join(bytes(packet) for packet in container.demux(audio=0))
    queue += [(start / 8000, 0xC0, sound[start : start + 320], False) for start in range(0, len(sound), 320)]
    path.write_bytes(_program_stream(sorted(queue, key=lambda unit: (unit[0], -unit[1]))))
    return path


def _program_stream(units: list[tuple[float, int, bytes, bool]]) -> bytes:
    out = bytearray()
    psm_body = bytes([0xE0, 0xFF, 0, 0, 0, 8, 0x1B, 0xE0, 0, 0, 0x90, 0xC0, 0, 0]) + bytes(4)
    psm = b"\0\0\1\xbc" + len(psm_body).to_bytes(2, "big") + psm_body
    system_body = bytes([0x80, 0x4E, 0x21, 0x04, 0xE1, 0x7F, 0xE0, 0xE0, 0xE8, 0xC0, 0xC0, 0x20])
    system = b"\0\0\1\xbb" + len(system_body).to_bytes(2, "big") + system_body
    for at_s, stream_id, data, key in units:
        pts = round(at_s * 90000)
        out += _pack_header(pts)
        if key:
            out += system + psm
        for start in range(0, len(data), 60000):
            piece = data[start : start + 60000]
            stamp = _stamp(0x20, pts + 9000) if start == 0 else b""
            header = bytes([0x80, 0x80 if stamp else 0, len(stamp)]) + stamp
            out += b"\0\0\1" + bytes([stream_id]) + (len(header) + len(piece)).to_bytes(2, "big") + header + piece
    return bytes(out + b"\0\0\1\xb9")


def _pack_header(clock: int) -> bytes:
    bits = (
        1 << 46
        | (clock >> 30 & 7) << 43
        | 1 << 42
        | (clock >> 15 & 0x7FFF) << 27
        | 1 << 26
        | (clock & 0x7FFF) << 11
        | 1 << 10
        | 1
    )
    return b"\0\0\1\xba" + bits.to_bytes(6, "big") + (20000 << 2 | 3).to_bytes(3, "big") + b"\xf8"


def _stamp(mark: int, value: int) -> bytes:
    return bytes(
        [
            mark | (value >> 30 & 7) << 1 | 1,
            value >> 22 & 0xFF,
            (value >> 15 & 0x7F) << 1 | 1,
            value >> 7 & 0xFF,
            (value & 0x7F) << 1 | 1,
        ]
    )


def truncated(path: Path, whole: Path, share: float = 0.6) -> Path:
    """The first `share` of any file."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


# --- no video ----------------------------------------------------------------------------------------------------


def wav(path: Path, seconds: float = 2) -> Path:
    """PCM in WAV: a voice recorder."""
    return _mux(path, [_audio("pcm_s16le", seconds, 16000)], container="wav")


def mp3(path: Path, seconds: float = 2) -> Path:
    """MP3."""
    return _mux(path, [_audio("libmp3lame", seconds, 48000)], container="mp3")


def jpeg(path: Path, number: int = 0) -> Path:
    """One picture of the street as JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 704, 396, "yuvj420p"
    encoder.time_base = Fraction(1, RATE)
    encoder.options = {"color_range": "pc"}
    packets = encoder.encode(_picture(number, 704, 396, "yuvj420p")) + encoder.encode(None)
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path


MP4_VARIANTS: dict[str, Callable[[Path], Path]] = {
    "moov_last": h264_aac_mp4,
    "moov_first": functools.partial(h264_aac_mp4, moov="first"),
    "video_only": video_only,
    "b_frames": b_frames,
    "negative_ctts": negative_ctts,
    "vfr": vfr,
    "late_audio": late_audio,
    "late_video": late_video,
    "edit_inside_gop": edit_inside_gop,
    "rotated": rotated,
    "fragmented": fragmented,
    "fragmented_sidx": functools.partial(fragmented, sidx=True),
    "audio_only": audio_only,
}
