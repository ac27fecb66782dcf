"""What kind of file is this? By its first bytes, else by its name. Pure.

A signature beats a name; text is the one weak signature, and loses against a name that claims footage.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.probing.structure.audio import adts_frame_bytes, id3_bytes, mp3_frame_bytes
from ingest.probing.structure.mpeg import packet_bytes

if TYPE_CHECKING:
    from vault.model import MediaType

HEAD_BYTES = 4096  # what `sniff` wants to see


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A format: our short name for it, what it usually holds, and FFmpeg's name of its demuxer (none: never demuxed)."""

    name: str
    media: MediaType
    demuxer: str = ""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="mp4", media="video", demuxer="mp4"),
        Kind(name="mov", media="video", demuxer="mov"),
        Kind(name="3gp", media="video", demuxer="mp4"),
        Kind(name="m4a", media="audio", demuxer="mp4"),
        Kind(name="mkv", media="video", demuxer="matroska"),
        Kind(name="webm", media="video", demuxer="matroska"),
        Kind(name="avi", media="video", demuxer="avi"),
        Kind(name="mpegts", media="video", demuxer="mpegts"),
        Kind(name="mpegps", media="video", demuxer="mpeg"),
        Kind(name="flv", media="video", demuxer="flv"),
        Kind(name="asf", media="video", demuxer="asf"),
        Kind(name="dhav", media="video", demuxer="dhav"),
        Kind(name="h264", media="video", demuxer="h264"),
        Kind(name="hevc", media="video", demuxer="hevc"),
        Kind(name="mpegvideo", media="video", demuxer="mpegvideo"),
        Kind(name="wav", media="audio", demuxer="wav"),
        Kind(name="mp3", media="audio", demuxer="mp3"),
        Kind(name="aac", media="audio", demuxer="aac"),
        Kind(name="amr", media="audio", demuxer="amr"),
        Kind(name="ogg", media="audio", demuxer="ogg"),
        Kind(name="flac", media="audio", demuxer="flac"),
        Kind(name="jpeg", media="image"),
        Kind(name="png", media="image"),
        Kind(name="gif", media="image"),
        Kind(name="bmp", media="image"),
        Kind(name="webp", media="image"),
        Kind(name="tiff", media="image"),
        Kind(name="heic", media="image"),
        Kind(name="avif", media="image"),
        Kind(name="pdf", media="document"),
        Kind(name="office", media="document"),
        Kind(name="ole", media="document"),
        Kind(name="rtf", media="document"),
        Kind(name="text", media="document"),
        Kind(name="zip", media="other"),
        Kind(name="gzip", media="other"),
        Kind(name="7z", media="other"),
        Kind(name="rar", media="other"),
        Kind(name="sqlite", media="other"),
    )
}
UNKNOWN = Kind(name="", media="other")

# Extension -> kind: what a name without a helpful signature claims.
_EXTENSIONS: dict[str, str] = {
    **dict.fromkeys(("mp4", "m4v", "f4v"), "mp4"),
    **dict.fromkeys(("mov", "qt"), "mov"),
    **dict.fromkeys(("3gp", "3g2"), "3gp"),
    **dict.fromkeys(("m4a", "m4b"), "m4a"),
    **dict.fromkeys(("mkv", "mka"), "mkv"),
    **dict.fromkeys(("ts", "mts", "m2ts", "m2t", "tp"), "mpegts"),
    **dict.fromkeys(("mpg", "mpeg", "ps", "vob", "m2p"), "mpegps"),
    **dict.fromkeys(("wmv", "asf", "wma"), "asf"),
    **dict.fromkeys(("h264", "264", "avc"), "h264"),
    **dict.fromkeys(("h265", "265", "hevc"), "hevc"),
    **dict.fromkeys(("ogg", "oga", "ogv", "opus"), "ogg"),
    **dict.fromkeys(("jpg", "jpeg", "jpe"), "jpeg"),
    **dict.fromkeys(("tif", "tiff"), "tiff"),
    **dict.fromkeys(("heic", "heif"), "heic"),
    **dict.fromkeys(("docx", "xlsx", "pptx", "odt", "ods", "ofd"), "office"),
    **dict.fromkeys(("doc", "xls", "ppt", "wps"), "ole"),
    **dict.fromkeys(("txt", "log", "csv", "xml", "json", "htm", "html", "srt", "nmea", "gpx", "md", "ini"), "text"),
    "dav": "dhav",
    "gz": "gzip",
    **{
        name: name
        for name in (
            "webm", "avi", "flv", "wav", "mp3", "aac", "amr", "flac", "png", "gif", "bmp", "webp", "avif", "pdf",
            "rtf", "zip", "7z", "rar",
        )
    },
}  # fmt: skip

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"FLV\1", "flv"),
    (b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (b"DHAV", "dhav"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"#!AMR", "amr"),
    (b"%PDF-", "pdf"),
    (b"{\\rtf", "rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"SQLite format 3\0", "sqlite"),
    (b"\0\0\1\xba", "mpegps"),
    (b"IMKH", "mpegps"),  # a program stream behind 40 bytes of one maker
)
_RIFF = {b"AVI ": "avi", b"WAVE": "wav", b"WEBP": "webp"}
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "heic"),
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"M4A ", b"M4B "), "m4a"),
    b"qt  ": "mov",
}
_TOP_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof", b"sidx"})


