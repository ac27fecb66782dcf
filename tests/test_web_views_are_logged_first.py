"""I6: no evidence byte is served before the entry that says who asked, and why, is durable."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import footage
import pytest
from web import Clock, entries, open_view, seal, sign_in, signed_in, types

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.testclient import TestClient

    from vault.model import Digest
    from vault.vault import Vault

JPEG = b"\xff\xd8" + bytes(range(256)) * 8 + b"\xff\xd9"
BYTES = ("media", "media.m3u8", "frames", "picture", "document", "original", "status")
FACTS = {
    "container": "mp4",
    "duration_ms": 2000,
    "streams": [
        {"kind": "video", "codec": "h264", "width": 320, "height": 180},
        {"kind": "audio", "codec": "aac", "sample_rate": 48000, "channels": 1},
    ],
}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return footage.h264_aac_mp4(tmp_path_factory.mktemp("movie") / "a.mp4", 2).read_bytes()


@pytest.fixture
def clip(vault: Vault, movie: bytes) -> Digest:
    return seal(vault, movie, "a.mp4", media="video", facts=FACTS)


def evidence(data: bytes, answer_body: bytes) -> bool:
    """Whether an answer holds a recognisable piece of the sealed bytes."""
    return any(data[at : at + 24] in answer_body for at in range(0, len(data) - 24, 997))


def test_bytes_come_only_under_a_view_that_is_in_the_log(vault: Vault, clip: Digest, movie: bytes) -> None:
    """I6: REC-05 the entry names person, clip, purpose and place, and stands in the log before the first byte."""
    browser = signed_in(vault)
    assert "clip.viewed" not in types(vault)
    page = browser.get(f"/clips/{clip.hex}", headers={"Accept": "text/html"})
    assert not evidence(movie, page.content)
    assert "clip.viewed" not in types(vault)  # the page alone shows no byte of the recording
    view = open_view(browser, clip)
    entry = entries(vault)[view["index"]]
    assert entry.statement.type == "clip.viewed"
    assert entry.statement.fields["clip"] == str(clip)
    assert entry.statement.fields["view"] == view["view"]
    private = vault.records.disclosed(entry)
    assert private["purpose"] == "日常复核"
    assert private["address"]
    media = browser.get(view["sources"][0]["src"])
    assert media.status_code == 200
    assert evidence(movie, media.content)


def test_without_a_view_every_address_of_bytes_refuses(vault: Vault, clip: Digest, movie: bytes) -> None:
    browser = signed_in(vault)
    assert clip.hex
    for name in BYTES:
        answer = browser.get(f"/views/01890000-0000-7000-8000-000000000000/{name}")
        assert answer.status_code == 403, name
        assert not evidence(movie, answer.content)


def test_the_view_of_another_session_is_refused(vault: Vault, clip: Digest) -> None:
    """Attack: a stolen view id, by another person and by the same person in another browser."""
    wang = signed_in(vault)
    view = open_view(wang, clip)
    for other in (signed_in(vault, account="li"), signed_in(vault, account="wang")):
        for name in BYTES:
            assert other.get(f"/views/{view['view']}/{name}").status_code == 403
        assert other.post(view["export_url"]).status_code == 403
        assert other.app.state.desk.sessions.refused_views == len(BYTES) + 1
    assert wang.get(view["status_url"]).status_code == 200


def test_a_view_runs_out(vault: Vault, clip: Digest) -> None:
    clock = Clock()
    browser = signed_in(vault, clock, session_hours=1, session_idle_minutes=120)
    view = open_view(browser, clip)
    clock.advance(minutes=59)
    assert browser.get(view["status_url"]).status_code == 200
    clock.advance(minutes=2)
    sign_in(browser)
    assert browser.get(view["status_url"]).status_code == 403


def break_sequencer(vault: Vault) -> None:
    vault.log.close()


def break_tiles(vault: Vault) -> None:
    """The log's own folder cannot be written: a file stands where tiles belong."""
    shutil.rmtree(vault.root / "log" / "tile")
    (vault.root / "log" / "tile").write_text("not a folder")


