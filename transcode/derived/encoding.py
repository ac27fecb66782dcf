"""Converting picture to H.264 and sound to AAC, the pair every browser plays. Runs in the worker only."""

from __future__ import annotations

import errno
import heapq
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, VideoReformatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from av.container import OutputContainer

    from transcode.derived.clock import Clock

    Packet = av.Packet[Any]

LONG_SIDE_MAX, SHORT_SIDE_MAX = 1280, 720  # pixels
KEY_EVERY_S = 2
PICTURE_TIME_BASE = Fraction(1, 90000)
PICTURE_OPTIONS = {
    "preset": "veryfast",
    "crf": "23",
    "maxrate": "3M",
    "bufsize": "6M",
    "profile": "high",
    "forced-idr": "1",
}
THREADS = 2
UNSAID, BT709, BT601 = 2, 1, 6  # ISO/IEC 23091-2 code points, the same for matrix, primaries and transfer
SOUND_RATES = (16000, 22050, 24000, 32000, 44100, 48000)  # what browsers decode without doubt; 8 kHz goes up to 16
SOUND_FRAME = 1024  # samples of an AAC frame
SOUND_BITS_A_CHANNEL = 64_000
SOUND_TOLERANCE_S = Fraction(1, 20)  # below this, time stamps are jitter; above, sound is missing
SILENCE_MAX_S = 600  # longer gaps stay gaps


def _decode(stream: Any, packet: Packet | None, lane: PictureLane | SoundLane) -> list[Any]:
    """Decode one packet; what is damaged is counted and left out."""
    try:
        return list(stream.codec_context.decode(packet))
    except av.FFmpegError as err:
        if err.errno == errno.ENOMEM:
            raise
        lane.errors += 1
        return []


class PictureLane:
    """One video stream, decoded and encoded again; every decoded picture keeps its time."""

    def __init__(
        self,
        out: OutputContainer,
        stream: av.VideoStream,
        clock: Clock,
        *,
        rotation: int,
        decoding_times_only: bool,
    ) -> None:
        context = stream.codec_context
        context.thread_type, context.thread_count = "AUTO", THREADS
        self._stream = stream
        self.clock = clock
        self.kind = stream.type
        self._times: list[int] | None = [] if decoding_times_only else None
        self._size = fit(context.width, context.height, context.sample_aspect_ratio)
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        rate = rate if 1 <= rate <= 240 else Fraction(25)
        target = out.add_stream("libx264", rate=rate, options=PICTURE_OPTIONS)
        target.width, target.height = self._size
        target.pix_fmt = "yuv420p"
        target.time_base = target.codec_context.time_base = PICTURE_TIME_BASE
        self._frame = int(1 / rate / PICTURE_TIME_BASE)
        target.codec_context.gop_size = max(1, round(rate * KEY_EVERY_S))
        target.codec_context.thread_count = THREADS
        if rotation:
            target.set_display_rotation(rotation)
        # Untagged colours are guessed by players from the picture's height, which a proxy changes: so they are stated.
        unsaid = BT709 if context.height >= 720 else BT601
        target.codec_context.color_range = ColorRange.MPEG
        target.codec_context.colorspace = context.colorspace if context.colorspace != UNSAID else unsaid
        target.codec_context.color_primaries = context.color_primaries if context.color_primaries != UNSAID else unsaid
        target.codec_context.color_trc = context.color_trc if context.color_trc != UNSAID else unsaid
        self._reformatter = VideoReformatter()
        self._target = target
        self._last = -1
        self._next_key = 0
        self.count = 0
        self.errors = 0

    def feed(self, packet: Packet | None) -> Iterator[Packet]:
        """Take one packet (None: the end), yield encoded ones."""
        if packet is not None and self._times is not None and packet.dts is not None:
            heapq.heappush(self._times, packet.dts)
        for frame in _decode(self._stream, packet, self):
            yield from self._encode(frame)

    def finish(self) -> Iterator[Packet]:
        """Yield what decoder and encoder still hold."""
        yield from self.feed(None)
        yield from self._target.encode(None)

    def _encode(self, frame: av.VideoFrame) -> Iterator[Packet]:
        self.errors += frame.is_corrupt
        width, height = self._size
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        picture = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="yuv420p",
            interpolation="FAST_BILINEAR",
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        at = max(self._place(frame), self._last + 1)
        picture.pts, picture.time_base = at, PICTURE_TIME_BASE
        picture.pict_type = PictureType.NONE
        if at >= self._next_key:  # by time, not by count: uneven clips get a key picture every two seconds as well
            picture.pict_type = PictureType.I
            self._next_key = at + int(KEY_EVERY_S / PICTURE_TIME_BASE)
        self._last = at
        self.count += 1
        yield from self._target.encode(picture)

    def _place(self, frame: av.VideoFrame) -> int:
        """Return when the frame is shown, in PICTURE_TIME_BASE."""
        ticks = heapq.heappop(self._times) if self._times else frame.pts
        if ticks is None:
            return self._last + self._frame if self.count else 0
        ticks += self.clock.shift(ticks, frame.duration or 0)
        return round(ticks * self.clock.time_base / PICTURE_TIME_BASE)


