import struct
from datetime import datetime
from pathlib import Path

import av
import footage
import pytest
import rfc8785

from ingest.probing.probe import Prober

RMC = "$GPRMC,0123{second:02}.00,A,2831.0980,N,11209.3360,E,0.0,0.0,031126,,,A"


@pytest.fixture(scope="module")
def prober():
    with Prober(workers=1) as prober:
        yield prober


def _kinds(facts):
    return [(stream["kind"], stream["codec"]) for stream in facts.facts["streams"]]


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (footage.h264_aac_mp4, "a.mp4", ("mp4", [("video", "h264"), ("audio", "aac")], "structure")),
        (footage.mp4_g711, "a.mov", ("mov", [("video", "h264"), ("audio", "pcm_alaw")], "structure")),
        (footage.hevc_mp4, "a.mp4", ("mp4", [("video", "hevc"), ("audio", "aac")], "structure")),
        (footage.avi_mjpeg_pcm, "a.avi", ("avi", [("video", "mjpeg"), ("audio", "pcm_s16le")], "structure")),
        (footage.ts, "a.ts", ("mpegts", [("video", "h264"), ("audio", "aac")], "demuxed")),
        (footage.mkv, "a.mkv", ("mkv", [("video", "h264"), ("audio", "aac")], "demuxed")),
        (footage.ps_h264_g711, "a.mpg", ("mpegps", [("video", "h264"), ("audio", "pcm_alaw")], "demuxed")),
        (footage.wav, "a.wav", ("wav", [("audio", "pcm_s16le")], "structure")),
        (footage.mp3, "a.mp3", ("mp3", [("audio", "mp3")], "demuxed")),
    ],
)
def test_container_streams_and_duration(prober, tmp_path, make, name, expected):
    facts = prober.describe(make(tmp_path / "copy-without-a-name", seconds=2), name)
    assert (facts.facts["container"], _kinds(facts), facts.facts["checked"]) == expected
    assert abs(facts.facts["duration_ms"] - 2000) <= 100
    assert rfc8785.dumps(facts.facts)  # no floats, nothing that a record cannot hold


def test_pictures_and_sound_are_measured(prober, tmp_path):
    facts = prober.describe(footage.h264_aac_mp4(tmp_path / "a.mp4", seconds=2), "a.mp4")
    video, sound = facts.facts["streams"]
    assert {key: video[key] for key in ("width", "height", "frame_rate", "frames", "pixels", "bits", "tag")} == {
        "width": 320,
        "height": 180,
        "frame_rate": "25/1",
        "frames": 50,
        "pixels": "yuv420p",
        "bits": 8,
        "tag": "avc1",
    }
    assert (sound["sample_rate"], sound["channels"]) == (48000, 1)
    assert facts.facts["index"] == "last"
    first = prober.describe(footage.h264_aac_mp4(tmp_path / "b.mp4", seconds=2, moov="first"), "b.mp4")
    assert first.facts["index"] == "first"


def test_a_recorder_worn_sideways_is_told(prober, tmp_path):
    facts = prober.describe(footage.rotated(tmp_path / "a.mp4", seconds=1, degrees=90), "a.mp4")
    assert facts.facts["streams"][0]["rotation"] == 270  # FFmpeg counts against the clock, we with it


def test_the_name_and_the_container_together_tell_the_zone(prober, tmp_path):
    path = tmp_path / "a.mp4"
    footage.h264_aac_mp4(path, seconds=1)
    local = prober.describe(path, "DCIM/AA00000_BB0000_20260304050607.MP4").facts["start"]
    assert (local["at"], local["source"], local["confidence"]) == ("2026-03-04T05:06:07+08:00", "name", "medium")
    made = _with_tags(path, tmp_path / "b.mp4", creation_time="2026-03-03T21:06:07.000000Z")
    both = prober.describe(made, "DCIM/AA00000_BB0000_20260304050607.MP4").facts["start"]
    assert (both["at"], both["source"], both["confidence"]) == ("2026-03-03T21:06:07Z", "container", "high")
    modified_ns = int(datetime.fromisoformat("2026-03-04T05:06:08+00:00").timestamp()) * 10**9
    last = prober.describe(path, "free.mp4", modified_ns=modified_ns).facts["start"]
    assert (last["at"], last["source"], last["confidence"]) == ("2026-03-04T05:06:07Z", "mtime", "low")


def _with_tags(path: Path, target: Path, **tags: str) -> Path:
    with av.open(str(path)) as source, av.open(str(target), "w", format="mp4") as out:
        out.metadata.update(tags)
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return target


def test_a_position_in_the_container_is_read(prober, tmp_path):
    made = _with_tags(
        footage.h264_aac_mp4(tmp_path / "a.mp4", seconds=1), tmp_path / "b.mp4", location="+28.5183+112.1556/"
    )
    assert prober.describe(made, "b.mp4").facts["gps"] == {
        "source": "container",
        "count": 1,
        "first": {"lat": "28.5183000", "lon": "112.1556000"},
    }


def _nmea(second: int) -> str:
    body = RMC.format(second=second)
    total = 0
    for character in body[1:]:
        total ^= ord(character)
    return f"{body}*{total:02X}\r\n"


