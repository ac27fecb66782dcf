"""How a clip is shown follows from its facts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcode.plan import MESSAGES, plan_playback


def facts(container: str, video: str = "", audio: str = "", **picture: object) -> dict[str, Any]:
    streams: list[dict[str, object]] = []
    if video:
        streams.append({"index": 0, "kind": "video", "codec": video, **picture})
    if audio:
        streams.append({"index": 1, "kind": "audio", "codec": audio})
    return {"container": container, "streams": streams}


@pytest.mark.parametrize(
    ("found", "kind", "reason"),
    [
        (facts("mp4", "h264", "aac"), "direct", ""),
        (facts("mp4", "h264"), "direct", ""),
        (facts("mov", "h264", "aac", pixels="yuvj420p"), "direct", ""),
        (facts("mov,mp4,m4a,3gp,3g2,mj2", "h264", "aac"), "direct", ""),
        (facts("m4a", "", "aac"), "direct", ""),
        (facts("mp4", "h264", "pcm_alaw"), "remux", "codec.audio"),
        (facts("3gp", "h264", "amr_nb"), "remux", "codec.audio"),
        (facts("mpegts", "h264", "aac"), "remux", "container.not_web"),
        (facts("mpegps", "h264", "pcm_alaw"), "remux", "container.not_web"),
        (facts("mkv", "h264", "aac"), "remux", "container.not_web"),
        (facts("avi", "h264", "pcm_alaw"), "remux", "container.not_web"),
        (facts("flv", "h264", "aac"), "remux", "container.not_web"),
        (facts("dhav", "h264"), "remux", "container.not_web"),
        (facts("mp4", "hevc", "aac"), "proxy", "codec.video"),
        (facts("mpegps", "mpeg2video"), "proxy", "codec.video"),
        (facts("avi", "mjpeg", "pcm_s16le"), "proxy", "codec.video"),
        (facts("mp4", "h264", "aac", pixels="yuv420p10le"), "proxy", "codec.pixels"),
        (facts("mp4", "h264", "aac", pixels="yuv444p"), "proxy", "codec.pixels"),
        (facts("wav", "", "pcm_s16le"), "audio", "sound.converted"),
        (facts("mp3", "mjpeg", "mp3"), "audio", "sound.converted"),
        (facts("amr", "", "amr_nb"), "audio", "sound.converted"),
        (facts("jpeg"), "image", ""),
        (facts("png"), "image", ""),
        (facts("pdf"), "document", ""),
        (facts("text"), "document", ""),
        (facts("mp4"), "none", "media.unreadable"),
        (facts("zip"), "none", "media.not_media"),
        ({"container": "heic", "streams": [{"kind": "image", "codec": "hevc"}]}, "none", "media.image_format"),
        (facts("swf", "h264"), "none", "media.unknown_format"),
        ({}, "none", "media.unreadable"),
    ],
)
def test_each_kind_of_file_has_its_way(found: dict[str, Any], kind: str, reason: str) -> None:
    plan = plan_playback(found)
    assert (plan.kind, plan.reason) == (kind, reason)
    assert bool(plan.demuxer) == (kind in {"direct", "remux", "proxy", "audio"})


def test_every_reason_has_words() -> None:
    for key, text in MESSAGES.items():
        assert text
        assert plan_playback({}).text == MESSAGES["media.unreadable"]
        assert "." in key


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "container": st.one_of(JSON, st.sampled_from(["mp4", "avi", "jpeg", "zip"])),
        "streams": st.one_of(
            JSON,
            st.lists(
                st.fixed_dictionaries(
                    {}, optional={"kind": st.one_of(JSON, st.just("video")), "codec": JSON, "pixels": JSON}
                ),
                max_size=3,
            ),
        ),
    },
)


@given(st.one_of(SHAPED, st.dictionaries(st.text(max_size=8), JSON, max_size=4)))
def test_any_facts_get_a_plan(found: dict[str, Any]) -> None:
    plan = plan_playback(found)
    assert plan.reason == "" or plan.reason in MESSAGES