def by_name(name: str) -> Kind:
    """Return what the extension claims, else UNKNOWN."""
    extension = name.rpartition("/")[2].rpartition(".")[2].lower()
    return KINDS.get(_EXTENSIONS.get(extension, ""), UNKNOWN)


def sniff(head: bytes) -> Kind:
    """Return what the first bytes say, else UNKNOWN."""
    for prefix, name in _PREFIXES:
        if head.startswith(prefix):
            return KINDS[name]
    for find in (_boxes, _riff, _ebml, _archive, _bitmap, _stream, _sound, _text):
        if name := find(head):
            return KINDS[name]
    return UNKNOWN


def _boxes(head: bytes) -> str:
    if head[4:8] not in _TOP_BOXES:
        return ""
    if head[4:8] != b"ftyp":
        return "mov" if head[4:8] in {b"wide", b"pnot", b"moov"} else "mp4"
    return _BRANDS.get(head[8:12], "3gp" if head[8:10] == b"3g" else "mp4")


def _riff(head: bytes) -> str:
    return _RIFF.get(head[8:12], "") if head[:4] in {b"RIFF", b"RF64"} else ""


def _ebml(head: bytes) -> str:
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return ""
    return "webm" if b"webm" in head[:64] else "mkv"


def _archive(head: bytes) -> str:
    if not head.startswith(b"PK\3\4"):
        return ""
    documents = (
        b"[Content_Types].xml",
        b"mimetypeapplication/vnd.oasis",
        b"word/",
        b"xl/",
        b"ppt/",
        b"_rels/",
        b"OFD.xml",
    )
    return "office" if any(mark in head for mark in documents) else "zip"


def _bitmap(head: bytes) -> str:
    # "BM" alone begins many a text: the header's length and its reserved zeros must fit too.
    fits = (
        head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and head[14:18] in {b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"}
    )
    return "bmp" if fits else ""


def _stream(head: bytes) -> str:
    if packet_bytes(head)[0]:
        return "mpegts"
    start = re.match(rb"\x00{2,3}\x01(.)", head, re.DOTALL)
    if start is None:
        return ""
    unit = start[1][0]
    if unit & 0x9F in {0x07, 0x09}:  # H.264: a sequence parameter set or a delimiter
        return "h264"
    return {0x40: "hevc", 0x42: "hevc", 0x46: "hevc", 0xB3: "mpegvideo"}.get(unit, "")


def _sound(head: bytes) -> str:
    if id3_bytes(head):
        return "mp3"
    for name, frame_bytes in (("mp3", mp3_frame_bytes), ("aac", adts_frame_bytes)):
        at = frames = 0
        while frames < 3 and (length := frame_bytes(head[at : at + 8])):
            at, frames = at + length, frames + 1
        # Eleven bits are no signature; three frames that follow each other are, or two that fill what we see.
        if frames == 3 or (frames == 2 and at >= len(head) - 8):
            return name
    return ""


def _text(head: bytes) -> str:
    if not head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text" if len(head) > 2 else ""
    if any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head) or b"\x7f" in head:
        return ""
    for encoding in ("utf-8", "gb18030"):
        for cut in range(4):  # the head may end inside a character
            try:
                head[: len(head) - cut].decode(encoding)
            except UnicodeDecodeError:
                continue
            return "text"
    return ""
