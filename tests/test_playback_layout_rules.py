"""The five rules of the layout, each found by a failure in a browser, and the edges of cutting."""

from __future__ import annotations

import numpy as np
import pytest
from movies import Fake, Memory, write

from transcode.errors import UnsupportedMediaError
from transcode.virtual.layout import AUDIO_EARLY, Layout, Run, lay_out
from transcode.virtual.mp4 import read_movie

FRAME = 1024  # ticks of AAC at 48 kHz


def layout_of(*tracks: Fake) -> Layout:
    return lay_out(read_movie(Memory(write(list(tracks)))))


def picture(count: int, *, gop: int = 50, **changes: object) -> Fake:
    given = {"sizes": [40] * count, "durations": [40] * count, "sync": list(range(0, count, gop))} | changes
    return Fake(kind="video", **given)


def sound(count: int, **changes: object) -> Fake:
    given = {"sizes": [9] * count, "durations": [FRAME] * count, "timescale": 48000} | changes
    return Fake(kind="audio", **given)


def lanes_by_kind(layout: Layout) -> dict[str, int]:
    return {lane.track.kind: number for number, lane in enumerate(layout.lanes)}


def test_rule_1_every_track_has_its_own_index() -> None:
    head = layout_of(picture(250), sound(470)).head
    assert head.count(b"sidx") == 2
    assert layout_of(picture(250)).head.count(b"sidx") == 1


def test_rule_2_sound_comes_before_picture_in_every_fragment() -> None:
    tracks = [picture(250), sound(470)]
    data = write(tracks)
    layout = lay_out(read_movie(Memory(data)))
    for start, end, header in zip(layout.starts, layout.starts[1:], layout.header_bytes, strict=False):
        runs = [piece for piece in layout.pieces(int(start + header), int(end)) if isinstance(piece, Run)]
        whose = [data[run.offset] for run in runs]  # `write` puts the track's number first in each sample
        assert whose == sorted(whose, reverse=True)
        assert whose[0] == 1


def test_rule_3_sound_begins_two_frames_before_the_one_that_covers_the_key() -> None:
    layout = layout_of(picture(250), sound(470))
    order = lanes_by_kind(layout)
    audio, video = layout.lanes[order["audio"]], layout.lanes[order["video"]]
    for fragment in range(1, len(layout.starts) - 1):
        key_s = video.shown[layout.first[order["video"]][fragment]] / 1000
        first = layout.first[order["audio"]][fragment]
        covering = first + AUDIO_EARLY
        assert audio.shown[covering] / 48000 <= key_s < audio.shown[covering + 1] / 48000


def test_rule_4_the_one_edit_is_the_reorder_delay() -> None:
    offsets = [80, 200, 80, 0, 40] * 50  # I P B B B in decoding order, shown two frames later
    layout = layout_of(picture(250, cts=offsets, edits=[(10_000, 80)]))
    (lane,) = layout.lanes
    composition = lane.shown + lane.edit - lane.decoded
    assert composition.min() == 0
    assert lane.shown.min() == 0
    assert layout.head.count(b"elst") == 1


def test_rule_5_a_picture_lasts_until_the_next_is_shown() -> None:
    rng = np.random.default_rng(7)
    durations = rng.integers(10, 90, 200).tolist()
    layout = layout_of(picture(200, durations=durations, cts=rng.integers(0, 300, 200).tolist()))
    (lane,) = layout.lanes
    order = np.argsort(lane.shown, kind="stable")
    assert (np.diff(lane.shown[order]) == lane.duration[order][:-1]).all()
    assert (lane.decoded == lane.decoded[0] + np.cumsum(lane.duration) - lane.duration).all()


@pytest.mark.parametrize(("gop", "seconds"), [(1, 2.0), (25, 2.0), (30, 2.4), (50, 2.0), (100, 4.0)])
def test_fragments_last_about_two_seconds_and_begin_with_a_key(gop: int, seconds: float) -> None:
    layout = layout_of(picture(500, gop=gop))
    lasting = np.diff(layout.times_s)
    assert (lasting[:-1] >= 1.5).all()
    assert lasting.max() <= seconds + 1e-6
    assert layout.lanes[0].sync[layout.first[0][:-1]].all()


def test_a_first_picture_that_is_no_key_is_still_in_the_first_fragment() -> None:
    layout = layout_of(picture(200, sync=[30, 80, 130]))
    assert layout.first[0].tolist() == [0, 30, 80, 130, 200]


def test_without_any_key_all_is_one_fragment() -> None:
    assert layout_of(picture(200, sync=[])).first[0].tolist() == [0, 200]


def test_late_sound_leaves_the_first_fragments_silent() -> None:
    layout = layout_of(picture(500), sound(470, edits=[(10_000, -1), (10_000, 0)]))
    counts = np.diff(layout.first[lanes_by_kind(layout)["audio"]])
    assert counts[:4].tolist() == [0, 0, 0, 0]
    assert counts[5:].all()


def test_sound_long_before_or_after_the_picture_gets_fragments_of_its_own() -> None:
    alone = layout_of(picture(100, edits=[(20_000, -1), (4_000, 0)]), sound(2000))
    order = lanes_by_kind(alone)
    pictures, sounds = (np.diff(alone.first[order[kind]]) for kind in ("video", "audio"))
    assert (pictures > 0).sum() == 2
    assert (sounds * FRAME / 48000 <= 5).all()
    assert np.diff(alone.times_s).max() <= 5


def test_sound_that_claims_to_begin_ages_before_the_picture_is_no_burden() -> None:
    """Attack: a picture that starts thousands of years after its sound must not ask for a fragment every two seconds."""
    tracks = [picture(100, durations=[40] * 50 + [(1 << 32) - 1] * 50, timescale=1), sound(100)]
    try:
        layout = layout_of(*tracks)
    except UnsupportedMediaError:
        return
    assert len(layout.starts) < 1000


def test_a_gap_that_the_format_cannot_say_is_refused() -> None:
    track = picture(3, sync=[0], durations=[40, 40, 40], cts=[0, (1 << 31) - 1, 0])
    second = picture(3, sync=[0], durations=[(1 << 32) - 1] * 3, cts=[0, (1 << 31) - 1, 0], timescale=90000)
    layout_of(track)
    with pytest.raises(UnsupportedMediaError) as caught:
        layout_of(second)
    assert caught.value.key == "mp4.gap"