def fit(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Return the even size with square pixels that fits 1280×720 (or 720×1280 upright); never larger than the source."""
    if aspect and Fraction(1, 4) <= aspect <= 4:
        width = round(width * aspect)
    scale = min(
        Fraction(1),
        Fraction(LONG_SIDE_MAX, max(width, height, 1)),
        Fraction(SHORT_SIDE_MAX, max(1, min(width, height))),
    )
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


class SoundLane:
    """One audio stream, decoded and encoded as AAC. Gaps become silence, so that sound stays beside its picture."""

    def __init__(self, out: OutputContainer, stream: av.AudioStream, clock: Clock) -> None:
        context = stream.codec_context
        self._stream = stream
        self.clock = clock
        self.kind = stream.type
        self._rate = next((rate for rate in SOUND_RATES if rate >= context.sample_rate), SOUND_RATES[-1])
        self._layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        target = out.add_stream("aac", rate=self._rate)
        target.layout = self._layout
        target.bit_rate = SOUND_BITS_A_CHANNEL * (1 if self._layout == "mono" else 2)
        self._target = target
        self._resampler: av.AudioResampler | None = None
        self._input: tuple[str, str, int] | None = None
        self._waiting = np.zeros((1 if self._layout == "mono" else 2, 0), np.float32)
        self._written: int | None = None  # position of the first waiting sample
        self._expected_s: Fraction | None = None  # when the next input should begin if nothing is missing
        self.count = 0
        self.errors = 0

    def feed(self, packet: Packet | None) -> Iterator[Packet]:
        """Take one packet (None: the end), yield encoded ones."""
        for frame in _decode(self._stream, packet, self):
            yield from self._take(frame)

    def finish(self) -> Iterator[Packet]:
        """Yield what decoder and encoder still hold."""
        yield from self.feed(None)
        self._resample(None)
        self._append_silence(-self._waiting.shape[1] % SOUND_FRAME)
        yield from self._drain()
        yield from self._target.encode(None)

    def _take(self, frame: av.AudioFrame) -> Iterator[Packet]:
        if not frame.samples or not frame.sample_rate:
            return
        yield from self._fill(frame)
        self._resample(frame)
        self.count += 1
        yield from self._drain()

    def _fill(self, frame: av.AudioFrame) -> Iterator[Packet]:
        """Compare the frame's time with where its sound would land, and put silence where sound is missing."""
        at_s = self._expected_s or Fraction(0)
        if frame.pts is not None:
            ticks = frame.pts + self.clock.shift(frame.pts, frame.duration or 0)
            at_s = ticks * self.clock.time_base
        if self._written is None:
            self._written = max(0, round(at_s * self._rate))
        elif self._expected_s is not None and at_s - self._expected_s > SOUND_TOLERANCE_S:
            self._resample(None)
            gap_s = at_s - self._expected_s
            yield from self._silence(gap_s, at_s)
        elif self._expected_s is not None:
            at_s = self._expected_s
        self._expected_s = at_s + Fraction(frame.samples, frame.sample_rate)

    def _silence(self, gap_s: Fraction, until_s: Fraction) -> Iterator[Packet]:
        short = gap_s <= SILENCE_MAX_S
        self._append_silence(round(gap_s * self._rate) if short else -self._waiting.shape[1] % SOUND_FRAME)
        yield from self._drain()
        if not short:
            self._written = round(until_s * self._rate)

    def _append_silence(self, samples: int) -> None:
        self._append(np.zeros((self._waiting.shape[0], samples), np.float32))

    def _resample(self, frame: av.AudioFrame | None) -> None:
        described = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is not None and described != self._input:
            for ready in self._resampler.resample(None):
                self._append(ready.to_ndarray())
            self._resampler = None
        if frame is None:
            return
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._input = described
        frame.pts = None
        for ready in self._resampler.resample(frame):
            self._append(ready.to_ndarray())

    def _append(self, samples: npt.NDArray[Any]) -> None:
        self._waiting = np.concatenate([self._waiting, samples], axis=1)

    def _drain(self) -> Iterator[Packet]:
        whole = self._waiting.shape[1] // SOUND_FRAME * SOUND_FRAME
        for start in range(0, whole, SOUND_FRAME):
            piece = np.ascontiguousarray(self._waiting[:, start : start + SOUND_FRAME])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=self._layout)
            frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
            frame.pts = (self._written or 0) + start
            yield from self._target.encode(frame)
        self._written = (self._written or 0) + whole
        self._waiting = self._waiting[:, whole:]
