"""Builds the sample card: what a body-worn recorder's card looks like, made from real footage that anyone may use.

`python -P scripts/make_sample.py CARD` makes the folder CARD from samples/cityCC0.mpg: several containers and codecs,
loop-recorded segments, a photo with EXIF, sound, a device log, a file cut off by battery loss and an empty one. Pictures
are real; sound, names, times and places are made up (桃江县, Hunan). A complete card is not built again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import sys
import wave
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from av.filter import Graph

SOURCE = Path(__file__).parent.parent / "samples" / "cityCC0.mpg"
SERIAL, OFFICER = "LZ00127", "TJ0318"  # recorder and officer, 7 and 6 characters as in GA/T 947 style names
BEIJING = timezone(timedelta(hours=8))
FRAME_RATE = 25
SOUND_RATE = 48_000
LATITUDE, LONGITUDE = 28.5183, 112.1556  # degrees: 桃花江镇, 桃江县


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """One recording to make: where it goes on the card, which part of the picture, in which codecs."""

    path: str
    begin: datetime
    frames: int  # the footage runs forth and back until there are enough
    skip: int = 0  # frames of that run to leave out first
    crop: str = "720:404:0:0"  # width:height:x:y of the source picture: another "camera"
    size: str = "1280:720"
    container: str = "mp4"
    video: str = "libx264"
    video_options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "26"), ("bf", "0"))
    audio: str = "aac"
    pixels: str = "yuv420p"


def clock(hours: int, minutes: int, seconds: int) -> datetime:
    """Return that time of the sample's day, 3 November 2026, in Beijing."""
    return datetime(2026, 11, 3, hours, minutes, seconds, tzinfo=BEIJING)


def name(begin: datetime, extension: str) -> str:
    """Name a file as such recorders do: serial, officer, local time."""
    return f"{SERIAL}_{OFFICER}_{begin:%Y%m%d%H%M%S}.{extension}"


def takes() -> list[Take]:
    """List the recordings of the card."""
    wide, left, right = "720:404:0:0", "480:270:0:80", "480:270:230:120"
    base = Take(path="DCIM/100MEDIA/", begin=clock(9, 15, 2), frames=760)
    hevc = (("preset", "ultrafast"), ("x265-params", "log-level=error:pools=2:keyint=50"), ("crf", "28"))
    made = [
        base,
        *(
            replace(base, begin=clock(9, 30, 8 * part), frames=200, skip=200 * part, crop=left, size="854:480")
            for part in range(3)  # one loop recording in three files, joined without a gap
        ),
        replace(base, begin=clock(9, 41, 27), frames=300, crop=right, container="mpegts"),
        replace(base, begin=clock(10, 2, 45), frames=300, skip=60, crop=left, container="matroska"),
        replace(base, path="DCIM/101MEDIA/", begin=clock(10, 20, 11), frames=300, crop=wide, size="960:540",
                video="libx265", video_options=hevc),
        replace(base, path="DCIM/101MEDIA/", begin=clock(10, 33, 50), frames=190, crop=right, size="640:360",
                container="avi", video="mjpeg", video_options=(("qscale", "7"),), audio="pcm_s16le", pixels="yuvj420p"),
        replace(base, path="DCIM/101MEDIA/", begin=clock(11, 5, 33), frames=200, skip=90, crop=right, size="854:480"),
    ]  # fmt: skip
    extensions = {"mp4": "MP4", "mpegts": "TS", "matroska": "MKV", "avi": "AVI"}
    return [replace(take, path=take.path + name(take.begin, extensions[take.container])) for take in made]


def decode_source() -> list[av.VideoFrame]:
    """Return the footage's frames, forth and back, so that a longer take has no jump."""
    with av.open(SOURCE) as source:
        forth = list(source.decode(video=0))
    return forth + forth[-2:0:-1]


