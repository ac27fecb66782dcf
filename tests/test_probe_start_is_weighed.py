from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.names import parse_name
from ingest.probing.start import Claim, choose, container_claim, exif_claim, mtime_claim, name_claim, read_time

NAME = "AA00000_BB0000_20260304050607.MP4"
MINUTE_MS = 60_000


def _choose(
    *, name: str = "", tags: dict[str, str] | None = None, mtime: str = "", duration_ms: int = MINUTE_MS, exif=None
):
    modified_ns = int(datetime.fromisoformat(mtime).timestamp()) * 10**9 if mtime else None
    claims = [
        exif_claim(exif, None) if exif else None,
        container_claim(tags or {}),
        name_claim(parse_name(name)),
        mtime_claim(modified_ns, duration_ms),
    ]
    start = choose([claim for claim in claims if claim is not None], duration_ms)
    start.pop("claims", None)
    return start


def _start(at: str, source: str, confidence: str, zone: str) -> dict[str, str]:
    return {"at": at, "source": source, "confidence": confidence, "zone": zone}


ASSUMED = "assumed Asia/Shanghai"


@pytest.mark.parametrize(
    ("known", "start"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param(
            {"name": NAME}, _start("2026-03-04T05:06:07+08:00", "name", "medium", ASSUMED), id="name alone is local"
        ),
        pytest.param(
            {"name": "20260304T050607Z_1A2B.mkv"},
            _start("2026-03-04T05:06:07Z", "name", "medium", "stated"),
            id="name that states UTC",
        ),
        pytest.param(
            {"tags": {"creation_time": "2026-03-04T05:06:07.000000Z"}},
            _start("2026-03-04T05:06:07Z", "container", "medium", "unstated"),
            id="container alone",
        ),
        pytest.param(
            {"name": NAME, "tags": {"creation_time": "2026-03-03T21:06:05.000000Z"}},
            _start("2026-03-03T21:06:05Z", "container", "high", "UTC, confirmed by the name"),
            id="eight hours apart: the container is UTC",
        ),
        pytest.param(
            {"name": NAME, "tags": {"creation_time": "2026-03-03T21:36:06.000000Z"}, "duration_ms": 30 * MINUTE_MS},
            _start("2026-03-03T21:06:06Z", "container", "high", "UTC, confirmed by the name"),
            id="the container's time is that of the end",
        ),
        pytest.param(
            {"name": NAME, "tags": {"creation_time": "2026-03-04T05:06:07.000000Z"}},
            _start("2026-03-04T05:06:07+08:00", "name", "medium", ASSUMED),
            id="equal digits: the container wrote local time",
        ),
        pytest.param(
            {"name": NAME, "tags": {"creation_time": "2025-01-01T00:00:00.000000Z"}},
            _start("2026-03-04T05:06:07+08:00", "name", "low", ASSUMED),
            id="a recorder's name against its container",
        ),
        pytest.param(
            {"name": "export 2026-03-04 05.06.07.mp4", "tags": {"creation_time": "2025-01-01T00:00:00.000000Z"}},
            _start("2025-01-01T00:00:00Z", "container", "low", "unstated"),
            id="a person's name gives way to the container",
        ),
        pytest.param(
            {"name": NAME, "tags": {"creation_time": "1970-01-01T00:00:03.000000Z"}},
            _start("2026-03-04T05:06:07+08:00", "name", "medium", ASSUMED),
            id="a clock that was never set gives way",
        ),
        pytest.param(
            {"tags": {"creation_time": "1970-01-01T00:00:03.000000Z"}},
            _start("1970-01-01T00:00:03Z", "container", "low", "unstated"),
            id="a clock that was never set, alone",
        ),
        pytest.param(
            {
                "name": NAME,
                "tags": {
                    "creation_time": "2026-03-03T21:06:05.000000Z",
                    "com.apple.quicktime.creationdate": "2026-03-04T05:06:05+0800",
                },
            },
            _start("2026-03-04T05:06:05+08:00", "container", "high", "stated"),
            id="a phone states its zone",
        ),
        pytest.param(
            {"mtime": "2026-03-04T05:07:07+00:00"},
            _start("2026-03-04T05:06:07Z", "mtime", "low", "file system"),
            id="file time less the duration",
        ),
        pytest.param(
            {"name": NAME, "exif": {"date_time_original": "2026:03:04 05:06:08", "offset_time_original": "+09:00"}},
            _start("2026-03-04T05:06:08+09:00", "exif", "high", "stated"),
            id="EXIF with its zone",
        ),
        pytest.param(
            {"exif": {"date_time_original": "2026:03:04 05:06:08"}},
            _start("2026-03-04T05:06:08+08:00", "exif", "medium", ASSUMED),
            id="EXIF without a zone",
        ),
    ],
)
def test_the_best_claim_wins_and_says_what_it_rests_on(known, start):
    assert _choose(**known) == start


def test_no_claim_is_thrown_away():
    at = datetime(2026, 3, 4, tzinfo=UTC)
    start = choose([Claim(source="mtime", at=at), Claim(source="name", at=at.replace(tzinfo=None))], 0)
    assert start["claims"] == {"mtime": "2026-03-04T00:00:00Z", "name": "2026-03-04T00:00:00"}


def test_satellites_tell_the_zone_of_a_photograph():
    claim = exif_claim({"date_time_original": "2026:03:04 10:36:08"}, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    assert claim is not None
    assert (claim.at.utcoffset(), claim.confidence) == (timedelta(hours=5, minutes=30), "high")


@pytest.mark.parametrize("text", ["", "0000:00:00 00:00:00", "2026:13:01 00:00:00", "yesterday", "\0" * 19, ":" * 19])
def test_times_that_cannot_be_are_no_claim(text):
    assert read_time(text) is None
    assert container_claim({"creation_time": text}) is None
    assert exif_claim({"date_time_original": text}, None) is None


@given(st.text(max_size=40), st.integers(-(1 << 63), 1 << 63), st.integers(0, 1 << 40))
def test_any_claims_give_a_start_with_a_zone_or_none(text, modified_ns, duration_ms):
    found = [
        container_claim({"creation_time": text}),
        mtime_claim(modified_ns, duration_ms),
        name_claim(parse_name(text)),
    ]
    start = choose([claim for claim in found if claim is not None], duration_ms)
    assert start == {} or datetime.fromisoformat(str(start["at"])).tzinfo is not None