def break_records(vault: Vault) -> None:
    shutil.rmtree(vault.root / "records")
    (vault.root / "records").write_text("not a folder")


def repair(vault: Vault) -> None:
    """Give the vault its folders back, so that closing it has nothing to complain about."""
    for path in (vault.root / "log" / "tile", vault.root / "records"):
        if path.is_file():
            path.unlink()
            path.mkdir()


@pytest.mark.parametrize("break_it", [break_sequencer, break_tiles, break_records])
def test_with_the_log_unwritable_nothing_is_served(
    vault: Vault, clip: Digest, movie: bytes, break_it: Callable[[Vault], None]
) -> None:
    """I6: REC-05 log not writable -> nothing served, and the person is told so."""
    browser = signed_in(vault)
    browser._transport.raise_server_exceptions = False
    break_it(vault)
    answer = browser.post(f"/clips/{clip.hex}/views")
    assert answer.status_code >= 500
    assert "view" not in answer.json()
    assert answer.json()["remedy"]
    assert not evidence(movie, answer.content)
    assert grants(browser) == 0
    repair(vault)


def grants(browser: TestClient) -> int:
    """How many views anybody may read under."""
    with browser.app.state.desk.vault.catalogue.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM web_view_grant").scalar_one())


def test_the_original_is_handed_out_only_after_its_export_is_logged(vault: Vault) -> None:
    clip = seal(vault, JPEG, "p.jpg", media="image", facts={"container": "jpeg"})
    browser = signed_in(vault)
    view = open_view(browser, clip)
    assert browser.get(f"/views/{view['view']}/original").status_code == 403
    place = browser.post(view["export_url"]).headers["location"]
    exported = entries(vault)[-1]
    assert exported.statement.type == "clip.exported"
    assert exported.statement.fields["clip"] == str(clip)
    assert vault.records.disclosed(exported)["purpose"] == "日常复核"
    assert browser.get(place).content == JPEG


def test_the_purpose_of_the_sitting_goes_into_every_view(vault: Vault, clip: Digest) -> None:
    browser = signed_in(vault)
    browser.post("/purpose", data={"kind": "complaint"})
    browser.post("/purpose", data={"kind": "other", "words": "检察院调卷"})
    view = open_view(browser, clip)
    assert vault.records.disclosed(entries(vault)[view["index"]])["purpose"] == "检察院调卷"
    assert browser.post("/purpose", data={"kind": "other", "words": " "}).status_code == 422


def test_pictures_come_only_under_a_view_and_can_do_nothing(vault: Vault) -> None:
    clip = seal(vault, JPEG, "p.jpg", media="image", facts={"container": "jpeg"})
    browser = signed_in(vault)
    view = open_view(browser, clip)
    assert view["kind"] == "image"
    picture = browser.get(view["sources"][0]["src"])
    assert picture.content == JPEG
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["content-disposition"] == "inline"
    assert "default-src 'none'" in picture.headers["content-security-policy"]
    assert browser.get(f"/views/{view['view']}/document").status_code == 409


def test_frames_and_playlist_describe_the_same_file(vault: Vault, clip: Digest) -> None:
    browser = signed_in(vault)
    view = open_view(browser, clip)
    frames = browser.get(view["frames_url"]).json()
    assert frames["runs"] == [[frames["timescale"] // footage.RATE, 2 * footage.RATE]]
    playlist = browser.get(view["sources"][1]["src"])
    assert playlist.headers["content-type"] == "application/vnd.apple.mpegurl"
    size = int(browser.head(view["sources"][0]["src"]).headers["content-length"])
    last = [line for line in playlist.text.splitlines() if "BYTERANGE:" in line][-1]
    length, start = (int(number) for number in last.partition(":")[2].split("@"))
    assert length + start == size
    assert "http" not in playlist.text


def test_a_file_that_nobody_can_play_says_why_and_offers_the_original(vault: Vault, tmp_path: Path) -> None:
    clip = seal(vault, b"\x00\x01 no media", "config.bin", facts={})
    view = open_view(signed_in(vault), clip)
    assert view["state"] == "none"
    assert view["sources"] == []
    assert view["reason_text"]
    assert view["export_url"]
