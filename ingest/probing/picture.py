"""Does the first picture of a stream decode? In the child only."""

from __future__ import annotations

from typing import Any

import av
from av.error import FFmpegError

PIXELS_MAX = 72_000_000  # of one picture: 8K twice over; a picture then takes about 108 MB
FIRST_PICTURE_PACKETS = 600  # until one decodes: ten seconds at 60 pictures a second, longer than any usual GOP
# What FFmpeg and PyAV raise over what is in a file. Attribute and type errors come from streams without a codec.
FAULTS = (FFmpegError, ValueError, TypeError, AttributeError, OverflowError, EOFError)


def is_known(stream: Any) -> bool:
    """Say whether FFmpeg has a decoder for the stream."""
    return stream.codec_context is not None and stream.codec_context.codec is not None


class FirstPicture:
    """Is fed packets until one decodes."""

    def __init__(self, stream: Any) -> None:
        """Watch one stream."""
        self.stream = stream
        self.decided = False
        self._decoder: Any = None
        self._fed = 0
        # A broken packet is no key by its own bytes; the index, where there is one, still says what it was.
        self._first_is_key = len(stream.index_entries) > 0 and bool(stream.index_entries[0].is_keyframe)
        self._shown = False
        self._late = False
        self._known = is_known(stream)
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
    except FAULTS as err:
        fault(err)
        return False
    return any(not frame.is_corrupt for frame in frames)


def decodes_sound(packet: Any) -> bool:
    """Say whether sound came out."""
    try:
        return bool(packet.stream.codec_context.decode(packet))
    except FAULTS as err:
        fault(err)
        return False


def fault(err: Exception) -> str:
    """Name a fault of the file. Running out of memory is none: the parent must learn of it and judge without a decoder."""
    if isinstance(err, MemoryError):
        raise err
    return type(err).__name__
