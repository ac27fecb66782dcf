"""Making one derivative with libav: read a demuxer's packets, copy or convert two streams, write one MP4.

Runs in the worker only. Knows nothing of vaults, jobs or final names: a file object in, a path out. What can be read of
a damaged original is used, and the notes say what could not.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol

import av

from transcode.derived.clock import Clock
from transcode.derived.copying import CopyLane
from transcode.derived.encoding import PictureLane, SoundLane
from transcode.errors import DerivativeError, RemuxRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

Recipe = Literal["remux", "proxy", "sound"]
Lane = CopyLane | PictureLane | SoundLane

READ_BYTES = 1 << 18  # what libav asks the file object for at once
FAULTS_MAX = 200  # unreadable places, then the rest is given up
# Every sample is wanted: pictures hidden by an edit list are evidence too.
DEMUXER_OPTIONS = {"mov": {"advanced_editlist": "0"}}
PLAYABLE_AAC = frozenset({"LC", "HE-AAC", "HE-AACv2"})
TIMELESS = frozenset({"avi"})  # containers that know decoding times only


class SeekableFile(Protocol):
    """What libav needs of a file object."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return up to `size` bytes from the current place."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""
        ...

    def tell(self) -> int:
        """Return the current place."""
        ...


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was made."""

    picture: str = ""  # "copied", "converted" or ""
    sound: str = ""
    pictures: int = 0
    sounds: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A verified original as libav reads it. `position` tells how far reading has come, for the progress."""

    file: SeekableFile
    demuxer: str
    position: Callable[[], float]  # share of the file, 0..1


def cook(source: Source, recipe: Recipe, output: str, progress: Callable[[float], None]) -> Outcome:
    """Make the derivative at `output`; raises DerivativeError, RemuxRefusedError (then make a proxy)."""
    rotation = _rotation(source) if recipe == "proxy" else 0
    source.file.seek(0)
    outcome = Outcome()
    try:
        with _open(source) as container, av.open(output, "w", format="mp4") as out:
            kitchen = _Kitchen(container=container, out=out, timeless=source.demuxer in TIMELESS, rotation=rotation)
            lanes = _make_lanes(kitchen, recipe, outcome)
            for packet in _packets(container, [container.streams[index] for index in lanes], outcome):
                for ready in lanes[packet.stream.index].feed(packet):
                    out.mux(ready)
                progress(source.position())
            for lane in lanes.values():
                for ready in lane.finish():
                    out.mux(ready)
            _sum_up(lanes, outcome)
    except av.FFmpegError as err:
        raise _translate(err) from err
    return outcome


def _translate(err: av.FFmpegError) -> DerivativeError:
    if err.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DerivativeError("the disk is full", key="derivative.disk_full")
    if err.errno == errno.EFBIG:
        return DerivativeError("the derivative grows beyond its limit", key="derivative.too_large")
    return DerivativeError(f"libav: {err.strerror or err}", key="derivative.unreadable")


def _open(source: Source) -> InputContainer:
    options = {"protocol_whitelist": "", **DEMUXER_OPTIONS.get(source.demuxer, {})}
    return av.open(source.file, "r", format=source.demuxer, options=options, buffer_size=READ_BYTES)


def _rotation(source: Source) -> int:
    """Return how the first picture is turned; the converted stream has to say it before its first packet."""
    try:
        with _open(source) as container:
            for frame in container.decode(video=0):
                return int(frame.rotation)
    except (av.FFmpegError, IndexError):
        return 0
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kitchen:
    container: InputContainer
    out: OutputContainer
    timeless: bool
    rotation: int

    def clock(self, stream: Stream) -> Clock:
        origin_s = Fraction(self.container.start_time or 0, av.time_base)
        return Clock(stream.time_base or Fraction(1, 90000), origin_s)


def _make_lanes(kitchen: _Kitchen, recipe: Recipe, outcome: Outcome) -> dict[int, Lane]:
    lanes: dict[int, Lane] = {}
    video = next((stream for stream in kitchen.container.streams.video if _usable(stream)), None)
    audio = next((stream for stream in kitchen.container.streams.audio if _usable(stream)), None)
    if video is not None and recipe != "sound":
        lanes[video.index] = _picture_lane(kitchen, video, recipe)
        outcome.picture = "converted" if recipe == "proxy" else "copied"
    if audio is not None:
        copied = audio.codec_context.name == "aac" and audio.codec_context.profile in PLAYABLE_AAC
        lanes[audio.index] = (
            CopyLane(kitchen.out, audio, kitchen.clock(audio), decoding_times_only=False)
            if copied
            else SoundLane(kitchen.out, audio, kitchen.clock(audio))
        )
        outcome.sound = "copied" if copied else "converted"
    if not lanes:
        raise DerivativeError("there is neither picture nor sound that libav can read", key="derivative.unreadable")
    return lanes


def _picture_lane(kitchen: _Kitchen, video: av.VideoStream, recipe: Recipe) -> Lane:
    clock = kitchen.clock(video)
    if recipe == "proxy":
        return PictureLane(kitchen.out, video, clock, rotation=kitchen.rotation, decoding_times_only=kitchen.timeless)
    if video.codec_context.name != "h264":
        raise RemuxRefusedError(f"{video.codec_context.name} video is not for browsers")
    return CopyLane(kitchen.out, video, clock, decoding_times_only=kitchen.timeless)


def _usable(stream: Stream) -> bool:
    context: Any = stream.codec_context
    if context is None or "attached_pic" in str(stream.disposition):
        return False
    if stream.type == "video":
        return bool(context.width and context.height)
    return bool(context.sample_rate and context.layout.nb_channels)


def _packets(container: InputContainer, streams: list[Stream], outcome: Outcome) -> Iterator[av.Packet[Any]]:
    """Yield packets past unreadable places; at the end, or after too many faults, a note says how it went."""
    faults = 0
    while True:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    yield packet
        except av.InvalidDataError:
            faults += 1
            if faults <= FAULTS_MAX:
                continue
        break
    if faults:
        outcome.notes.append(("damage.unreadable", f"{faults} places in the file could not be read"))


def _sum_up(lanes: dict[int, Lane], outcome: Outcome) -> None:
    for lane in lanes.values():
        if isinstance(lane, CopyLane):
            continue
        if lane.errors:
            what = "pictures" if isinstance(lane, PictureLane) else "sound frames"
            outcome.notes.append(("damage.decoding", f"{lane.errors} damaged {what} could not be decoded whole"))
    outcome.pictures = sum(lane.count for lane in lanes.values() if lane.kind == "video")
    outcome.sounds = sum(lane.count for lane in lanes.values() if lane.kind == "audio")
    if jumps := sum(lane.clock.jumps for lane in lanes.values()):
        outcome.notes.append(
            ("times.jump", f"the recording's clock jumps {jumps} times; the copy runs on without a gap")
        )
    if not outcome.pictures and not outcome.sounds:
        raise DerivativeError("nothing in the file could be decoded", key="derivative.unreadable")
