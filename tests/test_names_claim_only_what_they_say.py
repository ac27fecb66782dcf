from dataclasses import dataclass
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.names import FALLBACK, NameFacts, is_factory, loop_groups, parse_name

AT = datetime.fromisoformat("2026-03-04T05:06:07")


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        (
            "DCIM/AA00000_BB0000_20260304050607.MP4",
            NameFacts(scheme="serial_officer_time", serial="AA00000", officer="BB0000", started_at=AT),
        ),
        (
            "AA00000_BB0000_20260304050607_0012.avi",
            NameFacts(scheme="serial_officer_time", serial="AA00000", officer="BB0000", started_at=AT, sequence=12),
        ),
        (
            "AA00000_BB0000_20260304050607_IMP.mp4",
            NameFacts(scheme="serial_officer_time", serial="AA00000", officer="BB0000", started_at=AT),
        ),
        (
            "AA00000@2026030405060700042.mp4",
            NameFacts(scheme="serial_at_time", serial="AA00000", started_at=AT, sequence=42),
        ),
        (
            "44010000_" + "D" * 20 + "20260304050607" + "0001" + "20260304180000" + "0009" + ".mp4",
            NameFacts(scheme="platform_number", serial="D" * 20, started_at=AT, sequence=9, prefix="44010000"),
        ),
        (
            "Video/Normal/2026_0304_050607_001A.MP4",
            NameFacts(scheme="normal_event", started_at=AT, sequence=1, prefix="A"),
        ),
        ("20260304T050607Z_1A2B.mkv", NameFacts(scheme="utc_recording", started_at=AT, utc=True)),
        ("IMG_20260304_050607.jpg", NameFacts(scheme="kind_time", started_at=AT, prefix="IMG")),
        ("VID-20260304-050607123~2.mp4", NameFacts(scheme="kind_time", started_at=AT, prefix="VID")),
        ("20260304_050607_1A2B.mp4", NameFacts(scheme="time_recording", started_at=AT)),
        ("2026-03-04/05.06.07-05.16.07[M][0@0][0].dav", NameFacts(scheme="date_folder", started_at=AT)),
        ("现场 2026-03-04 05.06.07 检查.mp4", NameFacts(scheme="time_in_name", started_at=AT)),
        ("rec 2026-03-04T05:06:07Z.ts", NameFacts(scheme="time_in_name", started_at=AT, utc=True)),
        (
            "260304_050607_王五/clip.mp4",
            NameFacts(scheme="session_folder", officer="王五", started_at=AT),
        ),
        ("DCIM/100MEDIA/MOV_0001.MP4", NameFacts(scheme="dcf", sequence=1, prefix="MOV_")),
        ("DCIM/PICT0042.JPG", NameFacts(scheme="dcf", sequence=42, prefix="PICT")),
        ("执法记录.mp4", FALLBACK),
        ("", FALLBACK),
        (".hidden", FALLBACK),
    ],
)
def test_every_scheme_is_read(path, facts):
    assert parse_name(path) == facts


@pytest.mark.parametrize(
    "name",
    [
        "AA00000_BB0000_20261304050607.mp4",  # month 13
        "AA00000_BB0000_20260230050607.mp4",  # 30 February
        "AA00000_BB0000_20260304240607.mp4",  # hour 24
        "AA00000_BB0000_20260304056007.mp4",  # minute 60
        "AA00000_BB0000_20260304050660.mp4",  # second 60
        "AA00000_BB0000_00000000000000.mp4",  # nobody set the clock
        "AA00000_BB0000_1234567890123456.mp4",
        "AA00000_BB0000_２０２６０３０４０５０６０７.mp4",  # digits, but not 0-9
    ],
)
def test_an_impossible_date_is_no_date(name):
    assert parse_name(name).started_at is None


def test_a_flat_battery_is_still_a_date():
    assert parse_name("AA00000_BB0000_19700101000003.mp4").started_at == datetime.fromisoformat("1970-01-01T00:00:03")


def test_a_factory_serial_is_no_identity():
    assert is_factory("0000000")
    assert not is_factory("0000001")


@given(st.text(max_size=300))
def test_any_name_is_read_without_an_error(name):
    facts = parse_name(name)
    assert facts.scheme
    assert facts.started_at is None or 1970 <= facts.started_at.year <= 2099


@dataclass(frozen=True)
class _File:
    path: str
    modified_ns: int = 0


def _closed(path: str, text: str, *, shift_h: int = 0) -> _File:
    seconds = (datetime.fromisoformat(text) - datetime.fromisoformat("1970-01-01")).total_seconds()
    return _File(path, int((seconds - shift_h * 3600) * 1_000_000_000))


def test_segments_by_number_are_one_recording():
    files = [_File(f"Video/2026_0304_05{minute:02}00_{n:03}A.MP4") for n, minute in enumerate((0, 3, 6, 12))]
    del files[2]  # 002A is missing: a gap in the numbers parts the groups
    groups = loop_groups(files)
    assert [[file.path[-8:] for file in group] for group in groups] == [["000A.MP4", "001A.MP4"], ["003A.MP4"]]


@pytest.mark.parametrize("shift_h", [0, 8, -5], ids=["same zone", "closed in UTC", "behind"])
def test_segments_by_time_are_one_recording_in_any_zone(shift_h):
    names = ["AA00000_BB0000_20260304050000", "AA00000_BB0000_20260304050300", "AA00000_BB0000_20260304060000"]
    files = [
        _closed(f"DCIM/{names[0]}.MP4", "2026-03-04T05:03:01", shift_h=shift_h),
        _closed(f"DCIM/{names[1]}.MP4", "2026-03-04T05:04:40", shift_h=shift_h),
        _closed(f"DCIM/{names[2]}.MP4", "2026-03-04T06:01:00", shift_h=shift_h),
    ]
    assert loop_groups(list(reversed(files))) == ((files[0], files[1]), (files[2],))


def test_other_folders_devices_and_free_names_never_join():
    files = [
        _File("a/MOV_0001.MP4"),
        _File("b/MOV_0002.MP4"),
        _File("a/MOV_0002.AVI"),
        _File("检查1.mp4"),
        _File("检查2.mp4"),
    ]
    assert all(len(group) == 1 for group in loop_groups(files))


@given(
    st.lists(
        st.builds(_File, st.from_regex(r"[ab]/(MOV_\d{4}|2026_0304_0506\d\d_\d{3}A)\.MP4", fullmatch=True)),
        unique_by=lambda f: f.path,
    )
)
def test_grouping_loses_and_invents_nothing(files):
    assert sorted(file.path for group in loop_groups(files) for file in group) == sorted(file.path for file in files)
