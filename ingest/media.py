"""Sound and moving pictures through FFmpeg, in the child only: what a container holds, and whether its picture decodes.

The demuxer is forced by the signature, so that a file cannot choose one that opens other files (playlists, concat);
only local files are opened, and dimensions are bounded before a decoder allocates for them.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from ingest.position import Point, parse_iso_6709, parse_nmea

if TYPE_CHECKING:
    from fractions import Fraction

    from ingest.sniff import Kind

TOOLS = {"av": av.__version__, "ffmpeg": ".".join(map(str, av.library_versions["libavformat"]))}
PIXELS_MAX = 72_000_000  # of one picture: 8K twice over; a picture then takes about 108 MB
FIRST_PICTURE_PACKETS = 600  # until one decodes: ten seconds at 60 pictures a second, longer than any usual GOP
STREAMS_MAX = 32
TAGS_MAX = 32
TEXT_MAX = 300  # characters of one tag
TRACK_TEXT_MAX = 4 << 20  # of a text track that is searched for positions
# Containers whose index we did not check, or that have none: read to the end.
_WALKED = frozenset(
    {"mpegts", "mpeg", "matroska", "flv", "asf", "mp3", "aac", "amr", "ogg", "flac", "dhav", "h264", "hevc"}
)
# What an unknown container may be tried as, when its name claims footage. None of these opens another file.
_TRIED = "mov,mp4,matroska,avi,mpegts,mpeg,flv,asf,dhav,h264,hevc,m4v,mpegvideo,wtv,mxf,rm,nut,gxf,ivf,ifv,hxvs,kux,swf"
_EXACT = ("pcm_s", "pcm_u", "pcm_f", "flac", "alac")  # codecs whose samples have as many bits as the decoder gives
_CORRUPT_TOLD = "dropped or broken packets"
_FAULTS = (FFmpegError, ValueError, TypeError, AttributeError, OverflowError, EOFError)


@dataclass(slots=True)
class Look:
    """What was found in one container."""

    container: str = ""
    streams: list[dict[str, Any]] = field(default_factory=list)
    duration_ms: int = 0
    bit_rate: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    position: Point | None = None
    checked: str = "structure"  # "demuxed": every packet was read; "partly": time ran out
    reason: str = ""

    def has(self, kind: str) -> bool:
        """Say whether there is a stream of that kind."""
        return any(stream["kind"] == kind for stream in self.streams)


def look(path: str, kind: Kind, *, budget_s: float) -> Look:
    """Open a container, describe its streams, decode the first picture, and read it to the end where that is due."""
    found = Look(container=kind.name)
    until = time.monotonic() + budget_s
    options = {"protocol_whitelist": "file", "max_streams": str(STREAMS_MAX), "max_pixels": str(PIXELS_MAX)}
    if not kind.demuxer:
        options["format_whitelist"] = _TRIED
    try:
        container = av.open(f"file:{path}", format=kind.demuxer or None, options=options, metadata_errors="replace")
    except _FAULTS as err:
        found.reason = f"it cannot be opened ({_fault(err)})"
        return found
    with container:
        _describe(container, found, kind)
        walk = _Walk(container, found, until, whole=kind.demuxer in _WALKED or not kind.demuxer)
        try:
            walk.run()
        except _FAULTS as err:
            fault = _fault(err)
            found.reason = found.reason or f"it cannot be read to its end ({fault})"
    return found


def _describe(container: av.container.InputContainer, found: Look, kind: Kind) -> None:
    found.container = kind.name or container.format.name.partition(",")[0]
    if container.duration is not None and container.duration > 0:
        found.duration_ms = container.duration // 1000
    found.bit_rate = max(0, container.bit_rate or 0)
    pairs = list(container.metadata.items())[:TAGS_MAX]
    found.tags = {str(name)[:64]: str(value)[:TEXT_MAX] for name, value in pairs}
    for name in ("com.apple.quicktime.location.ISO6709", "location", "location-eng"):
        found.position = found.position or parse_iso_6709(container.metadata.get(name, ""))
    found.streams = [_stream(stream) for stream in list(container.streams)[:STREAMS_MAX]]


def _stream(stream: Any) -> dict[str, Any]:
    context = getattr(stream, "codec_context", None)
    codec = getattr(context, "codec", None)
    row: dict[str, Any] = {
        "index": stream.index,
        "kind": "image" if _is_cover(stream) else stream.type,
        "codec": getattr(codec, "canonical_name", "") or "unknown",
        "tag": _tag(context),
        "profile": getattr(context, "profile", None) or "",
        "language": "" if stream.language == "und" else stream.language or "",
        "handler": stream.metadata.get("handler_name", "")[:64],
    }
    if stream.type == "video" and context is not None:
        pixels = context.format
        row |= {
            "width": context.width,
            "height": context.height,
            "frame_rate": _rational(stream.average_rate or stream.base_rate),
            "pixels": pixels.name if pixels else "",
            "bits": pixels.components[0].bits if pixels and pixels.components else 0,
            "frames": stream.frames,
        }
    elif stream.type == "audio" and context is not None:
        row |= {
            "sample_rate": context.sample_rate,
            "channels": context.channels,
            "layout": context.layout.name if context.channels else "",
            "bit_rate": context.bit_rate or 0,
            "bits": context.format.bits if context.format and row["codec"].startswith(_EXACT) else 0,
        }
    return {name: value for name, value in row.items() if value or name in {"index", "kind", "codec"}}


def _tag(context: Any) -> str:
    """Return the four characters a container calls the codec by; AVI and TS have numbers instead."""
    tag = getattr(context, "codec_tag", "") if context is not None else ""
    return tag if len(tag) == 4 and tag.isascii() and tag.isprintable() else ""


def _is_cover(stream: Any) -> bool:
    """Say whether a stream is the cover picture of a sound file."""
    return bool(stream.disposition & Disposition.attached_pic)


def _is_known(stream: Any) -> bool:
    """Say whether FFmpeg has a decoder for the stream."""
    return stream.codec_context is not None and stream.codec_context.codec is not None


class _Walk:
    """Reads packets: until the first picture is decoded, or to the end of the file."""

    def __init__(self, container: av.container.InputContainer, found: Look, until: float, *, whole: bool) -> None:
        self._container = container
        self._found = found
        self._until = until
        self._whole = whole
        videos = [s for s in container.streams.video if not _is_cover(s)]
        self._picture = _FirstPicture(videos[0]) if videos else None
        known = [stream for stream in container.streams.audio if _is_known(stream)]
        self._sound = known[0] if known and not videos else None
        self._heard = False
        self._texts = [s for s in container.streams if s.type in {"subtitle", "data"}][:4]
        self._text = bytearray()
        self._corrupt = 0
        self._corrupt_at = ""
        self._first: Fraction | None = None
        self._last: Fraction | None = None

    def run(self) -> None:
        """Read, and put what was learned into the look."""
        ended = self._read(None if self._whole else self._needed())
        if not self._whole and self._texts and ended in {"end", "enough"}:
            self._container.seek(0)
            self._read(self._texts)
        found = self._found
        found.points = list(parse_nmea(self._text.decode("ascii", "replace")))
        if self._whole:
            found.checked = "demuxed" if ended == "end" else "partly"
            if not found.duration_ms and self._first is not None and self._last is not None:
                found.duration_ms = int((self._last - self._first) * 1000)
        if self._picture is not None:
            found.reason = found.reason or self._picture.reason()
        elif self._sound is not None and not self._heard:
            found.reason = found.reason or "no sound can be decoded"
        if self._corrupt:
            found.reason = found.reason or f"{self._corrupt} {_CORRUPT_TOLD}, the first at {self._corrupt_at}"

    def _needed(self) -> list[Any] | None:
        stream = self._picture.stream if self._picture is not None else self._sound
        return [stream] if stream is not None else []

    def _read(self, streams: list[Any] | None) -> str:
        """Return why reading stopped: "end", "enough", "time", or "late" (a stream that no header announced)."""
        if streams == []:
            return "enough"
        packets = self._container.demux(*streams) if streams else self._container.demux()
        for count in itertools.count(1):
            if count % 64 == 0 and time.monotonic() > self._until:
                return "time"
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV knows only the streams that were there when it opened the file
                return "late"
            if packet is None:
                break
            if packet.size == 0:  # the demuxer's flush at the end
                continue
            self._take(packet)
            if not self._whole and streams is not self._texts and self._is_enough():
                return "enough"
        if self._picture is not None:
            self._picture.end()
        return "end"

    def _take(self, packet: Any) -> None:
        stream = packet.stream
        if self._picture is not None and stream is self._picture.stream:
            self._picture.feed(packet)
        elif self._sound is not None and stream is self._sound and not self._heard:
            self._heard = _decodes_sound(packet)
        if stream in self._texts and len(self._text) < TRACK_TEXT_MAX:
            self._text += bytes(packet) + b"\n"
        if packet.is_corrupt:
            self._corrupt += 1
            self._corrupt_at = self._corrupt_at or _moment(packet)
        if packet.pts is not None and packet.time_base is not None and stream.type in {"video", "audio"}:
            begin = packet.pts * packet.time_base
            end = begin + (packet.duration or 0) * packet.time_base
            self._first = begin if self._first is None else min(self._first, begin)
            self._last = end if self._last is None else max(self._last, end)

    def _is_enough(self) -> bool:
        return self._picture.decided if self._picture is not None else self._heard


class _FirstPicture:
    """Does the first picture decode? Packets are fed until one does."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.decided = False
        self._decoder: Any = None
        self._fed = 0
        # A broken packet is no key by its own bytes; the index, where there is one, still says what it was.
        self._first_is_key = len(stream.index_entries) > 0 and bool(stream.index_entries[0].is_keyframe)
        self._shown = False
        self._late = False
        self._known = _is_known(stream)
        self._too_large = self._known and stream.codec_context.width * stream.codec_context.height > PIXELS_MAX

    def feed(self, packet: Any) -> None:
        """Try the packet, by itself first: hidden by an edit or not, it is the first that was recorded."""
        if self.decided:
            return
        if not self._known or self._too_large:
            self.decided = True
            return
        data = bytes(packet)
        if self._fed == 0:
            self._first_is_key = self._first_is_key or packet.is_keyframe
            if _decoded(_decoder(self.stream), [data, None]):
                self._shown = self.decided = True
                return
            self._decoder = _decoder(self.stream)
        self._fed += 1
        if _decoded(self._decoder, [data]):
            self._shown = self._late = self.decided = True
        elif self._fed >= FIRST_PICTURE_PACKETS:
            self.end()

    def end(self) -> None:
        """Take out what the decoder still holds back."""
        if not self.decided:
            self.decided = True
            self._shown = self._late = self._decoder is not None and _decoded(self._decoder, [None])

    def reason(self) -> str:
        """Return what is wrong with the pictures."""
        if self._too_large:
            return "its pictures are too large to be decoded"
        if not self._known:
            return ""
        if not self._shown:
            return "no picture can be decoded"
        # A recording cut out of a ring begins in mid-group: its first packet is no key and nothing is broken.
        return "its first picture cannot be decoded" if self._late and self._first_is_key else ""


