"""A hostile file may be described wrongly; it may not take the service down, nor long, nor much memory."""

import random
import resource
import struct
import time
import zlib

import footage
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.names import parse_name
from ingest.probing.probe import Prober
from ingest.probing.sniff import KINDS, sniff
from ingest.probing.structure import CHECKS, BytesSource, check

SEEDS = {
    "a.mp4": footage.h264_aac_mp4,
    "fragmented.mp4": footage.fragmented,
    "a.ts": footage.ts,
    "a.mkv": footage.mkv,
    "a.flv": footage.flv,
    "a.avi": footage.avi_h264_alaw,
    "a.mpg": footage.ps_h264_g711,
    "a.wav": footage.wav,
    "a.mp3": footage.mp3,
}


@pytest.fixture(scope="module")
def prober():
    with Prober(workers=1, deadline_s=20) as prober:
        yield prober


def _box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def _full(kind: bytes, *numbers: int, data: bytes = b"") -> bytes:
    return _box(kind, bytes(4) + b"".join(struct.pack(">I", number) for number in numbers) + data)


def _movie(*, samples: int, uniform: int, chunks: int = 1, per_chunk: int | None = None) -> bytes:
    """An MP4 of one H.264 track whose tables claim what they like."""
    coding = _box(b"avc1", bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", 640, 480) + bytes(50))
    table = (
        _full(b"stsd", 1, data=coding)
        + _full(b"stts", 1, samples, 512)
        + _full(b"stsc", 1, 1, samples if per_chunk is None else per_chunk, 1)
        + _full(b"stsz", uniform, samples)
        + _full(b"stco", chunks, data=struct.pack(">I", 48) * min(chunks, 4))
    )
    media = (
        _full(b"mdhd", 0, 0, 12800, 512, 0)
        + _full(b"hdlr", 0, data=b"vide" + bytes(13))
        + _box(b"minf", _box(b"stbl", table))
    )
    header = _full(
        b"tkhd", 0, 0, 1, 0, 512, data=bytes(16) + struct.pack(">9I", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    )
    moov = _box(
        b"moov", _full(b"mvhd", 0, 0, 1000, 1000, data=bytes(80)) + _box(b"trak", header + _box(b"mdia", media))
    )
    return _box(b"ftyp", b"isom" + bytes(4)) + _box(b"mdat", bytes(100)) + moov


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _jpeg(template: bytes, width: int, height: int) -> bytes:
    at = template.index(b"\xff\xc0") + 5
    return template[:at] + struct.pack(">HH", height, width) + template[at + 4 :]


def _mkv_nested(depth: int) -> bytes:
    body = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7
    return body + (b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7) * depth


def _bombs(tmp_path):
    picture = footage.jpeg(tmp_path / "seed.jpg").read_bytes()
    deep = b""
    for _ in range(5000):
        deep = _box(b"trak", deep)
    return {
        "a billion samples of one byte.mp4": _movie(samples=10**9, uniform=1),
        "a billion samples without a table.mp4": _movie(samples=10**9, uniform=0),
        "a billion chunks.mp4": _movie(samples=4, uniform=1, chunks=10**9),
        "ninety million samples in one byte.mp4": _movie(samples=90_000_000, uniform=0, per_chunk=1),
        "tracks in tracks.mp4": _box(b"ftyp", b"isom" + bytes(4)) + _box(b"moov", deep),
        "huge.png": _png(1 << 31, 1 << 31),
        "bomb.png": _png(60_000, 60_000, zlib.compress(bytes(50 << 20), 9)),
        "huge.jpg": _jpeg(picture, 65_500, 65_500),
        "no size.jpg": _jpeg(picture, 0, 0),
        "a tag of 256 MB.mp3": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(100),
        "clusters without end.mkv": _mkv_nested(200_000),
        "boxes without end.mp4": _box(b"ftyp", b"isom" + bytes(4)) + _box(b"free") * 420_000,
        "markers without end.jpg": b"\xff\xd8" + b"\xff\xe0\x00\x02" * 200_000,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "start codes.h264": b"\0\0\0\1\x67" * 20_000,
        "sync bytes.ts": (b"\x47" + bytes(187)) * 20_000,
        "pack headers.mpg": (b"\0\0\1\xba\x44" + bytes(8) + b"\xf8") * 50_000,
    }


def test_bombs_cost_bounded_time_and_memory_and_leave_the_service_well(prober, tmp_path):
    sound = footage.h264_aac_mp4(tmp_path / "sound.mp4", seconds=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in _bombs(tmp_path).items():
        path = tmp_path / "bomb"
        path.write_bytes(data)
        started = time.monotonic()
        facts = prober.describe(path, name)
        assert time.monotonic() - started < 120, name  # three deadlines of the prober; minutes where a bomb works
        assert rfc8785.dumps(facts.facts)
        assert facts.condition == "damaged" or name.endswith((".png", "bytes.ts", "headers.mpg")) or "size" not in name
        assert prober.describe(sound, "sound.mp4").condition == "whole"
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 300 << 10  # the test holds the bombs itself; a decoder's gigabytes would show


def test_a_small_memory_limit_suffices_for_small_files(tmp_path):
    with Prober(workers=1, memory_bytes=256 << 20) as prober:
        for name, make in {**SEEDS, "a.jpg": footage.jpeg}.items():
            facts = prober.describe(make(tmp_path / name), name)
            assert (facts.condition, "probe" in facts.facts) == ("whole", False), name


def test_no_file_makes_the_prober_open_another(prober, tmp_path):
    for name in ("playlist.mp4", "concat.mp4", "list.m3u8", "list.ts"):
        path = tmp_path / "list"
        path.write_bytes(b"ffconcat version 1.0\nfile /etc/passwd\n" if "concat" in name else b"#EXTM3U\n/etc/passwd\n")
        facts = prober.describe(path, name)
        assert facts.media != "video" or facts.condition == "damaged"
        assert "streams" not in facts.facts


@pytest.mark.parametrize("name", SEEDS)
def test_fuzzed_headers_are_described_in_peace(prober, tmp_path, name):
    data = SEEDS[name](tmp_path / name, seconds=1).read_bytes()
    dice = random.Random(name)  # noqa: S311 # seeded on purpose
    files = []
    for number in range(24):
        path = tmp_path / str(number)
        path.write_bytes(_mutated(data, dice))
        files.append((path, name))
    for facts in prober.describe_many(files):
        assert rfc8785.dumps(facts.facts)
        assert (facts.condition == "damaged") == bool(facts.reason)
    whole = tmp_path / "whole"
    whole.write_bytes(data)
    assert prober.describe(whole, name).condition == "whole"


def _mutated(data: bytes, dice: random.Random) -> bytes:
    """Change a header or an index, where parsers decide: most of it lies at the two ends."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 2, 8, 40))):
        at = dice.choice((dice.randrange(min(600, len(data))), len(data) - 1 - dice.randrange(min(4000, len(data)))))
        match dice.randrange(4):
            case 0:
                changed[at : at + 1] = dice.randbytes(1)
            case 1:
                changed[at : at + 4] = dice.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
            case 2:
                del changed[at : at + dice.randrange(1, 64)]
            case _:
                changed[at:at] = dice.randbytes(dice.randrange(1, 64))
    return bytes(changed)


def test_the_checks_end_on_anything(tmp_path):
    """Structure alone, thousands of times: no error of ours, no endless loop."""
    dice = random.Random(7)  # noqa: S311 # seeded on purpose
    kinds = {"a.mpg": "mpegps", "a.ts": "mpegts", "fragmented.mp4": "mp4"}
    for name, make in SEEDS.items():
        data = make(tmp_path / name, seconds=1).read_bytes()
        kind = kinds.get(name, name.rpartition(".")[2])
        for _ in range(150):
            verdict = check(kind, BytesSource(_mutated(data, dice)))
            assert verdict.reason.isprintable()


@settings(max_examples=300)
@given(st.sampled_from(sorted(CHECKS)), st.binary(max_size=200))
def test_any_bytes_are_judged(kind, data):
    assert check(kind, BytesSource(data)).reason.isprintable()
    assert sniff(data).name in KINDS or sniff(data).name == ""
    assert parse_name(data.decode("latin-1")).scheme
