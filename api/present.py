"""Figures and facts as people read them: bytes, durations, times, codecs. Pure; words come from the translator.

Facts were found in untrusted files, so every look into them is tolerant: what is missing or odd shows as nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.web.i18n import Translator
    from vault.model import Clip, Digest

BEIJING = timezone(timedelta(hours=8))  # dates of the agencies; China keeps no summer time
_UNPRINTABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNITS = ("KiB", "MiB", "GiB", "TiB")
_CODECS = {
    "h264": "H.264",
    "hevc": "HEVC",
    "mpeg4": "MPEG-4",
    "mpeg2video": "MPEG-2",
    "mpeg1video": "MPEG-1",
    "mjpeg": "MJPEG",
    "av1": "AV1",
    "vp8": "VP8",
    "vp9": "VP9",
    "aac": "AAC",
    "mp3": "MP3",
    "mp2": "MP2",
    "pcm_alaw": "G.711 A",
    "pcm_mulaw": "G.711 µ",
    "pcm_s16le": "PCM",
    "amr_nb": "AMR",
    "ac3": "AC-3",
    "opus": "Opus",
    "flac": "FLAC",
    "png": "PNG",
    "webp": "WebP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a recording began, as far as its file tells."""

    at: datetime | None
    source: str
    confidence: str  # high | medium | low


def printable(text: object) -> str:
    """Return text that can be shown: lone surrogates, controls and direction overrides become U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def size(count: int) -> str:
    """Return bytes in the unit people use, powers of 1024."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    value = count / 1024**power
    return f"{value:.0f} {_UNITS[power - 1]}" if value >= 100 else f"{value:.1f} {_UNITS[power - 1]}"


def duration(seconds: float | None) -> str:
    """Return `m:ss` or `h:mm:ss`; tenths below ten seconds."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"0:{seconds:04.1f}"
    whole = int(seconds + 0.5)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def moment(at: datetime | None) -> str:
    """Return date and time to the second in Beijing time."""
    return "" if at is None else f"{at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"


def short(digest: Digest, characters: int = 10) -> str:
    """Return the beginning of a digest."""
    return digest.hex[:characters]


def grouped(hexadecimal: str) -> list[str]:
    """Return a digest in groups of eight, for reading aloud and comparing."""
    return [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]


def start(clip: Clip) -> Start:
    """Return when the recording began, with source and confidence."""
    facts = _mapping(clip.facts.get("start"))
    return Start(
        at=clip.started_at,
        source=str(facts.get("source", "unknown")),
        confidence=str(facts.get("confidence", "low")),
    )


def codec(name: object) -> str:
    """Return a codec's usual name."""
    return _CODECS.get(str(name), printable(name).upper())


def streams(clip: Clip, kind: str) -> list[Mapping[str, Any]]:
    """Return the streams of one kind: video, audio, image, data."""
    found = clip.facts.get("streams")
    return [s for s in found if isinstance(s, dict) and s.get("kind") == kind] if isinstance(found, list) else []


def picture(clip: Clip) -> str:
    """Return one short line on the content: `1920×1080 · H.264`."""
    for stream in streams(clip, "video") or streams(clip, "image"):
        return " · ".join(part for part in (_dimensions(stream), codec(stream.get("codec", ""))) if part)
    image = _mapping(clip.facts.get("image"))
    if image:
        return " · ".join(part for part in (_dimensions(image), codec(image.get("format", ""))) if part)
    for stream in streams(clip, "audio"):
        return codec(stream.get("codec", ""))
    return printable(clip.facts.get("container", "")).upper()


def contents(clip: Clip, t: Translator) -> list[tuple[str, str]]:
    """Return what is in the file, as label and value, for the clip's page."""
    begin = start(clip)
    rows: list[tuple[str, str]] = []
    if begin.at is not None:
        source = t.known(f"source.{begin.source}", begin.source)
        confidence = t.known(f"confidence.{begin.confidence}", begin.confidence)
        rows.append((t("clip.recorded"), f"{moment(begin.at)} · {source} · {confidence}"))
    if clip.duration_s is not None:
        rows.append((t("clip.length"), duration(clip.duration_s)))
    container = printable(clip.facts.get("container", ""))
    if container:
        rows.append((t("clip.container"), container))
    rows += [(t("clip.video"), _video(stream)) for stream in streams(clip, "video")]
    rows += [(t("clip.audio"), _audio(stream)) for stream in streams(clip, "audio")]
    rows += _position(clip, t)
    exif = _mapping(clip.facts.get("exif"))
    camera = " ".join(printable(exif[key]) for key in ("make", "model") if exif.get(key))
    if camera:
        rows.append((t("clip.camera"), camera))
    return rows


def raw(facts: Mapping[str, object]) -> str:
    """Return the facts as indented JSON."""
    return printable_lines(json.dumps(facts, ensure_ascii=False, indent=2, sort_keys=True))


def printable_lines(text: str) -> str:
    """Return text that can be shown, keeping its line breaks."""
    return "\n".join(printable(line) for line in text.split("\n"))


def from_ms(time_ms: int) -> datetime:
    """Return a log time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _dimensions(stream: Mapping[str, Any]) -> str:
    width, height = stream.get("width"), stream.get("height")
    return f"{width}×{height}" if isinstance(width, int) and isinstance(height, int) and width else ""


def _video(stream: Mapping[str, Any]) -> str:
    parts = [codec(stream.get("codec", "")), _dimensions(stream), _frame_rate(str(stream.get("frame_rate", "")))]
    return " · ".join(part for part in parts if part)


def _frame_rate(ratio: str) -> str:
    """Return `29.97 fps` for `30000/1001`."""
    frames, _, seconds = ratio.partition("/")
    try:
        rate = int(frames) / int(seconds or "1")
    except (ValueError, ZeroDivisionError, OverflowError):
        return ""
    return f"{rate:.2f}".rstrip("0").rstrip(".") + " fps" if rate > 0 else ""


def _audio(stream: Mapping[str, Any]) -> str:
    rate, channels = stream.get("sample_rate"), stream.get("channels")
    parts = [codec(stream.get("codec", ""))]
    if isinstance(rate, int) and rate:
        parts.append(f"{rate / 1000:g} kHz")
    if isinstance(channels, int) and channels:
        parts.append(f"{channels} ch")
    return " · ".join(part for part in parts if part)


def _position(clip: Clip, t: Translator) -> list[tuple[str, str]]:
    gps = _mapping(clip.facts.get("gps"))
    first = _mapping(gps.get("first"))
    if not first:
        return []
    where = ", ".join(printable(first[key]) for key in ("lat", "lon", "latitude", "longitude") if key in first)
    return [(t("clip.gps"), t("clip.gps_value", count=gps.get("count", 1), first=where))]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