@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_a_text_track_of_satellite_sentences_becomes_a_track(prober, tmp_path, container):
    path = tmp_path / "track"
    codec = {"matroska": "subrip", "mp4": "mov_text"}[container]
    _subtitled(footage.h264_aac_mp4(tmp_path / "a.mp4", seconds=2), path, container, codec)
    gps = prober.describe(path, f"a.{container[:3]}").facts["gps"]
    assert (gps["source"], gps["count"]) == ("nmea", 2)
    assert gps["first"] == {"lat": "28.5183000", "lon": "112.1556000", "at": "2026-11-03T01:23:00Z"}
    assert gps["last"]["at"] == "2026-11-03T01:23:01Z"


_STYLES = (
    b"[Script Info]\nScriptType: v4.00+\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\nStyle: Default,Arial,16\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)


def _subtitled(path: Path, target: Path, container: str, codec: str) -> None:
    with av.open(str(path)) as source, av.open(str(target), "w", format=container) as out:
        video = out.add_stream_from_template(source.streams.video[0])
        text = out.add_stream(codec)
        text.codec_context.subtitle_header = _STYLES
        rows = [packet for packet in source.demux(video=0) if packet.dts is not None]
        for number, packet in enumerate(rows):
            packet.stream = video
            out.mux(packet)
            if number % 25 == 0:
                sentence = _nmea(number // 25).encode()
                row = av.Packet(struct.pack(">H", len(sentence)) + sentence if codec == "mov_text" else sentence)
                row.stream, row.time_base = text, packet.time_base
                row.pts = row.dts = packet.pts
                row.duration = 25 * (packet.duration or 1)
                out.mux(row)


def test_a_log_of_satellite_sentences_is_a_document_with_a_track(prober, tmp_path):
    path = tmp_path / "gps.log"
    path.write_text("".join(_nmea(second) for second in range(30)), encoding="ascii")
    facts = prober.describe(path, "gps.log")
    assert (facts.media, facts.facts["gps"]["count"]) == ("document", 30)


def _exif(entries: dict[int, tuple[int, bytes, int]], gps: dict[int, tuple[int, bytes, int]]) -> bytes:
    """Build an APP1 segment: one directory and one GPS directory."""
    base = 8 + 2 + 12 * (len(entries) + 1) + 4
    second = base + sum(len(data) for _, data, _ in entries.values() if len(data) > 4)
    first, blobs = _directory({**entries, 0x8825: (4, struct.pack("<I", second), 1)}, base)
    placed, more = _directory(gps, second + 2 + 12 * len(gps) + 4)
    tiff = b"II*\0" + struct.pack("<I", 8) + first + blobs + placed + more
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


def _directory(entries: dict[int, tuple[int, bytes, int]], free: int) -> tuple[bytes, bytes]:
    rows, blobs = b"", b""
    for tag, (kind, data, count) in sorted(entries.items()):
        if len(data) > 4:
            rows += struct.pack("<HHII", tag, kind, count, free + len(blobs))
            blobs += data
        else:
            rows += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack("<H", len(entries)) + rows + bytes(4), blobs


def _text(text: str) -> tuple[int, bytes, int]:
    return 2, text.encode() + b"\0", len(text) + 1


def _degrees(*parts: tuple[int, int]) -> tuple[int, bytes, int]:
    return 5, b"".join(struct.pack("<II", *part) for part in parts), len(parts)


def test_a_photograph_tells_camera_time_and_place(prober, tmp_path):
    plain = footage.jpeg(tmp_path / "a.jpg").read_bytes()
    entries = {
        0x010F: _text("Example"),
        0x0110: _text("BC-1\x1b[2J"),
        0x9003: _text("2026:03:04 05:06:07"),
        0x9011: _text("+08:00"),
    }
    gps = {
        1: _text("N"),
        2: _degrees((28, 1), (31, 1), (147, 25)),
        3: _text("E"),
        4: _degrees((112, 1), (9, 1), (504, 25)),
    }
    path = tmp_path / "b.jpg"
    path.write_bytes(plain[:2] + _exif(entries, gps) + plain[2:])
    facts = prober.describe(path, "IMG_0001.JPG")
    assert (facts.media, facts.condition, facts.facts["checked"]) == ("image", "whole", "decoded")
    assert facts.facts["exif"]["make"] == "Example"
    assert facts.facts["gps"]["first"] == {"lat": "28.5183000", "lon": "112.1556000"}
    start = facts.facts["start"]
    assert (start["at"], start["source"], start["confidence"]) == ("2026-03-04T05:06:07+08:00", "exif", "high")
    assert facts.facts["streams"] == [{"index": 0, "kind": "image", "codec": "jpeg", "width": 704, "height": 396}]


def test_broken_exif_is_no_exif_and_no_damage(prober, tmp_path):
    plain = footage.jpeg(tmp_path / "a.jpg").read_bytes()
    segment = b"Exif\0\0II*\0" + b"\xff" * 60
    path = tmp_path / "b.jpg"
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
    assert prober.describe(path, "b.jpg").condition == "whole"
