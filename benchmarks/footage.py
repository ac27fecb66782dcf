"""Cards to measure with, made from the project's real footage: one long recording, or very many photographs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av

ROOT = Path(__file__).parent.parent


def sample_card(scratch: Path) -> Path:
    """Build the sample card in the scratch folder."""
    card = scratch / "sample-card"
    subprocess.run([sys.executable, "-P", ROOT / "scripts" / "make_sample.py", card], check=True, capture_output=True)
    return card


def long_recording(card: Path, clip: Path, size: int) -> Path:
    """Repeat a clip's packets into one MP4 of about `size` bytes, its sample table at the end, as recorders write it."""
    card.mkdir(parents=True, exist_ok=True)
    target = card / "LZ00127_TJ0318_20261103140000.MP4"
    with av.open(clip) as source, av.open(target, "w", format="mp4") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        packets = [packet for packet in source.demux() if packet.dts is not None]
        length = {index: _length([p for p in packets if p.stream.index == index]) for index in streams}
        data = [(p.stream.index, bytes(p), p.pts, p.dts, p.duration, p.time_base, p.is_keyframe) for p in packets]
        once = sum(len(item[1]) for item in data)
        for turn in range(max(1, size // once)):
            for index, payload, pts, dts, duration, time_base, key in data:
                packet = av.Packet(payload)
                packet.stream, packet.time_base, packet.is_keyframe = streams[index], time_base, key
                shift = turn * length[index]
                packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
                out.mux(packet)
    return target


def _length(packets: list[av.Packet]) -> int:
    """Return how far one turn takes a stream, in its own time base."""
    return max(p.dts + (p.duration or 0) for p in packets) - min(p.dts for p in packets)


def photographs(card: Path, photo: Path, count: int) -> int:
    """Write `count` different photographs; returns their bytes in all."""
    data = photo.read_bytes()
    folder = card / "DCIM" / "100MEDIA"
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    for number in range(count):
        tail = f"{number:08d}".encode()  # after the end of the picture: another digest, the same photograph
        total += (folder / f"IMG_{number:05d}.JPG").write_bytes(data + tail)
    return total
