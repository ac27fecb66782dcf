"""The issue's "truncated, unreadable or zero-byte media = damaged", and no sound file may be called damaged."""

import functools
import struct
import zlib
from pathlib import Path

import av
import footage
import pytest

from ingest.probing.probe import Prober
from ingest.probing.structure import BytesSource, check

OTHERS = {
    "hevc.mp4": functools.partial(footage.hevc_mp4, seconds=1),
    "g711.mov": footage.mp4_g711,
    "clip.ts": footage.ts,
    "clip.mkv": footage.mkv,
    "clip.flv": footage.flv,
    "g711.avi": footage.avi_h264_alaw,
    "mjpeg.avi": footage.avi_mjpeg_pcm,
    "mpeg4.avi": footage.avi_mpeg4_mp3,
    "mpeg2.mpg": footage.ps_mpeg2,
    "city.mpg": footage.city,
    "g711.mpg": footage.ps_h264_g711,
    "voice.wav": footage.wav,
    "voice.mp3": footage.mp3,
    "photo.jpg": footage.jpeg,
}
WHOLE = {**{f"{name}.mp4": make for name, make in footage.MP4_VARIANTS.items()}, **OTHERS}
MEDIA = {"wav": "audio", "mp3": "audio", "jpg": "image"}


@pytest.fixture(scope="module")
def prober():
    with Prober(workers=1) as prober:
        yield prober


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")

    @functools.cache
    def make(name: str) -> Path:
        path: Path = folder / name
        WHOLE[name](path)
        return path

    return make


def _changed(path: Path, folder: Path, data: bytes) -> Path:
    copy = folder / path.name
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("name", WHOLE)
def test_a_sound_file_is_whole(prober, clip, name):
    facts = prober.describe(clip(name), name)
    assert (facts.condition, facts.reason) == ("whole", "")
    assert "probe" not in facts.facts
    assert facts.media == ("audio" if name == "audio_only.mp4" else MEDIA.get(name[-3:], "video"))


@pytest.mark.parametrize("share", [0.02, 0.4, 0.97])
@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_off_is_damaged(prober, clip, tmp_path, name, share):
    data = clip(name).read_bytes()
    facts = prober.describe(_changed(clip(name), tmp_path, data[: int(len(data) * share)]), name)
    assert facts.condition == "damaged"
    assert facts.facts["reason"] == facts.reason != ""


# A voice recorder's silence is zeros too, and an MP3 shorter than our window of zeros has none.
@pytest.mark.parametrize("name", sorted(set(WHOLE) - {"voice.wav", "voice.mp3"}))
def test_a_file_that_ends_in_zeros_is_damaged(prober, clip, tmp_path, name):
    data = clip(name).read_bytes()
    kept = len(data) // 2
    facts = prober.describe(_changed(clip(name), tmp_path, data[:kept] + bytes(len(data) - kept)), name)
    assert facts.condition == "damaged"


@pytest.mark.parametrize("name", WHOLE)
def test_an_empty_file_is_damaged_and_keeps_its_kind(prober, tmp_path, name):
    facts = prober.describe(_changed(Path(name), tmp_path, b""), name)
    assert (facts.media, facts.condition, facts.reason) == (
        MEDIA.get(name[-3:], "video"),
        "damaged",
        "the file is empty",
    )


