import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.probing.position import TRACK_POINTS_MAX, parse_exif, parse_iso_6709, parse_nmea, summary

RMC = "$GPRMC,012345.00,A,2831.0980,N,11209.3360,E,0.0,0.0,031126,,,A"


def _sentence(body: str) -> str:
    total = 0
    for character in body[1:]:
        total ^= ord(character)
    return f"{body}*{total:02X}\r\n"


def test_phones_write_iso_6709():
    point = parse_iso_6709("+28.5183+112.1556+045.000/")
    assert point is not None
    assert point.to_json() == {"lat": "28.5183000", "lon": "112.1556000", "alt": "045.000"}
    south_west = parse_iso_6709("-33.5-070.25/")
    assert south_west is not None
    assert (south_west.latitude, south_west.longitude) == ("-33.5000000", "-70.2500000")


def test_exif_degrees_are_turned_by_their_reference():
    point = parse_exif(["28", "31", "147/25"], "S", ["112", "9", "504/25"], "W")
    assert point is not None
    assert (point.latitude, point.longitude) == ("-28.5183000", "-112.1556000")


def test_sentences_give_a_track_once_a_moment():
    text = _sentence(RMC) + _sentence("$GPGGA,012345.00,2831.0980,N,11209.3360,E,1,08,1.0,45.0,M,,M,,")
    text += _sentence("$GNGGA,012346.00,2831.1000,N,11209.3400,E,1,08,1.0,45.0,M,,M,,")
    points = list(parse_nmea(text))
    assert [(point.latitude, point.at) for point in points] == [
        ("28.5183000", "2026-11-03T01:23:45Z"),
        ("28.5183333", "2026-11-03T01:23:46Z"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        RMC + "*00",  # checksum
        _sentence(RMC.replace(",A,2831", ",V,2831")),  # no fix
        _sentence(RMC.replace("2831.0980", "9931.0980")),  # beyond the pole
        _sentence(RMC.replace("2831.0980", "2861.0980")),  # minute 61
        _sentence(RMC.replace("2831.0980,N,11209.3360", "0000.0000,N,00000.0000")),  # a receiver without a fix
        _sentence(RMC.replace("2831.0980", "28٣١.0980")),
        "",
    ],
)
def test_what_is_no_fix_is_no_point(text):
    assert list(parse_nmea(text)) == []


@pytest.mark.parametrize("text", ["", "here", "+91.0+000.0/", "+1e999999999+000/", "+00.0+000.0/"])
def test_what_is_no_place_is_no_point(text):
    assert parse_iso_6709(text) is None
    assert parse_exif([text], "N", ["1"], "E") is None


def test_a_long_track_is_thinned_but_counted():
    text = "".join(
        _sentence(f"$GPRMC,0{n // 3600}{n // 60 % 60:02}{n % 60:02}.00,A,28{n % 60:02}.0,N,11209.3,E,0,0,031126,,,A")
        for n in range(1234)
    )
    found = summary(parse_nmea(text), "nmea")
    assert found["count"] == 1234
    assert len(found["track"]) <= TRACK_POINTS_MAX


@given(st.text(alphabet="$GPNRMCA,.0123456789*EWSV\r\n-e/", max_size=300))
def test_any_text_is_read_in_peace(text):
    for point in [*parse_nmea(text), parse_iso_6709(text), parse_exif(list(text), text, list(text), text)]:
        assert point is None or abs(float(point.latitude)) <= 90
