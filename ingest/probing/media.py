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
from av.stream import Disposition

from ingest.probing.picture import FAULTS, PIXELS_MAX, FirstPicture, decodes_sound, fault, is_known
from ingest.probing.position import Point, parse_iso_6709, parse_nmea

if TYPE_CHECKING:
    from fractions import Fraction

    from ingest.probing.sniff import Kind

TOOLS = {"av": av.__version__, "ffmpeg": ".".join(map(str, av.library_versions["libavformat"]))}
STREAMS_MAX = 32
TAGS_MAX = 32
TEXT_MAX = 300  # characters of one tag
TRACK_TEXT_MAX = 4 << 20  # of a text track that is searched for positions
# Containers whose index we did not check, or that have none: read to the end.
_WALKED = frozenset(
    {
        "mpegts",
        "mpeg",
        "matroska",
        "flv",
        "asf",
        "mp3",
        "aac",
        "amr",
        "ogg",
        "flac",
        "dhav",
        "h264",
        "hevc",
        "mpegvideo",
    }
)
# What an unknown container may be tried as, when its name claims footage. None of these opens another file.
_TRIED = "mov,mp4,matroska,avi,mpegts,mpeg,flv,asf,dhav,h264,hevc,m4v,mpegvideo,wtv,mxf,rm,nut,gxf,ivf,ifv,hxvs,kux,swf"
_EXACT = ("pcm_s", "pcm_u", "pcm_f", "flac", "alac")  # codecs whose samples have as many bits as the decoder gives
_CORRUPT_TOLD = "dropped or broken packets"


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
    except FAULTS as err:
        found.reason = f"it cannot be opened ({fault(err)})"
        return found
    with container:
        _describe(container, found, kind)
        try:
            _Walk(container, found, until, whole=kind.demuxer in _WALKED or not kind.demuxer).run()
        except FAULTS as err:
            name = fault(err)
            found.reason = found.reason or f"it cannot be read to its end ({name})"
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
        "id": stream.id,
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


class _Walk:
    """Reads packets: until the first picture is decoded, or to the end of the file."""

    def __init__(self, container: av.container.InputContainer, found: Look, until: float, *, whole: bool) -> None:
        self._container = container
        self._found = found
        self._until = until
        self._whole = whole
        videos = [s for s in container.streams.video if not _is_cover(s)]
        self._picture = FirstPicture(videos[0]) if videos else None
        known = [stream for stream in container.streams.audio if is_known(stream)]
        self._sound = known[0] if known and not videos else None
        self._heard = False
        self._texts = [s for s in container.streams if s.type in {"subtitle", "data"}][:4]
        self._text = bytearray()
        self._corrupt = 0
        self._corrupt_at = ""
        # Where no header tells the duration: first and last time of each stream, in its own ticks.
        self._spans: dict[int, tuple[int, int]] = {}
        self._timed = {} if found.duration_ms else {s.index: s.time_base for s in container.streams if s.time_base}

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
            lengths = [(last - first) * self._timed[index] for index, (first, last) in self._spans.items()]
            found.duration_ms = found.duration_ms or int(max(lengths, default=0) * 1000)
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
            self._heard = decodes_sound(packet)
        if stream in self._texts and len(self._text) < TRACK_TEXT_MAX:
            self._text += bytes(packet) + b"\n"
        if packet.is_corrupt:
            self._corrupt += 1
            self._corrupt_at = self._corrupt_at or _moment(packet)
        if stream.index in self._timed and packet.pts is not None:
            first, last = self._spans.get(stream.index, (packet.pts, packet.pts))
            self._spans[stream.index] = (min(first, packet.pts), max(last, packet.pts + (packet.duration or 0)))

    def _is_enough(self) -> bool:
        return self._picture.decided if self._picture is not None else self._heard


def _moment(packet: Any) -> str:
    stamp = packet.pts if packet.pts is not None else packet.dts
    return f"{float(stamp * packet.time_base):.1f} s" if stamp is not None and packet.time_base else "an unknown time"


def _rational(value: Fraction | None) -> str:
    return f"{value.numerator}/{value.denominator}" if value else ""