def shoot(take: Take, run: list[av.VideoFrame], target: Path) -> None:
    """Encode one take with synthetic sound."""
    with av.open(target, "w", format=take.container, options={"fflags": "+bitexact"}) as out:
        out.metadata["creation_time"] = f"{take.begin.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000000Z"
        width, height = map(int, take.size.split(":"))
        video = out.add_stream(take.video, rate=FRAME_RATE, options=dict(take.video_options))
        video.width, video.height, video.pix_fmt = width, height, take.pixels
        video.codec_context.thread_count = 2
        if take.video.startswith("libx"):
            video.codec_context.gop_size = 2 * FRAME_RATE
        if take.video == "libx265":
            video.codec_context.codec_tag = "hvc1"
        audio = out.add_stream(take.audio, rate=SOUND_RATE, layout="mono")
        sound = sound_frames(take)
        heard = 0
        for number, picture in enumerate(pictures(take, run)):
            out.mux(video.encode(picture))
            while heard * FRAME_RATE <= (number + 1) * SOUND_RATE and (frame := next(sound, None)) is not None:
                heard += frame.samples
                out.mux(audio.encode(frame))
        out.mux(video.encode(None))
        out.mux(audio.encode(None))


def pictures(take: Take, run: list[av.VideoFrame]):  # noqa: ANN201 - a generator of frames, this script only
    """Yield the take's pictures: its part of the run, cropped and scaled."""
    graph = Graph()
    inlet = graph.add_buffer(template=None, width=run[0].width, height=run[0].height, format=run[0].format,
                             time_base=Fraction(1, FRAME_RATE))  # fmt: skip
    crop = graph.add("crop", take.crop)
    scale = graph.add("scale", f"{take.size}:flags=bilinear")
    pixels = graph.add("format", take.pixels)
    outlet = graph.add("buffersink")
    graph.link_nodes(inlet, crop, scale, pixels, outlet).configure()
    for number in range(take.frames):
        frame = run[(take.skip + number) % len(run)]
        frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
        inlet.push(frame)
        picture = outlet.pull()
        picture.pict_type = 0  # the encoder decides; the source's own types would be taken as wishes
        yield picture


def sound_samples(seconds: float, seed: int) -> np.ndarray:
    """Make street-like noise with a distant horn now and then, 16 bit."""
    count = int(seconds * SOUND_RATE)
    noise = np.cumsum(np.random.default_rng(seed).normal(0, 1, count))
    noise -= np.convolve(noise, np.ones(801) / 801, mode="same")  # brown noise without its drift
    time_s = np.arange(count) / SOUND_RATE
    horn = np.sin(2 * np.pi * 392 * time_s) * ((time_s % 4) < 0.4) * 900
    return (noise / max(1.0, np.abs(noise).max()) * 3500 + horn).astype(np.int16)


def sound_frames(take: Take):  # noqa: ANN201 - a generator of frames, this script only
    """Yield the take's sound in frames of 1024 samples."""
    samples = sound_samples(take.frames / FRAME_RATE, seed=int(take.begin.timestamp()))
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        yield frame


# --- the photo: a JPEG and the smallest EXIF that says when and where --------------------------------------------


def rational(*values: float) -> bytes:
    """Encode numbers as TIFF rationals of 1/10000."""
    return b"".join(struct.pack("<II", round(value * 10_000), 10_000) for value in values)


def directory(entries: list[tuple[int, int, int, bytes]], offset: int) -> bytes:
    """Encode one TIFF directory that will stand at `offset`; entries are (tag, type, count, value)."""
    head, tail = struct.pack("<H", len(entries)), b""
    tail_offset = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            head += struct.pack("<HHII", tag, kind, count, tail_offset + len(tail))
            tail += value + b"\0" * (len(value) % 2)
        else:
            head += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return head + struct.pack("<I", 0) + tail


def text(value: str) -> tuple[int, int, bytes]:
    """Return (type, count, bytes) of a TIFF text."""
    data = value.encode("ascii") + b"\0"
    return 2, len(data), data


