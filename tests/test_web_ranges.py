"""Byte ranges: decided purely, served exactly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web import open_view, seal, signed_in

from api.web.ranges import Slice, matches, select

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from vault.vault import Vault

SIZE = 1000
TAG = '"tag"'


def whole(size: int = SIZE) -> Slice:
    return Slice(start=0, end=size, partial=False)


def part(start: int, end: int) -> Slice:
    return Slice(start=start, end=end, partial=True)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, whole()),
        ("bytes=0-", part(0, 1000)),
        ("bytes=0-0", part(0, 1)),
        ("bytes=999-", part(999, 1000)),
        ("bytes=10-19", part(10, 20)),
        ("bytes=990-5000", part(990, 1000)),
        ("bytes=-1", part(999, 1000)),
        ("bytes=-5000", part(0, 1000)),
        ("Bytes=1-2", part(1, 3)),
        ("bytes=1000-", None),
        ("bytes=99999999999999-", None),
        ("bytes=-0", None),
        ("bytes=20-10", whole()),
        ("bytes=0-1,5-6", whole()),
        ("bytes=a-b", whole()),
        ("bytes=-", whole()),
        ("items=0-5", whole()),
        ("bytes=٣-", whole()),
        ("", whole()),
    ],
)
def test_one_range_is_served_and_anything_else_is_the_whole(header: str | None, expected: Slice | None) -> None:
    assert select(header, None, size=SIZE, etag=TAG) == expected


def test_if_range_must_name_exactly_this_representation() -> None:
    assert select("bytes=5-", TAG, size=SIZE, etag=TAG) == part(5, 1000)
    for stale in ('"other"', 'W/"tag"', "Wed, 21 Oct 2026 07:28:00 GMT", ""):
        assert select("bytes=5-", stale, size=SIZE, etag=TAG) == whole()


def test_an_empty_resource_has_no_ranges() -> None:
    assert select(None, None, size=0, etag=TAG) == whole(0)
    assert select("bytes=0-", None, size=0, etag=TAG) is None
    assert select("bytes=-5", None, size=0, etag=TAG) is None


def test_if_none_match_compares_weakly() -> None:
    assert matches('"a", W/"tag"', TAG)
    assert matches("*", TAG)
    assert not matches('"a"', TAG)
    assert not matches(None, TAG)


@given(
    header=st.text(max_size=40) | st.from_regex(r"bytes=\d{0,25}-\d{0,25}", fullmatch=True), size=st.integers(0, 10**12)
)
def test_any_header_gives_a_slice_inside_the_resource_or_416(header: str, size: int) -> None:
    found = select(header, None, size=size, etag=TAG)
    if found is not None:
        assert 0 <= found.start <= found.end <= size
        assert found.partial or found == whole(size)


@pytest.fixture
def original(vault: Vault) -> tuple[TestClient, str, bytes]:
    """A sealed original of more than two chunks whose export was logged."""
    data = os.urandom((2 << 20) + 777)
    clip = seal(vault, data, "证据 1.bin")
    browser = signed_in(vault)
    view = open_view(browser, clip)
    place = browser.post(view["export_url"]).headers["location"]
    return browser, place, data


def test_the_original_comes_byte_for_byte(original: tuple[TestClient, str, bytes]) -> None:
    """I8: whole, in ranges across chunk borders, and by HEAD."""
    browser, place, data = original
    answer = browser.get(place)
    assert answer.status_code == 200
    assert answer.content == data
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(data))
    assert "filename*=UTF-8''%E8%AF%81%E6%8D%AE%201.bin" in answer.headers["content-disposition"]
    mib = 1 << 20
    for start, end in ((0, 1), (mib - 1, mib + 1), (mib, 2 * mib), (5, 2 * mib + 700), (len(data) - 1, len(data))):
        piece = browser.get(place, headers={"Range": f"bytes={start}-{end - 1}"})
        assert piece.status_code == 206
        assert piece.content == data[start:end]
        assert piece.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
    head = browser.head(place, headers={"Range": "bytes=0-9"})
    assert head.status_code == 206
    assert head.headers["content-length"] == "10"
    assert head.content == b""


def test_conditions_and_impossible_ranges(original: tuple[TestClient, str, bytes]) -> None:
    browser, place, data = original
    tag = browser.head(place).headers["etag"]
    assert tag.startswith('"')
    assert browser.get(place, headers={"If-None-Match": tag}).status_code == 304
    assert browser.get(place, headers={"Range": "bytes=0-4", "If-Range": tag}).status_code == 206
    assert browser.get(place, headers={"Range": "bytes=0-4", "If-Range": '"other"'}).content == data
    beyond = browser.get(place, headers={"Range": f"bytes={len(data)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"


def test_an_empty_original_is_an_empty_answer(vault: Vault) -> None:
    """A zero-byte file of a card is evidence too."""
    clip = seal(vault, b"", "empty.mp4", condition="damaged")
    browser = signed_in(vault)
    place = browser.post(open_view(browser, clip)["export_url"]).headers["location"]
    answer = browser.get(place)
    assert answer.status_code == 200
    assert answer.content == b""
    assert browser.get(place, headers={"Range": "bytes=0-"}).status_code == 416