def _decoder(stream: Any) -> Any:
    decoder = av.CodecContext.create(stream.codec_context.codec.name, "r")
    decoder.extradata = stream.codec_context.extradata
    decoder.thread_count = 1
    decoder.options = {"max_pixels": str(PIXELS_MAX)}
    if stream.codec_context.width and stream.codec_context.height:
        decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
    if stream.codec_context.codec_tag.strip("\0"):
        decoder.codec_tag = stream.codec_context.codec_tag
    return decoder


def _decoded(decoder: Any, packets: list[bytes | None]) -> bool:
    """Say whether a sound picture came out."""
    try:
        frames = [frame for data in packets for frame in decoder.decode(None if data is None else av.Packet(data))]
    except _FAULTS as err:
        _fault(err)
        return False
    return any(not frame.is_corrupt for frame in frames)


def _decodes_sound(packet: Any) -> bool:
    try:
        return bool(packet.stream.codec_context.decode(packet))
    except _FAULTS as err:
        _fault(err)
        return False


def _moment(packet: Any) -> str:
    stamp = packet.pts if packet.pts is not None else packet.dts
    return f"{float(stamp * packet.time_base):.1f} s" if stamp is not None and packet.time_base else "an unknown time"


def _rational(value: Fraction | None) -> str:
    return f"{value.numerator}/{value.denominator}" if value else ""


def _fault(err: Exception) -> str:
    """Name a fault of the file. Running out of memory is none: the parent must learn of it and judge without a decoder."""
    if isinstance(err, MemoryError):
        raise err
    return type(err).__name__
