"""How a clip is shown, decided from the facts found at ingest. Pure.

    direct     the original itself, cut into fragments on demand
    remux      picture copied into MP4, sound copied or converted: for containers and sounds that browsers do not play
    proxy      picture converted as well
    audio      sound alone, copied or converted
    image, document   the browser shows the file
    none       nothing to show

The facts are ingest's (docs/formats.md, "facts"): format names may be ours (`mp4`) or libavformat's
(`mov,mp4,m4a,3gp,3g2,mj2`). A plan is a first guess: when the file itself says otherwise, `VirtualMedia.open` raises and
a derivative is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["direct", "remux", "proxy", "image", "audio", "document", "none"]

# Our names of formats -> the demuxer that reads them. Nothing outside this table is ever opened by a worker.
DEMUXERS = {
    "mp4": "mov", "mov": "mov", "m4a": "mov", "m4v": "mov", "3gp": "mov", "3g2": "mov", "mj2": "mov",
    "avi": "avi", "wav": "wav", "w64": "w64", "asf": "asf", "wmv": "asf", "wma": "asf",
    "mkv": "matroska", "webm": "matroska", "matroska": "matroska", "flv": "flv", "dhav": "dhav",
    "mpegts": "mpegts", "ts": "mpegts", "mpegps": "mpeg", "mpeg": "mpeg", "ps": "mpeg", "vob": "mpeg", "mpegvideo": "mpegvideo",
    "mp3": "mp3", "aac": "aac", "amr": "amr", "ogg": "ogg", "flac": "flac", "caf": "caf", "aiff": "aiff", "au": "au",
    "h264": "h264", "hevc": "hevc", "mjpeg": "mjpeg",
}  # fmt: skip
ISO = frozenset({"mov"})
IMAGES = frozenset({"jpeg", "jpg", "png", "gif", "webp", "bmp", "avif"})
DOCUMENTS = frozenset({"pdf", "text", "txt"})
SOUND_ONLY = frozenset(
    {"mp3", "aac", "amr", "wav", "w64", "flac", "m4a", "wma", "caf", "aiff", "au"}
)  # pictures there are covers
WEB_VIDEO = frozenset({"h264", "avc1"})
WEB_AUDIO = frozenset({"aac", "mp4a", "opus", "flac"})
EIGHT_BIT = frozenset({"yuv420p", "yuvj420p", "nv12", "gray"})

MESSAGES = {
    "container.not_web": "browsers do not play this container; the picture is copied into one they play, unchanged",
    "codec.video": "browsers do not decode this picture format; it is converted",
    "codec.pixels": "browsers do not decode this colour depth; the picture is converted",
    "codec.audio": "browsers do not decode this sound; it is converted, the picture is copied unchanged",
    "sound.converted": "the sound is put into a form that browsers play",
    "media.unreadable": "no picture or sound could be found in the file",
    "media.image_format": "browsers do not show this picture format",
    "media.not_media": "the file is neither picture nor sound",
    "media.unknown_format": "no converter knows this container",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """The plan for one clip. `reason` is a message key ("" when there is nothing to explain), `text` its English."""

    kind: Kind
    reason: str = ""
    demuxer: str = ""  # forced on libavformat when a derivative is made

    @property
    def text(self) -> str:
        """The reason in English."""
        return MESSAGES.get(self.reason, "")


def plan_playback(facts: Mapping[str, object]) -> Playback:
    """Decide how a clip with these facts is shown. Never raises: facts may be empty or from an older version."""
    names = format_names(facts)
    if names & IMAGES:
        return Playback(kind="image")
    if names & DOCUMENTS:
        return Playback(kind="document")
    demuxer = next((DEMUXERS[name] for name in sorted(names) if name in DEMUXERS), "")
    videos, audios = streams(facts, "video"), streams(facts, "audio")
    if names & SOUND_ONLY and audios:
        videos = []
    if not videos and not audios:
        return Playback(kind="none", reason=_nothing(facts, names, known=bool(demuxer)))
    if not demuxer:
        return Playback(kind="none", reason="media.unknown_format")
    audio_fits = not audios or _codec(audios[0]) in WEB_AUDIO
    return _plan_picture(videos[0], demuxer, audio_fits=audio_fits) if videos else _plan_sound(demuxer, fits=audio_fits)


def _plan_sound(demuxer: str, *, fits: bool) -> Playback:
    if demuxer in ISO and fits:
        return Playback(kind="direct", demuxer=demuxer)
    return Playback(kind="audio", reason="sound.converted", demuxer=demuxer)


def _plan_picture(video: Mapping[str, object], demuxer: str, *, audio_fits: bool) -> Playback:
    if _codec(video) not in WEB_VIDEO:
        return Playback(kind="proxy", reason="codec.video", demuxer=demuxer)
    if not _eight_bit(video):
        return Playback(kind="proxy", reason="codec.pixels", demuxer=demuxer)
    if demuxer not in ISO:
        return Playback(kind="remux", reason="container.not_web", demuxer=demuxer)
    if not audio_fits:
        return Playback(kind="remux", reason="codec.audio", demuxer=demuxer)
    return Playback(kind="direct", demuxer=demuxer)


def format_names(facts: Mapping[str, object]) -> frozenset[str]:
    """Return the format names in the facts, lower case."""
    return frozenset(name.strip() for name in str(facts.get("container", "")).lower().split(",") if name.strip())


def streams(facts: Mapping[str, object], kind: str) -> list[Mapping[str, object]]:
    """Return the streams of one kind, cover pictures left out."""
    found = facts.get("streams")
    listed = found if isinstance(found, list) else []
    return [stream for stream in listed if isinstance(stream, Mapping) and stream.get("kind") == kind]


def _codec(stream: Mapping[str, object]) -> str:
    return str(stream.get("codec", "")).lower()


def _eight_bit(stream: Mapping[str, object]) -> bool:
    pixels = str(stream.get("pixels", ""))
    return not pixels or pixels in EIGHT_BIT


def _nothing(facts: Mapping[str, object], names: frozenset[str], *, known: bool) -> str:
    if streams(facts, "image") or isinstance(facts.get("image"), Mapping):
        return "media.image_format"
    return "media.unreadable" if known or not names else "media.not_media"