def exif(taken: datetime) -> bytes:
    """Return an APP1 segment with camera, time and position."""
    local, utc = taken.strftime("%Y:%m:%d %H:%M:%S"), taken.astimezone(UTC)
    degrees = {value: (int(value), int(value * 60 % 60), value * 3600 % 60) for value in (LATITUDE, LONGITUDE)}
    position = [
        (1, *text("N")), (2, 5, 3, rational(*degrees[LATITUDE])),
        (3, *text("E")), (4, 5, 3, rational(*degrees[LONGITUDE])),
        (7, 5, 3, rational(utc.hour, utc.minute, utc.second)), (18, *text("WGS-84")), (29, *text(f"{utc:%Y:%m:%d}")),
    ]  # fmt: skip
    details = [(0x9003, *text(local)), (0x9004, *text(local)), (0x9011, *text("+08:00"))]
    main = [
        (0x010F, *text("Sample")), (0x0110, *text(SERIAL)), (0x0112, 3, 1, struct.pack("<H", 1)), (0x0132, *text(local)),
    ]  # fmt: skip
    pointers = [(0x8769, 4, 1, b"\0" * 4), (0x8825, 4, 1, b"\0" * 4)]
    details_offset = 8 + len(directory(main + pointers, 8))
    position_offset = details_offset + len(directory(details, details_offset))
    pointers = [(0x8769, 4, 1, struct.pack("<I", details_offset)), (0x8825, 4, 1, struct.pack("<I", position_offset))]
    tiff = b"II*\0" + struct.pack("<I", 8) + directory(main + pointers, 8)
    tiff += directory(details, details_offset) + directory(position, position_offset)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def photograph(run: list[av.VideoFrame], taken: datetime) -> bytes:
    """Return a still of the footage as a JPEG with EXIF."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=1, options={"qscale": "3"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuvj420p"
        still = run[120].reformat(width=1280, height=720, format="yuvj420p")
        still.pts, still.pict_type = 0, 0
        out.mux(stream.encode(still))
        out.mux(stream.encode(None))
    jpeg = buffer.getvalue()
    return jpeg[:2] + exif(taken) + jpeg[2:]


# --- the card ----------------------------------------------------------------------------------------------------


def device_log() -> str:
    """Return the recorder's own log: power, recordings, the battery that went empty."""
    events = [(clock(9, 12, 40), "开机 电量 96%")]
    for take in takes():
        events.append((take.begin, f"开始录像 {Path(take.path).name}"))
        events.append((take.begin + timedelta(seconds=take.frames / FRAME_RATE), "结束录像"))
    events[-1] = (clock(11, 5, 37), "电量耗尽 关机")
    return "".join(f"{moment:%Y-%m-%d %H:%M:%S} {SERIAL} {OFFICER} {event}\r\n" for moment, event in events)


def write(path: Path, data: bytes, modified: datetime) -> None:
    """Write a file of the card with the time the recorder would have given it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (modified.timestamp(), modified.timestamp()))


def fill(card: Path) -> None:
    """Put everything on the card."""
    run = decode_source()
    recordings = takes()
    for take in recordings:
        target = card / take.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shoot(take, run, target)
        done = take.begin + timedelta(seconds=take.frames / FRAME_RATE)
        os.utime(target, (done.timestamp(), done.timestamp()))
    lost = card / recordings[-1].path  # the battery went empty: the sample table was never written
    write(lost, lost.read_bytes()[: lost.stat().st_size * 3 // 5], clock(11, 5, 37))
    write(card / "DCIM/101MEDIA" / name(clock(11, 6, 2), "MP4"), b"", clock(11, 6, 2))
    write(card / "DCIM/102VIDEO" / name(clock(8, 55, 0), "MPG"), SOURCE.read_bytes(), clock(8, 55, 8))
    write(card / "DCIM/103PHOTO" / name(clock(9, 52, 18), "JPG"), photograph(run, clock(9, 52, 18)), clock(9, 52, 18))
    spoken = BytesIO()
    with wave.open(spoken, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(sound_samples(12, seed=947)[::3].tobytes())
    write(card / "录音" / name(clock(10, 48, 30), "WAV"), spoken.getvalue(), clock(10, 48, 42))
    write(card / "LOG" / "20261103.LOG", device_log().encode(), clock(11, 5, 37))


def main() -> int:
    """Build the card unless it is complete."""
    card = Path(sys.argv[1])
    recipe = hashlib.sha256(Path(__file__).read_bytes() + SOURCE.read_bytes()).hexdigest()
    note = card.with_name(card.name + ".recipe")  # beside the card: on it, it would be sealed as evidence
    if card.is_dir() and note.is_file() and note.read_text() == recipe:
        return 0
    print("· making the sample card from samples/cityCC0.mpg", file=sys.stderr)
    half = card.with_name(card.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    fill(half)
    shutil.rmtree(card, ignore_errors=True)
    half.rename(card)
    note.write_text(recipe)
    return 0


if __name__ == "__main__":
    sys.exit(main())