@pytest.mark.parametrize(
    "data", [bytes(4096), b"\x5a" * 4096, b"This is no clip.\n" * 50], ids=["zeros", "noise", "text"]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.ts", "a.mkv", "a.wav", "a.mp3", "a.jpg", "a.png"])
def test_what_is_named_as_footage_but_is_none_is_damaged(prober, tmp_path, name, data):
    facts = prober.describe(_changed(Path(name), tmp_path, data), name)
    assert (facts.condition, facts.media) == ("damaged", MEDIA.get(name[-3:], "image" if name == "a.png" else "video"))
    assert "named as" in facts.reason


@pytest.mark.parametrize(
    ("name", "data", "media"),
    [
        ("notes.txt", "现场笔录".encode(), "document"),
        ("notes.txt", "现场笔录".encode("gb18030"), "document"),
        ("device.log", b"2026-03-04 05:06:07 power on\r\n", "document"),
        ("index.dat", b"\x00\x01\x02\x03" * 100, "other"),
        ("noextension", bytes(100), "other"),
        ("archive.zip", b"PK\x03\x04" + bytes(30) + b"PK\x05\x06" + bytes(18), "other"),
    ],
)
def test_files_that_promise_nothing_are_whole(prober, tmp_path, name, data, media):
    facts = prober.describe(_changed(Path(name), tmp_path, data), name)
    assert (facts.media, facts.condition) == (media, "whole")


def test_the_content_decides_before_the_name(prober, clip, tmp_path):
    picture = clip("photo.jpg")
    facts = prober.describe(picture, "DCIM/clip.mp4")
    assert (facts.media, facts.condition, facts.facts["named_as"]) == ("image", "whole", "mp4")
    bare = _changed(Path("copy-without-extension"), tmp_path, clip("clip.mkv").read_bytes())
    assert prober.describe(bare, "").media == "video"


@pytest.mark.parametrize("spared", [0, 600, 4000], ids=["all", "but its header", "its lower part"])
def test_a_first_picture_that_does_not_decode_is_damage(prober, clip, tmp_path, spared):
    data = bytearray(clip("moov_first.mp4").read_bytes())
    with av.open(str(clip("moov_first.mp4"))) as container:
        first = next(container.demux(video=0))
        start, end = first.pos, first.pos + first.size
    data[start + spared : end] = b"\x01" * (end - start - spared)
    facts = prober.describe(_changed(Path("a.mp4"), tmp_path, bytes(data)), "a.mp4")
    assert facts.condition == "damaged"
    assert "picture" in facts.reason


def test_many_are_answered_in_order(clip):
    names = ["photo.jpg", "moov_last.mp4", "voice.wav"] * 20
    with Prober(workers=2) as prober:
        found = prober.describe_many([(clip(name), name) for name in names])
        assert prober.describe_many([]) == []
    assert [facts.media for facts in found] == ["image", "video", "audio"] * 20


# --- structure alone: what cannot be made with an encoder --------------------------------------------------------


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _box(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


def _tiff() -> bytes:
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (273, 4, 1, 100), (279, 4, 1, 4)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return (b"II*\0" + struct.pack("<I", 8) + directory).ljust(100, b"\0") + b"data"


def _adts(count: int = 3, length: int = 20) -> bytes:
    head = bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(length - 7)) * count


def _ogg(data: bytes) -> bytes:
    return b"OggS\0\4" + bytes(20) + bytes([1, len(data)]) + data


def _flv() -> bytes:
    tag = b"\x12" + (5).to_bytes(3, "big") + bytes(7) + b"hello"
    return b"FLV\1\5\0\0\0\x09" + bytes(4) + tag + struct.pack(">I", len(tag))


PNG = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + _chunk(b"IEND", b"")
MKV_OPEN = bytes.fromhex("1a45dfa3801853806701ffffffffffffff1f43b67501ffffffffffffffe78100a38481000000")
BUILT = {
    "png": PNG,
    "gif": b"GIF89a" + struct.pack("<HH", 1, 1) + bytes(3) + b";",
    "bmp": b"BM" + struct.pack("<IIIIii", 30, 0, 26, 40, 1, -1) + bytes(4),
    "tiff": _tiff(),
    "pdf": b"%PDF-1.4\n...\n%%EOF\n",
    "zip": b"PK\3\4" + bytes(30) + b"PK\5\6" + bytes(18),
    "aac": _adts(),
    "amr": b"#!AMR\n" + (b"\x3c" + bytes(31)) * 3,
    "ogg": _ogg(b"sound"),
    "flv": _flv(),
    "mkv": MKV_OPEN,
    "dhav": b"DHAV" + bytes(8) + b"dhav" + struct.pack("<I", 20),
    "heic": _box(b"ftyp", b"heic" + bytes(4)) + _box(b"meta", bytes(20)) + _box(b"mdat", b"picture"),
    "wav": b"RIFF"
    + struct.pack("<I", 44)
    + b"WAVEfmt "
    + struct.pack("<I", 16)
    + bytes(16)
    + b"data\x08\0\0\0"
    + bytes(8),
    "webp": b"RIFF" + struct.pack("<I", 12) + b"WEBPVP8 " + bytes(4),
}


@pytest.mark.parametrize("kind", BUILT)
def test_a_built_file_is_whole_and_its_last_byte_is_missed(kind):
    data = BUILT[kind]
    assert check(kind, BytesSource(data)).reason == ""
    missed = {"pdf": 3, "tiff": 1}.get(kind, 1)
    assert check(kind, BytesSource(data[:-missed])).reason != ""


def test_a_flipped_bit_in_a_png_is_seen():
    data = bytearray(PNG)
    data[20] ^= 1
    assert "checksum" in check("png", BytesSource(bytes(data))).reason


def test_a_program_stream_may_be_padded_after_its_end_code():
    pack = b"\0\0\1\xba\x44" + bytes(8) + b"\xf8"
    packet = b"\0\0\1\xe0" + struct.pack(">H", 10) + b"0123456789"
    assert check("mpegps", BytesSource(pack + packet + b"\0\0\1\xb9")).reason == ""
    assert check("mpegps", BytesSource(pack + packet + b"\0\0\1\xb9" + bytes(500))).reason == ""
    assert (
        check("mpegps", BytesSource(pack + packet + bytes(500))).reason
        == "only zeros at byte 30, where a packet must begin"
    )


def test_room_reserved_after_the_index_is_no_damage(clip):
    data = clip("moov_last.mp4").read_bytes()
    verdict = check("mp4", BytesSource(data + bytes(10_000)))
    assert (verdict.reason, verdict.notes["zeros_from"]) == ("", len(data))
