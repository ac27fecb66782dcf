"""Tracks on one clock: when each sample is shown, and the decoding times of the virtual file. Pure.

A lane is a track rearranged for the virtual file. Edits are resolved here, so that the virtual file carries at most one
edit per track, for the reorder delay (layout rule 4); sample durations are gaps between presentation times (rule 5).
Pictures and sound that the recorder's own index hides are evidence: they are brought into view and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from transcode.errors import UnsupportedMediaError

if TYPE_CHECKING:
    from transcode.virtual.mp4 import Movie, Track
    from transcode.virtual.samples import Flags, Integers, Samples

VIDEO_CODECS = ("avc1.", "avc3.", "hvc1.", "hev1.")
AUDIO_CODECS = ("mp4a.40.2", "mp4a.40.5", "mp4a.40.29", "opus", "flac")
PRIMING_MAX_S = Fraction(3, 20)  # what an encoder needs to start up stays hidden; more than this was recorded sound


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something a viewer must know about what they see: message key and English text."""

    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lane:
    """One track of the virtual file, in decoding order; times in the track's ticks."""

    track: Track
    description: int
    offset: Integers  # bytes from the start of the original
    size: Integers  # bytes
    shown: Integers  # presentation time; negative for an encoder's priming
    decoded: Integers  # decoding time; running sum of durations
    duration: Integers
    edit: int  # media_time of the lane's edit: shown == decoded + composition offset - edit
    sync: Flags

    @property
    def id(self) -> int:
        """The track's number in the virtual file."""
        return 1 if self.track.kind == "video" else 2

    @property
    def start(self) -> int:
        """When the first sample is shown."""
        return int(self.shown.min())

    @property
    def end(self) -> int:
        """When the last sample is over."""
        return self.start + int(self.duration.sum())


def choose_tracks(movie: Movie) -> tuple[Track | None, Track | None, list[Note]]:
    """Pick the picture and the sound to show: enabled tracks first, then the file's order."""
    ordered = sorted(movie.tracks, key=lambda track: not track.enabled)
    videos = [track for track in ordered if track.kind == "video"]
    audios = [track for track in ordered if track.kind == "audio"]
    video = next((track for track in videos if track.codec.startswith(VIDEO_CODECS)), None)
    audio = next((track for track in audios if track.codec in AUDIO_CODECS), None)
    if video is None and videos:
        raise UnsupportedMediaError(f"no browser decodes {videos[0].descriptions[0].format!r} video", key="codec.video")
    if audio is None and audios:
        raise UnsupportedMediaError(f"no browser decodes {audios[0].descriptions[0].format!r} sound", key="codec.audio")
    if video is None and audio is None:
        raise UnsupportedMediaError("there is neither picture nor sound in the file", key="mp4.no_tracks")
    more = len(videos) + len(audios) - (video is not None) - (audio is not None)
    notes = [Note(key="tracks.more", text=f"{more} more tracks in the original are not shown")] if more else []
    return video, audio, notes


def make_lanes(movie: Movie) -> tuple[list[Lane], list[Note]]:
    """Read the chosen tracks and put them on one clock: [video, audio], each present if the file has it."""
    video, audio, notes = choose_tracks(movie)
    tracks = [track for track in (video, audio) if track is not None]
    read = [(track, movie.samples(track)) for track in tracks]
    shown = [samples.pts + (track.edit.empty - track.edit.media_time) for track, samples in read]
    reveal = _hidden_s(tracks, shown)
    lanes = [
        _make_lane(track, samples, times + round(reveal * track.timescale))
        for (track, samples), times in zip(read, shown, strict=True)
    ]
    return lanes, notes + _notes(movie, read, shown, reveal)


def _hidden_s(tracks: list[Track], shown: list[Integers]) -> Fraction:
    """Return by how many seconds everything moves so that nothing recorded lies before time zero."""
    before = {
        track.kind: Fraction(max(0, -int(times.min())), track.timescale)
        for track, times in zip(tracks, shown, strict=True)
    }
    picture, sound = before.get("video", Fraction(0)), before.get("audio", Fraction(0))
    return sound if sound > picture + PRIMING_MAX_S else picture


def _notes(movie: Movie, read: list[tuple[Track, Samples]], shown: list[Integers], reveal: Fraction) -> list[Note]:
    notes = []
    if reveal:
        count = int((shown[0] < 0).sum())
        text = f"the recorder's index hides the first {float(reveal):.2f} s ({count} samples); they are shown here"
        notes.append(Note(key="edit.hidden", text=text))
    if any(track.edit.several for track, _ in read):
        text = "the file's edit list has several pieces; everything recorded is shown in recorded order"
        notes.append(Note(key="edit.several", text=text))
    lost = sum(samples.lost for _, samples in read)
    if lost or movie.cut:
        text = f"the file ends early: {lost} samples that its index names are missing"
        notes.append(Note(key="file.truncated", text=text))
    return notes


def _make_lane(track: Track, samples: Samples, shown: Integers) -> Lane:
    if samples.description > len(track.descriptions):
        raise UnsupportedMediaError(f"sample description {samples.description} does not exist")
    order = np.argsort(shown, kind="stable")
    gaps = np.append(np.diff(shown[order]), max(int(samples.duration[order[-1]]), 0))
    duration = np.empty_like(gaps)
    duration[order] = gaps
    start = int(shown.min())
    decoded = start + np.cumsum(duration) - duration
    reorder = max(0, int((decoded - shown).max()))  # raises every composition offset to zero or more
    below_zero = max(0, -start)  # decoding times are unsigned in the file
    lane = Lane(
        track=track,
        description=samples.description,
        offset=samples.offset,
        size=samples.size,
        shown=shown,
        decoded=decoded + below_zero,
        duration=duration,
        edit=reorder + below_zero,
        sync=samples.sync,
    )
    _check(lane)
    return lane


def _check(lane: Lane) -> None:
    composition = lane.shown + lane.edit - lane.decoded
    if int(lane.duration.max()) >= 1 << 32 or int(composition.max()) >= 1 << 31:
        raise UnsupportedMediaError("a gap between two samples is longer than the format can say", key="mp4.gap")
