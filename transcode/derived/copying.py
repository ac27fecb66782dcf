"""Copying packets of one stream into an MP4, bytes unchanged (parameter sets and start codes are the muxer's affair)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transcode.errors import RemuxRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av
    from av.container import OutputContainer
    from av.stream import Stream

    from transcode.derived.clock import Clock

    Packet = av.Packet[Any]

HELD_MAX = 32  # packets whose decoding time is still unknown: twice the deepest reordering
START_CODES = (b"\0\0\1", b"\0\0\0\1")


class CopyLane:
    """One copied stream. The MP4 muxer wants decoding times that grow; this lane sees to it."""

    def __init__(self, out: OutputContainer, stream: Stream, clock: Clock, *, decoding_times_only: bool) -> None:
        self.clock = clock
        self.kind = stream.type
        self._target = out.add_stream_from_template(stream)
        self._decoding_times_only = decoding_times_only  # AVI: what it gives as presentation times are guesses
        self._setup = bytes(getattr(stream.codec_context, "extradata", None) or b"")
        self._is_h264 = stream.codec_context.name == "h264"
        self._held: list[Packet] = []
        self._last: int | None = None
        self.count = 0
        if self._is_h264 and not self._setup:
            raise RemuxRefusedError("the picture's setup (SPS, PPS) was not found")
        self._reorders = bool(getattr(stream.codec_context, "has_b_frames", False))
        self._untimed = 0
        rate = getattr(stream, "guessed_rate", None) or 25
        self._frame = max(1, round(1 / (rate * (stream.time_base or 1))))
        if decoding_times_only and self._reorders:
            raise RemuxRefusedError("the container does not say in which order pictures are shown")

    def feed(self, packet: Packet) -> Iterator[Packet]:
        """Take one packet, yield those that are ready to be written."""
        if not packet.size:
            return
        if self._is_h264 and not self.count:
            self._check_form(packet)
        self.count += 1
        self._held.append(packet)
        if packet.dts is not None or len(self._held) > HELD_MAX:
            yield from self.finish()

    def finish(self) -> Iterator[Packet]:
        """Yield what is still held back."""
        held, self._held = self._held, []
        times = _decoding_times(held) if any(_is_timed(packet) for packet in held) else self._count_out(held)
        for packet, dts in zip(held, times, strict=True):
            yield self._place(packet, dts)

    def _count_out(self, packets: list[Packet]) -> list[int]:
        """Give times to a stream that carries none (a bare elementary stream): one frame after the other."""
        if packets and self._reorders:
            raise RemuxRefusedError("the file does not say in which order pictures are shown")
        times = []
        for packet in packets:
            times.append(self._untimed)
            self._untimed += packet.duration or self._frame
        return times

    def _place(self, packet: Packet, dts: int) -> Packet:
        pts = dts if packet.pts is None or self._decoding_times_only else packet.pts
        shift = self.clock.shift(dts, packet.duration or 0)
        dts, pts = dts + shift, pts + shift
        if self._last is not None and dts <= self._last:
            dts = self._last + 1
        self._last = dts
        packet.dts, packet.pts = dts, max(pts, dts)
        packet.stream = self._target
        return packet

    def _check_form(self, packet: Packet) -> None:
        """Refuse a stream whose setup is in one H.264 form and its pictures in the other: the muxer trusts the setup."""
        if self._setup[:1] == b"\x01" and bytes(packet)[:4].startswith(START_CODES):
            raise RemuxRefusedError("the picture's setup and its data are in different forms")


def _is_timed(packet: Packet) -> bool:
    return packet.dts is not None or packet.pts is not None


def _decoding_times(packets: list[Packet]) -> list[int]:
    """Fill in the decoding times that the first packets of a stream may lack, counting back from the first known one."""
    known = next((number for number, packet in enumerate(packets) if packet.dts is not None), None)
    if known is None:
        return sorted(packet.pts or 0 for packet in packets)
    times = [packet.dts if packet.dts is not None else 0 for packet in packets]
    for number in range(known - 1, -1, -1):
        times[number] = times[number + 1] - max(packets[number].duration or 0, 1)
    return times
